//! The delivery engine: takes deliveries from the ledger, a few at once, and brings each to its place: download,
//! verify, publish, and every step into the ledger before the next. It never calls Drive itself.

mod attempt;
mod settle;
pub mod step;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::destination;
use crate::download::{self, Downloader};
use crate::model::{Delivery, DeliveryId};
use crate::store::{self, Store};
use crate::task::{Activation, Next, Reason, Step, Wake};
use crate::telemetry::transfers::Transfers;
use attempt::Attempt;

/// `[download]` of the configuration, as far as it concerns all transfers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Files at once.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { concurrency: 4 }
    }
}

/// Why a delivery stops short.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes did not come.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The destination cannot be used.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// The file could not be put in its place, or that could not be made durable.
    #[error(transparent)]
    Unpublished(destination::Error),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It was taken off the list meanwhile.
    #[error("overtaken")]
    Overtaken,
}

/// The ledger failed; nothing moves until it works again.
const STORE_WAIT: Duration = Duration::from_secs(10);

/// The engine.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    downloader: Downloader,
    config: Config,
    /// The destinations of the configuration, whose spools are tidied up at the start.
    destinations: Vec<PathBuf>,
    transfers: Arc<Transfers>,
    /// Wakes this engine, when one of its attempts has ended.
    wake: Wake,
    running: JoinSet<DeliveryId>,
    stops: HashMap<DeliveryId, CancellationToken>,
    /// Whether what an earlier run left has been taken up.
    taken_up: bool,
    last_error: Option<String>,
}

impl Engine {
    /// Ready for its first step.
    pub fn new(
        store: Store,
        downloader: Downloader,
        config: Config,
        destinations: Vec<PathBuf>,
        transfers: Arc<Transfers>,
        wake: Wake,
    ) -> Self {
        Self {
            store,
            downloader,
            config,
            destinations,
            transfers,
            wake,
            running: JoinSet::new(),
            stops: HashMap::new(),
            taken_up: false,
            last_error: None,
        }
    }

    /// Runs until nothing is pending or waiting for less than `patience`; for `sync`, which has an end.
    pub async fn drain(&mut self, patience: Duration) -> Result<(), store::Error> {
        loop {
            let due = self.start_due().await?;
            if self.running.is_empty() {
                match due {
                    Some(wait) if wait <= patience => tokio::time::sleep(wait).await,
                    Some(_) | None => return Ok(()),
                }
            } else {
                self.reap_one().await;
            }
        }
    }

    /// Stops all transfers at a written block, and waits for them.
    pub async fn stop(&mut self) {
        for stop in self.stops.values() {
            stop.cancel();
        }
        while !self.running.is_empty() {
            self.reap_one().await;
        }
    }

    async fn start_due(&mut self) -> Result<Option<Duration>, store::Error> {
        while let Some(ended) = self.running.try_join_next() {
            self.reap(ended);
        }
        if !self.taken_up {
            self.take_up().await?;
        }
        let unsettled = self.settle().await?;
        self.let_go().await?;
        while self.running.len() < self.config.concurrency.max(1) {
            let Some(delivery) = self.store.claim(Timestamp::now()).await? else { break };
            self.start(delivery);
        }
        if self.running.len() >= self.config.concurrency.max(1) {
            return Ok(None);
        }
        let due = self
            .store
            .next_due()
            .await?
            .map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO));
        Ok(if unsettled { Some(due.map_or(step::DISK_WAIT, |due| due.min(step::DISK_WAIT))) } else { due })
    }

    fn start(&mut self, delivery: Delivery) {
        debug!(delivery.id = %delivery.id, file.id = %delivery.file_id, attempt = delivery.attempt, "a delivery begins");
        let stop = CancellationToken::new();
        self.stops.insert(delivery.id.clone(), stop.clone());
        let attempt = Attempt {
            store: self.store.clone(),
            downloader: self.downloader.clone(),
            transfers: self.transfers.clone(),
            stop,
        };
        let wake = self.wake.clone();
        self.running.spawn(async move {
            let id = delivery.id.clone();
            attempt.run(delivery).await;
            // Nobody to wake means that the engine has ended, and then nobody waits for this one either.
            let _ = wake.wake(Reason::Handover);
            id
        });
    }

    /// Transfers whose delivery was taken off the list need not go on.
    async fn let_go(&mut self) -> Result<(), store::Error> {
        for (id, stop) in &self.stops {
            if !stop.is_cancelled() && !self.store.is_open(id).await? {
                info!(delivery.id = %id, "a transfer ends early: its delivery was overtaken");
                stop.cancel();
            }
        }
        Ok(())
    }

    async fn reap_one(&mut self) {
        if let Some(ended) = self.running.join_next().await {
            self.reap(ended);
        }
    }

    fn reap(&mut self, ended: Result<DeliveryId, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.stops.remove(&id);
            }
            Err(error) => {
                error!(%error, "a delivery ended in a fault of the program; it is taken up at the next start");
            }
        }
    }
}

impl Step for Engine {
    /// One step: settles what a crash left, lets go of what was overtaken, and starts what is due.
    async fn step(&mut self, _: Activation) -> Next {
        match self.start_due().await {
            Ok(due) => {
                self.last_error = None;
                Next { due, settle: Duration::ZERO, outcome: Ok(format!("{} running", self.running.len())) }
            }
            Err(error) => {
                let said = error.to_string();
                if self.last_error.as_ref() != Some(&said) {
                    error!(error = said, "deliveries stand still");
                }
                self.last_error = Some(said.clone());
                Next { due: Some(STORE_WAIT), settle: Duration::ZERO, outcome: Err(said) }
            }
        }
    }
}
