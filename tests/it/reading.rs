//! Reading Drive so that nothing is lost: listings that lag or fail, folders and logs that wait alone, moves between
//! drives, folders that cannot be watched, and a database that fails.

use std::time::{Duration, Instant};

use drive_emulator::{Action, DriveRefusal, Fault, Matching, Role, Upload};

use crate::world::{World, content_of, text};

const POLLS: &str = "[sync]\npoll = \"1s\"";

fn upload_into(world: &World, folder: &str, name: &str) -> String {
    world.drive.upload(Upload::new(folder, name, content_of(name, 1_000)))
}

/// Every listing of this folder fails.
fn unlistable(folder: &str, action: Action) -> Fault {
    Fault { matching: Matching::operation("files.list").file(folder), times: u32::MAX, action }
}

/// Has what happens now be read as one page.
fn in_one_page(world: &World, happens: impl FnOnce()) {
    world.drive.set_notifications(false);
    happens();
    world.drive.set_notifications(true);
    world.drive.push_now();
}

async fn not_ready(world: &World) -> String {
    world.status().await["not_ready"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_a_listing_does_not_show_yet_stays_known() {
    let world = World::running("").await;
    let mut below = String::new();
    in_one_page(&world, || {
        let above = world.drive.folder(&world.drive.root_id(), "Above");
        below = world.drive.folder(&above, "Below");
        world.drive.hide_from_listings(&below, Duration::from_secs(5));
        world.drive.move_to(&above, &world.inbox);
        upload_into(&world, &above, "above.mp4");
        // Its entry comes after that of the folder above.
        world.drive.touch(&below);
    });
    world.wait_for_file("Above/above.mp4").await;
    world
        .wait("Drive is asked for it", async || {
            let asked = world.drive.requests();
            asked.iter().any(|request| request.operation == "files.get" && request.path.contains(&below))
        })
        .await;
    world.wait_until_idle().await;
    upload_into(&world, &below, "below.mp4");
    world.wait_for_file("Above/Below/below.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_listed_waits_alone_and_is_named() {
    for action in [Action::status(500, "internalError"), Action::status(403, "insufficientFilePermissions")] {
        let world = World::running(POLLS).await;
        let folder = world.drive.folder(&world.drive.root_id(), "Broken");
        upload_into(&world, &folder, "in it.mp4");
        world.drive.fail(unlistable(&folder, action));
        world.drive.move_to(&folder, &world.inbox);
        upload_into(&world, &world.inbox, "other.mp4");
        world.wait_for_file("other.mp4").await;
        world.wait("it is named", async || not_ready(&world).await.contains("folder Broken")).await;
        let status = world.status().await;
        let problem = &status["folders"]["problems"][0];
        assert_eq!((&problem["name"], &problem["is_configured"]), (&"Broken".into(), &false.into()));
        let shown = text(&world.output(&["status"]).await.stdout);
        assert!(shown.contains("folders with problems\n") && shown.contains(&folder), "{shown}");
        upload_into(&world, &world.inbox, "another.mp4");
        world.wait_for_file("another.mp4").await;

        world.drive.clear_faults();
        // Something happens in it.
        world.drive.touch(&folder);
        world.wait_for_file("Broken/in it.mp4").await;
        world.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_video_does_not_wait_for_folders_that_are_listed() {
    let world = World::running("").await;
    let big = world.drive.folder(&world.drive.root_id(), "Big");
    for number in 0..400 {
        world.drive.folder(&big, &format!("{number}"));
    }
    world.drive.set_latency(Duration::from_millis(150));
    world.drive.clear_requests();
    world.drive.move_to(&big, &world.inbox);
    world.wait("folders are listed", async || world.drive.count("files.list") >= 3).await;
    upload_into(&world, &world.inbox, "film.mp4");
    let path = world.videos().join("film.mp4");
    world.wait_for("it is there soon", Duration::from_secs(3), async || path.exists()).await;
    let listed = world.drive.count("files.list");
    assert!(listed < 60, "{listed} folders were listed before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_drive_that_answers_slowly_delays_nobody() {
    let mut world = World::new("").await;
    let team = world.drive.shared_drive("Team");
    let there = world.home().join("team");
    world.add_config(&format!("[[folder]]\nid = {team:?}\ndestination = {there:?}"));
    world.start().await;
    let slow = Matching::operation("changes.list");
    world.drive.fail(Fault { matching: slow, times: 1, action: Action::AnswerLate { milliseconds: 8_000 } });
    let began = Instant::now();
    world.drive.push_now();
    upload_into(&world, &world.inbox, "film.mp4");
    upload_into(&world, &team, "team.mp4");
    // One of the two logs waits.
    world
        .wait("one of them comes", async || {
            world.videos().join("film.mp4").exists() || there.join("team.mp4").exists()
        })
        .await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn touching_or_renaming_a_folder_lists_nothing_at_once() {
    let world = World::running("").await;
    let above = world.drive.folder(&world.inbox, "Above");
    upload_into(&world, &above, "first.mp4");
    world.wait_for_file("Above/first.mp4").await;
    world.wait_until_idle().await;
    world.drive.clear_requests();
    world.drive.rename(&above, "Renamed");
    world.drive.touch(&world.inbox);
    upload_into(&world, &above, "second.mp4");
    world.wait_for_file("Renamed/second.mp4").await;
    assert_eq!(world.drive.count("files.list"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_that_is_away_is_named_at_once_and_watched_when_it_is_back() {
    let mut world = World::running(POLLS).await;
    let below = world.drive.folder(&world.inbox, "Below");
    upload_into(&world, &below, "first.mp4");
    world.wait_for_file("Below/first.mp4").await;
    world.drive.trash(&world.inbox);
    world.wait("it is named", async || not_ready(&world).await.contains("in Drive's trash")).await;
    let status = world.status().await;
    assert_eq!(status["folders"]["problems"][0]["id"], world.inbox.as_str());
    assert_eq!(world.log().matches("a folder cannot be watched").count(), 1);
    // A restart forgets nothing of it.
    assert_eq!(world.terminate().await, 0);
    world.spawn();
    world
        .wait("it is named again", async || {
            let url = format!("http://127.0.0.1:{}/readyz", world.private);
            let Ok(answer) = crate::world::client().get(url).send().await else { return false };
            answer.text().await.is_ok_and(|text| text.contains("in Drive's trash"))
        })
        .await;
    world.drive.untrash(&world.inbox);
    upload_into(&world, &below, "second.mp4");
    world.wait_for_file("Below/second.mp4").await;
    world.until_ready().await;

    world.drive.delete(&world.inbox);
    world.wait("it is named", async || not_ready(&world).await.contains("Drive does not show it to")).await;
    assert!(not_ready(&world).await.contains("has another id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_passes_loses_no_folder() {
    let mut world = World::with_folder(POLLS, "existing = \"download\"").await;
    let below = world.drive.folder(&world.inbox, "Below");
    upload_into(&world, &world.inbox, "old.mp4");
    upload_into(&world, &below, "deep.mp4");
    world.drive.fail(Fault::once("files.list", Action::status(404, "notFound")));
    world.spawn();
    world.wait_for_file("old.mp4").await;
    world.wait_for_file("Below/deep.mp4").await;

    let folder = world.drive.folder(&world.drive.root_id(), "Moved");
    upload_into(&world, &folder, "in it.mp4");
    world.drive.fail(Fault {
        matching: Matching::operation("files.list").file(&folder),
        times: 1,
        action: Action::status(404, "notFound"),
    });
    world.drive.move_to(&folder, &world.inbox);
    world.wait_for_file("Moved/in it.mp4").await;
    upload_into(&world, &folder, "later.mp4");
    world.wait_for_file("Moved/later.mp4").await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_whose_answer_always_breaks_off_holds_up_no_other() {
    let world = World::running("").await;
    world.wait_until_idle().await;
    let without_file =
        || Fault::once("changes.list", Action::Remove { pointer: "/changes/0/file".to_owned() });
    let broken = |file: &str| {
        let matching = Matching::operation("files.get").file(file);
        Fault { matching, times: u32::MAX, action: Action::ResetAfter { bytes: 0 } }
    };
    world.drive.set_notifications(false);
    let first = upload_into(&world, &world.inbox, "first.mp4");
    world.drive.fail(broken(&first));
    world.drive.fail(without_file());
    world.drive.set_notifications(true);
    world.drive.push_now();
    let is_asked = async || {
        let asked = world.drive.requests();
        asked.iter().any(|request| request.operation == "files.get" && request.path.contains(&first))
    };
    world.wait("Drive is asked for it", is_asked).await;
    world.drive.fail(without_file());
    upload_into(&world, &world.inbox, "second.mp4");
    world.wait_for_file("second.mp4").await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_moves_from_a_shared_drive_is_delivered_whichever_log_tells_first() {
    for lag in [Duration::ZERO, Duration::from_secs(2)] {
        let mut world = World::new(POLLS).await;
        let team = world.drive.shared_drive("Team");
        let there = world.home().join("team");
        world.add_config(&format!("[[folder]]\nid = {team:?}\ndestination = {there:?}"));
        world.start().await;
        world.drive.set_removal_lag(lag);
        // It is on its way when it moves.
        world.drive.fail(Fault::times("files.media", 3, Action::status(500, "internalError")));
        let film = upload_into(&world, &team, "film.mp4");
        world.wait("it is known", async || world.log().contains("a new file")).await;
        world.drive.move_to(&film, &world.inbox);
        tokio::time::sleep(lag + Duration::from_secs(2)).await;
        world.wait_until_idle().await;
        let counts = world.status().await["deliveries"].clone();
        assert_eq!(counts, serde_json::json!({"done": 1}), "{lag:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_that_moves_into_a_shared_drive_and_back_is_watched_on() {
    let world = World::running(POLLS).await;
    let below = world.drive.folder(&world.inbox, "Below");
    upload_into(&world, &below, "first.mp4");
    world.wait_for_file("Below/first.mp4").await;
    let team = world.drive.shared_drive("Team");
    world.drive.move_to(&world.inbox, &team);
    upload_into(&world, &below, "second.mp4");
    world.wait_for_file("Below/second.mp4").await;
    upload_into(&world, &world.inbox, "third.mp4");
    world.wait_for_file("third.mp4").await;
    world.drive.move_to(&world.inbox, &world.drive.root_id());
    upload_into(&world, &below, "fourth.mp4");
    world.wait_for_file("Below/fourth.mp4").await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_shared_drive_without_membership_is_polled_until_there_is_one() {
    for refusal in [DriveRefusal::NotFound, DriveRefusal::MembershipRequired] {
        let mut world = World::new(POLLS).await;
        let us = world.drive.service_account().address().to_owned();
        world.drive.share(&world.inbox, &us, Role::Reader);
        world.drive.set_drive_refusal(refusal);
        world.drive.set_outsider_entries(false);
        let team = world.drive.shared_drive("Team");
        let folder = world.drive.folder(&team, "Folder");
        world.drive.share(&folder, &us, Role::Reader);
        let there = world.home().join("team");
        world.add_config(&format!("[[folder]]\nid = {folder:?}\ndestination = {there:?}"));
        world.start().await;
        let below = world.drive.folder(&folder, "Below");
        upload_into(&world, &below, "polled.mp4");
        let polled = there.join("Below/polled.mp4");
        world.wait("it is found by polling", async || polled.exists()).await;
        let status = world.status().await;
        assert_eq!(status["folders"]["polled_drives"][0]["id"], team.as_str(), "{status}");
        world.until_ready().await;

        world.drive.join(&team, &us, Role::Reader);
        world
            .wait("it is followed", async || world.drive.channels().iter().any(|channel| channel.log == team))
            .await;
        upload_into(&world, &below, "told.mp4");
        let told = there.join("Below/told.mp4");
        world.wait("it is delivered", async || told.exists()).await;
        assert_eq!(world.status().await["folders"]["polled_drives"], serde_json::json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_locked_at_the_start_loses_no_rule_and_no_folder() {
    let mut world = World::running("").await;
    let below = world.drive.folder(&world.inbox, "Below");
    upload_into(&world, &below, "first.mp4");
    world.wait_for_file("Below/first.mp4").await;
    assert_eq!(world.terminate().await, 0);

    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}", world.home().join("state.db").display());
    let ledger = sqlx::AnyPool::connect(&url).await.unwrap();
    let mut held = ledger.acquire().await.unwrap();
    upload_into(&world, &below, "second.mp4");
    // The first page comes when the database is locked already.
    world.drive.set_latency(Duration::from_secs(2));
    world.spawn();
    world.wait("it is started", async || world.log().matches("\"started\"").count() == 2).await;
    sqlx::query("begin immediate").execute(&mut *held).await.unwrap();
    sqlx::query("update folder set name = name").execute(&mut *held).await.unwrap();
    // Each statement waits for ten seconds, and those of all engines wait for one connection.
    let is_refused = async || {
        let log = world.log();
        log.lines().any(|line| line.contains("Drive cannot be read") && line.contains("the database failed"))
    };
    world.wait_for("the page is not recorded", Duration::from_mins(1), is_refused).await;
    world.drive.set_latency(Duration::ZERO);
    sqlx::query("rollback").execute(&mut *held).await.unwrap();
    drop(held);
    ledger.close().await;
    upload_into(&world, &world.inbox, "third.mp4");
    for name in ["Below/second.mp4", "third.mp4"] {
        let path = world.videos().join(name);
        world.wait_for(name, Duration::from_mins(1), async || path.exists()).await;
    }
    let log = world.log();
    assert!(!log.contains("\"skipped\"") && !log.contains("slow"), "{log}");
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_a_log_has_overtaken_brings_nothing_back() {
    let world = World::running("").await;
    let above = world.drive.folder(&world.drive.root_id(), "Above");
    let below = world.drive.folder(&above, "Below");
    world.drive.fail(Fault {
        matching: Matching::operation("files.list").file(&above),
        times: 1,
        action: Action::AnswerLate { milliseconds: 3_000 },
    });
    world.drive.clear_requests();
    world.drive.move_to(&above, &world.inbox);
    world.wait("it is listed", async || world.drive.count("files.list") == 1).await;
    world.drive.move_to(&below, &world.drive.root_id());
    upload_into(&world, &world.inbox, "after.mp4");
    world.wait_for_file("after.mp4").await;
    world.wait("the listing has ended", async || world.status().await["folders"]["waiting"] == 0).await;
    upload_into(&world, &below, "elsewhere.mp4");
    upload_into(&world, &world.inbox, "last.mp4");
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["after.mp4", "last.mp4"]);
}

/// Nobody has shared the folder with the account: the keys in the address and in the listings open it.
#[tokio::test(flavor = "multi_thread")]
async fn folders_and_targets_of_shortcuts_with_resource_keys_are_read() {
    let mut world = World::new("").await;
    let ann = world.drive.user("ann@example.com");
    let shared = ann.folder(&ann.root_id(), "Shared");
    let below = ann.folder(&shared, "below");
    let elsewhere = ann.folder(&ann.root_id(), "Elsewhere");
    let put = |folder: &str, name: &str| ann.upload(Upload::new(folder, name, content_of(name, 1_000)));
    put(&below, "deep.mp4");
    let target = put(&elsewhere, "target.mp4");
    for open in [&shared, &target] {
        world.drive.share_link(open, Some(Role::Reader));
    }
    world.drive.require_resource_key(&below);
    world.drive.require_resource_key(&target);
    let key = world.drive.require_resource_key(&shared);
    world.drive.shortcut(&shared, "by shortcut.mp4", &target);
    let there = world.home().join("shared");
    world.add_config(&format!(
        "[[folder]]\nid = \"https://drive.google.com/drive/folders/{shared}?resourcekey={key}\"\n\
         destination = {there:?}\nexisting = \"download\""
    ));
    world.start().await;
    for name in ["below/deep.mp4", "by shortcut.mp4"] {
        world.wait(name, async || there.join(name).exists()).await;
    }
}
