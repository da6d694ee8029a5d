//! When one change log is read.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::pace::Pace;

/// Notifications come in twos and threes for one upload; what comes this close together is one read.
pub(super) const SETTLE: Duration = Duration::from_millis(250);

/// One change log.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) pace: Pace,
    /// A watched folder is in it. Unknown until the database has been asked under the present rules.
    pub(super) is_watched: bool,
    /// It is to be read as soon as it can be.
    pub(super) is_wanted: bool,
    /// It is read then at the latest.
    pub(super) next: Instant,
    pub(super) began: Option<Instant>,
    /// When the read that is under way began, …
    pub(super) reading: Option<Timestamp>,
    /// … and the last complete one of this run.
    pub(super) read: Option<Timestamp>,
    /// Files were noted as existing since it was read: what changes from then on is told from what was there by another
    /// read.
    pub(super) is_unsettled: bool,
}

impl Follower {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pace: Pace::default(),
            is_watched: false,
            is_wanted: true,
            next: now,
            began: None,
            reading: None,
            read: None,
            is_unsettled: false,
        }
    }

    /// When it is read, unless it is being read.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let (wanted, not_before) = if self.is_wanted {
            (now.min(self.next), self.pace.not_woken_before())
        } else {
            (self.next, self.pace.not_before())
        };
        let settled = self.began.map_or(wanted, |began| wanted.max(began + SETTLE));
        not_before.map_or(settled, |at| settled.max(at))
    }

    /// Whether it is being read, or about to be.
    pub(super) fn is_working(&self) -> bool {
        self.pace.is_running()
            || (self.is_watched && self.is_wanted && self.pace.not_woken_before().is_none())
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.pace.is_running() && self.due(now) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive;

    #[test]
    fn a_wake_up_neither_shortens_nor_prolongs_the_wait_after_a_failure() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut log = Follower { is_watched: true, ..Follower::new(now) };
        assert!(log.is_due(now) && log.is_working());
        log.pace.begin();
        (log.is_wanted, log.began) = (false, Some(now));
        let retry_after = Some(Duration::from_secs(20));
        log.pace.failed(drive::Error::refusal("a call", 503, b"", retry_after).into(), now).unwrap();
        for woken in [1, 5, 19] {
            log.is_wanted = true;
            assert!(!log.is_due(after(woken)) && !log.is_working());
            assert_eq!(log.due(after(woken)), after(20));
        }
        assert!(log.is_due(after(20)));
    }

    #[test]
    fn what_somebody_has_to_change_is_looked_at_when_something_happens() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut log = Follower::new(now);
        log.pace.begin();
        (log.is_wanted, log.began) = (false, Some(now));
        log.pace.failed(drive::Error::refusal("a call", 403, br#"{"error":{}}"#, None).into(), now).unwrap();
        assert!(!log.is_due(later), "nothing has happened");
        log.is_wanted = true;
        assert!(log.is_due(later));
    }

    #[test]
    fn what_comes_close_together_is_one_read() {
        let now = Instant::now();
        let mut log = Follower::new(now);
        (log.is_wanted, log.began, log.next) = (true, Some(now), now + Duration::from_mins(10));
        assert_eq!(log.due(now), now + SETTLE);
        log.is_wanted = false;
        assert_eq!(log.due(now), log.next);
    }
}
