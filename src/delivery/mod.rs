//! The delivery engine: takes deliveries from the ledger, a few at once, and downloads, verifies and publishes each. It
//! records every step in the ledger before the next. It never calls Drive itself.

mod attempt;
mod history;
mod load;
mod places;
mod publisher;
mod settle;
pub mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::destination::{self, Local, Marker, Rights};
use crate::download::{self, Downloader};
use crate::model::{Delivery, DeliveryId};
use crate::store::{self, Store};
use crate::task::{Activation, Next, Reason, Step, Wake};
use crate::telemetry::holds::Holds;
use crate::telemetry::log::with_causes;
use crate::telemetry::transfers::Transfers;
use attempt::Attempt;
use history::Pruning;
use places::Opened;
use publisher::Publisher;

/// `[download]` of the configuration, as far as it concerns all transfers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Files that are fetched at once.
    pub concurrency: usize,
    /// Bytes that stay free on a destination's disk.
    pub reserve: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { concurrency: 4, reserve: 1 << 30 }
    }
}

/// The settings of the engine; they may change while the program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Limits for all transfers together.
    pub config: Config,
    /// The destinations of all watched folders, and the modes of files there.
    pub destinations: BTreeMap<PathBuf, Rights>,
}

/// Why a delivery stops early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes did not come.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The destination cannot be used.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// The file could not be published, or its name could not be made durable.
    #[error(transparent)]
    Unpublished(destination::Error),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It was superseded meanwhile.
    #[error("overtaken")]
    Overtaken,
    /// It is not known whether an earlier content of its file is in its place.
    #[error("waits until it is known whether an earlier content of the file is in its place")]
    Unsettled,
    /// The task that published it has failed.
    #[error("publishing it ended without an outcome")]
    Unfinished,
}

/// A step does other things as well than looking for deliveries for which there is room.
const TURNED_AWAY_AT_MOST: u32 = 50;
/// An attempt that was let go ends within moments.
const LAST_ATTEMPT: Duration = Duration::from_millis(200);
/// A fault of the program would most likely repeat itself, one of the ledger needs time.
const FAULT_WAIT: Duration = Duration::from_mins(1);
/// As long as there are deliveries to begin with, neither the ledger nor a destination is asked more often than this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The longest sleep: the clock may be corrected meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_mins(10);
/// `sync` removes old history for this long at its end.
const PRUNED_FOR: Duration = Duration::from_secs(1);
/// The ledger failed; nothing moves until it works again.
const STORE_WAIT: Duration = Duration::from_secs(10);

/// An attempt that runs.
#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    place: Local,
    root: PathBuf,
    device: u64,
    size: u64,
    /// The number of received bytes at the last check, and since when it has not changed.
    received: u64,
    moved: Instant,
    /// Its disk does not answer.
    is_stuck: bool,
    /// There as long as bytes come.
    turn: Weak<Turn>,
}

/// A place among the running downloads. A download gives it back when all bytes have arrived; verifying and publishing run
/// in parallel with the next download.
#[derive(Debug)]
struct Turn {
    events: mpsc::UnboundedSender<Event>,
    wake: Wake,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The receiver is dropped only when the engine has ended.
        let _ = self.events.send(Event::Fetched);
        let _ = self.wake.wake(Reason::Handover);
    }
}

/// What attempts tell the engine.
#[derive(Debug)]
enum Event {
    /// One has all its bytes.
    Fetched,
    /// One is over.
    Ended(Ended),
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    downloader: Downloader,
    wanted: watch::Receiver<Wanted>,
    transfers: Arc<Transfers>,
    /// Wakes this engine, when one of its attempts has ended.
    wake: Wake,
    tasks: JoinSet<()>,
    attempts: HashMap<DeliveryId, Running>,
    /// Deliveries that were claimed and have not begun: the ledger is slow where each step waits for the disk.
    claimed: VecDeque<Delivery>,
    /// What the destinations that were opened are known by.
    markers: HashMap<PathBuf, Marker>,
    /// Recently checked destinations.
    opened: HashMap<PathBuf, Opened>,
    /// Destinations that were asked for and have not answered yet.
    unanswered: HashMap<PathBuf, JoinHandle<()>>,
    /// Deliveries for which there was no room in this step.
    turned_away: u32,
    /// Destinations that cannot be used now.
    holds: Arc<Holds>,
    /// The ways to the destinations.
    publishers: HashMap<PathBuf, Arc<Publisher>>,
    /// What attempts say before they wake the engine.
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    /// Whether what an earlier run left has been taken up.
    taken_up: bool,
    /// Whether `download.acknowledge_abuse` was set in the last step.
    acknowledged_abuse: bool,
    /// Whether there may be parts without a running download.
    has_parts: bool,
    /// How much of the old history has been removed.
    pruning: Pruning,
    /// The last search for unneeded parts.
    tidied: Option<Instant>,
    /// When the ledger was last asked.
    looked: Option<Instant>,
    last_error: Option<String>,
}

impl Engine {
    /// Ready for its first step.
    pub fn new(
        store: Store,
        downloader: Downloader,
        wanted: watch::Receiver<Wanted>,
        transfers: Arc<Transfers>,
        holds: Arc<Holds>,
        wake: Wake,
    ) -> Self {
        Self {
            store,
            downloader,
            wanted,
            transfers,
            wake,
            tasks: JoinSet::new(),
            attempts: HashMap::new(),
            claimed: VecDeque::new(),
            markers: HashMap::new(),
            opened: HashMap::new(),
            unanswered: HashMap::new(),
            turned_away: 0,
            holds,
            publishers: HashMap::new(),
            events: mpsc::unbounded_channel(),
            taken_up: false,
            acknowledged_abuse: false,
            has_parts: false,
            pruning: Pruning::default(),
            tidied: None,
            looked: None,
            last_error: None,
        }
    }

    /// The current limits for all transfers together.
    fn config(&self) -> Config {
        self.wanted.borrow().config
    }

    /// Runs until nothing is pending or waiting for less than `patience`; for `sync`, which has an end.
    pub async fn drain(&mut self, patience: Duration) -> Result<(), store::Error> {
        loop {
            let due = self.start_due().await?;
            match due {
                _ if !self.attempts.is_empty() => {
                    // The engine holds a sender itself, so there is always something to wait for.
                    if let Some(Event::Ended(ended)) = self.events.1.recv().await {
                        self.reap(ended).await?;
                    }
                }
                Some(wait) if wait <= patience => tokio::time::sleep(wait).await,
                Some(_) | None => return self.prune_for(PRUNED_FOR).await,
            }
        }
    }

    /// Stops all transfers at a written block, and waits for them.
    pub async fn stop(&mut self) {
        for running in self.attempts.values() {
            running.stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    async fn start_and_prune(&mut self) -> Result<Option<Duration>, store::Error> {
        let due = self.start_due().await?;
        let prune = self.prune().await?;
        Ok(due.into_iter().chain([prune]).min())
    }

    async fn start_due(&mut self) -> Result<Option<Duration>, store::Error> {
        while let Ok(event) = self.events.1.try_recv() {
            if let Event::Ended(ended) = event {
                self.reap(ended).await?;
            }
        }
        while self.tasks.try_join_next().is_some() {}
        if !self.taken_up {
            self.take_up().await?;
        }
        self.follow_settings().await?;
        self.turned_away = 0;
        self.begin_claimed().await?;
        if !self.claimed.is_empty() && self.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return Ok(Some(LOOK_AGAIN));
        }
        self.looked = Some(Instant::now());
        self.look_at_held().await?;
        let unsettled = self.settle().await?;
        self.let_go().await?;
        self.tidy_up().await?;
        self.look_at_stuck().await?;
        while let Some(largest) = self.wanted()
            && self.turned_away < TURNED_AWAY_AT_MOST
        {
            let now = Timestamp::now();
            let claimed = self.store.claim(&self.holds.waiting(now), largest, self.ahead(), now).await?;
            if claimed.is_empty() {
                break;
            }
            self.claimed.extend(claimed);
            self.begin_claimed().await?;
        }
        if self.turned_away >= TURNED_AWAY_AT_MOST {
            return Ok(Some(Duration::ZERO));
        }
        if !self.claimed.is_empty() || self.load().is_full() {
            // Whatever ends, and whatever comes, leads here again.
            return Ok(Some(step::DISK_WAIT));
        }
        let now = Timestamp::now();
        let waiting = self.holds.waiting(now);
        let due = [self.store.next_due(&waiting).await?, self.store.next_look(now).await?];
        let due = due.into_iter().flatten().min().map(|at| {
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO).min(LONGEST_SLEEP)
        });
        if self.attempts.is_empty() {
            self.downloader.rest();
        }
        let look = (unsettled || !waiting.is_empty() || !self.attempts.is_empty()).then_some(step::DISK_WAIT);
        Ok(due.into_iter().chain(look).min())
    }

    /// Files that failed because Google takes them for harmful are tried again as soon as that is allowed.
    async fn follow_settings(&mut self) -> Result<(), store::Error> {
        let acknowledges = self.downloader.acknowledges_abuse();
        if acknowledges && !self.acknowledged_abuse {
            let count = self.store.retry_failed_by_setting(Timestamp::now()).await?;
            if count > 0 {
                info!(
                    count,
                    "files that Google takes for harmful are downloaded now: download.acknowledge_abuse is set"
                );
            }
        }
        self.acknowledged_abuse = acknowledges;
        Ok(())
    }

    /// Starts what was claimed, as far as there is room. If the ledger fails in between, the rest is started as soon as
    /// it works again.
    async fn begin_claimed(&mut self) -> Result<(), store::Error> {
        while let Some(index) = self.next_claimed() {
            let delivery = self.claimed[index].clone();
            self.begin(delivery).await?;
            self.claimed.remove(index);
        }
        self.transfers.next.store(self.claimed.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Up to which size deliveries are to be claimed, if any are. Those that were claimed are waited for first.
    fn wanted(&self) -> Option<u64> {
        let load = self.load();
        if self.claimed.is_empty() && !load.is_full() { Some(u64::MAX) } else { load.longest_beside() }
    }

    /// Which of those that were claimed begins now: the first one, or a short one that passes it.
    fn next_claimed(&self) -> Option<usize> {
        let load = self.load();
        let size = |delivery: &Delivery| delivery.size.unwrap_or(u64::MAX);
        if load.takes(size(self.claimed.front()?)) {
            return Some(0);
        }
        self.claimed.iter().position(|delivery| load.takes_beside(size(delivery)))
    }

    /// Starts a delivery that was claimed, if its destination takes it.
    async fn begin(&mut self, delivery: Delivery) -> Result<(), store::Error> {
        if self.attempts.contains_key(&delivery.id) {
            // It was let go and came back before its last attempt has ended; two would write one part.
            let now = Timestamp::now();
            let later = now.checked_add(LAST_ATTEMPT).unwrap_or(now);
            let reason = delivery.reason.as_deref();
            self.store.put_back(&delivery.id, later, delivery.attempt, reason, now).await?;
        } else if self.holds.is_held(&delivery.destination.to_string_lossy()) {
            // Since it was claimed.
            let reason = delivery.reason.as_deref();
            self.store
                .put_back(&delivery.id, delivery.run_at, delivery.attempt, reason, Timestamp::now())
                .await?;
        } else if let Some(opened) = self.place_for(&delivery).await? {
            self.start(delivery, opened);
        }
        Ok(())
    }

    fn start(&mut self, delivery: Delivery, opened: Opened) {
        debug!(delivery.id = %delivery.id, file.id = %delivery.file_id, attempt = delivery.attempt, "a delivery begins");
        let stop = CancellationToken::new();
        self.has_parts = true;
        let turn = Arc::new(Turn { events: self.events.0.clone(), wake: self.wake.clone() });
        let running = Running::new(&opened, &delivery, stop.clone(), &turn);
        self.promise(running.size);
        self.attempts.insert(delivery.id.clone(), running);
        let attempt = Attempt {
            store: self.store.clone(),
            downloader: self.downloader.clone(),
            transfers: self.transfers.clone(),
            place: opened.place,
            publisher: self.publishers.entry(delivery.destination.clone()).or_default().clone(),
            stop,
        };
        let ended = Ended { id: delivery.id.clone(), attempt: delivery.attempt + 1, whole: false, hold: None };
        let mut end = End { ended: Some(ended), events: self.events.0.clone(), wake: self.wake.clone() };
        self.tasks.spawn(async move {
            if let Some(hold) = attempt.run(delivery, turn).await {
                end.in_order(hold);
            }
        });
    }

    /// Stops transfers whose delivery was superseded.
    async fn let_go(&mut self) -> Result<(), store::Error> {
        let running = self.attempts.iter().filter(|(_, running)| !running.stop.is_cancelled());
        let ids: Vec<DeliveryId> = running.map(|(id, _)| id.clone()).collect();
        let waiting = self.claimed.iter().map(|delivery| delivery.id.clone());
        let all: Vec<DeliveryId> = ids.iter().cloned().chain(waiting).collect();
        let open = self.store.open_among(&all).await?;
        self.claimed.retain(|delivery| open.contains(&delivery.id));
        self.transfers.next.store(self.claimed.len(), Ordering::Relaxed);
        for id in ids.iter().filter(|id| !open.contains(id)) {
            // Or done, and not reaped yet: then it is none the worse.
            if let Some(running) = self.attempts.get(id) {
                running.stop.cancel();
            }
        }
        Ok(())
    }

    async fn reap(&mut self, Ended { id, attempt, whole, hold }: Ended) -> Result<(), store::Error> {
        let running = self.attempts.remove(&id);
        if let (Some(running), Some(why)) = (running, hold) {
            self.hold(&running.root, &why);
        }
        if !whole {
            error!(delivery.id = %id, "an attempt ended without an outcome; it is repeated later");
            let now = Timestamp::now();
            let later = now.checked_add(FAULT_WAIT).unwrap_or(now);
            let reason = "its last attempt ended without an outcome; see the log";
            // A file that was being published may be at its path; the disk is checked.
            let back = match self.store.hold(&id, later, attempt, reason, now).await {
                Ok(false) => self.store.put_back(&id, later, attempt, Some(reason), now).await,
                held => held,
            };
            if back.is_err() {
                // The ledger fails still; this one must not be forgotten.
                let _ = self.events.0.send(Event::Ended(Ended { id, attempt, whole, hold: None }));
            }
            back?;
        }
        Ok(())
    }
}

/// An attempt that is over.
#[derive(Debug)]
struct Ended {
    id: DeliveryId,
    /// Failed attempts, if this one has failed.
    attempt: u32,
    /// Not so if it panicked, or if its outcome could not be written down.
    whole: bool,
    /// What is wrong with its destination.
    hold: Option<String>,
}

/// Says that an attempt is over, however it ends, and only then wakes the engine: it must not look too early.
struct End {
    ended: Option<Ended>,
    events: mpsc::UnboundedSender<Event>,
    wake: Wake,
}

impl End {
    fn in_order(&mut self, hold: Option<String>) {
        self.ended = self.ended.take().map(|ended| Ended { whole: true, hold, ..ended });
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // The receiver is dropped only when the engine has ended; then nothing waits for this attempt.
            let _ = self.events.send(Event::Ended(ended));
            let _ = self.wake.wake(Reason::Handover);
        }
    }
}

impl Step for Engine {
    /// One step: settles what a crash left, lets go of what was overtaken, and starts what is due.
    async fn step(&mut self, _: Activation) -> Next {
        match self.start_and_prune().await {
            Ok(due) => {
                self.last_error = None;
                Next { due, settle: Duration::ZERO, outcome: Ok(format!("{} running", self.attempts.len())) }
            }
            Err(error) => {
                let said = with_causes(&error);
                if self.last_error.as_ref() != Some(&said) {
                    error!(error = said, "no files are delivered");
                }
                self.last_error = Some(said.clone());
                Next { due: Some(STORE_WAIT), settle: Duration::ZERO, outcome: Err(said) }
            }
        }
    }
}
