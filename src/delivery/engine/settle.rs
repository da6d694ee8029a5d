//! What a crash or a failing disk has left: parts without a delivery, and deliveries of which nobody knows whether
//! their file is in its place.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::Engine;
use super::places::why_held;
use crate::delivery::reaction::DISK_WAIT;
use crate::destination::{self, Destination, Settled};
use crate::model::{Delivery, DeliveryId};
use crate::store;

/// How often unneeded parts are removed when the queue never becomes empty.
const TIDY_INTERVAL: Duration = Duration::from_mins(10);
const LOST: &str = "its downloaded bytes were removed before it was put in its place";

impl Engine {
    /// Takes up what an earlier run left.
    pub(super) async fn take_up(&mut self) -> Result<(), store::Error> {
        self.store.take_up_again().await?;
        self.taken_up = true;
        Ok(())
    }

    /// Removes what is left of deliveries that a crash has ended or that were overtaken while they waited. Done when
    /// the queue has run empty, and once in a while if it never does.
    pub(super) async fn tidy_up(&mut self) -> Result<(), store::Error> {
        let is_time = self.tidied.is_none_or(|at| at.elapsed() >= TIDY_INTERVAL);
        if !(is_time || self.attempts.is_empty() && self.has_parts) {
            return Ok(());
        }
        self.has_parts = false;
        self.tidied = Some(Instant::now());
        let destinations: Vec<_> = self.wanted.borrow().destinations.keys().cloned().collect();
        for root in destinations {
            let is_held = self.holds.is_held(&root.to_string_lossy());
            self.has_parts |= is_held;
            // What is not needed any more may be what fills a disk.
            let opened = if is_held { self.open_as_known(&root).await? } else { self.open(&root).await? };
            let place = match opened {
                Ok(place) => place,
                Err(_) if is_held => continue,
                Err(error) => {
                    self.has_parts = true;
                    self.hold(&root, &why_held(&error));
                    continue;
                }
            };
            match self.tidy_up_at(&root, place).await? {
                Ok(left) => self.has_parts |= left,
                Err(error) => debug!(%error, "unneeded parts cannot be removed now"),
            }
        }
        Ok(())
    }

    /// Removes parts without an open delivery. Returns whether other parts stay.
    async fn tidy_up_at(
        &mut self,
        root: &Path,
        place: Destination,
    ) -> Result<Result<bool, destination::Error>, store::Error> {
        let listed = place.clone();
        let parts = match self.on_disk(root, async move { listed.parts().await }).await {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        let count = parts.len();
        let open = self.store.open_among(&parts).await?;
        let known = self.store.known_among(&parts).await?;
        let is_orphan = |id: &DeliveryId| !self.attempts.contains_key(id) && !open.contains(id);
        let orphans: Vec<DeliveryId> = parts.into_iter().filter(is_orphan).collect();
        let removed = self.on_disk(root, async move {
            let others = orphans.len() < count;
            for id in orphans {
                // Another database may know what this one does not.
                if known.contains(&id) || place.is_forgotten(id.clone()).await? {
                    debug!(delivery.id = %id, "a part without a delivery is removed");
                    place.discard(id).await?;
                }
            }
            Ok(others)
        });
        Ok(removed.await)
    }

    /// Finds out on disk what became of deliveries that were being published. `true`: some could not be settled yet.
    pub(super) async fn settle(&mut self, now: Timestamp) -> Result<bool, store::Error> {
        let mut unsettled = false;
        for delivery in self.store.publishing_since(now).await? {
            if self.attempts.contains_key(&delivery.id) {
                continue;
            }
            match self.open(&delivery.destination).await? {
                Ok(place) => unsettled |= !self.settle_one(&delivery, place).await?,
                Err(error) => {
                    self.hold(&delivery.destination, &why_held(&error));
                    self.hold_one(&delivery, &error).await?;
                    unsettled = true;
                }
            }
        }
        Ok(unsettled)
    }

    async fn hold_one(&self, delivery: &Delivery, error: &destination::Error) -> Result<(), store::Error> {
        let now = Timestamp::now();
        let until = now.checked_add(DISK_WAIT).unwrap_or(now);
        self.store.hold(&delivery.id, until, delivery.attempt, &error.to_string(), now).await?;
        Ok(())
    }

    async fn settle_one(&mut self, delivery: &Delivery, place: Destination) -> Result<bool, store::Error> {
        let now = Timestamp::now();
        let Some(file) = delivery.published.clone() else {
            return self.again(delivery, delivery.reason.as_deref(), now).await;
        };
        let newest = self.store.delivered(std::slice::from_ref(&delivery.file_id)).await?;
        let earlier = newest.into_values().next().and_then(|earlier| earlier.published);
        let (id, path, root) = (delivery.id.clone(), file.path.clone(), delivery.destination.clone());
        let settled = self.on_disk(&root, async move { place.settle(id, file, earlier).await }).await;
        match settled {
            Ok(Settled::Published) => {
                self.store.done(std::slice::from_ref(&delivery.id), now).await?;
                info!(delivery.id = %delivery.id, file.id = %delivery.file_id, %path, "delivered just before the program stopped");
                // What it leaves is removed with the parts that nobody needs.
                self.has_parts = true;
                Ok(true)
            }
            Ok(Settled::NotYet) => self.again(delivery, delivery.reason.as_deref(), now).await,
            Ok(Settled::Lost) => {
                warn!(delivery.id = %delivery.id, file.name = delivery.name, "a downloaded file was removed before it was put in its place; it is downloaded again");
                self.again(delivery, Some(LOST), now).await
            }
            Err(error) => {
                warn!(delivery.id = %delivery.id, %error, "cannot check now whether a file is in its place");
                self.hold_one(delivery, &error).await?;
                Ok(false)
            }
        }
    }

    /// It was not published: its turn comes at once.
    async fn again(
        &self,
        delivery: &Delivery,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, store::Error> {
        self.store.put_back(&delivery.id, now, delivery.attempt, reason, now).await?;
        Ok(true)
    }
}
