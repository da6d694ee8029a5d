//! Who uses this Drive: persons and a service account, each with a My Drive and a change log of its own.

use super::ids;
use super::log::USER;

/// The account that is there from the beginning.
pub(crate) const FIRST: &str = "user@drive-emulator.example";
/// The account of the ready-made service account key.
pub(crate) const SERVICE_ACCOUNT: &str = "inbox@drive-emulator.iam.gserviceaccount.com";

#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its mail address, by which everything here names it.
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) permission_id: String,
    /// Its My Drive.
    pub(crate) root: String,
    /// Its change log: `user` for the first account, the address for all others.
    pub(crate) log: String,
}

impl Account {
    pub(crate) fn first() -> Self {
        Self {
            address: FIRST.to_owned(),
            name: "Emulated User".to_owned(),
            permission_id: "02718281828459045235".to_owned(),
            root: ids::root(),
            log: USER.to_owned(),
        }
    }

    pub(crate) fn new(address: &str) -> Self {
        let name = address.split('@').next().unwrap_or(address);
        Self {
            address: address.to_owned(),
            name: name.to_owned(),
            permission_id: ids::permission(),
            root: ids::root(),
            log: address.to_owned(),
        }
    }
}
