//! Values that take effect late: Drive spreads permissions slowly, and not everywhere at the same time.

use std::time::Duration;

use serde::Deserialize;

use super::clock::milliseconds;

/// How late a change of permissions takes effect, and how it shows until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermissionLag {
    /// Until `files.get`, `files.list` and the change log go by it.
    pub metadata: Duration,
    /// Until downloads go by it.
    pub media: Duration,
    /// What a download of a file is refused with that metadata shows already, or still.
    pub refusal: MediaRefusal,
    /// Whether the change log has an entry when it takes effect, besides the one at once.
    pub entry: EffectEntry,
}

/// What a download without permission is refused with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MediaRefusal {
    /// 404 `notFound`.
    #[default]
    NotFound,
    /// 403 `insufficientFilePermissions`.
    InsufficientFilePermissions,
}

/// Whether the change log tells that a permission has taken effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EffectEntry {
    /// Nothing is told.
    #[default]
    None,
    /// One entry when metadata goes by it, one when downloads do.
    Told,
}

/// When a value is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Once everything has taken effect.
    Settled,
    /// What metadata goes by at this time.
    Metadata(i64),
    /// What downloads go by at this time.
    Media(i64),
}

/// A value, and the one before it for as long as that still counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late<T> {
    value: T,
    former: T,
    set: i64,
    metadata_from: i64,
    media_from: i64,
}

impl<T: Clone> Late<T> {
    /// A value that counts from the beginning.
    pub(crate) fn at_once(value: T, now: i64) -> Self {
        Self { former: value.clone(), value, set: now, metadata_from: now, media_from: now }
    }

    /// Replaces the value that downloads go by now.
    pub(crate) fn set(&mut self, value: T, now: i64, lag: PermissionLag) {
        self.former = self.get(When::Media(now)).clone();
        self.value = value;
        self.set = now;
        self.metadata_from = now + milliseconds(lag.metadata);
        self.media_from = now + milliseconds(lag.media);
    }

    pub(crate) fn get(&self, when: When) -> &T {
        let is_effective = match when {
            When::Settled => true,
            When::Metadata(now) => now >= self.metadata_from,
            When::Media(now) => now >= self.media_from,
        };
        if is_effective { &self.value } else { &self.former }
    }

    /// When it was set.
    pub(crate) const fn since(&self) -> i64 {
        self.set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_media_go_by_a_value_at_times_of_their_own() {
        let lag = PermissionLag {
            metadata: Duration::from_millis(10),
            media: Duration::from_millis(30),
            ..PermissionLag::default()
        };
        let mut late = Late::at_once(1, 0);
        late.set(2, 100, lag);
        let seen = |late: &Late<i32>, now| [*late.get(When::Metadata(now)), *late.get(When::Media(now))];
        assert_eq!(
            [100, 109, 110, 129, 130].map(|now| seen(&late, now)),
            [[1, 1], [1, 1], [2, 1], [2, 1], [2, 2]]
        );
        assert_eq!(*late.get(When::Settled), 2);
        late.set(3, 120, PermissionLag::default());
        assert_eq!(seen(&late, 120), [3, 3]);
    }
}
