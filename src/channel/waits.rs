//! What the keeper could not do, and when it tries again. Each action waits for itself: a log that is refused a channel
//! keeps no other log waiting, and no wake-up brings its next attempt forward.

use std::time::Duration;

use tokio::time::Instant;

use super::plan::Action;
use crate::model::channel::Known;
use crate::retry::{Class, Policy, Streak, Verdict};

/// The actions that failed.
#[derive(Debug, Default)]
pub(super) struct Waits(Vec<Wait>);

#[derive(Debug)]
struct Wait {
    action: Action,
    /// Another address is another attempt.
    address: Known,
    failures: Streak,
    until: Instant,
    said: String,
}

/// Why an action failed.
pub(super) struct Failure {
    pub(super) class: Class,
    pub(super) retry_after: Option<Duration>,
    pub(super) said: String,
}

impl Waits {
    /// Whether an action has to wait.
    pub(super) fn hold(&self, action: &Action, address: &Known, now: Instant) -> bool {
        self.0.iter().any(|wait| wait.is_for(action, address) && wait.until > now)
    }

    /// It failed; the next attempt is after this long.
    pub(super) fn failed(
        &mut self,
        action: &Action,
        address: &Known,
        failure: Failure,
        now: Instant,
        jitter: f64,
    ) -> Duration {
        let before = self.0.iter().position(|wait| wait.is_for(action, address));
        let mut failures = before.map(|at| self.0.swap_remove(at).failures).unwrap_or_default();
        let count = failures.failed(failure.class);
        let wait = match Policy::CALL.decide(failure.class, count, failure.retry_after, jitter) {
            Verdict::After(wait) => wait,
            Verdict::GiveUp => Policy::CALL.cap,
        };
        let (action, address, until) = (action.clone(), address.clone(), now + wait);
        self.0.push(Wait { action, address, failures, until, said: failure.said });
        wait
    }

    /// It went well.
    pub(super) fn done(&mut self, action: &Action) {
        self.0.retain(|wait| wait.action != *action);
    }

    /// Forgets what is not to be done any more.
    pub(super) fn keep_to(&mut self, actions: &[Action], address: &Known) {
        self.0.retain(|wait| wait.address == *address && actions.contains(&wait.action));
    }

    /// Why something waits, and for how long at least; `None`: nothing does.
    pub(super) fn next(&self, now: Instant) -> Option<(String, Duration)> {
        let until = self.0.iter().map(|wait| wait.until).min()?;
        let mut said: Vec<&str> = self.0.iter().map(|wait| wait.said.as_str()).collect();
        said.sort_unstable();
        said.dedup();
        Some((said.join("; "), until.saturating_duration_since(now)))
    }
}

impl Wait {
    fn is_for(&self, action: &Action, address: &Known) -> bool {
        self.action == *action && self.address == *address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChangeLog;

    fn refused(class: Class, retry_after: Option<u64>) -> Failure {
        Failure { class, retry_after: retry_after.map(Duration::from_secs), said: format!("{class:?}") }
    }

    #[test]
    fn each_action_waits_for_itself_and_longer_and_longer() {
        let now = Instant::now();
        let here = Known::At("https://here.example".into());
        let (user, drive) =
            (Action::Open(ChangeLog::User), Action::Open(ChangeLog::SharedDrive("0A".into())));
        let mut waits = Waits::default();
        let fail = |waits: &mut Waits, class| waits.failed(&user, &here, refused(class, None), now, 1.0);
        let seconds: Vec<u64> = (0..3).map(|_| fail(&mut waits, Class::Transient).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4]);
        assert_eq!(fail(&mut waits, Class::Configuration).as_secs(), 60, "another reason begins anew");
        assert!(waits.hold(&user, &here, now + Duration::from_secs(59)));
        assert!(!waits.hold(&user, &here, now + Duration::from_mins(1)));
        assert!(!waits.hold(&drive, &here, now), "the other log waits for nobody");
        assert!(!waits.hold(&user, &Known::At("https://there.example".into()), now), "another address");
        let long = waits.failed(&drive, &here, refused(Class::Transient, Some(3600)), now, 0.0);
        assert_eq!(long.as_secs(), 3600, "what Drive asks for counts");
        assert_eq!(waits.next(now), Some(("Configuration; Transient".into(), Duration::from_mins(1))));
        waits.keep_to(std::slice::from_ref(&drive), &here);
        assert_eq!(waits.next(now), Some(("Transient".into(), Duration::from_hours(1))));
        waits.done(&drive);
        assert_eq!(waits.next(now), None);
    }
}
