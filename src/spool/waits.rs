//! How long connections have waited for the disk: what tells a slow disk from a slow network.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The waits of all lanes of a transfer.
#[derive(Debug)]
pub(super) struct Waits {
    start: Instant,
    sums: Mutex<Sums>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Of the waits that are over.
    over: Duration,
    /// How many there are now, and when they began, added up.
    now: u32,
    began: Duration,
}

/// A wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    waits: &'a Waits,
    began: Duration,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), sums: Mutex::default() }
    }

    pub(super) fn begin(&self) -> Wait<'_> {
        let mut sums = self.lock();
        let began = self.start.elapsed();
        sums.now += 1;
        sums.began += began;
        Wait { waits: self, began }
    }

    /// All of them together, with what has passed of those that are not over yet.
    pub(super) fn total(&self) -> Duration {
        let sums = self.lock();
        sums.over + (self.start.elapsed() * sums.now).saturating_sub(sums.began)
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // Each change of the sums is whole when the lock is given back.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut sums = self.waits.lock();
        sums.now -= 1;
        sums.began -= self.began;
        sums.over += self.waits.start.elapsed().saturating_sub(self.began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_count_while_they_last_and_afterwards() {
        let waits = Waits::new();
        assert_eq!(waits.total(), Duration::ZERO);
        let began = Instant::now();
        let (first, second) = (waits.begin(), waits.begin());
        std::thread::sleep(Duration::from_millis(20));
        let both = waits.total();
        assert!(both >= Duration::from_millis(40) && both <= 2 * began.elapsed(), "{both:?}");
        drop(first);
        let one = waits.total();
        assert!(one >= both, "{one:?} after {both:?}");
        drop(second);
        let over = waits.total();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(waits.total(), over, "nobody waits");
    }
}
