//! The engine's own steps, on a ledger and a disk, without a Drive that answers.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::{self, Auth};
use crate::delivery::events::Slot;
use crate::destination::Rights;
use crate::download;
use crate::drive::Drive;
use crate::http::Http;
use crate::model::delivery::{Identity, PublishedFile};
use crate::model::{RelativePath, Stage};
use crate::task::wake_up;

struct World {
    engine: Engine,
    store: Store,
    videos: PathBuf,
    _home: tempfile::TempDir,
}

impl World {
    /// With one delivery at this stage, `d`.
    async fn new(stage: Stage) -> Self {
        crate::http::install_tls();
        let home = tempfile::tempdir().unwrap();
        let store = crate::store::tests::store(home.path()).await;
        let videos = home.path().join("videos");
        store.put_bare("d", videos.to_str().unwrap(), 1, stage).await;
        let emulator = drive_emulator::Emulator::start(drive_emulator::Options::default()).await.unwrap();
        let credentials = home.path().join("credentials.json");
        std::fs::write(&credentials, emulator.service_account_json()).unwrap();
        let http = Arc::new(Http::new(Duration::from_secs(1)).unwrap());
        let config = auth::Config { credentials: Some(credentials), ..auth::Config::default() };
        let auth = Arc::new(Auth::load(&config, &http).unwrap());
        let drive = Drive::new(&crate::drive::Config { api_url: emulator.url() }, http, auth);
        let downloader = Downloader::new(drive, download::Config::default());
        let wanted = Wanted {
            destinations: [(videos.clone(), Rights::default())].into(),
            config: Config { reserve: 0, ..Config::default() },
        };
        let (_, wanted) = watch::channel(wanted);
        let (wake, _) = wake_up();
        let engine = Engine::new(store.clone(), downloader, wanted, Arc::default(), Arc::default(), wake);
        Self { engine, store, videos, _home: home }
    }

    async fn delivery(&self) -> Delivery {
        let all = [Stage::Pending, Stage::Downloading, Stage::Publishing, Stage::Done];
        self.store.in_stages(&all, 1).await.unwrap().remove(0)
    }

    /// An attempt at the delivery is under way.
    async fn attempt(&mut self) {
        let delivery = self.delivery().await;
        let opened = self.engine.place_for(&delivery).await.unwrap().unwrap();
        let slot = Arc::new(Slot::new(&self.engine.events));
        let running = RunningAttempt::new(&opened, &delivery, CancellationToken::new(), &slot);
        self.engine.attempts.insert(delivery.id, running);
    }
}

fn id() -> DeliveryId {
    DeliveryId::new("d")
}

fn file(inode: u64) -> PublishedFile {
    PublishedFile {
        path: RelativePath::from_stored("film.mp4"),
        identity: Identity::File { inode, modified_ns: 0 },
        size: 4,
        checksum: None,
        replaces: false,
        adopted: false,
    }
}

#[tokio::test]
async fn what_is_published_at_this_moment_is_left_alone() {
    let mut world = World::new(Stage::Downloading).await;
    world.attempt().await;
    world.store.publishing(&[(id(), file(1))], Timestamp::now()).await.unwrap();
    assert!(!world.engine.settle(Timestamp::now()).await.unwrap());
    assert_eq!(world.delivery().await.stage, Stage::Publishing, "its part may be on its way");
    world.engine.attempts.clear();
    world.engine.settle(Timestamp::now()).await.unwrap();
    assert_eq!(world.delivery().await.stage, Stage::Pending, "nobody publishes it any more");
}

#[tokio::test]
async fn a_delivery_never_has_two_attempts_at_once() {
    let mut world = World::new(Stage::Downloading).await;
    world.attempt().await;
    let delivery = world.delivery().await;
    world.engine.begin(delivery.clone()).await.unwrap();
    assert_eq!(world.engine.tasks.len(), 0, "both would write one part");
    let put_back = world.delivery().await;
    assert_eq!(put_back.stage, Stage::Pending);
    assert!(put_back.run_at > delivery.run_at);
    world.engine.attempts.clear();
    world.engine.begin(put_back).await.unwrap();
    assert_eq!(world.engine.tasks.len(), 1);
}

#[tokio::test]
async fn an_attempt_that_ends_without_an_outcome_counts_like_any_other() {
    for stage in [Stage::Downloading, Stage::Publishing] {
        let mut world = World::new(Stage::Downloading).await;
        let delivery = Delivery { attempt: 7, ..world.delivery().await };
        let opened = world.engine.place_for(&delivery).await.unwrap().unwrap();
        if stage == Stage::Publishing {
            world.store.publishing(&[(id(), file(1))], Timestamp::now()).await.unwrap();
        }
        world.engine.start(delivery, opened);
        // Before it has run at all.
        world.engine.tasks.abort_all();
        while world.engine.tasks.join_next().await.is_some() {}
        world.engine.reap_all().await.unwrap();
        let delivery = world.delivery().await;
        let expected = if stage == Stage::Publishing { stage } else { Stage::Pending };
        assert_eq!((delivery.attempt, delivery.stage), (8, expected));
        let reason = delivery.reason.unwrap();
        assert!(reason.contains("without a result"), "{reason}");
    }
}

#[tokio::test]
async fn a_file_in_its_place_after_a_crash_is_made_durable_and_done() {
    use std::os::unix::fs::MetadataExt;
    let mut world = World::new(Stage::Downloading).await;
    world.attempt().await;
    world.engine.attempts.clear();
    std::fs::write(world.videos.join("film.mp4"), "film").unwrap();
    let there = world.videos.join("film.mp4").metadata().unwrap();
    let modified_ns = there.mtime() * 1_000_000_000 + there.mtime_nsec();
    let identity = Identity::File { inode: there.ino(), modified_ns };
    let published = PublishedFile { identity, ..file(1) };
    let later = Timestamp::now() + jiff::SignedDuration::from_mins(5);
    world.store.publishing(&[(id(), published)], later).await.unwrap();
    world.store.hold(&id(), later, 3, "the disk failed", later).await.unwrap();
    assert!(!world.engine.settle(Timestamp::now()).await.unwrap());
    assert_eq!(world.delivery().await.stage, Stage::Publishing, "not before its time");
    let due = world.engine.start_due().await.unwrap();
    assert!(due.is_some_and(|due| due <= Duration::from_mins(5)), "the engine comes by itself: {due:?}");
    world.store.look_now(&id(), Timestamp::now()).await.unwrap();
    world.engine.settle(Timestamp::now()).await.unwrap();
    assert_eq!(world.delivery().await.stage, Stage::Done);
}

#[tokio::test]
async fn a_held_destination_is_released_only_after_a_trial() {
    let mut world = World::new(Stage::Pending).await;
    let root = world.videos.clone();
    world.engine.open(&root).await.unwrap().unwrap();
    let trial = root.join(".gdrive-webhook/trial");
    std::fs::create_dir(&trial).unwrap();
    world.engine.hold(&root, "the disk is read-only");
    let due = Timestamp::now() - jiff::SignedDuration::from_secs(1);
    for is_writable in [false, true] {
        world.engine.holds.hold(&root.to_string_lossy(), "the disk is read-only", due, due);
        if is_writable {
            std::fs::remove_dir(&trial).unwrap();
        }
        world.engine.look_at_held(Timestamp::now()).await.unwrap();
        assert_eq!(world.engine.holds.is_held(&root.to_string_lossy()), !is_writable);
    }
}

#[tokio::test]
async fn a_destination_without_its_marker_is_known_by_a_file_and_not_by_its_size() {
    use std::os::unix::fs::MetadataExt;
    let mut world = World::new(Stage::Downloading).await;
    let root = world.videos.clone();
    std::fs::create_dir(&root).unwrap();
    let film = root.join("film.mp4");
    std::fs::write(&film, "film").unwrap();
    let metadata = film.metadata().unwrap();
    let modified_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    let identity = Identity::File { inode: metadata.ino(), modified_ns };
    let delivered = PublishedFile { identity, ..file(1) };
    world.store.publishing(&[(id(), delivered)], Timestamp::now()).await.unwrap();
    world.store.done(&[id()], Timestamp::now()).await.unwrap();
    assert!(world.engine.is_witnessed(&root).await.unwrap());
    std::fs::rename(&film, root.join("moved.mp4")).unwrap();
    assert!(!world.engine.is_witnessed(&root).await.unwrap());
    std::fs::write(&film, "FILM").unwrap();
    assert!(!world.engine.is_witnessed(&root).await.unwrap(), "another disk may have a file of that size");
}

#[tokio::test]
async fn files_of_a_held_destination_are_left_in_the_queue_although_it_may_be_looked_at_by_now() {
    let mut world = World::new(Stage::Pending).await;
    let now = Timestamp::now();
    // Due since this moment, in a step that has looked at what was held before.
    world.engine.holds.hold(world.videos.to_str().unwrap(), "full", now, now);
    let claimed = tokio::time::timeout(Duration::from_secs(5), world.engine.claim()).await;
    claimed.expect("they are claimed and put back without an end").unwrap();
    assert_eq!(world.delivery().await.stage, Stage::Pending);
}

#[tokio::test]
async fn what_is_not_needed_any_more_is_removed_from_a_held_destination() {
    let mut world = World::new(Stage::Pending).await;
    let root = world.videos.clone();
    world.store.put_bare("old", root.to_str().unwrap(), 2, Stage::Superseded).await;
    let place = world.engine.open(&root).await.unwrap().unwrap();
    let parts = ["old", "d"].map(|id| place.spool().path(&DeliveryId::new(id)));
    for part in &parts {
        std::fs::write(part, "begun").unwrap();
    }
    let now = Timestamp::now();
    let later = now.checked_add(Duration::from_mins(1)).unwrap();
    world.engine.holds.hold(root.to_str().unwrap(), "full", now, later);
    world.engine.tidy_up().await.unwrap();
    assert_eq!(parts.map(|part| part.exists()), [false, true]);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_asked_nothing_else_before_it_has_answered() {
    let mut world = World::new(Stage::Pending).await;
    let (root, engine) = (world.videos.clone(), &mut world.engine);
    let (answer, answered) = tokio::sync::oneshot::channel::<()>();
    let hangs = async move {
        let _ = answered.await;
        Ok(())
    };
    // Its patience is over at once.
    tokio::time::pause();
    assert!(engine.on_disk(&root, hangs).await.is_err());
    assert!(engine.on_disk(&root, async { Ok(()) }).await.is_err(), "it hangs still");
    engine.on_disk(std::path::Path::new("/another"), async { Ok(()) }).await.unwrap();
    answer.send(()).unwrap();
    while !engine.unanswered[&root].is_finished() {
        tokio::task::yield_now().await;
    }
    engine.on_disk(&root, async { Ok(()) }).await.unwrap();
}

#[tokio::test]
async fn what_becomes_due_during_a_step_is_due_for_the_next_one() {
    let mut world = World::new(Stage::Publishing).await;
    let now = Timestamp::now();
    let [looked, due] = [10, 5].map(|seconds| now - jiff::SignedDuration::from_secs(seconds));
    world.store.hold(&id(), due, 1, "the disk failed", now).await.unwrap();
    assert!(!world.engine.settle(looked).await.unwrap(), "it is not due yet");
    let next = world.engine.next_step(false, looked).await.unwrap();
    assert_eq!(next, Some(Duration::ZERO), "a file of which nobody knows whether it is in its place");
    world.engine.settle(now).await.unwrap();
    assert_eq!(world.engine.next_step(false, now).await.unwrap(), Some(Duration::ZERO), "it is downloaded");
    world.engine.holds.hold(world.videos.to_str().unwrap(), "why", looked, due);
    assert!(world.engine.next_step(false, looked).await.unwrap().is_some(), "a destination to be looked at");
}

#[tokio::test]
async fn what_is_settled_does_not_hide_what_is_not() {
    let mut world = World::new(Stage::Publishing).await;
    std::fs::write(&world.videos, "not a directory").unwrap();
    let other = world.videos.with_file_name("other");
    world.store.put_bare("e", other.to_str().unwrap(), 2, Stage::Publishing).await;
    assert!(world.engine.settle(Timestamp::now()).await.unwrap(), "the first one is not settled");
    assert_eq!(world.delivery().await.id.as_str(), "d");
    let stages = [Stage::Pending, Stage::Publishing].map(|stage| vec![stage]);
    for (stages, expected) in stages.iter().zip(["e", "d"]) {
        let found = world.store.in_stages(stages, 2).await.unwrap();
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test]
async fn a_held_destination_is_let_go_without_a_look_only_if_nothing_needs_it() {
    let mut world = World::new(Stage::Done).await;
    let [awaited, unneeded] = ["awaited", "unneeded"].map(|name| world.videos.with_file_name(name));
    world.store.put_bare("e", awaited.to_str().unwrap(), 2, Stage::Pending).await;
    let due = Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let all = [world.videos.clone(), awaited, unneeded];
    for root in &all {
        std::fs::write(root, "not a directory").unwrap();
        world.engine.holds.hold(root.to_str().unwrap(), "why", due, due);
    }
    world.engine.look_at_held(Timestamp::now()).await.unwrap();
    let held = all.map(|root| world.engine.holds.is_held(root.to_str().unwrap()));
    assert_eq!(held, [true, true, false], "configured, waited for, neither");
}

#[test]
fn a_destination_is_held_with_the_words_that_help_most() {
    let error = |kind, text: &str| crate::destination::Error::Io {
        doing: "write to",
        path: PathBuf::from("/videos"),
        source: std::io::Error::new(kind, text.to_owned()),
    };
    let denied = error(std::io::ErrorKind::PermissionDenied, "it belongs to root; sudo chown");
    assert_eq!(places::why_held(&denied), "it belongs to root; sudo chown");
    let other = error(std::io::ErrorKind::InvalidData, "strange bytes");
    assert_eq!(places::why_held(&other), other.to_string());
}

#[tokio::test]
async fn what_has_just_begun_has_its_room_on_the_disk() {
    let mut world = World::new(Stage::Downloading).await;
    let root = world.videos.clone();
    let free = world.engine.open(&root).await.unwrap().unwrap().space().await.unwrap().free;
    // There is room for one of them.
    world.store.put_bare("e", root.to_str().unwrap(), 2, Stage::Downloading).await;
    let both = world.store.in_stages(&[Stage::Downloading], 2).await.unwrap();
    for delivery in both {
        world.engine.begin(Delivery { size: Some(free / 5 * 3), ..delivery }).await.unwrap();
    }
    assert_eq!(world.engine.attempts.len(), 1);
    let waits = world.store.in_stages(&[Stage::Pending], 2).await.unwrap().pop().unwrap();
    let reason = waits.reason.unwrap();
    assert!(waits.id.as_str() == "e" && reason.contains("do not fit on the disk"), "{reason}");
}
