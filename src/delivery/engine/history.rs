//! Removes what the ledger does not keep for ever, a few rows in a step: the deliveries need the ledger in between.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info};

use super::Engine;
use crate::store::{self, Position};

/// Between two rounds.
const ROUND: Duration = Duration::from_hours(1);
/// Between two steps of a round.
const PAUSE: Duration = Duration::from_secs(1);

/// How far the current round is.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    position: Position,
    /// Rows that this round has removed.
    count: u64,
    due: Option<Instant>,
}

impl Engine {
    /// Does the next step if it is due, and says when the one after it is.
    pub(super) async fn prune(&mut self) -> Result<Duration, store::Error> {
        if let Some(due) = self.pruning.due
            && let Some(wait) = due.checked_duration_since(Instant::now())
        {
            return Ok(wait);
        }
        let pruned = self.store.prune(self.pruning.position, Timestamp::now()).await?;
        self.pruning.count += pruned.count;
        let wait = if let Some(next) = pruned.next {
            self.pruning.position = next;
            PAUSE
        } else {
            let count = std::mem::take(&mut self.pruning).count;
            if count > 0 {
                info!(count, "old history was removed from the database");
            }
            ROUND
        };
        self.pruning.due = Some(Instant::now() + wait);
        Ok(wait)
    }

    /// Does as many steps as this time allows; for `sync`, which has an end.
    pub(super) async fn prune_for(&mut self, time: Duration) -> Result<(), store::Error> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.pruning.due = None;
            if self.prune().await? == ROUND {
                return Ok(());
            }
        }
        debug!("the next run removes more of the old history from the database");
        Ok(())
    }
}
