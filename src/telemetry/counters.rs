//! Counters that cost an atomic addition, for code that must not wait.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Notifications at the webhook address.
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
        moment(&self.last_accepted_ms)
    }
}

/// An address stays full for this long after the last connection that was closed to make room.
pub const FULL: Duration = Duration::from_mins(1);

/// Connections at one address.
#[derive(Debug)]
pub struct Connections {
    name: &'static str,
    address: SocketAddr,
    limit: usize,
    open: AtomicUsize,
    closed_for_room: AtomicU64,
    full_since_ms: AtomicI64,
    last_closed_ms: AtomicI64,
}

impl Connections {
    /// None yet.
    pub fn new(name: &'static str, address: SocketAddr, limit: usize) -> Self {
        Self {
            name,
            address,
            limit,
            open: AtomicUsize::new(0),
            closed_for_room: AtomicU64::new(0),
            full_since_ms: AtomicI64::new(0),
            last_closed_ms: AtomicI64::new(0),
        }
    }

    /// The name of the address: `webhook`, `admin`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many there are at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// One more.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// One is closed to make room for another.
    pub fn close_for_room(&self, now: Timestamp) {
        if self.full_since(now).is_none() {
            self.full_since_ms.store(now.as_millisecond(), Ordering::Relaxed);
        }
        self.last_closed_ms.store(now.as_millisecond(), Ordering::Relaxed);
        self.closed_for_room.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were closed to make room.
    pub fn closed_for_room(&self) -> u64 {
        self.closed_for_room.load(Ordering::Relaxed)
    }

    /// Since when there has been no room without closing others; `None`: there is.
    pub fn full_since(&self, now: Timestamp) -> Option<Timestamp> {
        let last = moment(&self.last_closed_ms)?;
        let is_over = now.duration_since(last).unsigned_abs() >= FULL;
        if is_over { None } else { moment(&self.full_since_ms) }
    }
}

/// A time in milliseconds, of which 0 is none.
fn moment(ms: &AtomicI64) -> Option<Timestamp> {
    let ms = ms.load(Ordering::Relaxed);
    (ms != 0).then(|| Timestamp::from_millisecond(ms).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_full_until_a_minute_has_passed_without_closing_any() {
        let connections = Connections::new("webhook", SocketAddr::from(([127, 0, 0, 1], 1)), 2);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(connections.full_since(at(1)), None);
        connections.close_for_room(at(10));
        connections.close_for_room(at(69));
        assert_eq!(connections.full_since(at(128)), Some(at(10)));
        assert_eq!(connections.full_since(at(129)), None);
        connections.close_for_room(at(200));
        assert_eq!((connections.full_since(at(200)), connections.closed_for_room()), (Some(at(200)), 3));
    }
}
