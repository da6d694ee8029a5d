//! Which connection fetches which bytes of a file. Values in, values out.
//!
//! A transfer has lanes, each with a piece: a range of bytes that it fetches in order. Alone, a lane takes all that is
//! missing in one request. With others, pieces are large, because each request may cost as much of the quota as a whole
//! file, and taken from the front on, because the checksum follows the front. A lane that finds nothing missing takes
//! over the second half of the longest piece, so that a slow connection holds up nobody for long.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::retry::{Class, Policy};
use crate::spool::Ranges;

/// How often a lane that makes no headway is taken up again before it gives up. Any byte that arrives starts the count
/// anew.
const TRIES: Policy =
    Policy { base: Duration::from_millis(500), cap: Duration::from_secs(30), attempts: Some(5) };
/// Pieces are no smaller than this, and a file has about so many of them.
const LEAST_PIECE: u64 = 64 << 20;
const PIECES: u64 = 64;
/// Near the end they are smaller, a share of what nobody has yet: all but the first of the last ones are hashed only when
/// everything has come.
const LEAST_LAST_PIECE: u64 = 32 << 20;
const SHARES: u64 = 8;
/// What is left of a piece is not worth another request below this.
const LEAST_SPLIT: u64 = 8 << 20;
/// Cuts are where direct writes may begin.
const CUT: u64 = 1 << 20;

/// A lane's name within its transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(u32);

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

/// How far a transfer is, and who does what.
#[derive(Clone, Debug)]
pub struct Plan {
    size: u64,
    piece: u64,
    there: Ranges,
    lanes: BTreeMap<LaneId, Range<u64>>,
    named: u32,
}

impl Plan {
    /// For a file of so many bytes, some of which are there.
    pub fn new(size: u64, there: Ranges) -> Self {
        let piece = (size / PIECES).max(LEAST_PIECE).next_multiple_of(CUT);
        Self { size, piece, there, lanes: BTreeMap::new(), named: 0 }
    }

    /// Whether more than one lane is worth its request.
    pub fn is_divisible(&self) -> bool {
        self.size - self.there.total() >= 2 * LEAST_SPLIT
    }

    /// Whether every byte is there.
    pub fn is_complete(&self) -> bool {
        self.there.total() >= self.size
    }

    /// How many bytes are there.
    pub fn received(&self) -> u64 {
        self.there.total()
    }

    /// A piece for another lane, which has `others` beside it or is to be alone. `None`: there is none to be had.
    pub fn claim(&mut self, alone: bool) -> Option<(LaneId, Range<u64>)> {
        let free = self.free();
        let share = free.iter().map(|gap| gap.end - gap.start).sum::<u64>() / SHARES;
        let piece = match free.into_iter().next() {
            Some(gap) if alone => gap,
            Some(gap) => {
                // What would be left over is taken along, unless it is worth a request of its own.
                let length = share.clamp(LEAST_LAST_PIECE, self.piece);
                let end = (gap.start + length).next_multiple_of(CUT);
                let end = if end + LEAST_SPLIT >= gap.end { gap.end } else { end };
                gap.start..end
            }
            None => self.split()?,
        };
        self.named += 1;
        let id = LaneId(self.named);
        self.lanes.insert(id, piece.clone());
        Some((id, piece))
    }

    /// What is missing and in nobody's piece.
    fn free(&self) -> Vec<Range<u64>> {
        let mut covered = self.there.clone();
        for piece in self.lanes.values() {
            covered.insert(piece.clone());
        }
        covered.gaps(self.size).collect()
    }

    /// Takes the rear of the longest piece. The lane that has it ends where the new one begins.
    fn split(&mut self) -> Option<Range<u64>> {
        let longest = self.lanes.values_mut().max_by_key(|piece| piece.end - piece.start)?;
        let left = longest.end - longest.start;
        if left < 2 * LEAST_SPLIT {
            return None;
        }
        let cut = (longest.start + (left / 2).min(self.piece)).next_multiple_of(CUT);
        let rear = cut..longest.end.min(cut + self.piece);
        longest.end = cut;
        Some(rear)
    }

    /// What a lane still has to fetch.
    pub fn left(&self, lane: LaneId) -> Range<u64> {
        self.lanes.get(&lane).cloned().unwrap_or(0..0)
    }

    /// Bytes have come on a lane: so many of them belong to its piece.
    pub fn advance(&mut self, lane: LaneId, bytes: u64) -> u64 {
        let Some(piece) = self.lanes.get_mut(&lane) else { return 0 };
        let taken = bytes.min(piece.end - piece.start);
        self.there.insert(piece.start..piece.start + taken);
        piece.start += taken;
        taken
    }

    /// A lane has ended. Of what it fetched, everything from `lost` on did not reach the disk.
    pub fn release(&mut self, lane: LaneId, lost: Option<Range<u64>>) {
        let left = self.lanes.remove(&lane).unwrap_or(0..0);
        if let Some(lost) = lost.filter(|lost| !lost.is_empty()) {
            self.there.remove(&lost);
            return;
        }
        // Whoever comes up to where it began goes on, most likely with the same answer.
        let before = self.lanes.values_mut().find(|piece| piece.end == left.start && !piece.is_empty());
        if let Some(before) = before {
            before.end = left.end.max(before.end);
        }
    }

    /// The lane that can be spared first: the one that is farthest from the front.
    pub fn last(&self) -> Option<LaneId> {
        self.lanes.iter().max_by_key(|(_, piece)| piece.start).map(|(id, _)| *id)
    }
}

/// What to do with an answer that begins at `from` and says that the whole has `total` bytes, where the byte at
/// `position` of `size` is wanted.
pub fn accept(position: u64, size: u64, from: u64, total: Option<u64>) -> Answer {
    if total.is_some_and(|total| total != size) {
        return Answer::Changed;
    }
    match position.saturating_sub(from) {
        0 => Answer::Append,
        there => Answer::Skip(there),
    }
}

/// How long to wait before a lane is taken up again. `None`: no more.
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
        | Class::Permission
        | Class::Permanent => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn pieces(plan: &mut Plan, count: usize) -> Vec<Range<u64>> {
        (0..count)
            .map_while(|_| plan.claim(false))
            .map(|(_, piece)| piece.start / MIB..piece.end / MIB)
            .collect()
    }

    #[test]
    fn alone_a_lane_takes_all_that_is_missing_in_one_request() {
        let mut plan = Plan::new(1000, Ranges::default());
        assert_eq!(plan.claim(true).unwrap().1, 0..1000);
        let mut plan = Plan::new(1000, Ranges::up_to(300));
        assert_eq!(plan.claim(true).unwrap().1, 300..1000);
        assert!(Plan::new(0, Ranges::default()).is_complete(), "an empty file needs no call");
        assert_eq!(plan.claim(true), None, "too little to divide");
    }

    #[test]
    fn with_others_pieces_are_large_and_begin_at_the_front() {
        let mut plan = Plan::new(1024 * MIB, Ranges::default());
        assert_eq!(pieces(&mut plan, 3), [0..64, 64..128, 128..192]);
        let mut plan = Plan::new(100_000 * MIB, Ranges::default());
        assert_eq!(pieces(&mut plan, 2), [0..1563, 1563..3126], "64 requests or so, however large");
        let mut plan = Plan::new(66 * MIB, Ranges::default());
        assert_eq!(pieces(&mut plan, 2), [0..32, 32..66], "no small rest");
        let mut plan = Plan::new(1024 * MIB, Ranges::up_to(512 * MIB));
        assert_eq!(pieces(&mut plan, 3), [512..576, 576..632, 632..681], "smaller towards the end");
    }

    #[test]
    fn who_finds_nothing_takes_half_of_the_longest() {
        let mut plan = Plan::new(1024 * MIB, Ranges::default());
        let (alone, _) = plan.claim(true).unwrap();
        plan.advance(alone, 10 * MIB);
        let (second, piece) = plan.claim(false).unwrap();
        assert_eq!(piece, 74 * MIB..138 * MIB, "no farther than a piece ahead");
        assert_eq!(plan.left(alone), 10 * MIB..74 * MIB);
        assert_eq!(plan.claim(false).unwrap().1, 138 * MIB..202 * MIB);
        assert_eq!(plan.advance(alone, 70 * MIB), 64 * MIB, "the rest is another's by now");
        plan.release(alone, None);
        plan.release(second, None);
        assert_eq!(plan.claim(false).unwrap().1, 74 * MIB..138 * MIB, "what was given up comes first");
    }

    #[test]
    fn who_comes_up_to_a_piece_that_was_given_up_goes_on_with_it() {
        let mut plan = Plan::new(400 * MIB, Ranges::default());
        let (alone, _) = plan.claim(true).unwrap();
        let (second, piece) = plan.claim(false).unwrap();
        plan.release(second, None);
        assert_eq!(plan.left(alone), 0..piece.end);
    }

    #[test]
    fn what_did_not_reach_the_disk_is_fetched_again() {
        let mut plan = Plan::new(1000, Ranges::default());
        let (lane, _) = plan.claim(true).unwrap();
        plan.advance(lane, 700);
        plan.release(lane, Some(640..700));
        assert_eq!(plan.claim(true).unwrap().1, 640..1000);
    }

    #[test]
    fn what_is_missing_decides_whether_another_lane_is_worth_its_request() {
        let is_divisible = |size, there| Plan::new(size, Ranges::up_to(there)).is_divisible();
        assert!(is_divisible(16 * MIB, 0) && is_divisible(20 * MIB, 4 * MIB));
        assert!(!is_divisible(16 * MIB - 1, 0) && !is_divisible(20 * MIB, 4 * MIB + 1));
    }

    #[test]
    fn answers_are_fitted_to_what_is_there() {
        assert_eq!(accept(7, 10, 7, Some(10)), Answer::Append);
        assert_eq!(accept(7, 10, 7, None), Answer::Append);
        assert_eq!(accept(7, 10, 0, Some(10)), Answer::Skip(7));
        assert_eq!(accept(7, 10, 7, Some(11)), Answer::Changed);
    }

    #[test]
    fn patience_ends() {
        assert!(again_after(Class::Transient, 1, None, 0.5).is_some());
        assert!(again_after(Class::Transient, 5, None, 0.5).is_none());
        assert!(again_after(Class::Transient, 1, Some(Duration::from_mins(10)), 0.5).is_none());
        assert!(again_after(Class::FileQuota, 1, None, 0.5).is_none());
    }

    #[derive(Clone, Debug)]
    enum Move {
        Claim(bool),
        Advance(usize, u64),
        Release(usize, u64),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            any::<bool>().prop_map(Move::Claim),
            (0_usize..4, 0..90 * MIB).prop_map(|(lane, bytes)| Move::Advance(lane, bytes)),
            (0_usize..4, 0..2 * MIB).prop_map(|(lane, lost)| Move::Release(lane, lost)),
        ];
        prop::collection::vec(one, 0..60)
    }

    proptest! {
        #[test]
        fn no_byte_is_two_lanes_and_none_is_forgotten(size in 0..700 * MIB, moves in moves()) {
            let mut plan = Plan::new(size, Ranges::default());
            for one in moves {
                let lanes: Vec<LaneId> = plan.lanes.keys().copied().collect();
                match one {
                    Move::Claim(alone) if lanes.len() < 4 => {
                        plan.claim(alone);
                    }
                    Move::Advance(lane, bytes) if lane < lanes.len() => {
                        plan.advance(lanes[lane], bytes);
                    }
                    Move::Release(lane, lost) if lane < lanes.len() => {
                        let at = plan.left(lanes[lane]).start;
                        plan.release(lanes[lane], Some(at.saturating_sub(lost)..at));
                    }
                    _ => {}
                }
                let mut pieces: Vec<Range<u64>> =
                    plan.lanes.values().filter(|piece| !piece.is_empty()).cloned().collect();
                pieces.sort_by_key(|piece| piece.start);
                prop_assert!(pieces.windows(2).all(|two| two[0].end <= two[1].start), "{pieces:?}");
            }
            let lanes: Vec<LaneId> = plan.lanes.keys().copied().collect();
            for lane in lanes {
                plan.release(lane, None);
            }
            while let Some((lane, piece)) = plan.claim(true) {
                plan.advance(lane, piece.end - piece.start);
                plan.release(lane, None);
            }
            prop_assert!(plan.is_complete());
        }
    }
}
