//! Contents of one file that follow each other, and files that cannot be downloaded for a while.

use std::time::Duration;

use drive_emulator::{Action, Content, Fault, Matching, Quirk, RequestRecord, Upload};

use crate::world::{World, content_of, sha256};

async fn counted(world: &World, stage: &str) -> i64 {
    world.status().await["deliveries"][stage].as_i64().unwrap_or(0)
}

/// The ledger, with what is in it changed by hand.
async fn change(world: &World, sql: &'static str) -> u64 {
    sqlx::any::install_default_drivers();
    let ledger =
        sqlx::AnyPool::connect(&format!("sqlite:{}", world.home().join("state.db").display())).await.unwrap();
    let changed = sqlx::query(sql).execute(&ledger).await.unwrap().rows_affected();
    ledger.close().await;
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_comes_back_is_in_its_place_again() {
    let world = World::running("").await;
    let id = world.upload("film.mp4", 10_000);
    let path = world.videos().join("film.mp4");
    let first = world.drive.content_sha256(&id).unwrap();
    world.wait("the first content is in place", async || path.exists() && sha256(&path) == first).await;
    for content in [Content::pattern(99, 12_000), content_of("film.mp4", 10_000)] {
        world.wait_until_idle().await;
        world.drive.revise(&id, content);
        let revised = world.drive.content_sha256(&id).unwrap();
        world.wait("the new content is in place", async || sha256(&path) == revised).await;
    }
    assert_eq!(sha256(&path), first, "it is the first content again");
    world.wait_until_idle().await;
    // The same bytes once more are nothing new.
    world.drive.revise(&id, content_of("film.mp4", 10_000));
    world.upload("last.mp4", 1_000);
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4", "last.mp4"]);
    assert_eq!(world.drive.count("files.media"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_shows_an_earlier_content_brings_nothing_back() {
    let mut world = World::running("").await;
    let id = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    let earlier = world.drive.file_json(&id).unwrap();
    world.drive.revise(&id, Content::pattern(99, 12_000));
    let path = world.videos().join("film.mp4");
    let revised = world.drive.content_sha256(&id).unwrap();
    world.wait("the new content is in place", async || sha256(&path) == revised).await;
    world.wait_until_idle().await;
    assert_eq!(world.terminate().await, 0);
    // All folders are compared at the start, and the listing lags behind.
    assert_eq!(change(&world, "update change_log set compared_at = 0").await, 1);
    let stale = Action::Text { code: 200, text: serde_json::json!({ "files": [earlier] }).to_string() };
    world.drive.fail(Fault::once("files.list", stale));
    world.drive.clear_requests();
    world.start().await;
    let asked = |request: &RequestRecord| request.operation == "files.get" && request.path.contains(&id);
    world.wait("Drive is asked for the file", async || world.drive.requests().iter().any(asked)).await;
    world.upload("last.mp4", 1_000);
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    world.assert_same("film.mp4", &id);
    assert_eq!(world.drive.count("files.media"), 1, "the last one only");
    assert_eq!(counted(&world, "done").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_refused_once_come_soon() {
    for refusal in [
        Action::status(404, "notFound"),
        Action::status(403, "insufficientFilePermissions"),
        Action::status(403, "cannotDownloadFile"),
    ] {
        let world = World::running("").await;
        world.drive.fail(Fault::once("files.media", refusal));
        let id = world.upload("film.mp4", 10_000);
        world.wait_for("it comes", Duration::from_secs(20), async || world.delivered().len() == 1).await;
        world.assert_same("film.mp4", &id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_when_its_bytes_are_asked_for_is_given_up_at_once() {
    let world = World::running("").await;
    world.drive.fail(Fault::once("files.media", Action::Delay { milliseconds: 1_000 }));
    let id = world.upload("film.mp4", 10_000);
    world.wait("its bytes are asked for", async || world.drive.count("files.media") == 1).await;
    world.drive.set_change_delay(Duration::from_mins(1));
    world.drive.delete(&id);
    world.wait("it is given up", async || counted(&world, "superseded").await == 1).await;
    assert!(world.log().contains("no longer in Drive"), "the change log does not tell it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_when_its_owner_allows_downloads_again() {
    // With an entry in the change log, and without.
    for is_told in [true, false] {
        let world = World::running("").await;
        let upload = Upload::new(&world.inbox, "film.mp4", content_of("film.mp4", 10_000));
        let id = world.drive.upload(upload.quirk(Quirk::NotDownloadable));
        world.wait("it is skipped", async || counted(&world, "skipped").await == 1).await;
        assert_eq!(world.drive.count("files.media"), 0, "Drive has said that it cannot be downloaded");
        if is_told {
            world.drive.set_quirks(&id, &[]);
        } else {
            world.drive.set_quirks_silently(&id, &[]);
            assert_eq!(change(&world, "update delivery set look_at = 0 where look_at is not null").await, 1);
            world.upload("other.mp4", 1_000);
        }
        world.wait_for_file("film.mp4").await;
        world.assert_same("film.mp4", &id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_forbidden_meanwhile_comes_when_it_is_allowed_again() {
    let world = World::running("").await;
    world.drive.fail(Fault::once("files.media", Action::Delay { milliseconds: 1_000 }));
    let id = world.upload("film.mp4", 10_000);
    world.wait("its bytes are asked for", async || world.drive.count("files.media") == 1).await;
    world.drive.set_quirks_silently(&id, &[Quirk::NotDownloadable]);
    world.wait("it is skipped", async || counted(&world, "skipped").await == 1).await;
    world.drive.set_quirks(&id, &[]);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_content_that_was_ignored_comes_when_the_setting_changes() {
    let mut world = World::with_folder("", "on_update = \"ignore\"").await;
    world.start().await;
    let id = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    let first = world.drive.content_sha256(&id).unwrap();
    world.drive.revise(&id, Content::pattern(99, 12_000));
    world.wait("it is skipped", async || counted(&world, "skipped").await == 1).await;
    assert!(world.status().await["attention"].to_string().contains("`on_update` is"));
    assert_eq!(sha256(&world.videos().join("film.mp4")), first);
    assert_eq!(world.drive.count("files.media"), 1);

    // Another setting of the folder brings nothing by itself, and Drive is asked about the file only once.
    world.replace_config("on_update = \"ignore\"", "on_update = \"ignore\"\nmin_size = 10");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    let asked = |request: &RequestRecord| request.operation == "files.get" && request.path.contains(&id);
    world.wait("Drive is asked", async || world.drive.requests().iter().any(asked)).await;
    let due = "update delivery set run_at = run_at where look_at is not null";
    world.wait("that is all", async || change(&world, due).await == 0).await;

    world.replace_config("on_update = \"ignore\"", "on_update = \"replace\"");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    let second = world.drive.content_sha256(&id).unwrap();
    world.wait("it is in place", async || sha256(&world.videos().join("film.mp4")) == second).await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4"]);
    let said = "1 file that on_update = \\\"ignore\\\" had left out is downloaded now";
    world.wait("it is said how many", async || world.log().contains(said)).await;
}

/// More is heard from the log than is remembered before Drive answers for the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_was_ignored_comes_whatever_is_heard_while_drive_is_asked_for_it() {
    let mut world = World::with_folder("", "on_update = \"ignore\"").await;
    world.start().await;
    let id = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    world.drive.revise(&id, Content::pattern(99, 12_000));
    world.wait("it is skipped", async || counted(&world, "skipped").await == 1).await;
    world.wait_until_idle().await;

    world.drive.set_notifications(false);
    let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
    (0..20_500).for_each(|number| drop(world.drive.folder(&elsewhere, &number.to_string())));
    let matching = Matching::operation("files.get").file(&id);
    world.drive.fail(Fault { matching, times: 1, action: Action::AnswerLate { milliseconds: 15_000 } });
    world.replace_config("on_update = \"ignore\"", "on_update = \"replace\"");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    let second = world.drive.content_sha256(&id).unwrap();
    let is_there = async || sha256(&world.videos().join("film.mp4")) == second;
    // The second listing of a new folder, after a minute, would find it as well.
    world.wait_for("it is in place", Duration::from_secs(40), is_there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_filters_left_out_come_when_the_filters_change() {
    let mut world = World::with_folder("", "exclude = [\"*draft*\"]\nmin_size = 2000").await;
    world.upload("older draft.mp4", 10_000);
    world.start().await;
    let below = world.drive.folder(&world.inbox, "below");
    world.drive.upload(Upload::new(&below, "a draft.mp4", content_of("a draft.mp4", 10_000)));
    world.upload("small.mp4", 1_000);
    world.upload("notes.txt", 10_000);
    world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    // One filter while the daemon runs, the others while it does not.
    world.replace_config("exclude = [\"*draft*\"]", "exclude = []");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    world.wait_for_file("below/a draft.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["below/a draft.mp4", "film.mp4"], "the older one was there before");
    assert_eq!(world.terminate().await, 0);
    world.replace_config("min_size = 2000", "include = [\"video/*\", \"text/*\"]");
    world.start().await;
    world.wait_for_file("small.mp4").await;
    world.wait_for_file("notes.txt").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["below/a draft.mp4", "film.mp4", "notes.txt", "small.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmful_file_comes_when_it_is_acknowledged() {
    let mut world = World::running("[download]\nacknowledge_abuse = false").await;
    let upload = Upload::new(&world.inbox, "mine.mp4", content_of("mine.mp4", 1_000)).quirk(Quirk::Abusive);
    let id = world.drive.upload(upload);
    world.wait("it has failed", async || counted(&world, "failed").await == 1).await;
    world.replace_config("acknowledge_abuse = false", "acknowledge_abuse = true");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    world.wait_for_file("mine.mp4").await;
    world.assert_same("mine.mp4", &id);
    assert!(world.log().contains("download.acknowledge_abuse is set"), "it is said how many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_comes_without_an_entry_in_the_change_log_is_noticed() {
    let world = World::running("").await;
    let first = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    let upload = Upload::new(&world.inbox, "late.mp4", content_of("late.mp4", 10_000));
    let late = world.drive.upload(upload.quirk(Quirk::NoChecksums));
    // The same bytes once more, whose checksum is late as well.
    world.drive.set_quirks_silently(&first, &[Quirk::NoChecksums]);
    world.drive.revise(&first, content_of("film.mp4", 10_000));
    world.wait("both wait", async || counted(&world, "unready").await == 2).await;
    world.drive.set_quirks_silently(&late, &[]);
    world.drive.set_quirks_silently(&first, &[]);
    world.wait_for_file("late.mp4").await;
    world.assert_same("late.mp4", &late);
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4", "late.mp4"]);
    assert_eq!(world.drive.count("files.media"), 2, "the bytes of the first one are known");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_removed_after_months_and_what_drive_has_is_never_delivered_again() {
    const OLD: &str =
        "update delivery set moved_at = 1, gone_at = case when gone_at is null then null else 1 end";
    let mut world = World::running("").await;
    let film = world.upload("film.mp4", 10_000);
    let gone = world.upload("gone.mp4", 10_000);
    let back = world.upload("back.mp4", 10_000);
    world.wait("all are delivered", async || world.delivered().len() == 3).await;
    world.wait_until_idle().await;
    world.drive.revise(&film, Content::pattern(1, 5_000));
    let path = world.videos().join("film.mp4");
    let revised = world.drive.content_sha256(&film).unwrap();
    world.wait("the new content is in place", async || sha256(&path) == revised).await;
    // Away, and back again.
    world.drive.delete(&gone);
    let away = "update delivery set moved_at = moved_at where gone_at is not null";
    world.wait("it is known to be gone", async || change(&world, away).await == 1).await;
    assert_eq!(change(&world, "update delivery set gone_at = 1 where name = 'back.mp4'").await, 1);
    world.drive.touch(&back);
    world.wait("it is known to be back", async || change(&world, away).await == 1).await;
    world.wait_until_idle().await;
    assert_eq!(world.terminate().await, 0);

    assert_eq!(change(&world, OLD).await, 4);
    world.start().await;
    // The earlier content, and the file that is gone.
    world
        .wait("history is removed", async || change(&world, "update delivery set size = size").await == 2)
        .await;
    assert_eq!(counted(&world, "done").await, 2);
    world.drive.touch(&film);
    world.drive.touch(&back);
    world.drive.refuse_page_tokens_before_now();
    world.upload("last.mp4", 1_000);
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["back.mp4", "film.mp4", "gone.mp4", "last.mp4"]);
    assert_eq!(world.drive.count("files.media"), 5, "each content is fetched once");
}
