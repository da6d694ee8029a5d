//! `history`, `retry` and `redeliver`, with the daemon running and stopped: what did not make it has a way back.

use std::fs;
use std::process::Output;

use drive_emulator::{Action, Content, Fault, Quirk, Upload};
use serde_json::Value;

use crate::world::{World, content_of, text};

const ABUSIVE: &str = "cannotDownloadAbusiveFile";
const NOT_DOWNLOADABLE: &str = "fileNotDownloadable";

async fn counted(world: &World, stage: &str) -> i64 {
    world.status().await["deliveries"][stage].as_i64().unwrap_or(0)
}

/// The history as the command prints it in JSON.
async fn history(world: &World, more: &[&str]) -> Vec<Value> {
    let arguments = [&["history", "--json"], more].concat();
    let output = world.output(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["deliveries"].as_array().unwrap().clone()
}

async fn id_of(world: &World, name: &str) -> String {
    let all = history(world, &[]).await;
    let found = all.iter().find(|delivery| delivery["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {all:?}"))["id"].as_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Runs the command, which has to end with this code, and gives what it says.
async fn told(world: &World, arguments: &[&str], code: i32) -> String {
    let output = world.output(arguments).await;
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    said(&output)
}

/// A file that cannot be had as long as this fault lasts.
async fn refused(world: &World, name: &str, reason: &'static str, stage: &str) -> String {
    let before = counted(world, stage).await;
    world.drive.fail(Fault::always("files.media", Action::status(403, reason)));
    let id = world.upload(name, 1_000);
    world.wait("it is refused", async || counted(world, stage).await > before).await;
    world.drive.clear_faults();
    id
}

/// The daemon, or nothing.
async fn stop_if(world: &mut World, is_stopped: bool) {
    if is_stopped {
        assert_eq!(world.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_shows_each_file_with_what_became_of_it() {
    let mut world = World::running("").await;
    world.upload("film.mp4", 2_048);
    world.wait_for_file("film.mp4").await;
    refused(&world, "harmful.mp4", ABUSIVE, "failed").await;
    refused(&world, "locked.mp4", NOT_DOWNLOADABLE, "skipped").await;
    world.wait_until_idle().await;
    let running = history(&world, &[]).await;
    let names: Vec<&str> = running.iter().map(|delivery| delivery["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["locked.mp4", "harmful.mp4", "film.mp4"], "the latest first");
    let film = &running[2];
    assert_eq!(film["path"], world.videos().join("film.mp4").to_str().unwrap());
    assert!(film["size"] == 2_048 && film["seconds"].as_i64().unwrap() < 30, "{film}");
    assert_eq!((&running[1]["stage"], &running[1]["again"]), (&"failed".into(), &"by-setting".into()));
    assert_eq!((&running[0]["stage"], &running[0]["again"]), (&"skipped".into(), &"by-retry".into()));

    let shown = told(&world, &["history"], 0).await;
    for expected in [
        "done     film.mp4",
        "2.0 KiB",
        "failed   harmful.mp4",
        "download.acknowledge_abuse",
        "looked at again when that setting changes",
        "skipped  locked.mp4",
        &format!("`gdrive-webhook retry {}` tries it again", running[0]["id"].as_str().unwrap()),
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert_eq!(history(&world, &["--limit", "2"]).await, running[..2]);
    assert!(told(&world, &["history", "--limit", "2"], 0).await.contains("the latest 2"));
    assert_eq!(history(&world, &["--failed"]).await, running[1..2]);
    stop_if(&mut world, true).await;
    assert_eq!(history(&world, &[]).await, running, "the database says the same");
    assert_eq!(history(&world, &["--failed", "--limit", "9"]).await, running[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_failed_or_was_skipped_comes_by_retry() {
    for (reason, stage) in [(ABUSIVE, "failed"), (NOT_DOWNLOADABLE, "skipped")] {
        for is_stopped in [false, true] {
            let mut world = World::running("").await;
            let file = refused(&world, "film.mp4", reason, stage).await;
            let id = id_of(&world, "film.mp4").await;
            stop_if(&mut world, is_stopped).await;
            let said = told(&world, &["retry", &id], 0).await;
            assert!(said.contains("film.mp4 is in the queue again"), "{said}");
            assert_eq!(said.contains("no daemon runs"), is_stopped, "{said}");
            if is_stopped {
                let sync = told(&world, &["sync"], 0).await;
                assert!(sync.contains("1 delivered"), "{sync}");
            }
            world.wait_for_file("film.mp4").await;
            world.assert_same("film.mp4", &file);
            let said = told(&world, &["retry", &id], 1).await;
            assert!(said.contains("it was delivered") && said.contains("redeliver"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_failed_or_were_skipped_come_by_one_command() {
    for is_stopped in [false, true] {
        let mut world = World::running("").await;
        for name in ["a.mp4", "b.mp4"] {
            refused(&world, name, ABUSIVE, "failed").await;
        }
        refused(&world, "c.mp4", NOT_DOWNLOADABLE, "skipped").await;
        stop_if(&mut world, is_stopped).await;
        let said = told(&world, &["retry", "--failed"], 0).await;
        assert!(said.contains("2 files that failed are in the queue again"), "{said}");
        if is_stopped {
            let both = told(&world, &["retry", "--failed", "--skipped"], 0).await;
            assert!(
                both.contains("no file that failed") && both.contains("1 file that was skipped"),
                "{both}"
            );
            world.start().await;
        } else {
            world.wait_for_file("b.mp4").await;
            assert!(!world.videos().join("c.mp4").exists(), "it was not asked for");
            told(&world, &["retry", "--skipped"], 0).await;
        }
        world.wait("all are delivered", async || world.delivered().len() == 3).await;
        let said = told(&world, &["retry", "--failed", "--skipped"], 0).await;
        assert!(said.contains("no file that failed") && said.contains("no file that was skipped"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_setting_leaves_out_comes_by_its_id_and_not_with_all_others() {
    let mut world = World::with_folder("", "on_update = \"ignore\"").await;
    world.start().await;
    let file = world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    world.drive.revise(&file, Content::pattern(7, 2_000));
    world.wait("the new content is skipped", async || counted(&world, "skipped").await == 1).await;
    let said = told(&world, &["retry", "--skipped"], 0).await;
    assert!(said.contains("no file that was skipped") && said.contains("1 more stays skipped"), "{said}");
    let newest = history(&world, &[]).await[0]["id"].as_str().unwrap().to_owned();
    told(&world, &["retry", &newest], 0).await;
    world.wait("both are there", async || world.delivered().len() == 2).await;
    assert_eq!(fs::metadata(world.videos().join("film.mp4")).unwrap().len(), 1_000, "it was not replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_deleted_at_the_destination_comes_again_and_one_that_is_there_is_not_doubled() {
    for is_stopped in [false, true] {
        let mut world = World::running("").await;
        let file = world.upload("film.mp4", 1_000);
        world.wait_for_file("film.mp4").await;
        world.wait_until_idle().await;
        let id = id_of(&world, "film.mp4").await;
        stop_if(&mut world, is_stopped).await;
        let path = world.videos().join("film.mp4");
        let said = told(&world, &["redeliver", &id], 0).await;
        assert!(said.contains("still at") && said.contains(path.to_str().unwrap()), "{said}");
        assert!(!said.contains("no daemon runs"), "{said}");

        fs::remove_file(&path).unwrap();
        let said = told(&world, &["redeliver", &id], 0).await;
        assert!(said.contains("film.mp4 is in the queue again"), "{said}");
        if is_stopped {
            let sync = told(&world, &["sync"], 0).await;
            assert!(sync.contains("1 delivered"), "{sync}");
        }
        world.wait_for_file("film.mp4").await;
        world.assert_same("film.mp4", &file);
        if !is_stopped {
            world.wait_until_idle().await;
        }
        assert_eq!(world.delivered(), ["film.mp4"]);
        assert_eq!(world.drive.count("files.media"), 2);

        // Somebody has changed it: it stays, and the delivered content comes beside it.
        fs::write(&path, "mine").unwrap();
        told(&world, &["redeliver", &id], 0).await;
        if is_stopped {
            told(&world, &["sync"], 0).await;
        }
        world.wait("it comes beside the other", async || world.delivered().len() == 2).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        if !is_stopped {
            world.wait_until_idle().await;
        }
        let said = told(&world, &["redeliver", &id], 0).await;
        assert!(said.contains("still at") && said.contains("film ["), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_content_of_a_file_cannot_be_brought_back() {
    let world = World::running("").await;
    let file = world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    let first = id_of(&world, "film.mp4").await;
    world.drive.revise(&file, Content::pattern(7, 2_000));
    world.wait("the new content is there", async || counted(&world, "done").await == 2).await;
    let said = told(&world, &["redeliver", &first], 1).await;
    assert!(said.contains("newer content"), "{said}");
    assert_eq!(counted(&world, "done").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_waits_for_hours_is_tried_at_once() {
    let world = World::running("").await;
    world.drive.fail(Fault::always("files.media", Action::status(403, "downloadQuotaExceeded")));
    let file = world.upload("popular.mp4", 1_000);
    world.wait("it waits", async || !world.status().await["attention"][0]["reason"].is_null()).await;
    let waiting = history(&world, &[]).await[0].clone();
    assert_eq!((&waiting["stage"], &waiting["again"]), (&"pending".into(), &"by-itself".into()));
    assert!(told(&world, &["history"], 0).await.contains("the next attempt in"));
    world.drive.clear_faults();
    let said = told(&world, &["retry", waiting["id"].as_str().unwrap()], 0).await;
    assert!(said.contains("is tried again now"), "{said}");
    world.wait_for_file("popular.mp4").await;
    world.assert_same("popular.mp4", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_id_is_named_and_the_others_go_on() {
    for is_stopped in [false, true] {
        let mut world = World::running("").await;
        refused(&world, "film.mp4", ABUSIVE, "failed").await;
        let id = id_of(&world, "film.mp4").await;
        stop_if(&mut world, is_stopped).await;
        for wrong in ["nobody", "../status", "failed?", "ä%20"] {
            for command in ["retry", "redeliver"] {
                let said = told(&world, &[command, wrong], 1).await;
                assert!(said.contains(&format!("no file in the history has the id {wrong}")), "{said}");
            }
        }
        let said = told(&world, &["redeliver", &id], 1).await;
        assert!(said.contains("film.mp4") && said.contains("gdrive-webhook retry"), "{said}");
        let said = told(&world, &["retry", "nobody", &id], 1).await;
        assert!(
            said.contains("no file in the history has the id nobody") && said.contains("in the queue again"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_ends_with_64_and_a_wrong_configuration_with_78() {
    let mut world = World::running("").await;
    for arguments in [
        &["retry"][..],
        &["retry", "--failed", "some-id"],
        &["redeliver"],
        &["history", "--limit", "0"],
        &["history", "--limit", "many"],
    ] {
        told(&world, arguments, 64).await;
    }
    world.add_config("[download]\nconcurency = 3");
    assert!(
        told(&world, &["history"], 0).await.contains("no file was delivered, skipped or failed yet"),
        "the daemon is asked"
    );
    for arguments in [&["retry", "--failed"][..], &["redeliver", "x"]] {
        assert!(told(&world, arguments, 78).await.contains("concurency"));
    }
    world.terminate().await;
    told(&world, &["history"], 78).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_has_nothing_and_a_missing_one_is_not_made() {
    let mut world = World::running("").await;
    assert_eq!(world.terminate().await, 0);
    assert!(told(&world, &["history"], 0).await.contains("no file was delivered, skipped or failed yet"));
    assert!(told(&world, &["history", "--failed"], 0).await.contains("no file has failed"));
    assert!(told(&world, &["retry", "--failed", "--skipped"], 0).await.contains("no file that failed"));

    let world = World::new("").await;
    let files = || fs::read_dir(world.home()).unwrap().count();
    let before = files();
    for arguments in [
        &["history"][..],
        &["history", "--json"],
        &["retry", "--failed"],
        &["retry", "x"],
        &["redeliver", "x"],
    ] {
        let said = told(&world, arguments, 1).await;
        assert!(said.contains("no daemon answers") && said.contains("there is no database"), "{said}");
    }
    assert_eq!(files(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_the_token_changes_nothing() {
    let mut world = World::new("").await;
    let token = world.home().join("admin-token");
    fs::write(&token, "secret\n").unwrap();
    let private = world.private;
    let listen = format!("listen = \"127.0.0.1:{private}\"");
    world.replace_config(&listen, &format!("{listen}\ntoken_file = {token:?}"));
    world.start().await;
    assert!(told(&world, &["history"], 0).await.contains("no file was delivered, skipped or failed yet"));
    fs::write(&token, "another\n").unwrap();
    for arguments in [&["history"][..], &["retry", "--failed"], &["redeliver", "x"]] {
        let said = told(&world, arguments, 1).await;
        assert!(said.contains("401") && said.contains("admin.token_file"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_failed_is_named_with_its_remedy_until_somebody_has_acted() {
    let mut world = World::with_folder("", "exclude = [\"draft*\"]").await;
    world.start().await;
    let moved = refused(&world, "moved.mp4", ABUSIVE, "failed").await;
    let trashed = refused(&world, "trashed.mp4", ABUSIVE, "failed").await;
    refused(&world, "excluded.mp4", ABUSIVE, "failed").await;
    refused(&world, "film.mp4", ABUSIVE, "failed").await;
    let id = id_of(&world, "film.mp4").await;
    told(&world, &["status", "--check"], 1).await;
    let shown = told(&world, &["status"], 0).await;
    for expected in
        ["NOT READY", "4 files have failed, the last one film.mp4", "gdrive-webhook retry --failed"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let remedy = format!("gdrive-webhook retry {id}");
    assert!(shown.contains(&remedy), "{shown}");
    assert_eq!(world.status().await["attention"][0]["remedy"], remedy);

    world.drive.move_to(&moved, &world.drive.root_id());
    world.drive.trash(&trashed);
    world.wait("two are not wanted any more", async || counted(&world, "failed").await == 2).await;
    told(&world, &["retry", &id], 0).await;
    world.wait_for_file("film.mp4").await;
    let shown = told(&world, &["status"], 0).await;
    assert!(shown.contains("1 file has failed: excluded.mp4"), "{shown}");
    world.replace_config("exclude = [\"draft*\"]", "exclude = [\"excluded*\"]");
    told(&world, &["reload"], 0).await;
    world.until_ready().await;
    assert_eq!(counted(&world, "failed").await, 0);
    // Back in the folder it is tried again.
    world.drive.move_to(&moved, &world.inbox);
    world.wait_for_file("moved.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_tells_what_failed_with_its_remedy_in_each_pass() {
    let world = World::with_folder("", "existing = \"download\"").await;
    world.upload("film.mp4", 1_000);
    world.drive.fail(Fault::always("files.media", Action::WrongByte { offset: 5 }));
    let first = told(&world, &["sync"], 1).await;
    let id = id_of(&world, "film.mp4").await;
    let line = format!("`gdrive-webhook retry {id}` tries it again");
    for pass in [first, told(&world, &["sync"], 1).await] {
        assert!(
            pass.contains("FAILED film.mp4: the content was wrong twice") && pass.contains(&line),
            "{pass}"
        );
        assert!(pass.contains("0 delivered, 1 waiting or failed"), "{pass}");
    }
    let dry = told(&world, &["sync", "--dry-run"], 0).await;
    assert!(dry.contains("has failed before: film.mp4") && dry.contains(&line), "{dry}");
    world.drive.clear_faults();
    told(&world, &["retry", &id], 0).await;
    let last = told(&world, &["sync"], 0).await;
    assert!(last.contains("1 delivered, 0 waiting or failed"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_how_many_files_it_leaves_out_and_why() {
    for existing in ["ignore", "download"] {
        let folder = format!("existing = {existing:?}\nrecursive = false\nexclude = [\"draft*\"]");
        let world = World::with_folder("", &folder).await;
        for name in ["one.mp4", "two.mp4", "draft.mp4", "notes.txt", "picture.png"] {
            world.upload(name, 1_000);
        }
        let upload = Upload::new(&world.inbox, "locked.mp4", content_of("locked.mp4", 1_000));
        world.drive.upload(upload.quirk(Quirk::NotDownloadable));
        for _ in 0..2 {
            let dry = told(&world, &["sync", "--dry-run"], 0).await;
            let wanted = if existing == "ignore" {
                "left out: 3 files: it was there before the first run"
            } else {
                "2 files would be downloaded"
            };
            let skipped = "would be skipped: 1 file: its owner does not allow downloads";
            assert_eq!(dry.contains(skipped), existing == "download", "{dry}");
            for expected in [
                wanted,
                "left out: 1 file: its name is left out by `name` or `exclude`",
                "left out: 2 files: it is no video by its type or the ending of its name",
            ] {
                assert!(dry.contains(expected), "{existing}: {expected}: {dry}");
            }
        }
        if existing == "ignore" {
            told(&world, &["sync"], 0).await;
            let dry = told(&world, &["sync", "--dry-run"], 0).await;
            assert!(
                dry.contains("left out: 3 files: it was there") && dry.contains("0 files would be"),
                "{dry}"
            );
        }
    }
}

/// The settings of the folder become others while the daemon runs, or are others at its next start.
async fn change(world: &mut World, from: &str, to: &str, how: &str) {
    if how == "reload" {
        world.replace_config(from, to);
        told(world, &["reload"], 0).await;
    } else {
        assert_eq!(world.terminate().await, 0);
        world.replace_config(from, to);
        world.start().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_there_before_come_when_they_are_wanted_and_it_is_said_how_many() {
    for how in ["reload", "restart", "sync"] {
        let mut world = World::with_folder("", "existing = \"ignore\"").await;
        let below = world.drive.folder(&world.inbox, "Below");
        for name in ["one.mp4", "two.mp4", "notes.txt"] {
            world.upload(name, 1_000);
        }
        let deeper = world.drive.upload(Upload::new(&below, "deeper.mp4", content_of("deeper.mp4", 1_000)));
        let trashed = world.upload("trashed.mp4", 1_000);
        world.start().await;
        world.upload("new.mp4", 1_000);
        world.wait_for_file("new.mp4").await;
        world.wait_until_idle().await;
        assert_eq!(world.delivered(), ["new.mp4"]);
        world.drive.trash(&trashed);
        if how == "sync" {
            assert_eq!(world.terminate().await, 0);
            world.replace_config("existing = \"ignore\"", "existing = \"download\"");
            let said = told(&world, &["sync"], 0).await;
            assert!(said.contains("3 delivered") && said.contains("3 files that existing"), "{said}");
        } else {
            change(&mut world, "existing = \"ignore\"", "existing = \"download\"", how).await;
            world.wait("they come", async || world.delivered().len() == 4).await;
            world.wait_until_idle().await;
            let said = "3 files that existing = \\\"ignore\\\" had left out are downloaded now";
            world.wait("it is said", async || world.log().matches(said).count() == 1).await;
        }
        assert_eq!(world.delivered(), ["Below/deeper.mp4", "new.mp4", "one.mp4", "two.mp4"]);
        world.assert_same("Below/deeper.mp4", &deeper);
        assert_eq!(world.drive.count("files.media"), 4, "each of them once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_filters_folders_below_and_shortcuts_bring_is_said_in_one_line() {
    for (from, to, setting, name) in [
        ("min_size = \"5KiB\"", "min_size = \"1B\"", "the filters", "small.mp4"),
        ("exclude = [\"cut*\"]", "exclude = []", "the filters", "cut.mp4"),
        ("extensions = [\"mkv\"]", "extensions = [\"mkv\", \"zip\"]", "the filters", "film.zip"),
        ("recursive = false", "recursive = true", "recursive = false", "Below/deeper.mp4"),
        ("shortcuts = false", "shortcuts = true", "shortcuts = false", "link.mp4"),
    ] {
        let folder = "existing = \"download\"\nrecursive = false\nshortcuts = false\nmin_size = \"5KiB\"\n\
                      exclude = [\"cut*\"]\nextensions = [\"mkv\"]";
        let mut world = World::with_folder("", folder).await;
        let below = world.drive.folder(&world.inbox, "Below");
        let root = world.drive.root_id();
        let upload = |folder: &str, name: &str| {
            world.drive.upload(Upload::new(folder, name, content_of(name, 10_000)))
        };
        upload(&below, "deeper.mp4");
        upload(&world.inbox, "cut.mp4");
        upload(&world.inbox, "film.zip");
        let target = upload(&root, "target.mp4");
        world.drive.shortcut(&world.inbox, "link.mp4", &target);
        world.upload("small.mp4", 1_000);
        world.upload("film.mp4", 10_000);
        world.start().await;
        world.wait_for_file("film.mp4").await;
        world.wait_until_idle().await;
        assert_eq!(world.delivered(), ["film.mp4"]);
        change(&mut world, from, to, "reload").await;
        world.wait_for_file(name).await;
        let said = format!("1 file that {setting} had left out is downloaded now");
        world.wait("it is said", async || world.log().matches(&said).count() == 1).await;
        assert_eq!(world.delivered().len(), 2, "{:?}", world.delivered());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_failed_in_a_folder_that_does_not_count_any_more_is_let_go() {
    for is_trashed in [true, false] {
        let mut world = World::with_folder("", "recursive = true").await;
        world.start().await;
        let below = world.drive.folder(&world.inbox, "Below");
        world.drive.fail(Fault::always("files.media", Action::status(403, ABUSIVE)));
        world.drive.upload(Upload::new(&below, "deeper.mp4", content_of("deeper.mp4", 1_000)));
        world.wait("it has failed", async || counted(&world, "failed").await == 1).await;
        if is_trashed {
            world.drive.trash(&below);
        } else {
            change(&mut world, "recursive = true", "recursive = false", "reload").await;
        }
        world.until_ready().await;
        assert_eq!(counted(&world, "failed").await, 0);
    }
}
