//! How many deliveries go on at once. Values in, values out.
//!
//! `concurrency` counts those whose bytes come. Whoever has all of them is written and published beside the next ones,
//! of which there is a bound as well: each may hold memory. Tiny files spend their time on round trips, so several of
//! them share a place. And a short one never waits until a long one has ended: there is a place beside them for it.

use crate::spool::BUFFER;

/// A file that fits into one buffer.
const TINY: u64 = BUFFER as u64;
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
            ..=TINY => self.tiny += 1,
            ..=SHORT => self.short += 1,
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

    /// Whether one of this size may begin.
    pub(super) fn takes(&self, size: u64) -> bool {
        let (places, fetched) = (self.concurrency, self.fetched);
        let taken = (fetched.short + fetched.long) * SHARE + fetched.tiny;
        let is_beside = size <= SHORT && fetched.short + fetched.tiny == 0;
        if size <= TINY {
            let most = (places * SHARE).min(MOST_TINY);
            let is_free = taken < places * SHARE && fetched.tiny < most;
            (is_free || is_beside) && self.all.tiny < 2 * most
        } else {
            let is_free = taken + SHARE <= places * SHARE;
            let most = places + (places * BEHIND).min(MOST_BEHIND);
            (is_free || is_beside) && self.all.short + self.all.long < most
        }
    }

    /// Up to which size one may begin; `None`: none may.
    pub(super) fn largest(&self) -> Option<u64> {
        [u64::MAX, SHORT, TINY].into_iter().find(|size| self.takes(*size))
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
        assert_eq!(load(4, &[LONG; 3]).largest(), Some(u64::MAX));
    }

    #[test]
    fn a_short_one_begins_beside_long_ones() {
        for concurrency in [1, 4] {
            let full = load(concurrency, &vec![LONG; concurrency]);
            assert_eq!((room(&full, LONG), room(&full, SHORT), room(&full, TINY)), (0, 1, 1));
            assert_eq!(full.largest(), Some(SHORT));
            let mut beside = full;
            beside.add(SHORT, true);
            assert_eq!(beside.largest(), None);
        }
        assert_eq!(load(2, &[SHORT, LONG]).largest(), None, "they end soon enough");
    }

    #[test]
    fn those_that_are_published_make_room_but_not_without_end() {
        let mut many = Load::new(4);
        for count in 0..12 {
            assert!(many.takes(LONG), "{count}");
            many.add(LONG, false);
        }
        assert!(!many.takes(LONG) && !many.takes(SHORT));
        assert_eq!(many.largest(), Some(TINY));
        for _ in 0..32 {
            assert!(many.takes(TINY));
            many.add(TINY, false);
        }
        assert_eq!(many.largest(), None);
    }
}
