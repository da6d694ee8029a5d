//! What the readers of the change logs have to do with Google's calls. Another room hears them.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::ChangeLog;

/// A log that Google is silent about is read this often.
pub(super) const SILENT_POLL: Duration = Duration::from_mins(1);

/// Who hears the calls.
pub trait Calls: Debug + Send + Sync {
    /// Whether Google should call about a log and does not.
    fn is_silent(&self, log: &ChangeLog) -> bool;

    /// A read has found something new in a log now; the read before it began at `since`.
    fn found(&self, log: &ChangeLog, since: Timestamp, now: Timestamp);
}

/// Nobody: whoever reads once needs no calls.
#[derive(Debug)]
pub(super) struct Nobody;

impl Calls for Nobody {
    fn is_silent(&self, _: &ChangeLog) -> bool {
        false
    }

    fn found(&self, _: &ChangeLog, _: Timestamp, _: Timestamp) {}
}
