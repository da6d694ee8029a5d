//! Which bytes of a file are there. Values in, values out.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Ranges of bytes in ascending order, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<[u64; 2]>", into = "Vec<[u64; 2]>")]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// The bytes up to here.
    pub fn up_to(end: u64) -> Self {
        let mut ranges = Self::default();
        ranges.insert(0..end);
        ranges
    }

    /// These bytes are there as well.
    pub fn insert(&mut self, mut new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        // Those that touch the new one become one with it.
        let first = self.0.partition_point(|range| range.end < new.start);
        let after = self.0.partition_point(|range| range.start <= new.end);
        if first < after {
            new.start = new.start.min(self.0[first].start);
            new.end = new.end.max(self.0[after - 1].end);
        }
        self.0.splice(first..after, [new]);
    }

    /// These bytes are not there.
    pub fn remove(&mut self, gone: &Range<u64>) {
        let rest = std::mem::take(&mut self.0);
        for range in rest {
            self.insert(range.start..range.end.min(gone.start));
            self.insert(range.start.max(gone.end)..range.end);
        }
    }

    /// How many bytes are there from the first on.
    pub fn front(&self) -> u64 {
        self.0.first().filter(|range| range.start == 0).map_or(0, |range| range.end)
    }

    /// How many bytes are there.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether all of them are at the beginning.
    pub fn is_contiguous(&self) -> bool {
        self.front() == self.total()
    }

    /// What is missing of so many bytes.
    pub fn gaps(&self, size: u64) -> impl Iterator<Item = Range<u64>> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|range| range.end));
        let ends = self.0.iter().map(|range| range.start).chain(std::iter::once(size));
        starts.zip(ends).map(move |(start, end)| start..end.min(size)).filter(|gap| gap.start < gap.end)
    }

    /// Only the whole granules of a file that has `length` of `size` bytes; its very end counts as one.
    #[must_use]
    pub fn whole_granules(&self, granule: u64, length: u64, size: u64) -> Self {
        let mut whole = Self::default();
        for range in &self.0 {
            let end = range.end.min(length);
            let end = if end == size { end } else { end - end % granule };
            let start = range.start.next_multiple_of(granule);
            if start < end {
                whole.insert(start..end);
            }
        }
        whole
    }
}

impl From<Vec<[u64; 2]>> for Ranges {
    fn from(pairs: Vec<[u64; 2]>) -> Self {
        let mut ranges = Self::default();
        for [start, end] in pairs {
            ranges.insert(start..end);
        }
        ranges
    }
}

impl From<Ranges> for Vec<[u64; 2]> {
    fn from(ranges: Ranges) -> Self {
        ranges.0.into_iter().map(|range| [range.start, range.end]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn touching_ranges_become_one() {
        let mut ranges = Ranges::default();
        for range in [10..20, 30..40, 20..25, 0..5] {
            ranges.insert(range);
        }
        assert_eq!(ranges, Ranges::from(vec![[0, 5], [10, 25], [30, 40]]));
        assert_eq!((ranges.front(), ranges.total(), ranges.is_contiguous()), (5, 30, false));
        assert_eq!(ranges.gaps(50).collect::<Vec<_>>(), [5..10, 25..30, 40..50]);
        assert_eq!(ranges.gaps(40).collect::<Vec<_>>(), [5..10, 25..30]);
        ranges.insert(4..31);
        assert_eq!(ranges, Ranges::up_to(40));
        ranges.remove(&(12..15));
        ranges.remove(&(38..50));
        assert_eq!(ranges, Ranges::from(vec![[0, 12], [15, 38]]));
        ranges.insert(0..40);
        assert!(ranges.is_contiguous());
        assert_eq!(Ranges::default().gaps(3).next(), Some(0..3));
        assert_eq!(Ranges::default().gaps(0).count(), 0);
    }

    #[test]
    fn what_is_less_than_a_granule_does_not_count() {
        let ranges = Ranges::from(vec![[0, 13], [22, 45]]);
        assert_eq!(ranges.whole_granules(10, 45, 45), Ranges::from(vec![[0, 10], [30, 45]]));
        assert_eq!(ranges.whole_granules(10, 41, 45), Ranges::from(vec![[0, 10], [30, 40]]));
        assert_eq!(ranges.whole_granules(1, 5, 45), Ranges::up_to(5));
    }

    proptest! {
        #[test]
        fn they_are_the_set_of_their_bytes(inserted in prop::collection::vec((0_u64..60, 0_u64..12), 0..12)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 80];
            for (start, length) in inserted {
                ranges.insert(start..start + length);
                bytes[start as usize..(start + length) as usize].fill(true);
            }
            let gaps: Vec<u64> = ranges.gaps(80).flatten().collect();
            let missing: Vec<u64> = (0..80).filter(|&byte| !bytes[byte as usize]).collect();
            prop_assert_eq!(gaps, missing);
            prop_assert_eq!(ranges.total(), bytes.iter().filter(|there| **there).count() as u64);
            prop_assert_eq!(ranges.front(), bytes.iter().take_while(|there| **there).count() as u64);
            prop_assert_eq!(Ranges::from(Vec::from(ranges.clone())), ranges);
        }
    }
}
