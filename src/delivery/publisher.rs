//! Verified parts into their places, many at once: whoever comes while others are being published waits, and goes with
//! the next ones. The steps are the same for one and for twenty, and so is what they cost: two fsyncs of folders, two
//! statements in the ledger, and a question to it where new contents take the places of earlier ones.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::Error;
use crate::checkpoint::{Point, reached};
use crate::destination::{self, Destination, Planned, Wish};
use crate::model::delivery::{OnUpdate, PublishedFile};
use crate::model::{Delivery, DeliveryId, FileId};
use crate::spool::VerifiedPart;
use crate::store::{self, Store};

/// The most parts that are published together.
const AT_ONCE: usize = 64;
/// A file id's first characters are enough to tell files of one name in one folder apart.
const MARK_LENGTH: usize = 8;

/// The way to one destination.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by whoever publishes the next ones.
    publishing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    place: Destination,
    wish: Wish,
    /// The file whose earlier content it replaces, if there is one.
    replaces: Option<FileId>,
    ticket: Ticket,
}

impl Waiting {
    /// Whether it takes the place of another content of one of these files.
    fn is_among(&self, files: &HashSet<FileId>) -> bool {
        self.replaces.as_ref().is_some_and(|file_id| files.contains(file_id))
    }
}

/// Whose part it is, and who waits for the outcome.
#[derive(Debug)]
struct Ticket {
    id: DeliveryId,
    answer: oneshot::Sender<Result<PublishedFile, Error>>,
}

impl Ticket {
    fn end(self, outcome: Result<PublishedFile, Error>) {
        // If the receiver is dropped, the outcome is not needed.
        let _ = self.answer.send(outcome);
    }
}

/// What tells a file apart from others of its name.
pub(super) fn mark(delivery: &Delivery) -> String {
    delivery.file_id.as_str().chars().take(MARK_LENGTH).collect()
}

impl Publisher {
    /// Brings a part to its place. What is about to happen stands in the ledger before it happens, so that a crash in
    /// between can be settled by looking at the disk.
    pub(super) async fn publish(
        &self,
        store: &Store,
        place: &Destination,
        delivery: &Delivery,
        part: &Arc<VerifiedPart>,
    ) -> Result<PublishedFile, Error> {
        let (answer, mut answered) = oneshot::channel();
        let wish = Wish {
            part: Arc::clone(part),
            wanted: delivery.wanted.clone(),
            mark: mark(delivery),
            earlier: None,
        };
        let replaces = (delivery.on_update == OnUpdate::Replace).then(|| delivery.file_id.clone());
        let ticket = Ticket { id: delivery.id.clone(), answer };
        self.lock().push(Waiting { place: place.clone(), wish, replaces, ticket });
        let _publishing = tokio::select! {
            biased;
            outcome = &mut answered => return outcome.unwrap_or(Err(Error::Unfinished)),
            publishing = self.publishing.lock() => publishing,
        };
        loop {
            match answered.try_recv() {
                Ok(outcome) => return outcome,
                Err(oneshot::error::TryRecvError::Closed) => return Err(Error::Unfinished),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let (place, batch) = self.next(place);
            publish_all(store, place, batch).await;
        }
    }

    /// The next ones, as far as they know the destination by the same marker.
    fn next(&self, own: &Destination) -> (Destination, Vec<Waiting>) {
        let mut waiting = self.lock();
        let place = waiting.first().map_or(own, |first| &first.place).clone();
        let mut taken = 0;
        let next = waiting.extract_if(.., |waiting| {
            let goes = taken < AT_ONCE && waiting.place.marker() == place.marker();
            taken += usize::from(goes);
            goes
        });
        let next = next.collect();
        (place, next)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // A list, whole at any time.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn publish_all(store: &Store, place: Destination, batch: Vec<Waiting>) {
    let known = match contents(store, &place, &batch).await {
        Ok(known) => known,
        Err(error) => {
            for waiting in batch {
                waiting.ticket.end(Err(error.again().into()));
            }
            return;
        }
    };
    let (unsettled, batch): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|waiting| waiting.is_among(&known.unsettled));
    for waiting in unsettled {
        waiting.ticket.end(Err(Error::Unsettled));
    }
    if batch.is_empty() {
        return;
    }
    let with_earlier = batch.into_iter().map(|Waiting { wish, replaces, ticket, .. }| {
        let earlier = replaces.and_then(|file_id| known.earlier.get(&file_id).cloned());
        (Wish { earlier, ..wish }, ticket)
    });
    let (wishes, tickets): (Vec<Wish>, Vec<Ticket>) = with_earlier.unzip();
    let planned = plan(place.clone(), wishes, tickets).await;
    let planned = write_down(store, planned).await;
    if planned.is_empty() {
        return;
    }
    let published = move_all(place.clone(), planned).await;
    finish(store, place, published).await;
}

/// Other contents of the files at this destination.
struct Contents {
    /// Those whose places are to be taken.
    earlier: HashMap<FileId, PublishedFile>,
    /// The files of which one may be in its place or not: what takes its place goes after it.
    unsettled: HashSet<FileId>,
}

async fn contents(store: &Store, place: &Destination, batch: &[Waiting]) -> Result<Contents, store::Error> {
    // In this order: one that is settled in between is found.
    let unsettled = unsettled(store, place, batch).await?;
    Ok(Contents { earlier: earlier(store, place, batch).await?, unsettled })
}

/// Another content of theirs is said to be publishing, and nobody moves it now: the disk is asked at once what became of it.
async fn unsettled(
    store: &Store,
    place: &Destination,
    batch: &[Waiting],
) -> Result<HashSet<FileId>, store::Error> {
    let now = Timestamp::now();
    let mut found = HashSet::new();
    for (id, file_id) in store.publishing_to(place.root()).await? {
        // One that comes once more because its place was taken.
        let is_own = batch.iter().any(|waiting| waiting.ticket.id == id);
        let files = HashSet::from([file_id.clone()]);
        if !is_own && batch.iter().any(|waiting| waiting.is_among(&files)) {
            store.look_now(&id, now).await?;
            found.insert(file_id);
        }
    }
    Ok(found)
}

/// The earlier contents at this destination whose places are to be taken.
async fn earlier(
    store: &Store,
    place: &Destination,
    batch: &[Waiting],
) -> Result<HashMap<FileId, PublishedFile>, store::Error> {
    let replaced: Vec<FileId> = batch.iter().filter_map(|waiting| waiting.replaces.clone()).collect();
    let newest = store.delivered(&replaced).await?.into_iter();
    let here = newest.filter(|(_, earlier)| earlier.destination == place.root());
    Ok(here.filter_map(|(file_id, earlier)| Some((file_id, earlier.published?))).collect())
}

/// A place for each. Those without one are told.
async fn plan(place: Destination, wishes: Vec<Wish>, tickets: Vec<Ticket>) -> Vec<(Ticket, Planned)> {
    let planned = match place.plan(wishes).await {
        Ok(planned) => planned,
        Err(error) => {
            for ticket in tickets {
                ticket.end(Err(error.again().into()));
            }
            return Vec::new();
        }
    };
    let outcomes = tickets.into_iter().zip(planned).filter_map(|(ticket, planned)| match planned {
        Ok(planned) => Some((ticket, planned)),
        Err(error) => {
            ticket.end(Err(error.into()));
            None
        }
    });
    outcomes.collect()
}

/// Into the ledger, which knows of some that they were overtaken.
async fn write_down(store: &Store, planned: Vec<(Ticket, Planned)>) -> Vec<(Ticket, Planned)> {
    let steps: Vec<_> =
        planned.iter().map(|(ticket, planned)| (ticket.id.clone(), planned.file.clone())).collect();
    let written = store.publishing(&steps, Timestamp::now()).await;
    let outcomes = planned.into_iter().filter_map(|(ticket, planned)| match &written {
        Ok(written) if written.contains(&ticket.id) => {
            reached(Point::Planned);
            Some((ticket, planned))
        }
        Ok(_) => {
            ticket.end(Err(Error::Overtaken));
            None
        }
        Err(error) => {
            ticket.end(Err(error.again().into()));
            None
        }
    });
    outcomes.collect()
}

/// To their places.
async fn move_all(place: Destination, planned: Vec<(Ticket, Planned)>) -> Vec<(Ticket, PublishedFile)> {
    let (tickets, planned): (Vec<Ticket>, Vec<Planned>) = planned.into_iter().unzip();
    let files: Vec<PublishedFile> = planned.iter().map(|planned| planned.file.clone()).collect();
    let outcomes = match place.publish(planned).await {
        Ok(outcomes) => outcomes,
        Err(error) => tickets.iter().map(|_| Err(error.again())).collect(),
    };
    let outcomes = tickets.into_iter().zip(files).zip(outcomes).filter_map(|((ticket, file), outcome)| {
        match outcome {
            Ok(()) => {
                reached(Point::Published);
                return Some((ticket, file));
            }
            Err(error @ (destination::Error::Taken { .. } | destination::Error::Changed { .. })) => {
                ticket.end(Err(error.into()));
            }
            Err(error) => ticket.end(Err(Error::Unpublished(error))),
        }
        None
    });
    outcomes.collect()
}

/// The ledger says so, and then everybody knows.
async fn finish(store: &Store, place: Destination, published: Vec<(Ticket, PublishedFile)>) {
    let ids: Vec<DeliveryId> = published.iter().map(|(ticket, _)| ticket.id.clone()).collect();
    let written = store.done(&ids, Timestamp::now()).await;
    for (ticket, file) in published {
        match &written {
            Ok(written) => {
                if !written.contains(&ticket.id) {
                    warn!(delivery.id = %ticket.id, "a file is in its place, but its state was changed meanwhile (the file is no longer wanted, or has newer content)");
                }
                reached(Point::Done);
                ticket.end(Ok(file));
            }
            Err(error) => ticket.end(Err(error.again().into())),
        }
    }
    if let Ok(written) = written {
        let known: Vec<DeliveryId> = written.into_iter().collect();
        if let Err(error) = place.forget_moves(known).await {
            debug!(%error, "notes of moves are removed later");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;
    use crate::destination::{Claimant, Opening, Rights};
    use crate::model::file::Checksum;
    use crate::model::{RelativePath, Stage};
    use crate::spool::checksum::Hasher;
    use crate::spool::{Buffers, Expected, Part, Sink, Verification, VerifiedPart};
    use crate::store::{Access, Config};

    async fn ledger(home: &Path, stages: &[Stage]) -> Store {
        let url = format!("sqlite:{}", home.join("state.db").display());
        let store = Store::open(&Config { url }, Access::Exclusive).await.unwrap();
        for (number, stage) in stages.iter().enumerate() {
            store.put_bare(&format!("d{number}"), "/videos", number as i64, *stage).await;
        }
        store
    }

    fn claimant() -> Claimant {
        Claimant { id: "database".into(), path: "state.db".into() }
    }

    async fn open(videos: &Path) -> Destination {
        let opening = Opening { rights: Rights::default(), known: None, by: claimant() };
        Destination::open(videos, opening).await.unwrap().0
    }

    async fn part(place: &Destination, id: &DeliveryId) -> Arc<VerifiedPart> {
        let mut hasher = Hasher::like(&Checksum::Sha256(String::new()));
        hasher.update(id.as_str().as_bytes());
        let expected = Expected { size: id.as_str().len() as u64, checksum: hasher.finish(), modified: None };
        let part = Part::open(place.spool(), id, expected).await.unwrap();
        let sink = Sink::new(part, 1, &Buffers::default());
        let mut lane = sink.lane(0);
        assert!(lane.write(id.as_str().as_bytes()).await);
        lane.close().await;
        let Verification::Verified(part) = sink.finish().await.unwrap() else {
            panic!("the bytes are right")
        };
        Arc::new(part)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_at_once_each_gets_its_own_outcome() {
        let home = tempfile::tempdir().unwrap();
        // Every third one is overtaken; all want the same place. Every tenth knows another marker.
        let stage = |number| if number % 3 == 0 { Stage::Superseded } else { Stage::Downloading };
        let stages: Vec<Stage> = (0..100).map(stage).collect();
        let store = ledger(home.path(), &stages).await;
        let videos = home.path().join("videos");
        let place = open(&videos).await;
        let (strange, _) = Destination::open_anew(&videos, Rights::default(), claimant()).await.unwrap();
        let publisher = Arc::new(Publisher::default());
        let mut tasks = JoinSet::new();
        for (number, delivery) in
            store.in_stages(&stages[..2], i64::MAX).await.unwrap().into_iter().enumerate()
        {
            let delivery = Delivery { wanted: RelativePath::from_stored("film.mp4"), ..delivery };
            let part = part(&place, &delivery.id).await;
            let place = if number % 10 == 7 { strange.clone() } else { place.clone() };
            let (publisher, store) = (publisher.clone(), store.clone());
            tasks.spawn(async move { (number, publisher.publish(&store, &place, &delivery, &part).await) });
        }
        let mut delivered = 0;
        for (number, outcome) in tasks.join_all().await {
            match outcome {
                Ok(file) => {
                    delivered += 1;
                    assert!(number % 3 != 0 && number % 10 != 7, "{number}");
                    let content = std::fs::read_to_string(file.path.under(&videos)).unwrap();
                    assert_eq!(content, format!("d{number}"));
                }
                Err(Error::Destination(destination::Error::NotMounted { .. })) => {
                    assert_eq!(number % 10, 7, "{number}");
                }
                Err(Error::Overtaken) => assert!(number % 3 == 0 && number % 10 != 7, "{number}"),
                Err(other) => panic!("{number}: {other}"),
            }
        }
        assert_eq!(delivered, 59);
        assert_eq!(store.counts().await.unwrap()["done"], 59);
        assert_eq!(std::fs::read_dir(&videos).unwrap().count(), 60, "and the hidden folder");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_new_contents_each_takes_the_place_of_its_own_earlier_one() {
        const FILES: usize = 10;
        let home = tempfile::tempdir().unwrap();
        let store = ledger(home.path(), &[]).await;
        let videos = home.path().join("videos");
        let place = open(&videos).await;
        let mut places = Vec::new();
        for round in 0..2 {
            for number in 0..FILES {
                // The earlier content of the last one was put somewhere else.
                let moved = round == 0 && number == FILES - 1;
                let destination = if moved { "/elsewhere" } else { videos.to_str().unwrap() };
                let seq = (round * FILES + number) as i64;
                store.put_bare(&format!("d{number}@{round}"), destination, seq, Stage::Downloading).await;
            }
            let publisher = Arc::new(Publisher::default());
            let mut tasks = JoinSet::new();
            for delivery in store.in_stages(&[Stage::Downloading], i64::MAX).await.unwrap() {
                let wanted = RelativePath::from_stored(&format!("{}.mp4", delivery.file_id));
                let delivery = Delivery { wanted, ..delivery };
                let part = part(&place, &delivery.id).await;
                let (publisher, store, place) = (publisher.clone(), store.clone(), place.clone());
                tasks.spawn(async move {
                    let file = publisher.publish(&store, &place, &delivery, &part).await.unwrap();
                    (delivery.file_id, file.path.to_string())
                });
            }
            places.push(tasks.join_all().await.into_iter().collect::<HashMap<_, _>>());
        }
        let [before, after] = places.try_into().unwrap();
        for (file, path) in after {
            let is_elsewhere = file.as_str() == "d9";
            assert_eq!(path == before[&file], !is_elsewhere, "{file} is at {path}");
            let content = std::fs::read_to_string(videos.join(path)).unwrap();
            assert_eq!(content, format!("{file}@1"));
        }
        assert_eq!(std::fs::read_to_string(videos.join("d9.mp4")).unwrap(), "d9@0", "what lay there stays");
        assert_eq!(std::fs::read_dir(&videos).unwrap().count(), FILES + 2, "and the hidden folder");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_content_waits_until_it_is_known_what_became_of_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let store = ledger(home.path(), &[]).await;
        let videos = home.path().join("videos");
        let place = open(&videos).await;
        for seq in 0..2 {
            let id = format!("f@{seq}");
            store.put_bare(&id, videos.to_str().unwrap(), seq, Stage::Downloading).await;
        }
        let deliveries = store.in_stages(&[Stage::Downloading], 2).await.unwrap();
        let [first, second] = deliveries.try_into().unwrap();
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        // The first one is in its place, and the disk has not said that this is durable.
        let wish = Wish {
            part: part(&place, &first.id).await,
            wanted: first.wanted.clone(),
            mark: "f".into(),
            earlier: None,
        };
        let planned = place.plan(vec![wish]).await.unwrap().remove(0).unwrap();
        store.publishing(&[(first.id.clone(), planned.file.clone())], later).await.unwrap();
        assert!(place.publish(vec![planned.clone()]).await.unwrap().remove(0).is_ok());
        store.hold(&first.id, later, 1, "the disk failed", later).await.unwrap();

        let publisher = Publisher::default();
        let part = part(&place, &second.id).await;
        let outcome = publisher.publish(&store, &place, &second, &part).await;
        assert!(matches!(outcome, Err(Error::Unsettled)), "{outcome:?}");
        let due = store.publishing_since(Timestamp::now()).await.unwrap();
        assert_eq!(due.len(), 1, "the disk is asked at once");

        store.done(&[first.id], later).await.unwrap();
        let file = publisher.publish(&store, &place, &second, &part).await.unwrap();
        assert_eq!((file.path, file.replaces), (planned.file.path, true));
        assert_eq!(std::fs::read_to_string(videos.join("n")).unwrap(), "f@1");
        assert_eq!(std::fs::read_dir(&videos).unwrap().count(), 2, "and the hidden folder");
    }
}
