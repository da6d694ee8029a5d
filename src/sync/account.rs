//! The ledger belongs to one account. A login of another one begins all logs anew, and compares all folders.

use futures_util::future::{BoxFuture, FutureExt as _};
use tracing::{info, warn};

use crate::drive::Guard;
use crate::model::{Account, LoginId};
use crate::store::{Bound, Store};
use crate::telemetry::log::with_causes;

/// Looks whose account the calls are made for before the first of them.
#[derive(Clone, Debug)]
pub struct AccountCheck(Store);

impl AccountCheck {
    /// For this ledger.
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    async fn bind(&self, account: &Account, login: &LoginId) -> Result<(), String> {
        let bound = self.0.bind_account(account, login).await;
        match bound.map_err(|error| with_causes(&error))? {
            Bound::First | Bound::Same => info!(account = account.name, "Drive is read with this account"),
            Bound::Changed { former, channels } => warn!(
                account = account.name,
                former,
                channels,
                "the login belongs to another account than before: its change logs are read from now on, and all folders \
                 are compared; the former account's push channels cannot be stopped by this one and end by themselves"
            ),
        }
        Ok(())
    }
}

impl Guard for AccountCheck {
    fn knows<'a>(&'a self, login: &'a LoginId) -> BoxFuture<'a, Result<bool, String>> {
        async move { self.0.knows_login(login).await.map_err(|error| with_causes(&error)) }.boxed()
    }

    fn admit<'a>(&'a self, account: &'a Account, login: &'a LoginId) -> BoxFuture<'a, Result<(), String>> {
        self.bind(account, login).boxed()
    }
}
