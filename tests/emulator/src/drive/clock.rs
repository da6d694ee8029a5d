//! The emulator's clock: the machine's, plus an offset that tests move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Milliseconds since 1970, as this emulator counts them.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    pub(crate) fn now(&self) -> i64 {
        Timestamp::now().as_millisecond() + self.offset.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.offset.store(0, Ordering::Relaxed);
    }

    pub(crate) fn move_by(&self, milliseconds: i64) {
        self.offset.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// RFC 3339 in UTC with milliseconds, the only form Drive writes.
pub(crate) fn rfc3339(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// The form of `X-Goog-Channel-Expiration`.
pub(crate) fn http_date(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds)
        .unwrap_or_default()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

/// A time as a user writes it: RFC 3339, or without a zone, which then means UTC.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let zoned = text.parse::<Timestamp>().ok();
    let bare = || jiff::tz::TimeZone::UTC.to_timestamp(text.parse::<jiff::civil::DateTime>().ok()?).ok();
    zoned.or_else(bare).map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_drive_writes_them() {
        let time = parse("2026-09-01T12:34:56.789Z").unwrap();
        assert_eq!(rfc3339(time), "2026-09-01T12:34:56.789Z");
        assert_eq!(http_date(time), "Tue, 01 Sep 2026 12:34:56 GMT");
        assert_eq!(parse("2026-09-01T14:34:56.789+02:00"), Some(time));
        assert_eq!(parse("2026-09-01T12:34:56"), Some(time - 789));
        assert_eq!(parse("yesterday"), None);
    }
}
