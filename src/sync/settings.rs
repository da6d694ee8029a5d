//! What the configuration asks of the sync engine.

use std::time::Duration;

use super::rules::Folder;
use super::waits::Waits;

/// `[sync]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Changes are listed this often even if nobody called.
    pub poll: Duration,
    /// The folders are compared with the ledger this often.
    pub reconcile: Duration,
    /// Not in the configuration file.
    pub waits: Waits,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll: Duration::from_mins(10), reconcile: Duration::from_hours(24), waits: Waits::default() }
    }
}

/// What the configuration asks for; it may change while the program runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// How often to look.
    pub config: Config,
    /// The watched folders.
    pub folders: Vec<Folder>,
}
