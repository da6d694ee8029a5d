//! Takes deliveries from the ledger, a few at once, and downloads, verifies and publishes each. It records every step in the
//! ledger before the next. It never calls Drive itself.

mod adoption;
mod attempt;
mod engine;
mod error;
mod events;
mod load;
mod publisher;
pub mod reaction;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use engine::Engine;
pub use error::Error;

use crate::destination::Rights;

/// `[download]` of the configuration, as far as it concerns all transfers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Files that are fetched at once.
    pub concurrency: usize,
    /// Bytes that stay free on a destination's disk.
    pub reserve: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { concurrency: 4, reserve: 1 << 30 }
    }
}

/// The settings of the engine; they may change while the program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Limits for all transfers together.
    pub config: Config,
    /// The destinations of all watched folders, and the modes of files there.
    pub destinations: BTreeMap<PathBuf, Rights>,
}
