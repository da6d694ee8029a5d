//! The pause that all calls share. Drive counts calls by user and project, not by caller: when Drive asks one caller to
//! slow down, all do. When Drive does not answer at all, one caller at a time tests whether it is back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::jitter;
use crate::retry::{Class, Policy, Verdict};

/// So many failures in a row are an outage, …
const OUTAGE: u32 = 3;
/// … unless they all concern the same file: one failing file must not hold all others.
const SUBJECTS: usize = 2;

/// Why all calls pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many calls.
    RateLimit,
    /// The daily quota is used up.
    DailyLimit,
    /// No call gets an answer.
    Outage,
}

impl Cause {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "Drive asks for fewer calls",
            Self::DailyLimit => {
                "the project's daily quota of calls is used up; request a higher quota in the Google Cloud console"
            }
            Self::Outage => "Drive does not answer, or answers with errors only",
        }
    }
}

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    /// Whose turn it is to find out whether calls are served again. The lock is handed on in the order of asking.
    turn: Arc<Turn<()>>,
}

#[derive(Debug, Default)]
struct State {
    closed_until: Option<Instant>,
    /// What it was closed for; stays until a call is served.
    cause: Option<Cause>,
    /// Refusals in a row, those of calls that were under way together counted once.
    refusals: u32,
    failures: u32,
    /// What the failures in a row were about.
    subjects: HashSet<String>,
}

/// Leave to make one call; what came of it has to be said.
#[derive(Debug)]
#[must_use]
pub struct Pass<'a> {
    gate: &'a Gate,
    /// Held until it is known what came of the call, by the one who goes ahead.
    #[expect(dead_code, reason = "it is held, and let go when this is dropped")]
    turn: Option<OwnedMutexGuard<()>>,
}

impl Gate {
    /// Waits until a call may be made. After a pause the first in line goes alone, and the others wait for its outcome.
    /// A failed caller goes to the end of the line, so that calls that can succeed do not wait for it.
    pub async fn pass(&self) -> Pass<'_> {
        if self.lock().cause.is_none() {
            return Pass { gate: self, turn: None };
        }
        let turn = self.turn.clone().lock_owned().await;
        loop {
            let (cause, closed_until) = {
                let state = self.lock();
                (state.cause, state.closed_until.filter(|until| *until > Instant::now()))
            };
            match closed_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return Pass { gate: self, turn: cause.map(|_| turn) },
            }
        }
    }

    /// How long it stays closed, and why; `None` when it is open.
    pub fn pause(&self) -> Option<(Duration, Cause)> {
        let state = self.lock();
        let wait = state.closed_until?.saturating_duration_since(Instant::now());
        state.cause.filter(|_| !wait.is_zero()).map(|cause| (wait, cause))
    }

    /// Whether calls wait, or did at last: one of them is to find out whether that is over.
    pub fn is_troubled(&self) -> bool {
        self.lock().cause.is_some()
    }

    fn close(state: &mut State, cause: Cause, count: u32, retry_after: Option<Duration>) {
        let class = match cause {
            Cause::RateLimit => Class::RateLimited,
            Cause::DailyLimit => Class::DailyLimit,
            Cause::Outage => Class::Transient,
        };
        let Verdict::After(wait) = Policy::CALL.decide(class, count, retry_after, jitter()) else { return };
        let until = Instant::now() + wait;
        if state.closed_until.is_some_and(|closed| closed >= until) {
            // It is closed for longer already, and for another reason perhaps.
            return;
        }
        state.closed_until = Some(until);
        let wait_ms = wait.as_millis() as u64;
        if state.cause == Some(cause) {
            debug!(wait_ms, ?cause, "all calls go on pausing");
        } else {
            warn!(wait_ms, reason = cause.as_str(), "all calls to Drive pause");
        }
        state.cause = Some(cause);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values, whole at any time; a panic elsewhere does not spoil them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Drive answered.
    pub fn served(self) {
        let mut state = self.gate.lock();
        state.refusals = 0;
        state.failures = 0;
        state.subjects.clear();
        let is_open = state.closed_until.is_none_or(|until| until <= Instant::now());
        if is_open && let Some(cause) = state.cause.take() {
            info!(?cause, "calls to Drive succeed again");
        }
    }

    /// Drive asks for fewer calls.
    pub fn refused(self, cause: Cause, retry_after: Option<Duration>) {
        let mut state = self.gate.lock();
        let already_closed = state.closed_until.is_some_and(|until| until > Instant::now());
        if !already_closed {
            // Calls that were under way when the gate closed are refused too; they are the same refusal.
            state.refusals += 1;
        }
        let count = state.refusals.max(1);
        Gate::close(&mut state, cause, count, retry_after);
    }

    /// No answer came, or one that says that the server is out of order.
    pub fn failed(self, subject: &str, retry_after: Option<Duration>) {
        let mut state = self.gate.lock();
        let already_closed = state.closed_until.is_some_and(|until| until > Instant::now());
        if already_closed {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.subjects.len() < SUBJECTS {
            state.subjects.insert(subject.to_owned());
        }
        if state.cause.is_some() || (state.failures >= OUTAGE && state.subjects.len() >= SUBJECTS) {
            let count = (state.failures + 1).saturating_sub(OUTAGE).max(1);
            Gate::close(&mut state, Cause::Outage, count, retry_after);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_waits_for_as_long_as_drive_asks() {
        let gate = Gate::default();
        gate.pass().await.refused(Cause::RateLimit, Some(Duration::from_secs(30)));
        assert!(matches!(gate.pause(), Some((_, Cause::RateLimit))));
        let began = Instant::now();
        gate.pass().await.refused(Cause::RateLimit, None);
        assert!(began.elapsed() >= Duration::from_secs(30));
        let (wait, _) = gate.pause().unwrap();
        assert!(wait <= Duration::from_secs(2), "the second refusal in a row");
        gate.pass().await.served();
        assert_eq!(gate.pause(), None);
        let began = Instant::now();
        gate.pass().await.refused(Cause::DailyLimit, None);
        gate.pass().await.served();
        assert_eq!(began.elapsed().as_secs(), 3600, "it ends by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_goes_ahead() {
        let gate = Arc::new(Gate::default());
        gate.pass().await.refused(Cause::RateLimit, Some(Duration::from_secs(30)));
        let probe = gate.pass().await;
        let waiting = gate.clone();
        let other = tokio::spawn(async move { waiting.pass().await.served() });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!other.is_finished(), "the others wait for its outcome");
        probe.served();
        other.await.unwrap();
        gate.pass().await.refused(Cause::RateLimit, Some(Duration::from_secs(30)));
        drop(gate.pass().await);
        gate.pass().await.served();
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_found_out_about_at_the_cap_and_not_faster() {
        let gate = Gate::default();
        for subject in ["list changes", "watch", "list changes"] {
            assert_eq!(gate.pause(), None, "a hiccup is no reason to hold others");
            gate.pass().await.failed(subject, None);
        }
        let began = Instant::now();
        let mut calls = 0;
        while began.elapsed() < Duration::from_mins(30) {
            gate.pass().await.failed("list changes", None);
            calls += 1;
        }
        assert!((28..70).contains(&calls), "{calls} calls in half an hour");
        gate.pass().await.served();
        assert_eq!(gate.pause(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_file_that_fails_holds_nobody() {
        let gate = Gate::default();
        for _ in 0..100 {
            gate.pass().await.failed("one file", None);
            assert_eq!(gate.pause(), None);
        }
        gate.pass().await.served();
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_served_does_not_wait_for_what_cannot() {
        let gate = Arc::new(Gate::default());
        for subject in ["broken", "list changes", "broken"] {
            gate.pass().await.failed(subject, None);
        }
        let broken = gate.clone();
        let broken = tokio::spawn(async move {
            loop {
                broken.pass().await.failed("broken", None);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::time::timeout(Duration::from_secs(10), gate.pass()).await.unwrap().served();
        broken.abort();
    }
}
