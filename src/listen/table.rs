//! The connections that are open at one address. When there are as many as there may be, the one that has kept its
//! peer's request waiting longest is closed for each new one: whoever sends a request at once is always answered,
//! however many others hold a connection and send nothing. Peers are not told apart: behind a proxy all are the same.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Limits, Requests};
use crate::telemetry::counters::Connections;
use crate::telemetry::rarely::Rarely;

/// All connections of one address.
#[derive(Debug)]
pub(super) struct Table {
    requests: Requests,
    connections: Arc<Connections>,
    room: Arc<Semaphore>,
    open: Arc<Open>,
    full: Rarely,
    failed: Rarely,
}

/// Those that may still be chosen to make room, by the number of their coming.
#[derive(Debug, Default)]
struct Open(Mutex<Visits>);

#[derive(Debug, Default)]
struct Visits {
    next: u64,
    by_number: BTreeMap<u64, Arc<Visit>>,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Visits> {
        // A number, and a map of finished values: whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    pub(super) fn new(limits: Limits, connections: Arc<Connections>) -> Self {
        Self {
            requests: limits.requests,
            connections,
            room: Arc::new(Semaphore::new(limits.connections)),
            open: Arc::default(),
            full: Rarely::default(),
            failed: Rarely::default(),
        }
    }

    /// A place for a connection that was accepted. Waits no longer than it takes to close another.
    pub(super) async fn seat(&self) -> Seat {
        let permit = if let Ok(permit) = self.room.clone().try_acquire_owned() {
            Some(permit)
        } else {
            self.make_room();
            // The semaphore is never closed: there is always a permit in the end.
            self.room.clone().acquire_owned().await.ok()
        };
        let (Requests::One(time) | Requests::Many(time)) = self.requests;
        let visit = Arc::new(Visit::new(time));
        let mut open = self.open.lock();
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, visit.clone());
        drop(open);
        self.connections.opened();
        Seat {
            number,
            visit,
            open: self.open.clone(),
            connections: self.connections.clone(),
            _permit: permit,
        }
    }

    fn make_room(&self) {
        if !self.close_one() {
            return;
        }
        let now = Timestamp::now();
        self.connections.close_for_room(now);
        if let Some(closed) = self.full.count(Instant::now().into_std()) {
            warn!(
                address = %self.connections.address(),
                connections = self.connections.limit(),
                since = %self.connections.full_since(now).unwrap_or(now),
                closed,
                "the {} address is full: for each new connection the one that has waited longest is closed",
                self.connections.name()
            );
        }
    }

    /// `false`: there is none.
    fn close_one(&self) -> bool {
        let mut open = self.open.lock();
        let longest = open.by_number.iter().min_by_key(|(_, visit)| visit.rank()).map(|(number, _)| *number);
        // Out of the map at once, so that the next one does not choose it again.
        let visit = longest.and_then(|number| open.by_number.remove(&number));
        if let Some(visit) = &visit {
            visit.closed.notify_one();
        }
        visit.is_some()
    }

    /// A connection could not be accepted, mostly for want of file handles.
    pub(super) fn not_accepted(&self, error: &io::Error) {
        let is_out_of_handles = [Errno::MFILE, Errno::NFILE]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
        if is_out_of_handles && self.close_one() {
            self.connections.close_for_room(Timestamp::now());
        }
        if let Some(count) = self.failed.count(Instant::now().into_std()) {
            warn!(address = %self.connections.address(), %error, count, "connections could not be accepted");
        }
    }

    /// Waits until the address is no longer full, and says so; for ever if it is not full.
    pub(super) async fn calm(&self) {
        let Some(since) = self.connections.full_since(Timestamp::now()) else {
            return std::future::pending().await;
        };
        while self.connections.full_since(Timestamp::now()).is_some() {
            tokio::time::sleep(LOOK).await;
        }
        info!(
            address = %self.connections.address(),
            %since,
            closed_in_all = self.connections.closed_for_room(),
            "the {} address is no longer full",
            self.connections.name()
        );
    }
}

/// How often a full address is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What a connection is about, those that are closed first before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Everything was said; the peer has not closed its end.
    Leaving,
    /// For the head of a request.
    Waiting,
    /// A request is being answered.
    Answering,
    /// An answer that goes on and on.
    LongLived,
}

/// One connection: what it is about, and until when.
#[derive(Debug)]
pub(super) struct Visit {
    state: Mutex<(Phase, Option<Instant>)>,
    closed: Notify,
}

impl Visit {
    fn new(time: Duration) -> Self {
        let state = Mutex::new((Phase::Waiting, Some(Instant::now() + time)));
        Self { state, closed: Notify::new() }
    }

    /// A request has come; `Some`: from now on it has so long.
    pub(super) fn answers(&self, time: Option<Duration>) {
        self.turn(Phase::Answering, time);
    }

    /// Its answer goes on for as long as it likes.
    pub(super) fn goes_on(&self) {
        *self.lock() = (Phase::LongLived, None);
    }

    /// The answer is made; the next request has so long to come.
    pub(super) fn waits(&self, time: Option<Duration>) {
        self.turn(Phase::Waiting, time);
    }

    /// Nothing more is said; the peer has so long to close its end, if it has.
    pub(super) fn leaves(&self, time: Duration) {
        let mut state = self.lock();
        let end = Instant::now() + time;
        *state = (Phase::Leaving, Some(state.1.map_or(end, |deadline| deadline.min(end))));
    }

    fn turn(&self, phase: Phase, time: Option<Duration>) {
        let mut state = self.lock();
        *state = (phase, time.map_or(state.1, |time| Some(Instant::now() + time)));
    }

    /// The lowest is closed first.
    fn rank(&self) -> (Phase, Option<Instant>) {
        *self.lock()
    }

    /// Waits until it has to end: its time is over, or another one needs its place.
    pub(super) async fn over(&self) {
        let late = async {
            loop {
                let deadline = self.lock().1;
                match deadline {
                    Some(deadline) if deadline <= Instant::now() => return,
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    // An answer that goes on may end all the same.
                    None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        tokio::select! {
            () = self.closed.notified() => {}
            () = late => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Option<Instant>)> {
        // Two values that are written together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    pub(super) visit: Arc<Visit>,
    open: Arc<Open>,
    connections: Arc<Connections>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.lock().by_number.remove(&self.number);
        self.connections.closed();
    }
}
