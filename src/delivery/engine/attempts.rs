//! The running attempts: stopped when their delivery is superseded, and taken note of when they are over.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Engine;
use super::places::Opened;
use crate::delivery::events::{EndedAttempt, Event, Slot};
use crate::destination::Destination;
use crate::model::{Delivery, DeliveryId};
use crate::store;

/// A fault of the program would most likely repeat itself, one of the ledger needs time.
const FAULT_WAIT: Duration = Duration::from_mins(1);

/// An attempt that runs.
#[derive(Debug)]
pub(super) struct RunningAttempt {
    pub(super) stop: CancellationToken,
    pub(super) place: Destination,
    pub(super) root: PathBuf,
    pub(super) device: u64,
    pub(super) size: u64,
    /// The number of received bytes at the last check, and since when it has not changed.
    pub(super) received: u64,
    pub(super) moved: Instant,
    /// Its disk does not answer.
    pub(super) is_stuck: bool,
    /// There as long as bytes come.
    pub(super) slot: Weak<Slot>,
}

impl RunningAttempt {
    /// One that begins.
    pub(super) fn new(
        opened: &Opened,
        delivery: &Delivery,
        stop: CancellationToken,
        slot: &Arc<Slot>,
    ) -> Self {
        Self {
            stop,
            place: opened.place.clone(),
            root: delivery.destination.clone(),
            device: opened.device,
            size: delivery.size.unwrap_or(0),
            received: 0,
            moved: Instant::now(),
            is_stuck: false,
            slot: Arc::downgrade(slot),
        }
    }
}

impl Engine {
    /// Takes note of the attempts that are over.
    pub(super) async fn reap_all(&mut self) -> Result<(), store::Error> {
        while let Ok(event) = self.told.try_recv() {
            if let Event::Ended(ended) = event {
                self.reap(ended).await?;
            }
        }
        while self.tasks.try_join_next().is_some() {}
        Ok(())
    }

    /// Stops transfers whose delivery was superseded.
    pub(super) async fn let_go(&mut self) -> Result<(), store::Error> {
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

    pub(super) async fn reap(
        &mut self,
        EndedAttempt { id, attempt, whole, hold }: EndedAttempt,
    ) -> Result<(), store::Error> {
        let running = self.attempts.remove(&id);
        if let (Some(running), Some(why)) = (running, hold) {
            self.hold(&running.root, &why);
        }
        if !whole {
            error!(delivery.id = %id, "the download of a file ended without a result; it is repeated later");
            let now = Timestamp::now();
            let later = now.checked_add(FAULT_WAIT).unwrap_or(now);
            let reason = "its last download ended without a result; see the log";
            // A file that was being published may be at its path; the disk is checked.
            let back = match self.store.hold(&id, later, attempt, reason, now).await {
                Ok(false) => self.store.put_back(&id, later, attempt, Some(reason), now).await,
                held => held,
            };
            if back.is_err() {
                // The ledger fails still; this one must not be forgotten.
                self.events.later(Event::Ended(EndedAttempt { id, attempt, whole, hold: None }));
            }
            back?;
        }
        Ok(())
    }
}
