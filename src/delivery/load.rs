//! How many deliveries go on at once. Values in, values out.
//!
//! `concurrency` counts those whose bytes come. Whoever has all of them is written and published beside the next ones,
//! of which there is a bound as well: each may hold memory. Tiny files spend their time on round trips, so several of
//! them share a place. Deliveries begin in their order: whoever is first is waited for. Only a short one may pass long
//! ones that wait for a long one to end: it has a place beside them.

use crate::spool::SMALL;

/// A file that fits into one buffer.
const TINY: u64 = SMALL as u64;
/// So many of them share a place, …
const SHARE: usize = 4;
/// … as long as there are no more than this; more bring nothing.
const MOST_TINY: usize = 16;
/// A file that comes within seconds on most lines.
const SHORT: u64 = 64 << 20;
/// Deliveries that have all their bytes and are not in their place yet, for each place.
const BEHIND: usize = 2;
const MOST_BEHIND: usize = 16;

/// What goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    concurrency: usize,
    /// Those whose bytes come.
    fetched: Sizes,
    /// All of them.
    all: Sizes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    tiny: usize,
    short: usize,
    long: usize,
}

impl Sizes {
    fn add(&mut self, size: u64) {
        match size {
            0..=TINY => self.tiny += 1,
            _ if size <= SHORT => self.short += 1,
            _ => self.long += 1,
        }
    }
}

impl Load {
    /// Nothing goes on.
    pub(super) fn new(concurrency: usize) -> Self {
        Self { concurrency: concurrency.max(1), fetched: Sizes::default(), all: Sizes::default() }
    }

    /// A delivery goes on, and its bytes come or are all there.
    pub(super) fn add(&mut self, size: u64, is_fetched: bool) {
        self.all.add(size);
        if is_fetched {
            self.fetched.add(size);
        }
    }

    /// Whether one of this size may begin when it is its turn.
    pub(super) fn takes(&self, size: u64) -> bool {
        let (places, fetched) = (self.concurrency, self.fetched);
        let taken = (fetched.short + fetched.long) * SHARE + fetched.tiny;
        if size <= TINY {
            taken < places * SHARE && fetched.tiny < self.most_tiny() && self.all.tiny < 2 * self.most_tiny()
        } else {
            taken + SHARE <= places * SHARE && self.all.short + self.all.long < self.most()
        }
    }

    /// Whether one of this size may begin before those that wait.
    pub(super) fn takes_beside(&self, size: u64) -> bool {
        size <= SHORT && self.longest_beside().is_some()
    }

    /// Up to which size one may begin before those that wait; `None`: none may.
    pub(super) fn longest_beside(&self) -> Option<u64> {
        let is_free = self.fetched.short + self.fetched.tiny == 0;
        (is_free && self.all.short + self.all.long <= self.most()).then_some(SHORT)
    }

    /// Whether none of any size may begin when it is its turn.
    pub(super) fn is_full(&self) -> bool {
        !self.takes(TINY) && !self.takes(u64::MAX)
    }

    fn most_tiny(&self) -> usize {
        (self.concurrency * SHARE).min(MOST_TINY)
    }

    /// Of all others, those that are published included.
    fn most(&self) -> usize {
        self.concurrency + (self.concurrency * BEHIND).min(MOST_BEHIND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: u64 = 1 << 40;

    /// How many of a size can begin after these.
    fn room(load: &Load, size: u64) -> usize {
        let mut load = *load;
        let mut count = 0;
        while load.takes(size) {
            load.add(size, true);
            count += 1;
        }
        count
    }

    fn load(concurrency: usize, fetched: &[u64]) -> Load {
        let mut load = Load::new(concurrency);
        for size in fetched {
            load.add(*size, true);
        }
        load
    }

    #[test]
    fn as_many_as_configured_and_four_tiny_ones_for_each() {
        for (concurrency, long, tiny) in [(0, 1, 4), (1, 1, 4), (4, 4, 16), (16, 16, 16), (64, 64, 16)] {
            assert_eq!(room(&Load::new(concurrency), LONG), long);
            assert_eq!(room(&Load::new(concurrency), SHORT), long);
            assert_eq!(room(&Load::new(concurrency), TINY), tiny);
        }
        assert_eq!(room(&load(4, &[LONG, LONG]), TINY), 8);
        assert_eq!(room(&load(4, &[TINY, LONG]), LONG), 2, "a place that is shared is taken");
        assert!(!load(4, &[LONG; 3]).is_full() && load(4, &[LONG; 4]).is_full());
        assert!(load(5, &[TINY; 16]).takes(LONG) && !load(5, &[TINY; 16]).takes(TINY), "more bring nothing");
    }

    #[test]
    fn a_short_one_may_pass_long_ones() {
        for concurrency in [1, 4] {
            let full = load(concurrency, &vec![LONG; concurrency]);
            assert!(!full.takes(SHORT) && !full.takes(TINY), "when it is its turn, it waits");
            assert!(full.takes_beside(SHORT) && full.takes_beside(TINY) && !full.takes_beside(SHORT + 1));
            for beside in [SHORT, TINY] {
                let mut taken = full;
                taken.add(beside, true);
                assert!(!taken.takes_beside(TINY), "one at a time");
            }
        }
        assert!(!load(2, &[SHORT, LONG]).takes_beside(TINY), "the short one ends soon enough");
    }

    #[test]
    fn those_that_are_published_make_room_but_not_without_end() {
        let mut many = Load::new(4);
        for count in 0..12 {
            assert!(many.takes(LONG), "{count}");
            many.add(LONG, false);
        }
        assert!(!many.takes(LONG) && !many.is_full());
        assert!(many.takes_beside(SHORT), "even then");
        many.add(SHORT, false);
        assert!(!many.takes_beside(SHORT));
        for _ in 0..32 {
            assert!(many.takes(TINY));
            many.add(TINY, false);
        }
        assert!(many.is_full());
    }
}
