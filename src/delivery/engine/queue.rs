//! Deliveries that were claimed: they begin as soon as there is room, in their order, or wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Engine;
use super::attempts::RunningAttempt;
use super::places::Opened;
use crate::delivery::attempt::Attempt;
use crate::delivery::events::{Report, Slot};
use crate::model::Delivery;
use crate::store;

/// A step does other things as well than looking for deliveries for which there is room.
pub(super) const TURNED_AWAY_AT_MOST: u32 = 50;
/// An attempt that was let go ends within moments.
const LAST_ATTEMPT: Duration = Duration::from_millis(200);

impl Engine {
    /// Claims what is due and begins it, as long as there is room.
    pub(super) async fn claim(&mut self) -> Result<(), store::Error> {
        while let Some(largest) = self.wanted()
            && self.turned_away < TURNED_AWAY_AT_MOST
        {
            let now = Timestamp::now();
            // All of them: one that has become due during this step is looked at in the next.
            let claimed = self.store.claim(&self.holds.held(), largest, self.ahead(), now).await?;
            let is_all = claimed.len() < self.ahead();
            self.claimed.extend(claimed);
            self.begin_claimed().await?;
            if is_all {
                break;
            }
        }
        Ok(())
    }

    /// Starts what was claimed, as far as there is room. If the ledger fails in between, the rest is started as soon as
    /// it works again.
    pub(super) async fn begin_claimed(&mut self) -> Result<(), store::Error> {
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
    pub(super) async fn begin(&mut self, delivery: Delivery) -> Result<(), store::Error> {
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

    pub(super) fn start(&mut self, delivery: Delivery, opened: Opened) {
        debug!(delivery.id = %delivery.id, file.id = %delivery.file_id, attempt = delivery.attempt, "a delivery begins");
        let stop = CancellationToken::new();
        self.has_parts = true;
        let slot = Arc::new(Slot::new(&self.events));
        let running = RunningAttempt::new(&opened, &delivery, stop.clone(), &slot);
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
        let report = Report::new(&self.events, delivery.id.clone(), delivery.attempt);
        self.tasks.spawn(async move {
            if let Some(hold) = attempt.run(delivery, slot).await {
                report.recorded(hold);
            }
        });
    }
}
