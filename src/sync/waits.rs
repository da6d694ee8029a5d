//! How long to wait before something is looked at again.

use std::time::Duration;

use jiff::Timestamp;

/// Waits that depend on how Drive behaves. They are no settings: only tests have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// A new folder is listed again after these: Drive's listings lag behind by seconds to minutes.
    pub looks: [Duration; 2],
    /// An item that Drive does not show is asked for again after these: permissions take effect late.
    pub hidden: [Duration; 2],
    /// A folder of the configuration that cannot be watched is looked at after the first of these, then less and less
    /// often, up to the second.
    pub watched: [Duration; 2],
    /// The same for a folder that cannot be listed, and for a question that Drive does not answer.
    pub failed: [Duration; 2],
    /// A question that Drive does not answer is given up after this long.
    pub patience: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            looks: [Duration::from_mins(1), Duration::from_mins(10)],
            hidden: [Duration::from_mins(1), Duration::from_mins(10)],
            watched: [Duration::from_mins(1), Duration::from_mins(10)],
            failed: [Duration::from_secs(1), Duration::from_mins(10)],
            patience: Duration::from_hours(24),
        }
    }
}

impl Waits {
    /// Until the next listing of a folder that is to be listed so often after this one.
    pub(super) fn look(&self, left: u32) -> Duration {
        let done = self.looks.len().saturating_sub(left as usize);
        self.looks.get(done).copied().unwrap_or_default()
    }

    /// Until an item that Drive has not shown so often before is asked for again; `None`: it is gone.
    pub(super) fn hidden(&self, attempt: u32) -> Option<Duration> {
        self.hidden.get(attempt as usize).copied()
    }

    /// Until a watched folder is looked at again.
    pub(super) fn watched(&self, attempt: u32) -> Duration {
        doubled(self.watched, attempt)
    }

    /// Until something that failed is tried again.
    pub(super) fn failed(&self, attempt: u32) -> Duration {
        doubled(self.failed, attempt)
    }

    /// Until something is asked again that has not been answered for this long: about as long again.
    pub(super) fn unanswered(&self, asked_for: Duration) -> Duration {
        let [first, most] = self.failed;
        asked_for.max(first).min(most)
    }
}

fn doubled([first, most]: [Duration; 2], attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.min(20)).min(most)
}

/// So long after this.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(now)
}

/// Until this; nothing if it is over.
pub(super) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits = Waits::default();
        let minutes = Duration::from_mins;
        assert_eq!([2, 1].map(|left| waits.look(left)), waits.looks);
        assert_eq!([0, 1, 2].map(|n| waits.hidden(n)), [Some(minutes(1)), Some(minutes(10)), None]);
        assert_eq!(
            [0, 1, 3, 4, 99].map(|n| waits.watched(n)),
            [minutes(1), minutes(2), minutes(8), minutes(10), minutes(10)]
        );
        let seconds = Duration::from_secs;
        assert_eq!(
            [0, 1, 90, 9_000].map(|n| waits.unanswered(seconds(n))),
            [seconds(1), seconds(1), seconds(90), minutes(10)]
        );
        assert_eq!(until(Timestamp::UNIX_EPOCH, Timestamp::now()), Duration::ZERO);
    }
}
