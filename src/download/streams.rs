//! How many connections a transfer uses. Values in, values out.
//!
//! It begins with one, and takes several times as many as long as that brings more: a connection may be held to a rate,
//! a line may be long. Where one is as fast as two, or as fast as the checksum and the disk, more only cost requests and
//! a checksum that has to be read back from the disk.

use std::time::Duration;

/// So long the rate is measured before and after each step. Slow start of TCP is over long before on a line where more
/// connections matter.
const WINDOW: Duration = Duration::from_millis(60);
/// The share of what more connections could bring that they have to bring: twice as many at least 40 % more.
const GAIN: f64 = 0.4;
/// Bytes per second that are enough for one connection: what checksums and disks are made for. A whole file that comes
/// this fast is slowed down by reading it back.
const FAST: f64 = 250e6;
/// What is not far below that is measured for longer.
const NEARLY: f64 = 150e6;
const LONG_WINDOW: Duration = Duration::from_millis(240);
/// Each step takes so many times the connections: a file may be there before many small steps are made.
const STEP: usize = 4;
/// After a step that brought nothing, another one is tried this much later, and then twice as late each time.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST_PATIENCE: Duration = Duration::from_mins(10);

/// The number of connections of one transfer, over time.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    most: usize,
    now: usize,
    /// Connections and bytes per second before the last step.
    before: Option<(usize, f64)>,
    /// Where the running measurement began: time and bytes. `None`: not all connections have brought bytes yet.
    since: Option<(Duration, u64)>,
    /// No step before this.
    not_before: Duration,
    patience: Duration,
    /// Whether one connection was looked at once more after several had come to be fast.
    was_doubted: bool,
}

impl Streams {
    /// Up to `most` at once.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            now: 1,
            before: None,
            since: None,
            not_before: Duration::ZERO,
            patience: PATIENCE,
            was_doubted: false,
        }
    }

    /// How many there are to be now.
    pub fn wanted(&self) -> usize {
        self.now
    }

    /// A look at the transfer: `received` bytes in all at this time, and whether all connections bring bytes.
    pub fn look(&mut self, at: Duration, received: u64, all_flow: bool) -> usize {
        if !all_flow {
            self.since = None;
            return self.now;
        }
        let (began, from) = *self.since.get_or_insert((at, received));
        let elapsed = at.saturating_sub(began);
        if elapsed < WINDOW || at < self.not_before {
            if elapsed >= 4 * WINDOW {
                // The rate of now counts, not that of an hour ago.
                self.since = Some((at, received));
            }
            return self.now;
        }
        let rate = received.saturating_sub(from) as f64 / elapsed.as_secs_f64();
        if rate <= 0.0 {
            // Nothing can be compared with nothing.
            return self.now;
        }
        if rate >= NEARLY && elapsed < LONG_WINDOW {
            return self.now;
        }
        self.since = None;
        match self.before.take() {
            Some((fewer, slower)) if rate < slower * gain(fewer, self.now) => {
                // Some may help where so many do not.
                let helps = self.now > 2 * fewer && rate >= slower * gain(fewer, 2 * fewer);
                self.now = if helps { 2 * fewer } else { fewer };
                self.not_before = at + self.patience;
                self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
            }
            // One may have been measured at a bad moment.
            _ if self.now > 1 && rate >= FAST && !self.was_doubted => {
                self.was_doubted = true;
                self.now = 1;
            }
            _ if self.now < self.most && !(self.now == 1 && rate >= FAST) => {
                self.before = Some((self.now, rate));
                self.now = (self.now * STEP).min(self.most);
            }
            _ => {}
        }
        self.now
    }

    /// A connection was refused: these many are what there can be.
    pub fn refused(&mut self, at: Duration, left: usize) {
        self.now = left.max(1);
        self.before = None;
        self.since = None;
        self.not_before = at + self.patience;
        self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
    }
}

/// How many times the rate of `fewer` connections `more` of them have to bring.
fn gain(fewer: usize, more: usize) -> f64 {
    1.0 + GAIN * (more as f64 / fewer as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for so many seconds on a line where `n` connections bring `rate(n)`, and says how many there were, twenty
    /// times a second.
    fn run(streams: &mut Streams, seconds: u64, rate: impl Fn(usize) -> f64) -> Vec<usize> {
        let step = Duration::from_millis(50);
        let (mut received, mut seen) = (0.0, Vec::new());
        for tick in 0..seconds * 20 {
            received += rate(streams.wanted()) * step.as_secs_f64();
            streams.look(step * tick as u32, received as u64, true);
            seen.push(streams.wanted());
        }
        seen
    }

    #[test]
    fn where_each_connection_has_its_rate_there_are_soon_as_many_as_allowed() {
        let seen = run(&mut Streams::new(4), 2, |n| 50e6 * n as f64);
        assert!(seen[10..].iter().all(|&n| n == 4), "{seen:?}");
    }

    #[test]
    fn where_the_line_is_full_there_is_one() {
        let seen = run(&mut Streams::new(8), 60, |_| 100e6);
        let average = seen.iter().sum::<usize>() as f64 / seen.len() as f64;
        assert!(average < 1.05, "{average}: a look now and then");
        assert!(seen[100..].iter().any(|&n| n > 1), "it may have become better");
    }

    #[test]
    fn it_stops_where_more_bring_no_more() {
        let seen = run(&mut Streams::new(8), 60, |n| 50e6 * n.min(2) as f64);
        assert_eq!(seen.last(), Some(&2));
        assert!(!seen[150..].contains(&1));
    }

    #[test]
    fn one_that_is_fast_enough_stays_alone() {
        let seen = run(&mut Streams::new(8), 60, |n| 300e6 * n as f64);
        assert!(seen.iter().all(|&n| n == 1), "{seen:?}");
    }

    #[test]
    fn one_that_was_measured_at_a_bad_moment_is_measured_again() {
        let ticks = std::cell::Cell::new(0);
        let seen = run(&mut Streams::new(4), 10, |_| {
            ticks.set(ticks.get() + 1);
            if ticks.get() < 4 { 50e6 } else { 600e6 }
        });
        assert!(seen.contains(&4), "{seen:?}");
        assert!(seen[20..].iter().all(|&n| n == 1), "{seen:?}");
        let seen = run(&mut Streams::new(8), 60, |n| 50e6 * n as f64);
        assert_eq!(seen.last(), Some(&8), "{seen:?}");
        let changes = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 6, "it was doubted once: {seen:?}");
    }

    #[test]
    fn nothing_is_measured_before_all_bring_bytes() {
        let mut streams = Streams::new(4);
        for tick in 0..100 {
            assert_eq!(streams.look(Duration::from_millis(50) * tick, 0, false), 1);
        }
    }

    #[test]
    fn a_refused_connection_is_not_asked_for_again_at_once() {
        let mut streams = Streams::new(4);
        run(&mut streams, 2, |n| 50e6 * n as f64);
        streams.refused(Duration::from_secs(2), 3);
        assert_eq!(streams.wanted(), 3);
        assert_eq!(streams.look(Duration::from_secs(3), 1, true), 3);
    }
}
