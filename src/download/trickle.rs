//! Whether a connection brings so little that another one is worth a request. Values in, values out.
//!
//! A route may fail for one connection only, and leave it a few packets a minute: it is not silent, and never done. A new
//! connection most likely takes another route. Where the whole line is that slow, a new one is no better, so each one is
//! given twice as long as the one before.

use std::time::Duration;

/// Bytes per second that are worth keeping a connection for. Less is no line that videos are sent over.
const LEAST: u64 = 16_000;
/// A connection is judged by so long a time.
const WINDOW: Duration = Duration::from_secs(20);
/// The longest time is so many doublings of the first.
const DOUBLINGS: u32 = 7;
/// Under a limit, a connection may be given this share of it, or less.
const SHARES: u64 = 128;
/// A connection that waited for the disk for this share of the time says nothing of the line.
const HELD_UP: u32 = 4;

/// What is seen of a connection at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Since the transfer began.
    pub at: Duration,
    /// Bytes that the connection has brought.
    pub bytes: u64,
    /// How long the connections of the transfer have waited for the disk, all together.
    pub held_up: Duration,
}

/// What a look at a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early to tell.
    Later,
    /// It brings enough, as far as it is up to the line.
    Enough,
    /// It trickles.
    Trickles,
}

/// Looks at a connection that was seen like this before. `replaced`: how many of the transfer were replaced in a row.
/// `limit`: bytes per second that all downloads together may take; 0: as many as come.
pub fn judge(before: Sight, now: Sight, replaced: u32, limit: u64) -> Verdict {
    let elapsed = now.at.saturating_sub(before.at);
    if elapsed < WINDOW * (1 << replaced.min(DOUBLINGS)) {
        return Verdict::Later;
    }
    let least = if limit == 0 { LEAST } else { LEAST.min(limit / SHARES) };
    let wanted = elapsed.as_secs_f64() * least as f64;
    let is_held_up = now.held_up.saturating_sub(before.held_up) >= elapsed / HELD_UP;
    let came = now.bytes.saturating_sub(before.bytes);
    if is_held_up || came as f64 >= wanted { Verdict::Enough } else { Verdict::Trickles }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seconds: u64, bytes: u64) -> Sight {
        Sight { at: Duration::from_secs(seconds), bytes, held_up: Duration::ZERO }
    }

    #[test]
    fn a_connection_that_trickles_is_told_from_a_slow_one() {
        let before = seen(100, 5_000_000);
        let verdict = |seconds: u64, bytes: u64| judge(before, seen(100 + seconds, 5_000_000 + bytes), 0, 0);
        assert_eq!(verdict(19, 0), Verdict::Later);
        assert_eq!(verdict(20, 319_999), Verdict::Trickles);
        assert_eq!(verdict(20, 320_000), Verdict::Enough);
        assert_eq!(verdict(40, 639_999), Verdict::Trickles);
    }

    #[test]
    fn each_one_is_given_twice_as_long_as_the_one_before() {
        let verdict = |seconds, replaced| judge(seen(0, 0), seen(seconds, 0), replaced, 0);
        for (replaced, window) in [(0, 20), (1, 40), (3, 160), (7, 2560), (8, 2560), (u32::MAX, 2560)] {
            assert_eq!(verdict(window - 1, replaced), Verdict::Later, "{replaced}");
            assert_eq!(verdict(window, replaced), Verdict::Trickles, "{replaced}");
        }
    }

    #[test]
    fn what_a_limit_or_the_disk_holds_up_is_no_trickle() {
        let verdict = |bytes, limit| judge(seen(0, 0), seen(20, bytes), 0, limit);
        assert_eq!(verdict(20_000, 128_000), Verdict::Enough, "a share of the limit");
        assert_eq!(verdict(19_999, 128_000), Verdict::Trickles);
        assert_eq!(verdict(319_999, u64::MAX), Verdict::Trickles);
        let waited = |seconds| Sight { held_up: Duration::from_secs(seconds), ..seen(20, 0) };
        assert_eq!(judge(seen(0, 0), waited(5), 0, 0), Verdict::Enough);
        assert_eq!(judge(seen(0, 0), waited(4), 0, 0), Verdict::Trickles);
    }
}
