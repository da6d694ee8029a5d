//! Named points on the way of a delivery. In a debug build a test can have the program killed there, as hard as the
//! system can, or have the system fail; in a release build there is nothing here.

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
mod wanted {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    pub(super) static KILL: Wanted = Wanted::by("GDRIVE_WEBHOOK_KILL_AT");
    pub(super) static FAIL: Wanted = Wanted::by("GDRIVE_WEBHOOK_FAIL_AT");

    /// A point that a variable names: `half`, or `half:3` for the third time.
    pub(super) struct Wanted {
        variable: &'static str,
        point: OnceLock<Option<(String, u64)>>,
        passed: AtomicU64,
    }

    impl Wanted {
        const fn by(variable: &'static str) -> Self {
            Self { variable, point: OnceLock::new(), passed: AtomicU64::new(0) }
        }

        pub(super) fn is(&self, point: Point) -> bool {
            let wanted = self.point.get_or_init(|| {
                let text = std::env::var(self.variable).ok()?;
                let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
                Some((name.replace('-', ""), count.parse().unwrap_or(1)))
            });
            let Some((name, count)) = wanted else { return false };
            format!("{point:?}").eq_ignore_ascii_case(name)
                && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == *count
        }
    }

    pub(super) fn die() {
        if kill_process(getpid(), Signal::KILL).is_ok() {
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
    if wanted::KILL.is(point) {
        wanted::die();
    }
}

/// The program is here.
#[cfg(not(debug_assertions))]
pub const fn reached(_: Point) {}

/// Whether a test wants the system to fail here.
#[cfg(debug_assertions)]
pub fn fails(point: Point) -> bool {
    wanted::FAIL.is(point)
}

/// Whether a test wants the system to fail here.
#[cfg(not(debug_assertions))]
pub const fn fails(_: Point) -> bool {
    false
}
