//! Held destinations with the reason, for example a full disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Everything that is held.
#[derive(Debug, Default)]
pub struct Holds {
    held: Mutex<BTreeMap<String, Hold>>,
}

/// Why something is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// In words, with the remedy.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is checked again.
    pub next: Timestamp,
}

/// The longest wait. A longer one was recorded when the clock was ahead.
const LONGEST: Duration = Duration::from_mins(10);

impl Hold {
    fn waits(&self, now: Timestamp) -> bool {
        let wait = self.next.duration_since(now);
        wait.is_positive() && Duration::try_from(wait).is_ok_and(|wait| wait <= LONGEST)
    }
}

impl Holds {
    /// Holds something. `true`: it was not held, or it has another reason.
    pub fn hold(&self, what: &str, why: &str, now: Timestamp, next: Timestamp) -> bool {
        let mut held = self.lock();
        let earlier = held.get(what);
        let is_news = earlier.is_none_or(|hold| hold.why != why);
        let since = earlier.map_or(now, |hold| hold.since);
        held.insert(what.to_owned(), Hold { why: why.to_owned(), since, next });
        is_news
    }

    /// Lets it go. `true`: it was held.
    pub fn release(&self, what: &str) -> bool {
        self.lock().remove(what).is_some()
    }

    /// Held, and not to be checked yet.
    pub fn waiting(&self, now: Timestamp) -> Vec<String> {
        self.lock().iter().filter(|(_, hold)| hold.waits(now)).map(|(what, _)| what.clone()).collect()
    }

    /// Held, and to be checked again.
    pub fn due(&self, now: Timestamp) -> Vec<String> {
        self.lock().iter().filter(|(_, hold)| !hold.waits(now)).map(|(what, _)| what.clone()).collect()
    }

    /// Held, to be checked or not.
    pub fn held(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Whether something is held.
    pub fn is_held(&self, what: &str) -> bool {
        self.lock().contains_key(what)
    }

    /// Everything that is held.
    pub fn snapshot(&self) -> Vec<(String, Hold)> {
        self.lock().iter().map(|(what, hold)| (what.clone(), hold.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Hold>> {
        // A map of finished values, whole at any time.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_once() {
        let holds = Holds::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(holds.hold("/srv", "full", at(0), at(30)));
        assert!(!holds.hold("/srv", "full", at(30), at(60)));
        assert_eq!(holds.snapshot()[0].1.since, at(0));
        assert_eq!((holds.waiting(at(59)).len(), holds.waiting(at(60)).len()), (1, 0));
        assert_eq!((holds.due(at(59)).len(), holds.due(at(60)).len()), (0, 1));
        assert_eq!(holds.held(), ["/srv"]);
        assert!(holds.hold("/srv", "read-only", at(60), at(90)));
        assert_eq!(holds.due(at(-86_400)), ["/srv"], "the clock was ahead by a day");
        assert!(holds.release("/srv") && !holds.release("/srv"));
    }
}
