//! The engine: a step settles what a crash has left, lets go of what was superseded, and begins what is due.

mod attempts;
mod history;
mod places;
mod queue;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info};

use super::events::{Event, Events};
use super::publisher::Publisher;
use super::reaction::DISK_WAIT;
use super::{Config, Wanted};
use crate::destination::Marker;
use crate::download::Downloader;
use crate::model::{Delivery, DeliveryId};
use crate::store::{self, Store};
use crate::task::{Activation, Next, Step, Wake, counted};
use crate::telemetry::holds::Holds;
use crate::telemetry::log::with_causes;
use crate::telemetry::transfers::Transfers;
use attempts::RunningAttempt;
use history::Pruning;
use places::Opened;
use queue::TURNED_AWAY_AT_MOST;

/// As long as there are deliveries to begin with, neither the ledger nor a destination is asked more often than this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The longest sleep: the clock may be corrected meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_mins(10);
/// `sync` removes old history for this long at its end.
const PRUNED_FOR: Duration = Duration::from_secs(1);
/// The ledger failed; nothing moves until it works again.
const STORE_WAIT: Duration = Duration::from_secs(10);

/// The engine.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    downloader: Downloader,
    wanted: watch::Receiver<Wanted>,
    transfers: Arc<Transfers>,
    tasks: JoinSet<()>,
    attempts: HashMap<DeliveryId, RunningAttempt>,
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
    /// The way from attempts to this engine.
    events: Events,
    /// What they have told and it has not read yet.
    told: mpsc::UnboundedReceiver<Event>,
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
        let (sender, told) = mpsc::unbounded_channel();
        Self {
            store,
            downloader,
            wanted,
            transfers,
            tasks: JoinSet::new(),
            attempts: HashMap::new(),
            claimed: VecDeque::new(),
            markers: HashMap::new(),
            opened: HashMap::new(),
            unanswered: HashMap::new(),
            turned_away: 0,
            holds,
            publishers: HashMap::new(),
            events: Events::new(sender, wake),
            told,
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
                    if let Some(Event::Ended(ended)) = self.told.recv().await {
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
        self.reap_all().await?;
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
        // Whatever becomes due during this step is due for the next one.
        let now = Timestamp::now();
        self.look_at_held(now).await?;
        let unsettled = self.settle(now).await?;
        self.let_go().await?;
        self.tidy_up().await?;
        self.look_at_stuck().await?;
        self.claim().await?;
        if self.turned_away >= TURNED_AWAY_AT_MOST {
            return Ok(Some(Duration::ZERO));
        }
        if !self.claimed.is_empty() || self.load().is_full() {
            // Whatever ends, and whatever comes, leads here again.
            return Ok(Some(DISK_WAIT));
        }
        self.next_step(unsettled, now).await
    }

    /// When there is something to do again without being woken. Disks were looked at as of `looked`.
    async fn next_step(
        &mut self,
        unsettled: bool,
        looked: Timestamp,
    ) -> Result<Option<Duration>, store::Error> {
        let now = Timestamp::now();
        let waiting = self.holds.waiting(looked);
        let due = [self.store.next_due(&waiting).await?, self.store.next_look(looked).await?];
        let due = due.into_iter().flatten().min().map(|at| {
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO).min(LONGEST_SLEEP)
        });
        if self.attempts.is_empty() {
            self.downloader.rest();
            // A disk of which nothing is open can be unmounted.
            self.opened.clear();
        }
        let look = (unsettled || !waiting.is_empty() || !self.attempts.is_empty()).then_some(DISK_WAIT);
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
                    "files that Google has marked as harmful are downloaded now: download.acknowledge_abuse is set"
                );
            }
        }
        self.acknowledged_abuse = acknowledges;
        Ok(())
    }
}

impl Step for Engine {
    /// One step: settles what a crash left, lets go of what was overtaken, and starts what is due.
    async fn step(&mut self, _: Activation) -> Next {
        match self.start_and_prune().await {
            Ok(due) => {
                self.last_error = None;
                Next { due, settle: Duration::ZERO, outcome: Ok(counted(self.attempts.len(), "download")) }
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
