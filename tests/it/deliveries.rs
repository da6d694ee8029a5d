//! From a change in Drive to a file at the destination.

use std::fs;
use std::time::{Duration, SystemTime};

use drive_emulator::{Action, Content, Fault, Matching, Upload};

use crate::world::{World, content_of};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_announced_and_delivered_with_its_time() {
    let world = World::running("").await;
    let id = world.drive.upload(
        Upload::new(&world.inbox, "film.mp4", content_of("film.mp4", 300_000))
            .modified_time("2026-03-04T05:06:07.890Z"),
    );
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    let modified = fs::metadata(world.videos().join("film.mp4")).unwrap().modified().unwrap();
    assert_eq!(
        modified.duration_since(SystemTime::UNIX_EPOCH).unwrap(),
        Duration::from_millis(1_772_600_767_890)
    );
    world.wait_until_idle().await;
    assert!(world.parts().is_empty(), "no part is left: {:?}", world.parts());
    assert_eq!(world.status().await["deliveries"]["done"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_it_was_stopped_is_delivered_at_the_start() {
    let mut world = World::running("").await;
    assert_eq!(world.terminate().await, 0);
    let names = ["one.mp4", "two.mov", "three.webm"];
    let ids: Vec<_> = names.iter().map(|name| world.upload(name, 50_000)).collect();
    world.start().await;
    for (name, id) in names.iter().zip(&ids) {
        world.wait_for_file(name).await;
        world.assert_same(name, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_poll_finds_what_nobody_announced() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.set_notifications(false);
    let id = world.upload("quiet.mp4", 10_000);
    world.wait_for_file("quiet.mp4").await;
    world.assert_same("quiet.mp4", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_public_address_it_polls_and_is_ready() {
    let world = World::running("[webhook]\nlisten = \"127.0.0.1:{public}\"\n[sync]\npoll = \"1s\"").await;
    world.upload("polled.mp4", 10_000);
    world.wait_for_file("polled.mp4").await;
    assert!(world.drive.channels().is_empty());
    let log = world.log();
    assert_eq!(log.matches("polling only").count(), 1, "one warning: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_page_token_heals_and_the_gap_is_delivered() {
    let mut world = World::new("").await;
    let before = world.upload("before.mp4", 10_000);
    world.start().await;
    world.drive.set_notifications(false);
    let id = world.upload("gap.mp4", 10_000);
    world.drive.refuse_page_tokens_before_now();
    world.drive.set_notifications(true);
    world.drive.push_now();
    world.wait_for_file("gap.mp4").await;
    world.assert_same("gap.mp4", &id);
    let after = world.upload("after.mp4", 10_000);
    world.wait_for_file("after.mp4").await;
    world.assert_same("after.mp4", &after);
    assert!(world.is_running());
    assert!(world.log().contains("refuses the page token"));
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["after.mp4", "gap.mp4"], "{before} was there before the first run");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_not_new_after_a_refused_page_token() {
    let mut world = World::new("").await;
    let before = world.upload("before.mp4", 10_000);
    world.start().await;
    let first = world.upload("first.mp4", 10_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    let (drive, start) = (&world.drive, "changes.getStartPageToken");
    let asked = drive.count(start);
    drive.fail(Fault::once(start, Action::AnswerLate { milliseconds: 2_000 }));
    drive.refuse_page_tokens_before_now();
    drive.push_now();
    world.wait("a new token is asked for", async || drive.count(start) > asked).await;
    // After the new token, and before the log is read from there.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drive.rename(&before, "renamed.mp4");
    drive.rename(&first, "second.mp4");
    world.upload("after.mp4", 10_000);
    world.wait_for_file("after.mp4").await;
    world.wait_until_idle().await;
    assert!(world.log().contains("refuses the page token"));
    assert_eq!(world.delivered(), ["after.mp4", "first.mp4"], "`existing` is \"ignore\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_told_apart_and_the_log_says_why() {
    let world = World::running("").await;
    let small = || Content::pattern(7, 4_000);
    let upload =
        |name: &str, mime: &str| world.drive.upload(Upload::new(&world.inbox, name, small()).mime_type(mime));
    upload("notes.txt", "text/plain");
    upload("project", "application/vnd.google-apps.vid");
    let film = upload("film.mkv", "application/octet-stream");
    world.wait_for_file("film.mkv").await;
    world.assert_same("film.mkv", &film);
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mkv"]);
    let log = world.log();
    assert!(log.contains("text/plain is no video type"), "{log}");
    assert!(log.contains("Google Vids project has no file"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_files_stay_unless_they_are_asked_for() {
    let mut world = World::new("").await;
    let deep = world.drive.folder(&world.inbox, "deep");
    world.drive.upload(Upload::new(&deep, "old.mp4", content_of("old", 1_000)));
    world.start().await;
    world.drive.upload(Upload::new(&deep, "new.mp4", content_of("new", 1_000)));
    world.wait_for_file("deep/new.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["deep/new.mp4"]);

    let mut world = World::with_folder("", "existing = \"download\"").await;
    let deep = world.drive.folder(&world.inbox, "deep");
    world.drive.upload(Upload::new(&deep, "old.mp4", content_of("old", 1_000)));
    world.start().await;
    world.wait_for_file("deep/old.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_followed_as_they_come_move_and_go() {
    let world = World::running("").await;
    let trip = world.drive.folder(&world.inbox, "Trip");
    world.drive.upload(Upload::new(&trip, "a.mp4", content_of("a", 1_000)));
    world.wait_for_file("Trip/a.mp4").await;

    // Moved in with its content, which has no entries of its own.
    let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
    world.drive.upload(Upload::new(&elsewhere, "b.mp4", content_of("b", 1_000)));
    world.drive.move_to(&elsewhere, &trip);
    world.wait_for_file("Trip/Elsewhere/b.mp4").await;

    world.drive.rename(&trip, "Journey");
    world.drive.upload(Upload::new(&trip, "c.mp4", content_of("c", 1_000)));
    world.wait_for_file("Journey/c.mp4").await;
    // A renamed folder is listed again. That is over when what comes after it has come: a listing would show what lies in
    // the folder by then, although it has gone.
    world.upload("between.mp4", 1_000);
    world.wait_for_file("between.mp4").await;

    world.drive.move_to(&trip, &world.drive.root_id());
    world.drive.upload(Upload::new(&trip, "d.mp4", content_of("d", 1_000)));
    world.upload("last.mp4", 1_000);
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    let expected = ["Journey/c.mp4", "Trip/Elsewhere/b.mp4", "Trip/a.mp4", "between.mp4", "last.mp4"];
    assert_eq!(world.delivered(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_content_takes_the_place_of_an_untouched_one_only() {
    let world = World::running("").await;
    let id = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;

    world.drive.revise(&id, Content::pattern(99, 12_000));
    let revised = world.drive.content_sha256(&id).unwrap();
    let path = world.videos().join("film.mp4");
    world.wait("the new content is in place", async || crate::world::sha256(&path) == revised).await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4"]);

    fs::write(&path, "mine now").unwrap();
    world.drive.revise(&id, Content::pattern(100, 13_000));
    let beside = format!("film [{}].mp4", &id[..8]);
    world.wait_for_file(&beside).await;
    world.assert_same(&beside, &id);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine now");
}

#[tokio::test(flavor = "multi_thread")]
async fn touching_renaming_and_moving_do_not_deliver_again() {
    let world = World::running("").await;
    let id = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    let sub = world.drive.folder(&world.inbox, "sub");
    world.drive.touch(&id);
    world.drive.rename(&id, "renamed.mp4");
    world.drive.move_to(&id, &sub);
    world.drive.trash(&id);
    world.drive.untrash(&id);
    let last = world.upload("last.mp4", 1_000);
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4", "last.mp4"], "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let world = World::running("").await;
    world.drive.fail(Fault::times("files.media", 2, Action::CutAfter { bytes: 400_000 }));
    let id = world.upload("film.mp4", 1_000_000);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    let ranges: Vec<_> = world
        .drive
        .requests()
        .into_iter()
        .filter(|r| r.operation == "files.media")
        .map(|r| r.range)
        .collect();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0], None);
    assert!(ranges[1].as_deref().is_some_and(|range| range != "bytes=0-"), "{ranges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_fetched_once_more_and_never_published_if_they_stay_wrong() {
    let world = World::running("").await;
    world.drive.fail(Fault::once("files.media", Action::WrongByte { offset: 500 }));
    let once = world.upload("once.mp4", 10_000);
    world.wait_for_file("once.mp4").await;
    world.assert_same("once.mp4", &once);

    world.drive.fail(Fault::always("files.media", Action::WrongByte { offset: 500 }));
    world.upload("always.mp4", 10_000);
    world.wait("it is given up", async || world.status().await["deliveries"]["failed"] == 1).await;
    assert_eq!(world.delivered(), ["once.mp4"]);
    assert!(world.parts().is_empty());
    let status = world.status().await;
    let reason = status["attention"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("wrong twice") && reason.contains("sha256:"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rules_share_one_drive() {
    let mut world = World::with_folder("", "exclude = [\"*.mov\"]").await;
    let other = world.drive.folder(&world.drive.root_id(), "Other");
    let there = world.home().join("other");
    world.add_config(&format!(
        "[[folder]]\nid = {other:?}\ndestination = {there:?}\npath = \"{{stem}}-{{id}}.{{ext}}\"\nrecursive = false"
    ));
    world.start().await;
    let id = world.drive.upload(Upload::new(&other, "clip.mp4", content_of("clip", 1_000)));
    world.upload("left out.mov", 1_000);
    world.upload("taken.mp4", 1_000);
    world.wait_for_file("taken.mp4").await;
    let path = there.join(format!("clip-{id}.mp4"));
    world.wait("the other folder's file is delivered", async || path.exists()).await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["taken.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_drive_has_a_log_and_a_channel_of_its_own() {
    let mut world = World::new("").await;
    let team = world.drive.shared_drive("Team");
    let there = world.home().join("team");
    world.add_config(&format!("[[folder]]\nid = {team:?}\ndestination = {there:?}"));
    world.start().await;
    world.wait("both logs have a channel", async || world.drive.channels().len() == 2).await;
    world.drive.upload(Upload::new(&team, "shared.mp4", content_of("shared", 1_000)));
    let path = there.join("shared.mp4");
    world.wait("the shared drive's file is delivered", async || path.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_worked_off_one_by_one_without_a_pause() {
    let mut world = World::new("[download]\nconcurrency = 1").await;
    world.start().await;
    world.drive.set_notifications(false);
    for number in 0..60 {
        world.upload(&format!("{number:02}.mp4"), 2_000);
    }
    world.drive.set_notifications(true);
    world.drive.push_now();
    world.wait_for("all are delivered", Duration::from_mins(1), async || world.delivered().len() == 60).await;
    world.wait_until_idle().await;
    assert_eq!(world.drive.count("files.media"), 60, "each is fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_file_does_not_wait_for_long_ones() {
    let world = World::running("[download]\nconcurrency = 1\nstreams = 1").await;
    world.drive.set_rate(Some(4_000_000));
    for number in [1, 2] {
        world.upload(&format!("long-{number}.mp4"), 68_000_000);
    }
    world.wait("the first one is fetched", async || world.drive.count("files.media") == 1).await;
    for name in ["short-1.mp4", "short-2.mp4"] {
        let id = world.upload(name, 200_000);
        world.wait_for_file(name).await;
        world.assert_same(name, &id);
    }
    assert_eq!(world.delivered(), ["short-1.mp4", "short-2.mp4"], "the long ones take their time");
    assert_eq!(world.drive.count("files.media"), 3, "the second long one has to wait");
    world.drive.set_rate(None);
    world.wait_for("all are delivered", Duration::from_mins(1), async || world.delivered().len() == 4).await;
    assert_eq!(world.drive.count("files.media"), 4, "each is fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_file_does_not_wait_until_there_are_no_tiny_ones() {
    let world = World::running("").await;
    world.drive.set_notifications(false);
    let names: Vec<String> = (0..100).map(|number| format!("{number:02}.mp4")).collect();
    for name in &names[..20] {
        world.upload(name, 2_000);
    }
    let larger = world.upload("larger.mp4", 2_000_000);
    for name in &names[20..] {
        world.upload(name, 2_000);
    }
    world.drive.set_notifications(true);
    world.drive.push_now();
    let count = names.len() + 1;
    world
        .wait_for("all are delivered", Duration::from_mins(1), async || world.delivered().len() == count)
        .await;
    let requests = world.drive.requests();
    let mut media = requests.iter().filter(|request| request.operation == "files.media");
    let turn = media.position(|request| request.path.contains(&larger)).unwrap();
    // About the 21st. One that waits as long as there are tiny ones to begin comes after 60 of them.
    assert!(turn < 44, "it was the {turn}th");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_comparison_finds_what_the_change_log_never_told() {
    let mut world = World::running("").await;
    assert_eq!(world.terminate().await, 0);
    let id = world.upload("missed.mp4", 10_000);
    // A page token that is past the upload, and a last comparison that is long ago.
    let url = format!("{}/drive/v3/changes/startPageToken", world.drive.url());
    let answer =
        crate::world::client().get(url).bearer_auth(world.drive.access_token()).send().await.unwrap();
    let token =
        answer.json::<serde_json::Value>().await.unwrap()["startPageToken"].as_str().unwrap().to_owned();
    sqlx::any::install_default_drivers();
    let ledger =
        sqlx::AnyPool::connect(&format!("sqlite:{}", world.home().join("state.db").display())).await.unwrap();
    let told = "update change_log set page_token = $1, compared_at = $2";
    for (compared, comes) in [(jiff::Timestamp::now().as_millisecond(), false), (0, true)] {
        sqlx::query(told).bind(token.as_str()).bind(compared).execute(&ledger).await.unwrap();
        world.start().await;
        if comes {
            world.wait_for_file("missed.mp4").await;
            world.assert_same("missed.mp4", &id);
        } else {
            assert_eq!(world.delivered(), Vec::<String>::new(), "the change log does not tell it");
            assert_eq!(world.terminate().await, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_log_that_fails_does_not_keep_the_others_unread() {
    let mut world = World::new("").await;
    let team = world.drive.shared_drive("Team");
    let there = world.home().join("team");
    world.add_config(&format!("[[folder]]\nid = {team:?}\ndestination = {there:?}"));
    // The user's own log is asked for first; after a refusal of this kind it is asked again after half a minute.
    world.drive.fail(Fault::once("changes.getStartPageToken", Action::status(403, "accessNotConfigured")));
    world.spawn();
    world.wait("the shared drive has its channel", async || world.drive.channels().len() == 1).await;
    world.drive.upload(Upload::new(&team, "shared.mp4", content_of("shared", 1_000)));
    let path = there.join("shared.mp4");
    world.wait_for("it is delivered", Duration::from_secs(15), async || path.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_in_the_bin_while_it_was_listed_is_listed_again() {
    // The folder itself, or one below it that was found in it before.
    for listed_before in 0..2 {
        let world = World::running("[sync]\npoll = \"1s\"").await;
        let outside = world.drive.folder(&world.drive.root_id(), "Trip");
        let below = world.drive.folder(&outside, "Day 1");
        world.drive.upload(Upload::new(&below, "film.mp4", content_of("film.mp4", 1_000)));
        world.drive.clear_requests();
        // The listing comes late enough to find everything in the bin.
        let matching = Matching::operation("files.list").skip(listed_before);
        world.drive.fail(Fault { matching, times: 1, action: Action::Delay { milliseconds: 1500 } });
        world.drive.move_to(&outside, &world.inbox);
        world
            .wait("it is being listed", async || world.drive.count("files.list") > listed_before as usize)
            .await;
        world.drive.trash(&outside);
        tokio::time::sleep(Duration::from_millis(1600)).await;
        world.drive.untrash(&outside);
        world.wait_for_file("Trip/Day 1/film.mp4").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_fails_at_the_last_step_doubles_nothing() {
    let mut world = World::running("").await;
    sqlx::any::install_default_drivers();
    let ledger =
        sqlx::AnyPool::connect(&format!("sqlite:{}", world.home().join("state.db").display())).await.unwrap();
    let refuse = "create trigger refuse before update on delivery when new.stage = 'done' \
                  begin select raise(abort, 'the disk is full'); end";
    sqlx::query(refuse).execute(&ledger).await.unwrap();
    let id = world.upload("film.mp4", 300_000);
    world.wait("the attempt is over", async || world.log().contains("ended without a result")).await;
    sqlx::query("drop trigger refuse").execute(&ledger).await.unwrap();
    // Nobody waits for the minute that a fault is given.
    let due = "update delivery set run_at = 0 where stage = 'publishing'";
    world
        .wait("it is held", async || sqlx::query(due).execute(&ledger).await.unwrap().rows_affected() == 1)
        .await;
    world.kill();
    world.start().await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4"]);
    world.assert_same("film.mp4", &id);
    let media = world.drive.requests().into_iter().filter(|request| request.operation == "files.media");
    assert_eq!(media.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_turn_is_said_to_wait_and_need_not_begin() {
    let world = World::running("[download]\nconcurrency = 1").await;
    world.drive.set_rate(Some(1_000_000));
    // One page of changes, so that the ledger gives out all of them at once.
    world.upload("first.mp4", 4_000_000);
    let waiting = ["second.mp4", "third.mp4"].map(|name| world.upload(name, 1_000));
    let counted = async |stage: &str| world.status().await["deliveries"][stage].as_i64().unwrap_or(0);
    world.wait("two wait", async || counted("pending").await == 2 && counted("downloading").await == 1).await;
    world.drive.trash(&waiting[0]);
    world.wait("it is overtaken", async || counted("superseded").await == 1).await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["first.mp4", "third.mp4"]);
    let media = world.drive.requests().into_iter().filter(|request| request.operation == "files.media");
    assert_eq!(media.count(), 2);
}
