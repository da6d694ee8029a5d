//! When to try again: a value that decides and never sleeps. Whoever asks brings the attempt and the luck (jitter).

use std::time::Duration;

/// How patient a caller is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The first wait.
    pub base: Duration,
    /// No wait is longer, except one that the other side asked for.
    pub cap: Duration,
    /// Failed attempts after which it is given up. `None`: never.
    pub attempts: Option<u32>,
}

/// What a failure calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passes by itself: a cut connection, a server error.
    Transient,
    /// Every caller is too fast: all of them wait.
    RateLimited,
    /// The project's allowance of the day is used up.
    DailyLimit,
    /// This file was fetched too often, by anybody: hours.
    FileQuota,
    /// Somebody has to change a setting; said once, tried slowly.
    Configuration,
    /// Nobody is logged in.
    LoginNeeded,
    /// A permission that is missing: granted ones can take minutes to arrive, others never come. Whoever waits says for
    /// how long at most.
    Permission,
    /// It will be the same next time.
    Permanent,
}

/// Failures of one class in a row: what was waited for in an outage says nothing of how long a wrong setting lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    class: Option<Class>,
    count: u32,
}

impl Streak {
    /// One more; how many of its class there are in a row now.
    pub fn failed(&mut self, class: Class) -> u32 {
        self.count = if self.class == Some(class) { self.count.saturating_add(1) } else { 1 };
        self.class = Some(class);
        self.count
    }

    /// It went well, or at least on.
    pub fn progressed(&mut self) {
        *self = Self::default();
    }

    /// How many there are in a row.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Again after this long.
    After(Duration),
    /// No more.
    GiveUp,
}

/// An hour: the allowance of a day comes back at midnight Pacific time, which nobody needs to hit to the minute.
const DAILY_LIMIT_WAIT: Duration = Duration::from_hours(1);
/// Drive lifts the quota of a file within a day; asked for less and less often.
const FILE_QUOTA_WAIT: Duration = Duration::from_hours(1);
const FILE_QUOTA_CAP: Duration = Duration::from_hours(12);
/// A permission that was granted already arrives within minutes; one that somebody has still to grant takes longer.
const PERMISSION_WAIT: Duration = Duration::from_secs(5);
const PERMISSION_CAP: Duration = Duration::from_hours(1);
/// A setting that somebody has to change is looked at again this often.
const CONFIGURATION_WAIT: Duration = Duration::from_mins(1);
const CONFIGURATION_CAP: Duration = Duration::from_mins(15);
/// Whether somebody has logged in is a look at a file, not a call.
const LOGIN_WAIT: Duration = Duration::from_secs(5);

impl Policy {
    /// For calls to Drive: Google advises 2^n seconds plus up to one second, capped at 32 or 64.
    pub const CALL: Self =
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(64), attempts: None };
    /// For a call whose caller comes again by itself: three quick tries against a hiccup.
    pub const BRIEF: Self =
        Self { base: Duration::from_millis(250), cap: Duration::from_secs(2), attempts: Some(3) };

    /// Decides after the `attempt`th failure in a row (the first is 1). `jitter` is between 0 and 1.
    pub fn decide(&self, class: Class, attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Verdict {
        let patient = match class {
            Class::Permanent => return Verdict::GiveUp,
            Class::Transient | Class::RateLimited => {
                if self.attempts.is_some_and(|most| attempt >= most) {
                    return Verdict::GiveUp;
                }
                doubled(self.base, self.cap, attempt, jitter)
            }
            Class::DailyLimit => DAILY_LIMIT_WAIT,
            Class::FileQuota => doubled(FILE_QUOTA_WAIT, FILE_QUOTA_CAP, attempt, jitter),
            Class::Configuration => doubled(CONFIGURATION_WAIT, CONFIGURATION_CAP, attempt, jitter),
            Class::Permission => doubled(PERMISSION_WAIT, PERMISSION_CAP, attempt, jitter),
            Class::LoginNeeded => LOGIN_WAIT,
        };
        Verdict::After(retry_after.map_or(patient, |asked| asked.max(patient)))
    }
}

/// `base`, twice that, four times … up to `cap`; between half of it and all of it, so that many callers spread out.
fn doubled(base: Duration, cap: Duration, attempt: u32, jitter: f64) -> Duration {
    let exponent = attempt.saturating_sub(1).min(20);
    let full = base.saturating_mul(1 << exponent).min(cap);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<_> = (1..9).map(|n| Policy::CALL.decide(Class::Transient, n, None, 1.0)).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 64, 64].map(|s| Verdict::After(Duration::from_secs(s)));
        assert_eq!(waits, seconds);
        assert_eq!(
            Policy::CALL.decide(Class::Transient, 4000, None, 0.0),
            Verdict::After(Duration::from_secs(32)),
            "an absurd count neither overflows nor passes the cap"
        );
    }

    #[test]
    fn what_the_server_asks_for_wins_when_it_is_longer() {
        let asked = Some(Duration::from_secs(30));
        assert_eq!(
            Policy::CALL.decide(Class::RateLimited, 1, asked, 1.0),
            Verdict::After(Duration::from_secs(30))
        );
        assert_eq!(
            Policy::CALL.decide(Class::RateLimited, 9, asked, 1.0),
            Verdict::After(Duration::from_secs(64))
        );
    }

    #[test]
    fn another_class_begins_anew() {
        let mut streak = Streak::default();
        let counts = [Class::Transient, Class::Transient, Class::Configuration, Class::Transient]
            .map(|class| streak.failed(class));
        assert_eq!((counts, streak.count()), ([1, 2, 1, 1], 1));
        assert_eq!((streak.failed(Class::Transient), streak.count()), (2, 2));
        streak.progressed();
        assert_eq!((streak.count(), streak.failed(Class::Transient)), (0, 1));
    }

    #[test]
    fn some_failures_end_it() {
        assert_eq!(Policy::CALL.decide(Class::Permanent, 1, None, 0.5), Verdict::GiveUp);
        assert_eq!(Policy::BRIEF.decide(Class::Transient, 3, None, 0.5), Verdict::GiveUp);
        assert!(matches!(Policy::BRIEF.decide(Class::Transient, 2, None, 0.5), Verdict::After(_)));
        assert!(matches!(Policy::BRIEF.decide(Class::FileQuota, 9, None, 0.5), Verdict::After(_)));
    }
}
