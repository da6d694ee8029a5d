//! Contents of one file that follow each other, and files that cannot be downloaded for a while.

use std::time::Duration;

use drive_emulator::{Action, Content, Fault, Quirk, Upload};

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
