//! The Drive account that calls are made for.

use super::id::AccountId;

/// An account, as Drive names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Stays the same for the account's life.
    pub id: AccountId,
    /// Its address, for messages.
    pub name: String,
}
