//! What to do next about a transfer, given how far it is. Values in, values out.

use std::time::Duration;

use crate::retry::{Class, Policy};

/// How often a transfer that makes no headway is taken up again before its delivery goes back to the queue. Any byte
/// that arrives starts the count anew.
const TRIES: Policy =
    Policy { base: Duration::from_millis(500), cap: Duration::from_secs(30), attempts: Some(5) };

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub have: u64,
    /// Bytes in all.
    pub size: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything is there: look whether it is right.
    Verify,
    /// Ask for the bytes from here on.
    Fetch {
        /// The first byte wanted.
        from: u64,
    },
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its first byte is the next one wanted.
    Append,
    /// The range was ignored: this many bytes are there already.
    Skip(u64),
    /// The file has another size by now, so it has another content.
    Changed,
}

impl Progress {
    /// The next step.
    pub fn next(self) -> Step {
        if self.have >= self.size { Step::Verify } else { Step::Fetch { from: self.have } }
    }

    /// What to do with an answer that begins at `from` and says that the whole has `total` bytes.
    pub fn accept(self, from: u64, total: Option<u64>) -> Answer {
        if total.is_some_and(|total| total != self.size) {
            return Answer::Changed;
        }
        match self.have.saturating_sub(from) {
            0 => Answer::Append,
            there => Answer::Skip(there),
        }
    }
}

/// How long to wait before a transfer is taken up again. `None`: no more, the delivery goes back to the queue.
pub fn again_after(
    class: Class,
    failures: u32,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    match class {
        Class::Transient => match TRIES.decide(class, failures, retry_after, jitter) {
            crate::retry::Verdict::After(wait) if wait <= TRIES.cap => Some(wait),
            _ => None,
        },
        // What concerns everybody, takes hours, or needs a person is not waited for with an open file.
        Class::RateLimited
        | Class::DailyLimit
        | Class::FileQuota
        | Class::Configuration
        | Class::LoginNeeded
        | Class::Permanent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_was() {
        assert_eq!(Progress { have: 0, size: 10 }.next(), Step::Fetch { from: 0 });
        assert_eq!(Progress { have: 7, size: 10 }.next(), Step::Fetch { from: 7 });
        assert_eq!(Progress { have: 10, size: 10 }.next(), Step::Verify);
        assert_eq!(Progress { have: 0, size: 0 }.next(), Step::Verify, "an empty file needs no call");
    }

    #[test]
    fn answers_are_fitted_to_what_is_there() {
        let progress = Progress { have: 7, size: 10 };
        assert_eq!(progress.accept(7, Some(10)), Answer::Append);
        assert_eq!(progress.accept(7, None), Answer::Append);
        assert_eq!(progress.accept(0, Some(10)), Answer::Skip(7));
        assert_eq!(progress.accept(7, Some(11)), Answer::Changed);
    }

    #[test]
    fn patience_ends() {
        assert!(again_after(Class::Transient, 1, None, 0.5).is_some());
        assert!(again_after(Class::Transient, 5, None, 0.5).is_none());
        assert!(again_after(Class::Transient, 1, Some(Duration::from_mins(10)), 0.5).is_none());
        assert!(again_after(Class::FileQuota, 1, None, 0.5).is_none());
    }
}
