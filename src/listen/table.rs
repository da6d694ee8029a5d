//! The open connections of one address. At the limit, the oldest is closed for each new one: a peer that sends a request
//! at once is answered, however many others hold a connection and send nothing. Peers are not distinguished: behind a
//! proxy all have the same address.

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

/// The connections that may be closed to make room, by sequence number.
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

    /// A place for an accepted connection. Waits at most until another connection is closed or answered.
    pub(super) async fn seat(&self) -> Seat {
        let permit = self.permit().await;
        let (Requests::One(time) | Requests::Many(time)) = self.requests;
        let visit = Arc::new(Visit::new(time));
        let mut open = self.open.lock();
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, visit.clone());
        drop(open);
        self.connections.opened();
        let (open, connections) = (self.open.clone(), self.connections.clone());
        Seat { number, visit, open, connections, _permit: permit }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.room.clone().try_acquire_owned() {
            return Some(permit);
        }
        // If none may be closed, all are being answered: one of them ends soon or reaches its deadline.
        while !self.make_room() {
            if let Ok(permit) = tokio::time::timeout(GRACE / 10, self.room.clone().acquire_owned()).await {
                return permit.ok();
            }
        }
        // The semaphore is never closed.
        self.room.clone().acquire_owned().await.ok()
    }

    /// Closes a connection, and logs it. `false`: none may be closed.
    fn make_room(&self) -> bool {
        if !self.close_one() {
            return false;
        }
        let now = Timestamp::now();
        self.connections.close_for_room(now);
        if let Some(closed) = self.full.count(Instant::now().into_std()) {
            warn!(
                address = %self.connections.address(),
                connections = self.connections.limit(),
                since = %self.connections.full_since(now).unwrap_or(now),
                closed,
                "the {} address is full: for each new connection the oldest is closed",
                self.connections.name()
            );
        }
        true
    }

    /// `false`: none may be closed.
    fn close_one(&self) -> bool {
        let now = Instant::now();
        let mut open = self.open.lock();
        let ranks = open.by_number.iter().filter_map(|(number, visit)| Some((visit.rank(now)?, *number)));
        let oldest = ranks.min().map(|(_, number)| number);
        // Removed from the map at once, so that it is not chosen twice.
        let visit = oldest.and_then(|number| open.by_number.remove(&number));
        if let Some(visit) = &visit {
            visit.closed.notify_one();
        }
        visit.is_some()
    }

    /// Handles a failed accept: waits until the next attempt makes sense.
    pub(super) async fn not_accepted(&self, error: &io::Error) {
        if let Some(count) = self.failed.count(Instant::now().into_std()) {
            warn!(address = %self.connections.address(), %error, count, "connections could not be accepted");
        }
        let is_out_of_handles = [Errno::MFILE, Errno::NFILE]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
        if is_out_of_handles && self.close_one() {
            self.connections.close_for_room(Timestamp::now());
            tokio::time::sleep(CLOSED_BY).await;
        } else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    /// Waits until the address is no longer full, and logs it. Never returns if it is not full.
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

/// Within this time a closed connection has released its file handle.
const CLOSED_BY: Duration = Duration::from_millis(1);
/// The pause after a failed accept: an immediate retry would only use the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a full address is checked.
const LOOK: Duration = Duration::from_secs(5);

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The answer was sent; the peer has not closed its end.
    Leaving,
    /// It waits for the head of a request.
    Waiting,
    /// A request is being answered.
    Answering,
    /// An answer without an end.
    LongLived,
}

/// The first request of a connection keeps its place for this long while it is answered. Otherwise, when requests arrive
/// faster than they are answered, none would be answered. Later requests of the same connection are not protected: a
/// connection that sends many without a pause must not keep its place.
const GRACE: Duration = Duration::from_millis(500);

/// One connection: its state, since when, and its deadline.
#[derive(Debug)]
pub(super) struct Visit {
    state: Mutex<State>,
    closed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    since: Instant,
    deadline: Option<Instant>,
    answers: u64,
}

impl Visit {
    fn new(time: Duration) -> Self {
        let since = Instant::now();
        let state = State { phase: Phase::Waiting, since, deadline: Some(since + time), answers: 0 };
        Self { state: Mutex::new(state), closed: Notify::new() }
    }

    /// A request has arrived. `Some`: the time that it has from now on.
    pub(super) fn answers(&self, time: Option<Duration>) {
        self.turn(Phase::Answering, time);
        self.lock().answers += 1;
    }

    /// Its answer has no end.
    pub(super) fn goes_on(&self) {
        let mut state = self.lock();
        *state = State { phase: Phase::LongLived, since: Instant::now(), deadline: None, ..*state };
    }

    /// The answer is complete; the next request must arrive within this time.
    pub(super) fn waits(&self, time: Option<Duration>) {
        self.turn(Phase::Waiting, time);
    }

    /// Nothing more is sent; the peer must close its end within this time.
    pub(super) fn leaves(&self, time: Duration) {
        let since = Instant::now();
        let mut state = self.lock();
        let deadline = Some(state.deadline.map_or(since + time, |deadline| deadline.min(since + time)));
        *state = State { phase: Phase::Leaving, since, deadline, ..*state };
    }

    fn turn(&self, phase: Phase, time: Option<Duration>) {
        let since = Instant::now();
        let mut state = self.lock();
        let deadline = time.map_or(state.deadline, |time| Some(since + time));
        *state = State { phase, since, deadline, ..*state };
    }

    /// The oldest connection of the lowest rank is closed first. `None`: it keeps its place for now. Waiting for a request
    /// and answering one have the same rank: otherwise a connection that sends many without a pause would outlast all
    /// others.
    fn rank(&self, now: Instant) -> Option<u8> {
        let State { phase, since, answers, .. } = *self.lock();
        match phase {
            Phase::Leaving => Some(0),
            Phase::Answering if answers == 1 && now.duration_since(since) < GRACE => None,
            Phase::Waiting | Phase::Answering => Some(1),
            Phase::LongLived => Some(2),
        }
    }

    /// Waits until it must end: its deadline has passed, or another connection needs its place.
    pub(super) async fn over(&self) {
        let late = async {
            loop {
                let deadline = self.lock().deadline;
                match deadline {
                    Some(deadline) if deadline <= Instant::now() => return,
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    // An answer without an end may still be closed to make room.
                    None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        tokio::select! {
            () = self.closed.notified() => {}
            () = late => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Values that are written together.
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
