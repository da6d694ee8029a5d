//! The audit: compares what Drive has below each watched folder with what the database says and with what lies at the
//! destination. It lists Drive by itself and applies the rules by itself. With the code that delivers it shares the domain
//! types, the calls to Drive and the rows of the database, so that a mistake there does not hide itself here.
//!
//! A file that the rules want is here, taken away since it was delivered, changed since, or there is a reason why it is not
//! here. Without such a reason it is doubtful, and is looked at a second time when the change logs have been read as far as
//! they go: listings and change logs of Drive do not show the same at the same time. What is doubtful then is missing.

mod auditor;
mod desk;
mod doubts;
mod engine;
mod judge;
mod news;
mod places;
mod report;
mod rules;
mod walk;
mod work;

use std::time::Duration;

pub use auditor::{Auditor, Pace};
pub use desk::{Desk, Progress, Standing};
pub use engine::Engine;
pub use report::{FolderReport, LeftOut, Named, Outcome, Report, Tally, last};
pub use rules::Rule;

use crate::{drive, store};

/// What the configuration asks for; it may change while the program runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The watched folders.
    pub rules: Vec<Rule>,
    /// How often all folders are compared with the database; an audit comes after each comparison.
    pub reconcile: Duration,
}

/// What one audit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Reads every delivered file and compares its checksum.
    pub checksums: bool,
    /// Puts what is missing in the queue.
    pub fix: bool,
}

/// Waits that depend on how Drive behaves. They are no settings: only tests have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// So long after the beginning of a comparison: by then all folders have been listed again, since listings lag.
    pub after_comparison: Duration,
    /// An audit does not wait longer than this for the end of a comparison.
    pub comparison: Duration,
    /// How often the program looks whether an audit is due.
    pub look: Duration,
    /// How long doubtful files are left alone before they are looked at again, if nobody waits for the audit.
    pub settle: Duration,
    /// The same for an audit that somebody has asked for.
    pub settle_asked: Duration,
    /// An audit that failed is tried again after this long.
    pub again: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            after_comparison: Duration::from_mins(15),
            comparison: Duration::from_hours(1),
            look: Duration::from_mins(5),
            settle: Duration::from_mins(2),
            settle_asked: Duration::from_secs(5),
            again: Duration::from_mins(10),
        }
    }
}

/// Why an audit did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Drive did not do what was asked.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The configuration cannot be applied.
    #[error("{0}")]
    Rule(String),
    /// The report cannot be written or read.
    #[error("the report of the audit cannot be stored")]
    Report(#[from] serde_json::Error),
    /// The watched folders are others than at the beginning.
    #[error(
        "the configuration has changed during the audit; run it again, or wait for the daemon's next one"
    )]
    Changed,
}
