//! How many connections a transfer uses. Values in, values out.
//!
//! It begins with one, and takes several times as many as long as that brings more: a connection may be held to a rate,
//! a line may be long. Where one is as fast as two, or as fast as the checksum and the disk, more only cost requests and
//! a checksum that has to be read back from the disk, which is worst where the disk is what is slow.

use std::time::Duration;

/// So long the rate is measured before and after each step. Slow start of TCP is over long before on a line where more
/// connections matter.
const WINDOW: Duration = Duration::from_millis(60);
/// The share of what more connections could bring that they have to bring: twice as many at least 40 % more.
const GAIN: f64 = 0.4;
/// Bytes per second that are enough for one connection: what checksums and disks are made for. A whole file that comes
/// this fast is slowed down by reading it back.
const FAST: f64 = 250e6;
/// What is not far below that is measured for longer; and what an fsync may have held up.
const NEARLY: f64 = 150e6;
const LONG_WINDOW: Duration = Duration::from_millis(240);
/// The share of their time that connections may wait for the disk where more of them could help.
const SLACK: f64 = 0.2;
/// So long connections have to wait for the disk before some are given up: an fsync now and then is no slow disk.
const PERSISTENT: Duration = Duration::from_secs(2);
/// Each step takes so many times the connections: a file may be there before many small steps are made.
const STEP: usize = 4;
/// After a step that brought nothing, another one is tried this much later, and then twice as late each time.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST_PATIENCE: Duration = Duration::from_mins(10);

/// What is seen of a transfer at some time.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Since it began.
    pub at: Duration,
    /// Bytes that have come.
    pub received: u64,
    /// How long connections have waited for the disk, all together.
    pub held_up: Duration,
}

impl Sight {
    /// How many connections waited for the disk since then, on average.
    fn waiting(&self, since: &Self) -> f64 {
        let elapsed = self.at.saturating_sub(since.at).as_secs_f64();
        if elapsed > 0.0 { self.held_up.saturating_sub(since.held_up).as_secs_f64() / elapsed } else { 0.0 }
    }
}

/// The number of connections of one transfer, over time.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    most: usize,
    now: usize,
    /// Connections and bytes per second before the last step.
    before: Option<(usize, f64)>,
    /// Where the running measurement began. `None`: not all connections have brought bytes yet.
    since: Option<Sight>,
    /// Since when there are so many as now, or since the last look at how long they wait for the disk.
    settled: Option<Sight>,
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
            settled: None,
            not_before: Duration::ZERO,
            patience: PATIENCE,
            was_doubted: false,
        }
    }

    /// How many there are to be now.
    pub fn wanted(&self) -> usize {
        self.now
    }

    /// A look at the transfer, and whether all connections bring bytes.
    pub fn look(&mut self, sight: Sight, all_flow: bool) -> usize {
        let before = self.now;
        self.give_up(sight);
        self.step(sight, all_flow);
        if self.now != before {
            self.settled = None;
        }
        self.now
    }

    /// Fewer, if the disk is what they wait for.
    fn give_up(&mut self, sight: Sight) {
        let since = *self.settled.get_or_insert(sight);
        if sight.at.saturating_sub(since.at) < PERSISTENT {
            return;
        }
        self.settled = Some(sight);
        // As many as would be at work if none ever waited.
        let enough = (self.now as f64 - sight.waiting(&since)).ceil().max(1.0) as usize;
        if enough < self.now {
            self.now = enough;
            self.before = None;
            self.since = None;
            self.pause(sight.at);
        }
    }

    /// More or fewer, by the rate.
    fn step(&mut self, sight: Sight, all_flow: bool) {
        let Sight { at, received, .. } = sight;
        if !all_flow {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(sight);
        let elapsed = at.saturating_sub(since.at);
        if elapsed < WINDOW || at < self.not_before {
            if elapsed >= 4 * WINDOW {
                // The rate of now counts, not that of an hour ago.
                self.since = Some(sight);
            }
            return;
        }
        let rate = received.saturating_sub(since.received) as f64 / elapsed.as_secs_f64();
        if rate <= 0.0 {
            // Nothing can be compared with nothing.
            return;
        }
        let is_held_up = sight.waiting(&since) > SLACK * self.now as f64;
        if (rate >= NEARLY || is_held_up) && elapsed < LONG_WINDOW {
            return;
        }
        self.since = None;
        match self.before.take() {
            Some((fewer, slower)) if rate < slower * gain(fewer, self.now) => {
                // Some may help where so many do not.
                let helps = self.now > 2 * fewer && rate >= slower * gain(fewer, 2 * fewer);
                self.now = if helps { 2 * fewer } else { fewer };
                self.pause(at);
            }
            // One may have been measured at a bad moment.
            _ if self.now > 1 && rate >= FAST && !self.was_doubted => {
                self.was_doubted = true;
                self.now = 1;
            }
            _ if is_held_up => {}
            _ if self.now < self.most && !(self.now == 1 && rate >= FAST) => {
                self.before = Some((self.now, rate));
                self.now = (self.now * STEP).min(self.most);
            }
            _ => {}
        }
    }

    /// A connection was refused: these many are what there can be.
    pub fn refused(&mut self, at: Duration, left: usize) {
        self.now = left.max(1);
        self.before = None;
        self.since = None;
        self.settled = None;
        self.pause(at);
    }

    /// The number stays for a while, and longer each time.
    fn pause(&mut self, at: Duration) {
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
        run_to(|_| f64::INFINITY, streams, seconds, rate)
    }

    /// The same to a disk that takes `disk(t)` bytes a second after `t` seconds.
    fn run_to(
        disk: impl Fn(f64) -> f64,
        streams: &mut Streams,
        seconds: u64,
        rate: impl Fn(usize) -> f64,
    ) -> Vec<usize> {
        let step = Duration::from_millis(50);
        let (mut received, mut held_up, mut seen) = (0.0, Duration::ZERO, Vec::new());
        for tick in 0..seconds * 20 {
            let at = step * tick as u32;
            let (could, can) = (rate(streams.wanted()), disk(at.as_secs_f64()));
            received += could.min(can) * step.as_secs_f64();
            held_up += step.mul_f64(streams.wanted() as f64 * (1.0 - can / could).max(0.0));
            streams.look(Sight { at, received: received as u64, held_up }, true);
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
    fn where_the_disk_is_slow_there_is_one() {
        let seen = run_to(|_| 40e6, &mut Streams::new(8), 60, |n| 60e6 * n as f64);
        assert!(seen.iter().all(|&n| n == 1), "{seen:?}");
        // From moment to moment it is slower than the line, and faster.
        let uneven = |at: f64| if at * 3.0 % 1.0 < 0.5 { 30e6 } else { 150e6 };
        let seen = run_to(uneven, &mut Streams::new(8), 60, |n| 100e6 * n as f64);
        let average = seen.iter().sum::<usize>() as f64 / seen.len() as f64;
        assert!(average < 1.2, "{average}: {seen:?}");
    }

    #[test]
    fn connections_that_wait_for_the_disk_are_given_up() {
        let tired = |at: f64| if at < 5.0 { 1e9 } else { 90e6 };
        let seen = run_to(tired, &mut Streams::new(4), 60, |n| 50e6 * n as f64);
        assert!(seen[20..100].iter().all(|&n| n == 4), "{seen:?}");
        let late = &seen[200..];
        let average = late.iter().sum::<usize>() as f64 / late.len() as f64;
        assert!((1.95..2.05).contains(&average), "two are as fast as the disk: {average}: {late:?}");
    }

    #[test]
    fn nothing_is_measured_before_all_bring_bytes() {
        let mut streams = Streams::new(4);
        for tick in 0..100 {
            let at = Duration::from_millis(50) * tick;
            assert_eq!(streams.look(Sight { at, received: 0, held_up: Duration::ZERO }, false), 1);
        }
    }

    #[test]
    fn a_refused_connection_is_not_asked_for_again_at_once() {
        let mut streams = Streams::new(4);
        run(&mut streams, 2, |n| 50e6 * n as f64);
        streams.refused(Duration::from_secs(2), 3);
        assert_eq!(streams.wanted(), 3);
        let sight = Sight { at: Duration::from_secs(3), received: 1, held_up: Duration::ZERO };
        assert_eq!(streams.look(sight, true), 3);
    }

    fn sight(milliseconds: u64, received: u64, held_up: u64) -> Sight {
        let [at, held_up] = [milliseconds, held_up].map(Duration::from_millis);
        Sight { at, received, held_up }
    }

    /// Looks at these moments, each with the bytes that have come, and says how many there were after each.
    fn seen<const N: usize>(streams: &mut Streams, moments: [(u64, u64); N]) -> [usize; N] {
        moments.map(|(at, received)| streams.look(sight(at, received, 0), true))
    }

    #[test]
    fn a_step_is_made_after_a_window_and_near_the_limit_after_a_long_one() {
        let slow = [(0, 0), (59, 5_900_000), (60, 6_000_000)];
        assert_eq!(seen(&mut Streams::new(8), slow), [1, 1, 4]);
        let just_below = [(0, 0), (60, 8_999_000)];
        assert_eq!(seen(&mut Streams::new(8), just_below), [1, 4]);
        let near = [(0, 0), (60, 9_001_000), (239, 36_000_000), (240, 36_000_000)];
        assert_eq!(seen(&mut Streams::new(8), near), [1, 1, 1, 4]);
        let just_not_fast = [(0, 0), (240, 59_999_000)];
        assert_eq!(seen(&mut Streams::new(8), just_not_fast), [1, 4]);
        let fast = [(0, 0), (240, 60_001_000), (480, 120_002_000)];
        assert_eq!(seen(&mut Streams::new(8), fast), [1, 1, 1]);
        // What came before the measurement is not in it.
        let earlier = [(1000, 1_000_000_000), (1060, 1_006_000_000)];
        assert_eq!(seen(&mut Streams::new(8), earlier), [1, 4]);
    }

    #[test]
    fn one_that_was_fast_from_the_beginning_is_doubted_later() {
        let moments = [(0, 0), (240, 60_001_000), (300, 0), (360, 600_000), (420, 0), (660, 60_001_000)];
        assert_eq!(seen(&mut Streams::new(4), moments), [1, 1, 1, 4, 4, 1]);
    }

    #[test]
    fn no_byte_is_no_rate_to_compare_with() {
        let nothing = [(0, 0), (60, 0), (1000, 0), (1060, 6_000_000)];
        assert_eq!(seen(&mut Streams::new(8), nothing), [1, 1, 1, 4]);
    }

    #[test]
    fn four_have_to_bring_more_than_twice_as_much_as_one() {
        let last =
            |received| seen(&mut Streams::new(8), [(0, 0), (60, 600_000), (120, 0), (180, received)])[3];
        assert_eq!(last(1_330_000), 8, "2.2 times as much is enough");
        assert_eq!(last(1_310_000), 2, "two may help where four do not");
        assert_eq!(last(850_000), 2, "1.4 times as much is enough for two");
        assert_eq!(last(830_000), 1);
        // Six have to bring 1.2 times as much as four; eight there cannot be.
        let mut six = Streams::new(6);
        let moments = [(0, 0), (60, 600_000), (120, 0), (180, 2_400_000), (240, 0), (300, 2_870_000)];
        assert_eq!(seen(&mut six, moments), [1, 4, 4, 6, 6, 4]);
        assert_eq!(seen(&mut Streams::new(16), moments), [1, 4, 4, 16, 16, 4], "eight would not help either");
        let moments = [(0, 0), (60, 600_000), (120, 0), (180, 2_400_000), (240, 0), (300, 3_600_000)];
        assert_eq!(seen(&mut Streams::new(16), moments)[5], 8, "eight may help");
        let mut one = Streams::new(1);
        assert_eq!((seen(&mut one, [(0, 0), (60, 600_000)]), one.before), ([1, 1], None));
    }

    #[test]
    fn after_a_step_that_brought_nothing_the_next_one_comes_later_each_time() {
        let mut streams = Streams::new(2);
        let mut at = 0;
        for patience in [3000, 6000, 12_000, 24_000] {
            // Ten megabytes a second, however many there are. The number is looked at six times a second.
            let rate = 10_000;
            assert_eq!(seen(&mut streams, [(at, at * rate), (at + 60, (at + 60) * rate)]), [1, 2]);
            assert_eq!(seen(&mut streams, [(at + 120, 0), (at + 180, 600_000)]), [2, 1]);
            let end = at + 180 + patience;
            let begun = [(end - 200, 0), (end - 1, 1_990_000)];
            assert_eq!(seen(&mut streams, begun), [1, 1], "not before");
            let mut then = streams;
            assert_eq!(seen(&mut then, [(end, 2_000_000)]), [2]);
            at = end;
            streams.since = None;
        }
        for _ in 0..10 {
            streams.pause(Duration::ZERO);
        }
        assert_eq!(streams.not_before, LONGEST_PATIENCE);
    }

    #[test]
    fn the_rate_before_a_step_is_that_of_the_last_moments() {
        let mut streams = Streams::new(4);
        streams.pause(Duration::ZERO);
        // Nothing comes for most of the pause, then ten megabytes a second.
        assert_eq!(seen(&mut streams, [(0, 0), (2800, 0), (2860, 600_000)]), [1, 1, 1]);
        assert_eq!(seen(&mut streams, [(3010, 2_100_000)]), [4], "the pause is over");
        assert_eq!(streams.before, Some((1, 10_000_000.0)));
    }

    #[test]
    fn as_many_are_given_up_as_wait_for_the_disk() {
        let after = |at, held_up| {
            let mut streams = Streams::new(4);
            assert_eq!(seen(&mut streams, [(0, 0), (60, 600_000), (100, 0)]), [1, 4, 4]);
            streams.look(sight(at, 0, held_up), true)
        };
        assert_eq!(after(2099, 4000), 4, "an fsync now and then is no slow disk");
        assert_eq!(after(2100, 4000), 2, "two of four waited all the time");
        assert_eq!(after(2100, 3900), 3, "less than two");
        assert_eq!(after(2100, 6000), 1, "three of four");
        assert_eq!(after(2100, 8000), 1, "one there is always");
        assert_eq!(after(4100, 8000), 2, "by the time they had");
    }

    #[test]
    fn where_the_disk_holds_one_up_for_a_fifth_of_the_time_there_are_no_more() {
        let after = |held_up| {
            let mut streams = Streams::new(4);
            streams.look(sight(0, 0, 0), true);
            let early = streams.look(sight(60, 600_000, held_up / 4), true);
            (early, streams.look(sight(240, 2_400_000, held_up), true))
        };
        assert_eq!(after(60), (1, 1), "a quarter");
        assert_eq!(after(47), (4, 4), "less than a fifth");
        // A tenth of the time of each of four.
        let mut four = Streams::new(8);
        assert_eq!(seen(&mut four, [(0, 0), (60, 600_000), (120, 0)]), [1, 4, 4]);
        assert_eq!(four.look(sight(180, 2_400_000, 24), true), 8);
    }
}
