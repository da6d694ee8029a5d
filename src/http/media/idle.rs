//! Connections that wait for their next request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::http::connect::Line;

/// A connection that waited this long is closed. Google's end closes after four minutes.
const KEEP: Duration = Duration::from_mins(1);
/// More of them than usual transfers use at once.
const MOST: usize = 64;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin(String);

impl Origin {
    pub(super) fn of(url: &Url) -> Self {
        Self(url.origin().ascii_serialization())
    }
}

#[derive(Debug, Default)]
pub(super) struct Idle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Whether there is somebody who closes them in time.
    is_watched: bool,
}

#[derive(Debug)]
struct Waiting {
    origin: Origin,
    line: Line,
    since: Instant,
}

impl Idle {
    /// The one that was used last, if it is still good.
    pub(super) fn take(&self, origin: &Origin) -> Option<Line> {
        loop {
            let mut line = {
                let mut state = self.lock();
                let index = state.waiting.iter().rposition(|waiting| waiting.origin == *origin)?;
                state.waiting.remove(index).line
            };
            if is_good(&mut line) {
                return Some(line);
            }
        }
    }

    /// Keeps one for the next request.
    pub(super) fn put(self: Arc<Self>, origin: Origin, line: Line) {
        let mut state = self.lock();
        if state.waiting.len() >= MOST {
            state.waiting.remove(0);
        }
        state.waiting.push(Waiting { origin, line, since: Instant::now() });
        if !std::mem::replace(&mut state.is_watched, true) {
            drop(tokio::spawn(watch(Arc::downgrade(&self))));
        }
    }

    /// Closes all that lead to the same place.
    pub(super) fn forget(&self, origin: &Origin) {
        self.lock().waiting.retain(|waiting| waiting.origin != *origin);
    }

    /// Closes those that waited long enough, and says how long the next one has.
    fn close_old(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| waiting.since.elapsed() < KEEP);
        let next = state.waiting.iter().map(|waiting| waiting.since).min();
        state.is_watched = next.is_some();
        next.map(|since| KEEP.saturating_sub(since.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A list, whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections in time, for as long as there are any.
async fn watch(idle: Weak<Idle>) {
    let mut wait = KEEP;
    loop {
        sleep(wait).await;
        let Some(next) = idle.upgrade().and_then(|idle| idle.close_old()) else { return };
        wait = next;
    }
}

/// Whether the other side has neither closed it nor said something that nobody asked for.
fn is_good(line: &mut Line) -> bool {
    let mut byte = [0];
    let mut context = Context::from_waker(Waker::noop());
    matches!(Pin::new(line).poll_read(&mut context, &mut ReadBuf::new(&mut byte)), Poll::Pending)
}
