//! Counts that cost an atomic addition, for doors and engines that must not wait for anybody.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// Notifications at the public door.
#[derive(Debug, Default)]
pub struct Notifications {
    accepted: AtomicU64,
    refused: AtomicU64,
    last_accepted_ms: AtomicI64,
}

impl Notifications {
    /// One of ours.
    pub fn accept(&self, now: Timestamp) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.last_accepted_ms.store(now.as_millisecond(), Ordering::Relaxed);
    }

    /// A stranger's.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were ours.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were strangers'.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// When the last one of ours came.
    pub fn last_accepted(&self) -> Option<Timestamp> {
        let ms = self.last_accepted_ms.load(Ordering::Relaxed);
        (ms != 0).then(|| Timestamp::from_millisecond(ms).ok()).flatten()
    }
}
