//! The jobs of the engine, which go on from step to step. Each can be dropped at any time: what it has done is in the
//! ledger.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::error::Error;
use super::listing;
use super::reading::Read;
use super::watched::Round;
use crate::model::ChangeLog;
use crate::store::DueFolder;

/// The end of a job.
pub(super) enum Ended {
    /// The folders of the configuration were looked at.
    Looked(Result<Round, Error>),
    /// A log was read.
    Read(ChangeLog, Read, Result<(), Error>),
    /// A folder was listed, which took so long.
    Listed(Box<DueFolder>, Duration, Result<listing::Done, Error>),
    /// Drive was asked what was left open.
    Asked(Result<usize, Error>),
}

/// What was done since the last outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries of change logs read.
    pub changes: usize,
    /// Folders listed.
    pub listed: usize,
    /// Deliveries left for the delivery engine.
    pub found: usize,
}

type Job = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// All jobs.
#[derive(Default)]
pub(super) struct Jobs {
    running: FuturesUnordered<Job>,
    /// They have ended, and nobody has asked yet.
    ended: VecDeque<Ended>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jobs({} running)", self.running.len())
    }
}

impl Jobs {
    pub(super) fn push(&mut self, job: impl Future<Output = Ended> + Send + 'static) {
        self.running.push(Box::pin(job));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.ended.is_empty()
    }

    /// Drops all jobs.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.ended.clear();
    }

    /// The next one that ends; `None` if there is none.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        match self.ended.pop_front() {
            Some(ended) => Some(ended),
            None => self.running.next().await,
        }
    }

    /// Does something else while the jobs go on. A job that nobody drives may hold the connection to the database.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = other.as_mut() => return done,
                Some(ended) = self.running.next(), if !self.running.is_empty() => self.ended.push_back(ended),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_what_a_job_holds_gets_it() {
        let held = Arc::new(Mutex::new(()));
        let mut jobs = Jobs::default();
        let other = held.clone();
        jobs.push(async move {
            let _held = other.lock().await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            Ended::Asked(Ok(7))
        });
        // The job begins, and is left where it holds it.
        assert!(futures_util::FutureExt::now_or_never(jobs.next()).is_none());
        drop(jobs.beside(held.lock()).await);
        assert!(!jobs.is_empty() && matches!(jobs.next().await, Some(Ended::Asked(Ok(7)))));
        assert!(jobs.is_empty() && jobs.next().await.is_none());
    }
}
