//! Audits that were asked for, and how far the one is that runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Scope;
use crate::task::{Gone, Reason, Wake};

/// Where audits are asked for.
#[derive(Clone, Debug)]
pub struct Desk {
    wake: Wake,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number that was given last.
    given: u64,
    /// Asked for, and not begun.
    asked: Option<Scope>,
    standing: Standing,
}

/// How far audits are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which start of the program it is: numbers begin with each.
    pub run: String,
    /// The audit that runs.
    pub running: Option<Progress>,
    /// All audits with a number up to this one have ended.
    pub ended: u64,
    /// Why the last one of them found nothing out.
    pub error: Option<String>,
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Folders that were begun.
    pub folders: u64,
    /// Files that were looked at.
    pub files: u64,
    /// Files that are looked at again before they count as missing.
    pub doubtful: u64,
}

impl Desk {
    /// `wake` is that of the engine that works for it.
    pub fn new(wake: Wake) -> Self {
        let standing = Standing { run: uuid::Uuid::new_v4().to_string(), ..Standing::default() };
        let state = State { standing, ..State::default() };
        Self { wake, state: Arc::new(Mutex::new(state)) }
    }

    /// Asks for an audit that begins after this call. Several that are asked for before it begins are one. What comes back
    /// is its number.
    pub fn ask(&self, scope: Scope) -> Result<u64, Gone> {
        let number = {
            let mut state = self.lock();
            state.given += 1;
            let asked = state.asked.get_or_insert_default();
            asked.checksums |= scope.checksums;
            asked.fix |= scope.fix;
            state.given
        };
        self.wake.wake(Reason::Handover)?;
        Ok(number)
    }

    /// How far audits are.
    pub fn standing(&self) -> Standing {
        self.lock().standing.clone()
    }

    /// Takes what was asked for, with the last number.
    pub(super) fn take(&self) -> Option<(u64, Scope)> {
        let mut state = self.lock();
        let number = state.given;
        state.asked.take().map(|scope| (number, scope))
    }

    /// An audit is as far as this.
    pub(super) fn show(&self, progress: Progress) {
        self.lock().standing.running = Some(progress);
    }

    /// The audit that ran has ended. `number` is that of one that was asked for.
    pub(super) fn ended(&self, number: Option<u64>, error: Option<String>) {
        let mut state = self.lock();
        state.standing.running = None;
        if let Some(number) = number {
            (state.standing.ended, state.standing.error) = (number, error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Finished values, whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::wake_up;

    #[test]
    fn audits_that_are_asked_for_before_one_begins_are_one() {
        let (wake, wakeups) = wake_up();
        let desk = Desk::new(wake);
        let fix = Scope { fix: true, ..Scope::default() };
        let checksums = Scope { checksums: true, ..Scope::default() };
        assert_eq!((desk.ask(fix).unwrap(), desk.ask(checksums).unwrap()), (1, 2));
        assert_eq!(desk.take(), Some((2, Scope { fix: true, checksums: true })));
        assert_eq!(desk.take(), None);
        desk.show(Progress::default());
        assert_eq!(desk.ask(fix).unwrap(), 3, "while one runs, another one is asked for");
        desk.ended(Some(2), Some("no".to_owned()));
        let Standing { run, running, ended, error } = desk.standing();
        assert_eq!((running, ended, error), (None, 2, Some("no".to_owned())));
        assert!(!run.is_empty());
        assert_eq!(desk.take(), Some((3, fix)));
        drop(wakeups);
        assert!(desk.ask(fix).is_err());
    }
}
