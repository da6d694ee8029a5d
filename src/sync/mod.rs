//! The sync engine: reads change logs and folder listings into the ledger. Push, poll, start, `sync` and a person's
//! request run the same step. It downloads nothing; it leaves deliveries and wakes who does.

pub mod account;
mod contents;
pub mod decide;
mod pass;
mod reading;
pub mod rules;
mod shortcuts;
pub mod tree;
mod watched;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::drive::{self, Drive, Fault};
use crate::http::jitter;
use crate::model::{ChangeLog, FileId};
use crate::retry::{Class, Policy, Streak, Verdict};
use crate::store::{self, Store};
use crate::task::{Activation, Next, Reason, Step, Wake};
use crate::telemetry::log::with_causes;
use rules::Rules;
use watched::Claim;

/// `[sync]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Changes are listed this often even if nobody called.
    pub poll: Duration,
    /// The folders are compared with the ledger this often.
    pub reconcile: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll: Duration::from_mins(10), reconcile: Duration::from_hours(24) }
    }
}

/// What the configuration asks for; it may change while the program runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// How often to look.
    pub config: Config,
    /// The watched folders.
    pub folders: Vec<rules::Folder>,
}

/// Drive's log is eventually consistent: a list right after a notification may lack what it announced. One that found
/// nothing is followed by another look after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// The ledger failed: its disk may be full. Looking costs nothing.
const STORE_WAIT: Duration = Duration::from_secs(10);
/// Notifications come in twos and threes for one upload; what comes this close together is one step.
const SETTLE: Duration = Duration::from_millis(250);

/// Why a step could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Drive did not do what was asked.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A watched folder cannot be watched.
    #[error("folder {id}: {why}")]
    Folder {
        /// As the configuration names it.
        id: String,
        /// What is wrong, and what to do.
        why: String,
    },
}

/// What a step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries of change logs read.
    pub changes: usize,
    /// Folders listed.
    pub listed: usize,
    /// Deliveries left for the delivery engine.
    pub found: usize,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    drive: Drive,
    store: Store,
    wanted: watch::Receiver<Wanted>,
    config: Config,
    /// The rules whose folders are known, with the folders' real ids, in the order of the configuration.
    rules: Rules,
    /// All rules of the configuration, in its order.
    claims: Vec<Claim>,
    /// Whether each of them has its folder, and no other folder is watched.
    settled: bool,
    /// What the folders of the configuration are in Drive, by the id that they are configured under: `root` is an alias.
    ids: HashMap<FileId, FileId>,
    deliveries: Wake,
    keeper: Wake,
    failures: Streak,
    last_error: Option<String>,
}

impl Engine {
    /// Ready for its first step. `deliveries` and `keeper` are woken when there is something for them.
    pub fn new(
        drive: Drive,
        store: Store,
        mut wanted: watch::Receiver<Wanted>,
        deliveries: Wake,
        keeper: Wake,
    ) -> Self {
        let Wanted { config, folders } = wanted.borrow_and_update().clone();
        Self {
            drive,
            store,
            wanted,
            config,
            rules: Rules::default(),
            claims: folders.into_iter().map(Claim::new).collect(),
            settled: false,
            ids: HashMap::new(),
            deliveries,
            keeper,
            failures: Streak::default(),
            last_error: None,
        }
    }

    /// Everything that is new, into the ledger. What was read before a failure stays recorded.
    pub async fn catch_up(&mut self) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        self.take_over();
        // An error: which folders are watched is not known, and what is read now would be taken for nobody's.
        let mut outcome = self.resolve_folders().await?.map_or(Ok(()), Err);
        let mut read_logs: Vec<ChangeLog> = Vec::new();
        // A pass may find folders on another log, by a shortcut for one.
        while let Some(log) = self.store.folder_logs().await?.into_iter().find(|log| !read_logs.contains(log))
        {
            read_logs.push(log.clone());
            let mut pass = self.pass(&log);
            // Boxed: with a page ahead it is large, and every task that runs it would be.
            let mut read = Box::pin(pass.run()).await;
            tally.changes += pass.tally.changes;
            tally.listed += pass.tally.listed;
            tally.found += pass.tally.found;
            let (progressed, lost) = (pass.tally.changes + pass.tally.listed > 0, pass.lost.take());
            if let Err(Error::Drive(error)) = &read
                && matches!(error.fault(), Fault::NotMember | Fault::NotFound | Fault::Forbidden)
                && self.store.forget_log(&log).await?
            {
                warn!(log = %log, %error, "a shortcut leads to a shared drive that the account cannot follow; make it a member");
                read = Ok(());
            }
            if read.is_err() && progressed {
                // What goes on page by page is not made slower and slower by what goes wrong in between.
                self.failures.progressed();
            }
            // What goes wrong on one log is no reason to leave the others unread.
            outcome = outcome.and(read).and(lost.map_or(Ok(()), Err));
        }
        tally.found += self.look_at_unready().await?;
        outcome.map(|()| tally)
    }

    /// The configuration may be another one than at the last step.
    fn take_over(&mut self) {
        // Without whoever sends it, it stays as it is: `sync` has nobody who does.
        if !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let Wanted { config, folders } = self.wanted.borrow_and_update().clone();
        self.config = config;
        self.rules = Rules::default();
        self.claims = folders.into_iter().map(Claim::new).collect();
        self.settled = false;
    }

    async fn went_well(&mut self, activation: Activation, tally: Tally) -> Next {
        if self.last_error.take().is_some() {
            info!(failures = self.failures.count(), "Drive is read again");
        }
        self.failures.progressed();
        let announced = activation.reason == Reason::Push && activation.waited < LOOK_AGAIN;
        let mut due =
            if announced && tally.changes == 0 { LOOK_AGAIN.min(self.config.poll) } else { self.config.poll };
        if let Ok(Some(at)) = self.store.next_unready().await {
            let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
            due = due.min(wait.max(SETTLE));
        }
        let outcome =
            format!("{} changes, {} folders listed, {} new", tally.changes, tally.listed, tally.found);
        Next { due: Some(due), settle: SETTLE, outcome: Ok(outcome) }
    }

    fn went_wrong(&mut self, error: &Error) -> Next {
        let wait = match error {
            Error::Drive(error) => {
                let count = self.failures.failed(error.class());
                match Policy::CALL.decide(error.class(), count, error.retry_after(), jitter()) {
                    Verdict::After(wait) => wait,
                    Verdict::GiveUp => Policy::CALL.cap,
                }
            }
            Error::Store(_) => STORE_WAIT,
            Error::Folder { .. } => watched::FOLDER_WAIT.min(self.config.poll),
        };
        // What is wrong with one folder or one log is no reason to let new files in the others wait.
        let concerns_all = match error {
            Error::Drive(error) => !matches!(error.class(), Class::Permanent | Class::Configuration),
            Error::Store(_) => true,
            Error::Folder { .. } => false,
        };
        let settle = if concerns_all { wait } else { SETTLE };
        let said = with_causes(error);
        // Once a state, not once an attempt.
        if self.last_error.as_ref() != Some(&said) {
            error!(error = %said, retry_ms = wait.as_millis() as u64, "Drive cannot be read");
        }
        self.last_error = Some(said.clone());
        Next { due: Some(wait), settle, outcome: Err(said) }
    }
}

impl Step for Engine {
    /// One step: everything that is new, into the ledger.
    async fn step(&mut self, activation: Activation) -> Next {
        let outcome = self.catch_up().await;
        match outcome {
            Ok(tally) => self.went_well(activation, tally).await,
            Err(error) => self.went_wrong(&error),
        }
    }
}
