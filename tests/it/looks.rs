//! What Drive shows late: the engine in this process, since it waits for minutes otherwise.

use std::time::Duration;

use drive_emulator::{Action, Fault, Matching, Upload};
use gdrive_webhook::config::{self, follow};
use gdrive_webhook::daemon::Instruments;
use gdrive_webhook::store::Access;
use gdrive_webhook::sync::Engine;
use gdrive_webhook::task::wake_up;
use tokio::sync::watch;

use crate::world::{World, content_of};

const FIRST: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(2);

struct Reader {
    engine: Engine,
    instruments: Instruments,
}

impl Reader {
    /// An engine with short waits, on the database of a world whose daemon does not run.
    async fn new(world: &World) -> Self {
        gdrive_webhook::http::install_tls();
        let path = world.config_path();
        let text = std::fs::read_to_string(&path).unwrap();
        let settings = config::load_from(&text, &path, world.home(), []).unwrap();
        let instruments = Instruments::open(&settings, Access::Exclusive).await.unwrap();
        let mut wanted = follow::to_sync(&settings);
        wanted.config.waits.looks = [FIRST, SECOND];
        wanted.config.waits.hidden = [FIRST, SECOND];
        wanted.config.waits.watched = [FIRST, SECOND];
        let (_, wanted) = watch::channel(wanted);
        let engine = instruments.sync(wanted, wake_up().0, wake_up().0);
        let mut reader = Self { engine, instruments };
        reader.engine.catch_up().await.unwrap();
        reader
    }

    /// Reads until so many files wait in the queue. How often folders were listed meanwhile.
    async fn until_queued(&mut self, count: i64) -> usize {
        let mut listed = 0;
        let read = async {
            while self.queued().await < count {
                listed += self.engine.catch_up().await.unwrap().listed;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(crate::world::BOUND, read).await.expect("it is found");
        listed
    }

    async fn queued(&self) -> i64 {
        self.instruments.store.counts().await.unwrap().get("pending").copied().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_folder_is_listed_again_since_listings_lag() {
    let world = World::new("").await;
    let mut reader = Reader::new(&world).await;
    // Neither has an entry of its own once the folder is moved.
    let above = world.drive.folder(&world.drive.root_id(), "Above");
    let below = world.drive.folder(&above, "Below");
    let file =
        |folder: &str, name: &str| world.drive.upload(Upload::new(folder, name, content_of(name, 1_000)));
    let late = file(&above, "late.mp4");
    file(&below, "deep.mp4");
    reader.engine.catch_up().await.unwrap();
    for hidden in [&late, &below] {
        world.drive.hide_from_listings(hidden, Duration::from_secs(1));
    }
    world.drive.move_to(&above, &world.inbox);
    reader.engine.catch_up().await.unwrap();
    assert_eq!(reader.queued().await, 0, "the first listing does not show them");
    reader.until_queued(2).await;

    // It is listed once and twice more, and then no more.
    tokio::time::sleep(SECOND * 2).await;
    reader.engine.catch_up().await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(reader.engine.catch_up().await.unwrap().listed, 1, "the second look at what is below");
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(reader.engine.catch_up().await.unwrap().listed, 0);
}

/// What the log can no longer tell is told by listings, and those lag.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_refused_page_token_folders_are_listed_again_since_listings_lag() {
    let world = World::new("").await;
    let folder = world.drive.folder(&world.inbox, "Folder");
    let mut reader = Reader::new(&world).await;
    for wait in [FIRST, SECOND] {
        tokio::time::sleep(wait * 2).await;
        reader.engine.catch_up().await.unwrap();
    }
    let late = world.drive.upload(Upload::new(&folder, "late.mp4", content_of("late.mp4", 1_000)));
    world.drive.hide_from_listings(&late, Duration::from_millis(400));
    world.drive.refuse_page_tokens_before_now();
    reader.engine.catch_up().await.unwrap();
    assert_eq!(reader.queued().await, 0, "the listing that stands in for the log does not show it");
    reader.until_queued(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drive_does_not_show_for_a_moment_is_not_dropped_and_what_stays_away_is() {
    let world = World::new("").await;
    let mut reader = Reader::new(&world).await;
    let folder = world.drive.folder(&world.inbox, "Folder");
    let hide = |times| {
        for operation in ["files.list", "files.get"] {
            let matching = Matching::operation(operation).file(&folder);
            world.drive.fail(Fault { matching, times, action: Action::status(404, "notFound") });
        }
    };
    hide(2);
    reader.engine.catch_up().await.unwrap();
    tokio::time::sleep(FIRST * 2).await;
    reader.engine.catch_up().await.unwrap();
    tokio::time::sleep(SECOND + FIRST).await;
    reader.engine.catch_up().await.unwrap();
    world.drive.upload(Upload::new(&folder, "film.mp4", content_of("film.mp4", 1_000)));
    reader.until_queued(1).await;

    // A comparison finds that it is not to be seen, and asks three times.
    hide(u32::MAX);
    world.drive.hide_from_listings(&folder, Duration::from_hours(1));
    world.drive.refuse_page_tokens_before_now();
    let id = gdrive_webhook::model::FileId::new(folder.as_str());
    for wait in [Duration::ZERO, FIRST * 2, SECOND + FIRST] {
        let known = reader.instruments.store.folders(std::slice::from_ref(&id)).await.unwrap();
        assert_eq!(known.len(), 1, "before {wait:?}");
        tokio::time::sleep(wait).await;
        reader.engine.catch_up().await.unwrap();
    }
    let known = reader.instruments.store.folders(&[id]).await.unwrap();
    assert!(known.is_empty(), "{known:?}");
}

/// That Drive does not answer says nothing of whether it shows something.
#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_passes_loses_no_folder_after_errors_either() {
    let world = World::new("").await;
    let folder = world.drive.folder(&world.inbox, "Folder");
    let mut reader = Reader::new(&world).await;
    let of_folder = || Matching::operation("files.get").file(&folder);
    for (times, action) in [(2, Action::status(500, "internalError")), (1, Action::status(404, "notFound"))] {
        world.drive.fail(Fault { matching: of_folder(), times, action });
    }
    world.drive.hide_from_listings(&folder, Duration::from_mins(10));
    world.drive.refuse_page_tokens_before_now();
    let is_hidden = || {
        let asked = world.drive.requests();
        asked.iter().any(|asked| asked.operation == "files.get" && asked.status == 404)
    };
    let hidden = async {
        while !is_hidden() {
            reader.engine.catch_up().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(crate::world::BOUND, hidden).await.expect("Drive does not show it once");
    world.drive.upload(Upload::new(&folder, "film.mp4", content_of("film.mp4", 1_000)));
    reader.until_queued(1).await;
}

/// An entry says nothing of it, and Drive does not show it for a while: no other entry tells that it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_that_an_answer_says_is_away_is_asked_for_until_it_is_back() {
    let world = World::new("").await;
    let mut reader = Reader::new(&world).await;
    for _ in 0..2 {
        tokio::time::sleep(SECOND + FIRST).await;
        reader.engine.catch_up().await.unwrap();
    }
    let matching = Matching::operation("files.get").file(&world.inbox);
    world.drive.fail(Fault { matching, times: u32::MAX, action: Action::status(404, "notFound") });
    world.drive.fail(Fault::once("changes.list", Action::Remove { pointer: "/changes/0/file".to_owned() }));
    world.drive.touch(&world.inbox);
    let away = async {
        while reader.engine.catch_up().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(crate::world::BOUND, away).await.expect("it is named");
    world.drive.clear_faults();
    let back = async {
        while reader.engine.catch_up().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(crate::world::BOUND, back).await.expect("it is watched again");
}
