//! Rate limit for log lines that strangers can cause: one line at once, then one a minute with a count.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines.
pub const PAUSE: Duration = Duration::from_mins(1);

/// One kind of line.
#[derive(Debug, Default)]
pub struct Rarely {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    count: u64,
}

impl Rarely {
    /// Counts an event. `Some`: log a line now, with this number of events since the last line.
    pub fn count(&self, now: Instant) -> Option<u64> {
        // Two plain values: a panic cannot leave them half changed.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.said.is_some_and(|said| now.duration_since(said) < PAUSE) {
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_at_once_and_then_one_a_minute() {
        let (rarely, began) = (Rarely::default(), Instant::now());
        let said: Vec<_> = (0..=1200)
            .filter_map(|n| rarely.count(began + Duration::from_millis(100 * n)).map(|count| (n, count)))
            .collect();
        assert_eq!(said, [(0, 1), (600, 600), (1200, 600)]);
    }
}
