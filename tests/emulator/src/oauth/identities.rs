//! Whose a token is: codes, refresh tokens and access tokens of all accounts but the first.

use std::collections::HashMap;

use crate::drive::account;

/// Accounts by token. Whatever is not in it belongs to the first account.
#[derive(Debug)]
pub(crate) struct Identities {
    owners: HashMap<String, String>,
    /// Who gives consent when nobody says who it is.
    pub(crate) consenting: String,
    /// Whom the ready-made service account key stands for.
    pub(crate) service_account: String,
}

impl Default for Identities {
    fn default() -> Self {
        let first = || account::FIRST.to_owned();
        Self { owners: HashMap::new(), consenting: first(), service_account: first() }
    }
}

impl Identities {
    pub(crate) fn of(&self, token: &str) -> &str {
        self.owners.get(token).map_or(account::FIRST, String::as_str)
    }

    pub(crate) fn set(&mut self, token: &str, address: &str) {
        if address == account::FIRST {
            self.owners.remove(token);
        } else {
            self.owners.insert(token.to_owned(), address.to_owned());
        }
    }
}
