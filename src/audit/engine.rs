//! The engine: an audit after each comparison of all folders with the database, and whenever somebody asks for one.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::auditor::{Auditor, Pace};
use super::desk::Desk;
use super::report::{Outcome, Report, last};
use super::walk::concerns_all;
use super::{Error, Scope, Waits, Wanted};
use crate::drive::{Drive, Fault};
use crate::model::ResourceKeys;
use crate::store::{self, ComparisonState, Store};
use crate::task::{Activation, Next, Outcome as Said, Step, Wake};
use crate::telemetry::log::with_causes;

/// A configuration that changes during each audit is not waited for longer than so many audits.
const ATTEMPTS: u32 = 3;

/// The engine.
#[derive(Debug)]
pub struct Engine {
    drive: Drive,
    store: Store,
    wanted: watch::Receiver<Wanted>,
    desk: Desk,
    /// The engine that reads Drive.
    reader: Wake,
    waits: Waits,
    /// A failed audit is not repeated before this.
    not_before: Option<Timestamp>,
    said: Said,
}

impl Engine {
    /// Ready for its first step. `reader` is the engine that reads Drive.
    pub fn new(
        drive: Drive,
        store: Store,
        wanted: watch::Receiver<Wanted>,
        desk: Desk,
        reader: Wake,
        waits: Waits,
    ) -> Self {
        let said = Ok("no audit was due yet".to_owned());
        // After a pause the comparison that is due at the start comes first.
        let not_before = Timestamp::now().checked_add(waits.after_comparison).ok();
        Self { drive, store, wanted, desk, reader, waits, not_before, said }
    }

    async fn is_due(&mut self) -> Result<bool, store::Error> {
        let now = Timestamp::now();
        // A wait that is longer was noted when the clock was ahead.
        let left = self.not_before.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let longest = self.waits.again.max(self.waits.after_comparison);
        if left.is_some_and(|left| !left.is_zero() && left <= longest) {
            return Ok(false);
        }
        let last = self.store.audited().await?.filter(|last| *last <= now);
        let comparison = self.store.comparison_state().await?;
        let reconcile = self.wanted.borrow().reconcile;
        Ok(is_due(comparison, last, reconcile, &self.waits, now))
    }

    /// What an audit does that nobody has asked for. What was missing at the last one and has not come by the comparison
    /// after it is put in the queue.
    async fn unasked(&self) -> Scope {
        let last = last(&self.store).await.ok().flatten();
        Scope { checksums: false, fix: last.is_some_and(|report| report.total.missing > 0) }
    }

    /// What was missing at the last audit and has gone from Drive since is not missing any more. The change log tells nobody:
    /// the database does not know the file.
    async fn let_go(&mut self) -> Result<(), Error> {
        let Some(mut report) = last(&self.store).await? else { return Ok(()) };
        let mut gone = HashSet::new();
        for file in report.named(Outcome::Missing).filter(|file| !file.needs_key) {
            let is_gone = match self.drive.file(&file.file_id, &ResourceKeys::default()).await {
                Ok(file) => file.trashed,
                Err(error) if concerns_all(&error) => return Err(error.into()),
                Err(error) => error.fault() == Fault::NotFound,
            };
            if is_gone {
                gone.insert(file.file_id.clone());
            }
        }
        if !gone.is_empty() {
            info!(count = gone.len(), "files that the audit found missing are gone from Drive");
            report.let_go(&gone);
            self.store.keep_audit(report.began, &serde_json::to_string(&report)?).await?;
            if self.said.is_ok() {
                self.said = Ok(words(&report));
            }
        }
        Ok(())
    }

    async fn audit(&mut self, scope: Scope, pace: Pace) -> Result<Report, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.audit_once(scope, pace).await {
                Err(Error::Changed) if attempts < ATTEMPTS => {}
                outcome => return outcome,
            }
        }
    }

    async fn audit_once(&mut self, scope: Scope, pace: Pace) -> Result<Report, Error> {
        let rules = self.wanted.borrow_and_update().rules.clone();
        let mut changes = self.wanted.clone();
        let auditor = Auditor {
            drive: &self.drive,
            store: &self.store,
            rules: &rules,
            scope,
            waits: self.waits,
            pace,
            reader: Some(&self.reader),
            desk: Some(&self.desk),
        };
        tokio::select! {
            outcome = auditor.run() => outcome,
            Ok(()) = changes.changed() => Err(Error::Changed),
        }
    }

    /// Makes an audit and says what came of it. `number`: it was asked for.
    async fn make(&mut self, scope: Scope, number: Option<u64>) {
        self.desk.show(super::Progress::default());
        let pace = if number.is_some() { Pace::Asked } else { Pace::Unasked };
        let outcome = self.audit(scope, pace).await;
        let error = match outcome {
            Ok(report) => {
                self.not_before = None;
                self.said = Ok(tell(&report));
                None
            }
            Err(error) => {
                let said = with_causes(&error);
                if self.said.as_ref().err() != Some(&said) {
                    warn!(error = said, "the audit did not finish; it is repeated later");
                }
                self.not_before = Timestamp::now().checked_add(self.waits.again).ok();
                self.said = Err(said.clone());
                Some(said)
            }
        };
        self.desk.ended(number, error);
    }
}

/// Whether an audit follows the last comparison now.
fn is_due(
    comparison: ComparisonState,
    last: Option<Timestamp>,
    reconcile: Duration,
    waits: &Waits,
    now: Timestamp,
) -> bool {
    let since = |time: Timestamp| Duration::try_from(now.duration_since(time)).unwrap_or_default();
    let Some(began) = comparison.began else { return false };
    // Logs that cannot be read are not compared, since their folders are listed all the time.
    let is_overdue = |last: Timestamp| since(last) >= reconcile + waits.after_comparison;
    let is_wanted = last.is_none_or(|last| last < began || is_overdue(last));
    let is_over = !comparison.is_under_way || since(began) >= waits.comparison.min(reconcile);
    is_wanted && is_over && since(began) >= waits.after_comparison.min(reconcile)
}

fn words(report: &Report) -> String {
    let total = &report.total;
    format!(
        "{} wanted, {} here, {} taken away, {} changed, {} waiting, {} failed, {} skipped, {} missing",
        total.wanted,
        total.here,
        total.taken_away,
        total.changed,
        total.waiting,
        total.failed,
        total.skipped,
        total.missing
    )
}

fn tell(report: &Report) -> String {
    let said = words(report);
    match report.complaint() {
        Some(complaint) => error!(outcome = said, "the audit found missing files: {complaint}"),
        None if report.queued > 0 => {
            info!(outcome = said, queued = report.queued, "the audit has put missing files in the queue");
        }
        None => info!(outcome = said, "the audit is finished"),
    }
    said
}

impl Step for Engine {
    async fn step(&mut self, _: Activation) -> Next {
        if let Some((number, scope)) = self.desk.take() {
            self.make(scope, Some(number)).await;
        } else {
            match self.is_due().await {
                Ok(true) => {
                    let scope = self.unasked().await;
                    self.make(scope, None).await;
                }
                Ok(false) => {
                    if let Err(error) = self.let_go().await {
                        debug!(error = with_causes(&error), "Drive cannot be asked for missing files now");
                    }
                }
                Err(error) => self.said = Err(with_causes(&error)),
            }
        }
        Next { due: Some(self.waits.look), settle: Duration::ZERO, outcome: self.said.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn an_audit_follows_each_comparison_once() {
        let reconcile = Duration::from_hours(24);
        let due = |began: Option<i64>, is_under_way, last: Option<i64>, now| {
            let comparison = ComparisonState { began: began.map(at), is_under_way };
            is_due(comparison, last.map(at), reconcile, &Waits::default(), at(now))
        };
        assert!(!due(Some(0), false, None, 14) && due(Some(0), false, None, 15));
        assert!(!due(Some(0), false, Some(15), 60), "once");
        assert!(due(Some(1440), false, Some(15), 1455));
        assert!(
            !due(Some(0), true, None, 59) && due(Some(0), true, None, 60),
            "a folder that cannot be listed"
        );
        assert!(!due(None, false, None, 60), "nothing has been read yet");
        let quarter = 15;
        assert!(
            !due(Some(0), false, Some(1), 1440 + quarter) && due(Some(0), false, Some(1), 1441 + quarter)
        );
        let often = Duration::from_mins(1);
        let comparison = ComparisonState { began: Some(at(0)), is_under_way: false };
        assert!(is_due(comparison, None, often, &Waits::default(), at(1)));
    }
}
