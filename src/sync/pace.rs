//! How a reader, the lister and the asker go on after failures: each has its own wait, which a wake-up neither shortens
//! nor prolongs.

use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;
use crate::http::jitter;
use crate::retry::{Class, Policy, Streak, Verdict};

/// Failures in a row, and the wait after them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    streak: Streak,
    not_before: Option<Instant>,
    error: Option<Error>,
    is_running: bool,
}

impl Pace {
    /// Whether it may begin now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        !self.is_running && self.not_before.is_none_or(|at| at <= now)
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// When it may begin again, if it waits.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Until when a wake-up has to wait. A failure that lasts until somebody changes something is looked at again at
    /// once: that may be what the wake-up tells of.
    pub(super) fn not_woken_before(&self) -> Option<Instant> {
        let lasts = matches!(&self.error, Some(Error::Drive(error)) if matches!(
            error.class(),
            Class::Permanent | Class::Configuration | Class::Permission
        ));
        self.not_before.filter(|_| !lasts)
    }

    /// The last failure.
    pub(super) fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    pub(super) fn begin(&mut self) {
        self.is_running = true;
    }

    /// It was interrupted, and begins anew when it is due.
    pub(super) fn interrupted(&mut self) {
        self.is_running = false;
    }

    pub(super) fn went_well(&mut self) {
        *self = Self::default();
    }

    /// What goes on bit by bit is not made slower and slower by what goes wrong in between.
    pub(super) fn progressed(&mut self) {
        self.streak.progressed();
    }

    /// It failed, and waits. `Err`: the ledger failed, which is everybody's failure.
    pub(super) fn failed(&mut self, error: Error, now: Instant) -> Result<(), Error> {
        self.is_running = false;
        let wait = match &error {
            Error::Drive(error) => {
                let count = self.streak.failed(error.class());
                decide(error.class(), count, error.retry_after())
            }
            Error::Endless { .. } => {
                decide(Class::Configuration, self.streak.failed(Class::Configuration), None)
            }
            Error::Folder { .. } => Policy::CALL.cap,
            Error::Store(_) => return Err(error),
        };
        self.wait(wait, error, now);
        Ok(())
    }

    /// It failed, and waits for this long.
    pub(super) fn wait(&mut self, wait: Duration, error: Error, now: Instant) {
        self.is_running = false;
        self.not_before = Some(now + wait);
        self.error = Some(error);
    }
}

fn decide(class: Class, count: u32, retry_after: Option<Duration>) -> Duration {
    match Policy::CALL.decide(class, count, retry_after, jitter()) {
        Verdict::After(wait) => wait,
        Verdict::GiveUp => Policy::CALL.cap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive;

    fn refused(status: u16, retry_after: Option<u64>) -> Error {
        drive::Error::refusal("a call", status, b"", retry_after.map(Duration::from_secs)).into()
    }

    #[test]
    fn a_wait_ends_when_it_was_said_to() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.begin();
        assert!(!pace.is_free(now));
        pace.failed(refused(503, Some(20)), now).unwrap();
        assert_eq!(pace.not_before(), Some(now + Duration::from_secs(20)));
        assert!(!pace.is_free(now + Duration::from_secs(19)) && pace.is_free(now + Duration::from_secs(20)));
        pace.begin();
        pace.went_well();
        assert!(pace.is_free(now) && pace.error().is_none());
    }

    #[test]
    fn waits_grow_unless_there_is_progress() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..9 {
            pace.failed(refused(500, None), now).unwrap();
        }
        assert!(pace.not_before().unwrap() >= now + Duration::from_secs(32));
        pace.progressed();
        pace.failed(refused(500, None), now).unwrap();
        assert!(pace.not_before().unwrap() <= now + Duration::from_secs(1));
    }
}
