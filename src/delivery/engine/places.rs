//! The destinations of the engine: opened and identified by their markers, or held with a reason.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Instant;

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Engine, LOOK_AGAIN};
use crate::delivery::load::Load;
use crate::delivery::reaction::{DISK_PATIENCE, DISK_WAIT, Reaction, Room, after_destination, room};
use crate::destination::{self, Claimant, Destination, Marker, Opening, Rights, Space};
use crate::model::delivery::PublishedFile;
use crate::model::{Delivery, DeliveryId};
use crate::store;

/// Files that were delivered last, one of which proves that a destination without its marker is the right one.
const WITNESSES: i64 = 20;
/// Deliveries that are claimed beforehand, for each one that is fetched.
const AHEAD: usize = 16;
const MOST_AHEAD: usize = 64;

impl Engine {
    /// Opens a destination by what the ledger knows of it.
    pub(super) async fn open(
        &mut self,
        root: &Path,
    ) -> Result<Result<Destination, destination::Error>, store::Error> {
        Ok(self.open_and_measure(root).await?.map(|(place, _)| place))
    }

    /// The same, and says how much room there is.
    async fn open_and_measure(
        &mut self,
        root: &Path,
    ) -> Result<Result<(Destination, Space), destination::Error>, store::Error> {
        let known = match self.markers.get(root) {
            Some(marker) => Some(marker.clone()),
            None => self.store.marker(root).await?.map(Marker::new),
        };
        let us = Claimant { id: self.store.own_id().await?, path: self.store.path().to_owned() };
        let mut opened = self.try_open(root, known.clone(), us.clone()).await;
        if matches!(opened, Err(destination::Error::NotMounted { .. })) && self.is_witnessed(root).await? {
            // Only the hidden folder is missing or replaced: the delivered files are still there.
            let (path, rights) = (root.to_owned(), self.rights(root));
            opened = self.on_disk(root, async move { Destination::open_anew(&path, rights, us).await }).await;
        }
        let (place, space) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.markers.remove(root);
                return Ok(Err(error));
            }
        };
        if known.as_ref() != Some(place.marker()) {
            if known.is_some() {
                info!(path = %root.display(), "a destination gets a new marker");
            }
            self.store.set_marker(root, place.marker().as_str()).await?;
            // Last of all: until it is there, whatever happens leads here again.
            let marked = place.clone();
            if let Err(error) = self.on_disk(root, async move { marked.mark().await }).await {
                return Ok(Err(error));
            }
        }
        self.markers.insert(root.to_owned(), place.marker().clone());
        Ok(Ok((place, space)))
    }

    /// Opens a destination that has its marker, whether or not it can be written to.
    pub(super) async fn open_as_known(
        &mut self,
        root: &Path,
    ) -> Result<Result<Destination, destination::Error>, store::Error> {
        let Some(known) = self.store.marker(root).await?.map(Marker::new) else {
            return Ok(Err(destination::Error::NotMounted { path: root.to_owned(), why: "it is not known" }));
        };
        let by = Claimant { id: self.store.own_id().await?, path: self.store.path().to_owned() };
        let (path, opening) =
            (root.to_owned(), Opening { rights: self.rights(root), known: Some(known), by });
        let opened = self.on_disk(root, async move { Destination::open(&path, opening).await }).await;
        Ok(opened.map(|(place, _)| place))
    }

    /// The modes of files there. A destination that was removed from the configuration has the default modes.
    fn rights(&self, root: &Path) -> Rights {
        self.wanted.borrow().destinations.get(root).copied().unwrap_or_default()
    }

    /// Opens a destination. If it was held, also tests that it can be written to and has space: existence proves neither.
    async fn try_open(
        &mut self,
        root: &Path,
        known: Option<Marker>,
        by: Claimant,
    ) -> Result<(Destination, Space), destination::Error> {
        let (path, reserve) = (root.to_owned(), self.config().reserve);
        let opening = Opening { rights: self.rights(root), known, by };
        let is_held = self.holds.is_held(&root.to_string_lossy());
        self.on_disk(root, async move {
            let (place, space) = Destination::open(&path, opening).await?;
            if is_held {
                if let Room::None(why) = room(space.free, reserve, 0, 1) {
                    return Err(destination::Error::NoRoom { why });
                }
                place.try_out().await?;
            }
            Ok((place, space))
        })
        .await
    }

    /// Waits for an operation on the disk of a destination. A disk that does not answer gets no further operation before it
    /// has answered: each would block a thread.
    pub(super) async fn on_disk<T: Send + 'static>(
        &mut self,
        root: &Path,
        work: impl Future<Output = Result<T, destination::Error>> + Send + 'static,
    ) -> Result<T, destination::Error> {
        if self.unanswered.get(root).is_some_and(|question| !question.is_finished()) {
            return Err(silent(root));
        }
        let mut work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(work);
        if let Ok(answer) = tokio::time::timeout(DISK_PATIENCE, &mut work).await {
            self.unanswered.remove(root);
            return answer;
        }
        let question = tokio::spawn(async move {
            // Nobody wants to know any more what it answers, but that it does.
            let _ = work.await;
        });
        self.unanswered.insert(root.to_owned(), question);
        Err(silent(root))
    }

    /// Whether a file that was delivered lately is there.
    pub(super) async fn is_witnessed(&mut self, root: &Path) -> Result<bool, store::Error> {
        let delivered = self.store.delivered_to(root, WITNESSES).await?;
        let files: Vec<PublishedFile> = delivered.into_iter().filter_map(|d| d.published).collect();
        let path = root.to_owned();
        let seen = self.on_disk(root, async move { Destination::has_any(&path, files).await }).await;
        Ok(seen.unwrap_or(false))
    }

    /// Checks whether held destinations can be used again.
    pub(super) async fn look_at_held(&mut self, now: Timestamp) -> Result<(), store::Error> {
        let due = self.holds.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let awaited = self.store.awaited().await?;
        for held in due {
            let root = PathBuf::from(held);
            if !awaited.contains(&root) && !self.wanted.borrow().destinations.contains_key(&root) {
                // It was removed from the configuration, and nothing waits for it.
                self.release(&root);
                continue;
            }
            match self.open(&root).await? {
                Ok(_) => self.release(&root),
                Err(error) => self.hold(&root, &why_held(&error)),
            }
        }
        Ok(())
    }

    /// Transfers to a disk that no longer answers cannot be stopped. They do not count until the disk answers again, so
    /// that transfers to other disks continue.
    pub(super) async fn look_at_stuck(&mut self) -> Result<(), store::Error> {
        let mut suspects: Vec<PathBuf> = Vec::new();
        for (id, running) in &mut self.attempts {
            let received = self.transfers.received(id.as_str()).unwrap_or(0);
            if received != running.received {
                (running.received, running.moved, running.is_stuck) = (received, Instant::now(), false);
            } else if running.moved.elapsed() >= DISK_WAIT && !suspects.contains(&running.root) {
                suspects.push(running.root.clone());
            }
        }
        let waiting = self.holds.waiting(Timestamp::now());
        for root in suspects {
            if waiting.iter().any(|held| Path::new(held) == root) {
                continue;
            }
            let written = match self.open(&root).await? {
                // A disk may answer what is read from it, and hang when it is written to.
                Ok(place) => self.on_disk(&root, async move { place.try_out().await }).await,
                Err(error) => Err(error),
            };
            let is_stuck = match written {
                Err(error) if is_silence(&error) => {
                    self.hold(&root, &why_held(&error));
                    true
                }
                // The network may be slow, or the disk may have another error, which the transfer reports.
                Ok(()) | Err(_) => false,
            };
            for running in self.attempts.values_mut().filter(|running| running.root == root) {
                running.is_stuck = is_stuck;
            }
        }
        Ok(())
    }

    /// The running transfers, except those that wait for a disk that does not answer.
    pub(super) fn load(&self) -> Load {
        let mut load = Load::new(self.config().concurrency);
        for running in self.attempts.values().filter(|running| !running.is_stuck) {
            load.add(running.size, running.slot.strong_count() > 0);
        }
        load
    }

    /// How many deliveries are claimed at once, most of them for later.
    pub(super) fn ahead(&self) -> usize {
        (self.config().concurrency.max(1) * AHEAD).min(MOST_AHEAD)
    }

    /// The destination of a delivery, if there is room for it. `None`: the delivery is back in the queue, and the reason
    /// stands where it belongs.
    pub(super) async fn place_for(&mut self, delivery: &Delivery) -> Result<Option<Opened>, store::Error> {
        let (root, size) = (&delivery.destination, delivery.size.unwrap_or(0));
        let known = self.opened.get(root).filter(|opened| opened.at.elapsed() < LOOK_AGAIN);
        if let Some(opened) = known.filter(|opened| opened.has_room(self.config().reserve, size)) {
            return Ok(Some(opened.clone()));
        }
        let opened = match self.look_at(root).await? {
            Ok(opened) => opened,
            Err(error) => {
                return self.turn_away(delivery, Reaction::Hold(why_held(&error))).await.map(|()| None);
            }
        };
        self.opened.insert(root.clone(), opened.clone());
        if opened.has_room(self.config().reserve, size) {
            return Ok(Some(opened));
        }
        let (place, id, running) = (opened.place.clone(), delivery.id.clone(), self.running());
        let device = opened.device;
        let looked = self.on_disk(root, async move {
            // In this order: what is written meanwhile counts twice, and not never.
            let (taken, promised) = (place.taken(id).await?, promised(running, device).await?);
            Ok((taken, promised, place.space().await?.free))
        });
        let (taken, promised, free) = match looked.await {
            Ok(looked) => looked,
            Err(error) => {
                return self.turn_away(delivery, Reaction::Hold(why_held(&error))).await.map(|()| None);
            }
        };
        match room(free, self.config().reserve, promised, size.saturating_sub(taken)) {
            Room::Enough => Ok(Some(opened)),
            Room::None(why) => self.turn_away(delivery, Reaction::Hold(why)).await.map(|()| None),
            Room::TooLittle(reason) => {
                self.turned_away += 1;
                let reaction = Reaction::Again { after: DISK_WAIT, counts: false, reason };
                self.turn_away(delivery, reaction).await.map(|()| None)
            }
        }
    }

    /// A delivery begins, and may take so much of any of the disks.
    pub(super) fn promise(&mut self, size: u64) {
        for opened in self.opened.values_mut() {
            opened.promised = opened.promised.saturating_add(size);
        }
    }

    async fn look_at(&mut self, root: &Path) -> Result<Result<Opened, destination::Error>, store::Error> {
        let at = Instant::now();
        let opened = self.open_and_measure(root).await?;
        let promised = self.attempts.values().map(|running| running.size).sum();
        Ok(opened.map(|(place, Space { free, device })| Opened { place, device, free, promised, at }))
    }

    fn running(&self) -> Vec<(DeliveryId, Destination, u64, u64)> {
        let running = self.attempts.iter();
        running
            .map(|(id, running)| (id.clone(), running.place.clone(), running.device, running.size))
            .collect()
    }

    /// Puts back a delivery that cannot begin.
    async fn turn_away(&mut self, delivery: &Delivery, reaction: Reaction) -> Result<(), store::Error> {
        let now = Timestamp::now();
        let (later, reason) = match reaction {
            Reaction::Hold(reason) => {
                self.hold(&delivery.destination, &reason);
                // It keeps its turn: the destination waits as a whole.
                (delivery.run_at, reason)
            }
            Reaction::Again { after, reason, .. } => {
                let is_news = delivery.reason.as_ref() != Some(&reason);
                if is_news && self.turned_away == 1 {
                    warn!(delivery.id = %delivery.id, file.name = delivery.name, reason, "a file waits, and others of the same destination may wait as well");
                }
                (now.checked_add(after).unwrap_or(now), reason)
            }
            // For an error of the destination, the only other step is a permanent failure.
            Reaction::Fail(_, reason) | Reaction::Skip(_, reason) | Reaction::Supersede(reason) => {
                (now.checked_add(DISK_WAIT).unwrap_or(now), reason)
            }
            Reaction::Release => (delivery.run_at, delivery.reason.clone().unwrap_or_default()),
        };
        self.store.put_back(&delivery.id, later, delivery.attempt, Some(&reason), now).await?;
        Ok(())
    }

    /// Holds a destination: nothing is delivered to it until the next check.
    pub(super) fn hold(&mut self, root: &Path, why: &str) {
        let now = Timestamp::now();
        self.markers.remove(root);
        self.opened.remove(root);
        let next = now.checked_add(DISK_WAIT).unwrap_or(now);
        if self.holds.hold(&root.to_string_lossy(), why, now, next) {
            warn!(path = %root.display(), reason = why, wait_ms = DISK_WAIT.as_millis() as u64, "a destination cannot be used; its files wait");
        }
    }

    fn release(&self, root: &Path) {
        if self.holds.release(&root.to_string_lossy()) {
            info!(path = %root.display(), "a destination can be used again");
        }
    }
}

/// A destination at its last check.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) place: Destination,
    pub(super) device: u64,
    free: u64,
    /// What was on its way then, and what has begun since: so much may have been taken meanwhile, at most.
    promised: u64,
    at: Instant,
}

impl Opened {
    /// Whether there is room even if nothing of what is on its way was there when it was looked at, and all goes to this
    /// disk.
    fn has_room(&self, reserve: u64, size: u64) -> bool {
        matches!(room(self.free, reserve, self.promised, size), Room::Enough)
    }
}

/// What the running transfers will still take of a disk, besides what they have taken.
async fn promised(
    running: Vec<(DeliveryId, Destination, u64, u64)>,
    disk: u64,
) -> Result<u64, destination::Error> {
    let mut promised = 0;
    for (id, place, device, size) in running {
        if device == disk {
            promised += size.saturating_sub(place.taken(id).await?);
        }
    }
    Ok(promised)
}

fn silent(root: &Path) -> destination::Error {
    destination::Error::Io { doing: "use", path: root.to_owned(), source: io::ErrorKind::TimedOut.into() }
}

fn is_silence(error: &destination::Error) -> bool {
    matches!(error, destination::Error::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
}

/// Why a destination is held after this.
pub(super) fn why_held(error: &destination::Error) -> String {
    match (after_destination(error, 0, 0.0), error) {
        (Reaction::Hold(why), _) => why,
        // The error already names the owner and the remedy.
        (_, destination::Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            source.to_string()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn what_running_transfers_have_not_taken_of_a_disk_yet_is_promised() {
        let home = tempfile::tempdir().unwrap();
        let by = Claimant { id: "d".to_owned(), path: "state.db".into() };
        let opening = Opening { rights: Rights::default(), known: None, by };
        let (place, _) = Destination::open(home.path(), opening).await.unwrap();
        let begun = DeliveryId::new("begun");
        let mut part = std::fs::File::create(place.spool().path(&begun)).unwrap();
        part.write_all(&[1; 5000]).unwrap();
        part.sync_all().unwrap();
        let running = [("begun", 7, 1 << 20), ("new", 7, 50), ("elsewhere", 8, 900)]
            .map(|(id, device, size)| (DeliveryId::new(id), place.clone(), device, size))
            .to_vec();
        let taken = place.taken(begun).await.unwrap();
        for (disk, expected) in [(7, (1 << 20) - taken + 50), (8, 900), (9, 0)] {
            assert_eq!(promised(running.clone(), disk).await.unwrap(), expected, "{disk}");
        }
    }
}
