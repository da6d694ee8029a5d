//! The engine: at most one reader for each change log, one lister and one asker, which go on side by side from step to
//! step. A log is read while folders are listed, and a log or a folder that fails waits alone.

mod once;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, error, info};

use super::asking::Asker;
use super::calls::{Calls, Nobody, SILENT_POLL};
use super::desk::Desk;
use super::error::Error;
use super::follower::{Follower, SETTLE};
use super::jobs::{Ended, Jobs, Tally};
use super::listing::{self, Lister};
use super::pace::Pace;
use super::reading::{Read, Reader};
use super::settings::{Config, Wanted};
use super::waits::until;
use super::watched::{Claims, FOLDER_WAIT, Round, forget_suspended};
use crate::drive::Drive;
use crate::model::ChangeLog;
use crate::store::{DueFolder, Listing, Store, Urgency};
use crate::task::{Activation, Next, Reason, Step, Wake, counted};
use crate::telemetry::log::with_causes;

/// Drive's log is eventually consistent: a list right after a notification may lack what it announced. One that found
/// nothing is followed by another look after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// The ledger failed: its disk may be full. Looking costs nothing.
const STORE_WAIT: Duration = Duration::from_secs(10);
/// A step with work that goes on ends after this long, so that wake-ups are heard.
const BUDGET: Duration = Duration::from_millis(250);
/// What is due but cannot begin is looked at again after this long.
const BLOCKED: Duration = Duration::from_secs(1);

/// Whether the engine goes on after what it does now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Until then.
    Until(Instant),
    /// Until nothing is left to do.
    Once,
}

impl Mode {
    fn is_over(self) -> bool {
        match self {
            Self::Until(end) => end <= Instant::now(),
            Self::Once => false,
        }
    }
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    drive: Drive,
    store: Store,
    wanted: watch::Receiver<Wanted>,
    config: Config,
    claims: Claims,
    desk: Desk,
    deliveries: Wake,
    keeper: Wake,
    calls: Arc<dyn Calls>,
    /// What goes on. Each job can be dropped at any time.
    jobs: Jobs,
    looker: Pace,
    logs: HashMap<ChangeLog, Follower>,
    lister: Pace,
    /// The urgency of the folder that is listed now.
    listing: Option<Urgency>,
    /// Folders are not compared before this: comparisons leave as much time as they take.
    compare_after: Instant,
    asker: Pace,
    tally: Tally,
    /// A notification has announced something.
    is_announced: bool,
    /// Work that belongs to the next outcome goes on.
    is_busy: bool,
    has_begun: bool,
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
        let claims = Claims::new(folders, HashMap::new());
        let desk = Desk::new(store.clone(), claims.rules(), deliveries.clone(), drive.describe());
        Self {
            drive,
            store,
            wanted,
            config,
            claims,
            desk,
            deliveries,
            keeper,
            calls: Arc::new(Nobody),
            jobs: Jobs::default(),
            looker: Pace::default(),
            logs: HashMap::new(),
            lister: Pace::default(),
            listing: None,
            compare_after: Instant::now(),
            asker: Pace::default(),
            tally: Tally::default(),
            is_announced: false,
            is_busy: false,
            has_begun: false,
            last_error: None,
        }
    }

    /// The same with somebody who hears Google's calls.
    #[must_use]
    pub fn hearing(self, calls: Arc<dyn Calls>) -> Self {
        Self { calls, ..self }
    }

    /// The configuration may be another one than at the last step.
    fn take_over(&mut self) {
        // Without whoever sends it, it stays as it is: `sync` has nobody who does.
        if !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let Wanted { config, folders } = self.wanted.borrow_and_update().clone();
        self.config = config;
        self.claims.renew(folders);
        self.looker = Pace::default();
        self.interrupt();
    }

    /// Drops all that goes on; it begins anew when it is due.
    fn interrupt(&mut self) {
        self.jobs.clear();
        self.listing = None;
        self.logs.values_mut().for_each(|follower| follower.is_watched = false);
        for pace in [&mut self.looker, &mut self.lister, &mut self.asker] {
            pace.interrupted();
        }
        for follower in self.logs.values_mut().filter(|follower| follower.pace.is_running()) {
            follower.pace.interrupted();
            follower.is_wanted = true;
        }
    }

    fn want_logs(&mut self) {
        self.logs.values_mut().for_each(|follower| follower.is_wanted = true);
    }

    /// Starts what is due, and waits for what ends.
    async fn advance(&mut self, mode: Mode) -> Result<(), Error> {
        if !self.has_begun {
            self.jobs.beside(self.store.forget_far_waits(Timestamp::now())).await?;
            self.has_begun = true;
        }
        let mut was_busy = self.is_busy;
        loop {
            self.start(mode).await?;
            self.is_busy = self.is_working();
            // What is left then are later listings and comparisons, which the outcome does not wait for.
            let has_outcome = mode != Mode::Once && was_busy;
            if !self.is_busy && (has_outcome || self.jobs.is_empty()) {
                return Ok(());
            }
            was_busy |= self.is_busy;
            match self.next(mode).await {
                Some(ended) => self.end(ended).await?,
                None if mode.is_over() => return Ok(()),
                None => {}
            }
        }
    }

    /// The next job that ends. `None`: another one may begin, or it is time to return.
    async fn next(&mut self, mode: Mode) -> Option<Ended> {
        let now = Instant::now();
        let wanted =
            self.logs.values().filter(|log| log.is_watched && log.is_wanted && !log.pace.is_running());
        let begins = wanted.map(|log| log.due(now)).min();
        let until = match (mode, begins) {
            (Mode::Until(end), Some(begins)) => Some(end.min(begins)),
            (Mode::Until(end), None) => Some(end),
            (Mode::Once, begins) => begins.filter(|_| self.jobs.is_empty()),
        };
        match (until, self.jobs.is_empty()) {
            (Some(until), true) => {
                sleep_until(until).await;
                None
            }
            (Some(until), false) => timeout_at(until, self.jobs.next()).await.ok().flatten(),
            (None, _) => self.jobs.next().await,
        }
    }

    /// Whether work goes on that the next outcome is about. Later listings and comparisons are not.
    fn is_working(&self) -> bool {
        self.looker.is_running()
            || self.asker.is_running()
            || self.listing == Some(Urgency::Urgent)
            || self.logs.values().any(Follower::is_working)
    }

    /// Starts what is due and not running.
    async fn start(&mut self, mode: Mode) -> Result<(), Error> {
        let now = Instant::now();
        self.jobs.beside(self.claims.forget_aliases(&self.store)).await?;
        if !self.claims.is_settled() && self.looker.is_free(now) {
            self.looker.begin();
            let (look, drive, store) = (self.claims.look(), self.drive.clone(), self.store.clone());
            self.jobs.push(async move { Ended::Looked(look.run(&drive, &store).await) });
        }
        if !self.claims.is_known() {
            return Ok(());
        }
        // A new file is in a log that is known. Whatever else may be due is looked for while Drive answers.
        self.read_due(now);
        self.list(mode, now).await?;
        let logs = self.jobs.beside(self.store.folder_logs()).await?;
        self.logs.retain(|log, follower| follower.pace.is_running() || logs.contains(log));
        for log in logs {
            self.logs.entry(log).or_insert_with(|| Follower::new(now)).is_watched = true;
        }
        self.read_due(now);
        let asked = self.jobs.beside(self.store.next_asked()).await?;
        if self.asker.is_free(now) && asked.is_some_and(|due| due <= Timestamp::now()) {
            self.asker.begin();
            let (desk, drive, waits) = (self.desk.clone(), self.drive.clone(), self.config.waits);
            self.jobs.push(async move {
                Ended::Asked(Asker { drive: &drive, desk: &desk, waits: &waits }.ask().await)
            });
        }
        Ok(())
    }

    /// Begins to read each log that is due.
    fn read_due(&mut self, now: Instant) {
        let due = self.logs.iter().filter(|(_, follower)| follower.is_watched && follower.is_due(now));
        for log in due.map(|(log, _)| log.clone()).collect::<Vec<_>>() {
            self.read(log, now);
        }
    }

    fn read(&mut self, log: ChangeLog, now: Instant) {
        let Some(follower) = self.logs.get_mut(&log) else { return };
        follower.pace.begin();
        (follower.is_wanted, follower.began, follower.reading) = (false, Some(now), Some(Timestamp::now()));
        let (desk, drive, keeper) = (self.desk.clone(), self.drive.clone(), self.keeper.clone());
        let reconcile = self.config.reconcile;
        self.jobs.push(async move {
            let mut read = Read::default();
            let reader = Reader { source: &drive, desk: &desk, log: &log, keeper: &keeper, reconcile };
            let outcome = reader.read(&mut read).await;
            Ended::Read(log, read, outcome)
        });
    }

    /// Lists the most urgent folder.
    async fn list(&mut self, mode: Mode, now: Instant) -> Result<(), Error> {
        if !self.lister.is_free(now) {
            return Ok(());
        }
        let is_compared = mode == Mode::Once || now >= self.compare_after;
        let least = if is_compared { Urgency::Compare } else { Urgency::Again };
        let due = self.jobs.beside(self.store.due_folder(least, Timestamp::now())).await?;
        if due.as_ref().is_none_or(|due| due.urgency != Urgency::Urgent) {
            for follower in self.logs.values_mut().filter(|follower| follower.is_unsettled) {
                (follower.is_unsettled, follower.is_wanted) = (false, true);
            }
        }
        let Some(due) = due else { return Ok(()) };
        self.lister.begin();
        self.listing = Some(due.urgency);
        let (desk, drive, waits) = (self.desk.clone(), self.drive.clone(), self.config.waits);
        self.jobs.push(async move {
            let began = Instant::now();
            let lister = Lister { drive: &drive, desk: &desk, waits: &waits, due: &due };
            let outcome = lister.list().await;
            Ended::Listed(Box::new(due), began.elapsed(), outcome)
        });
        Ok(())
    }

    /// Takes in what a job has brought. `Err`: the ledger failed.
    async fn end(&mut self, ended: Ended) -> Result<(), Error> {
        let now = Instant::now();
        match ended {
            Ended::Looked(Ok(round)) => self.looked(round, now).await?,
            Ended::Looked(Err(error)) => self.looker.failed(error, now)?,
            Ended::Read(log, read, outcome) => {
                self.tally.changes += read.changes;
                self.tally.found += read.found;
                let Some(follower) = self.logs.get_mut(&log) else { return Ok(()) };
                if read.changes > 0 {
                    follower.pace.progressed();
                }
                match outcome {
                    Ok(()) => {
                        follower.pace.went_well();
                        let last = std::mem::replace(&mut follower.read, follower.reading.take());
                        if let Some(since) = last.filter(|_| read.is_news) {
                            self.calls.found(&log, since, Timestamp::now());
                        }
                        let poll = self.config.poll;
                        follower.next =
                            now + if self.calls.is_silent(&log) { poll.min(SILENT_POLL) } else { poll };
                        follower.is_wanted |= read.is_overtaken;
                    }
                    Err(error) => {
                        follower.next = now;
                        follower.pace.failed(error, now)?;
                    }
                }
            }
            Ended::Listed(due, took, outcome) => self.listed(&due, took, outcome, now)?,
            Ended::Asked(Ok(found)) => {
                self.tally.found += found;
                self.asker.went_well();
            }
            Ended::Asked(Err(error)) => self.asker.failed(error, now)?,
        }
        Ok(())
    }

    fn listed(
        &mut self,
        due: &DueFolder,
        took: Duration,
        outcome: Result<listing::Done, Error>,
        now: Instant,
    ) -> Result<(), Error> {
        self.listing = None;
        if due.urgency == Urgency::Compare {
            self.compare_after = now + took;
        }
        match outcome {
            Ok(done) => {
                self.lister.went_well();
                self.tally.listed += usize::from(done.is_finished);
                self.tally.found += done.found;
                if matches!(due.folder.listing, Listing::Note | Listing::Widen)
                    && let Some(follower) = self.logs.get_mut(&due.folder.log)
                {
                    follower.is_unsettled = true;
                }
                Ok(())
            }
            Err(error) => self.lister.failed(error, now),
        }
    }

    /// The folders of the configuration have been looked at.
    async fn looked(&mut self, round: Round, now: Instant) -> Result<(), Error> {
        let taken = self.jobs.beside(self.claims.take_in(round, &self.store)).await?;
        if taken.has_new_folders && self.keeper.wake(Reason::Handover).is_err() {
            debug!("there is no channel keeper");
        }
        match taken.error {
            None => self.looker.went_well(),
            Some(error @ Error::Folder { .. }) => {
                self.looker.wait(FOLDER_WAIT.min(self.config.poll), error, now);
            }
            Some(error) => self.looker.failed(error, now)?,
        }
        if taken.has_new_rules {
            self.interrupt();
            self.jobs.beside(self.desk.tell_what_was_brought()).await;
            let account = self.drive.describe();
            self.desk = Desk::new(self.store.clone(), self.claims.rules(), self.deliveries.clone(), account);
            self.jobs.beside(self.desk.expect(taken.changed)).await;
            self.jobs.beside(self.store.look_at_failed(Timestamp::now())).await?;
            self.want_logs();
        }
        Ok(())
    }

    fn paces(&mut self) -> impl Iterator<Item = &mut Pace> {
        let mut logs: Vec<(&ChangeLog, &mut Follower)> = self.logs.iter_mut().collect();
        logs.sort_by_key(|(log, _)| *log);
        let logs = logs.into_iter().map(|(_, follower)| &mut follower.pace);
        [&mut self.looker].into_iter().chain(logs).chain([&mut self.lister, &mut self.asker])
    }

    fn take_error(&mut self) -> Option<Error> {
        self.paces().find_map(Pace::take_error)
    }

    /// When something is due.
    async fn due(&mut self) -> Result<Duration, Error> {
        let (now, at) = (Instant::now(), Timestamp::now());
        let logs = self.logs.values().filter(|follower| follower.is_watched);
        let mut due: Vec<Instant> = logs.map(|follower| follower.due(now)).collect();
        due.push(now + self.config.poll);
        due.extend(self.looker.not_before().filter(|_| !self.claims.is_settled()));
        if self.compare_after > now {
            due.push(self.compare_after);
        }
        let later = |due: Option<Timestamp>, pace: &Pace| {
            let wait = until(due?, at);
            // What could have begun by now is waiting for something else.
            let begins = now + if wait.is_zero() { BLOCKED } else { wait };
            Some(pace.not_before().map_or(begins, |not_before| begins.max(not_before)))
        };
        due.extend(later(self.jobs.beside(self.store.next_folder()).await?, &self.lister));
        due.extend(later(self.jobs.beside(self.store.next_asked()).await?, &self.asker));
        Ok(due.into_iter().min().map_or(Duration::ZERO, |due| due.saturating_duration_since(now)))
    }

    /// The outcome of what was done, once nothing of it goes on.
    async fn outcome(&mut self) -> Result<Next, Error> {
        let tally = std::mem::take(&mut self.tally);
        let now = Instant::now();
        self.jobs.beside(self.desk.tell_what_was_brought()).await;
        if std::mem::take(&mut self.is_announced) && tally.changes == 0 {
            self.logs.values_mut().for_each(|log| log.next = log.next.min(now + LOOK_AGAIN));
        }
        let due = if self.jobs.is_empty() { self.due().await? } else { Duration::ZERO };
        // While a job goes on, nothing is waited for.
        let settle = if self.jobs.is_empty() { SETTLE } else { Duration::ZERO };
        let error = self.paces().find_map(|pace| pace.error().map(|error| with_causes(error)));
        let outcome = match error {
            None => {
                if self.last_error.take().is_some() {
                    info!("Drive is read again");
                }
                Ok([(tally.changes, "change"), (tally.listed, "folder listed"), (tally.found, "file found")]
                    .map(|(count, word)| counted(count, word))
                    .join(", "))
            }
            Some(said) => {
                // Once a state, not once an attempt.
                if self.last_error.as_ref() != Some(&said) {
                    error!(error = %said, retry_ms = due.as_millis() as u64, "Drive cannot be read");
                }
                self.last_error = Some(said.clone());
                Err(said)
            }
        };
        Ok(Next { due: Some(due), settle, outcome })
    }

    /// The ledger failed: everything begins anew.
    fn broke(&mut self, error: &Error) -> Next {
        self.interrupt();
        self.is_busy = false;
        let said = with_causes(error);
        if self.last_error.as_ref() != Some(&said) {
            error!(error = %said, retry_ms = STORE_WAIT.as_millis() as u64, "Drive cannot be read");
        }
        self.last_error = Some(said.clone());
        Next { due: Some(STORE_WAIT), settle: STORE_WAIT, outcome: Err(said) }
    }
}

impl Step for Engine {
    /// One step: starts what is due, and waits a moment for what goes on.
    async fn step(&mut self, activation: Activation) -> Next {
        self.take_over();
        self.is_announced |= activation.reason == Reason::Push && activation.waited < LOOK_AGAIN;
        if activation.reason != Reason::Due || activation.asked {
            self.want_logs();
        }
        let outcome = async {
            self.advance(Mode::Until(Instant::now() + BUDGET)).await?;
            if self.is_busy {
                let outcome = Ok("reads Drive".to_owned());
                return Ok(Next { due: Some(Duration::ZERO), settle: Duration::ZERO, outcome });
            }
            self.jobs.beside(forget_suspended(&self.store)).await?;
            self.outcome().await
        };
        match outcome.await {
            Ok(next) => next,
            Err(error) => self.broke(&error),
        }
    }

    fn goes_on(&self) -> bool {
        self.is_busy
    }
}
