//! Named points on the way of a delivery. In a debug build a test can have the program killed there, as hard as the
//! system can; in a release build there is nothing here.

/// A point on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A page of changes has come, and nothing of it is in the ledger.
    PageRead,
    /// All of it is in the ledger, the page token included.
    PageRecorded,
    /// The row of a channel is written, and Drive has not been asked.
    ChannelPlanned,
    /// Drive has opened the channel, and the ledger does not know.
    ChannelOpened,
    /// The delivery is marked as downloading.
    Claimed,
    /// The first bytes are in the part.
    FirstByte,
    /// So is half of them.
    Half,
    /// The part is verified and durable.
    Verified,
    /// The ledger says where it will be.
    Planned,
    /// It has taken the place of an earlier content, which is still there under the part's name.
    Exchanged,
    /// It is in its place, and nothing says so.
    Moved,
    /// It is in its place, and that is durable.
    Published,
    /// The ledger says so.
    Done,
}

#[cfg(debug_assertions)]
mod kill {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    /// `half`, or `half:3` for the third time.
    const VARIABLE: &str = "GDRIVE_WEBHOOK_KILL_AT";

    pub(super) fn at(point: Point) {
        static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let wanted = WANTED.get_or_init(|| {
            let text = std::env::var(VARIABLE).ok()?;
            let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
            Some((name.replace('-', ""), count.parse().unwrap_or(1)))
        });
        let Some((name, count)) = wanted else { return };
        if !format!("{point:?}").eq_ignore_ascii_case(name) {
            return;
        }
        if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
            && kill_process(getpid(), Signal::KILL).is_ok()
        {
            // The signal is on its way; nothing more happens until it is here.
            loop {
                std::thread::park();
            }
        }
    }
}

/// The program is here.
#[cfg(debug_assertions)]
pub fn reached(point: Point) {
    kill::at(point);
}

/// The program is here.
#[cfg(not(debug_assertions))]
pub const fn reached(_: Point) {}
