//! What the channel keeper's room tells the sync engine of Google's calls, and the other way round: the two rooms do not know
//! each other.

use jiff::Timestamp;

use crate::channel::finds::Finds;
use crate::model::ChangeLog;
use crate::sync::Calls;

impl Calls for Finds {
    fn is_silent(&self, log: &ChangeLog) -> bool {
        Self::is_silent(self, log)
    }

    fn found(&self, log: &ChangeLog, since: Timestamp, now: Timestamp) {
        self.add(log, since, now);
    }
}
