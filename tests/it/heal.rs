//! What goes wrong outside, and heals.

use std::fs;
use std::time::{Duration, Instant};

use drive_emulator::{Action, Fault, Matching};

use crate::world::World;

/// Every call to Drive, whatever it is for.
fn everything(action: Action) -> Fault {
    Fault { matching: Matching::path("/drive/"), times: u32::MAX, action }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_pauses_everything_for_as_long_as_drive_asks() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.set_notifications(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.drive.clear_requests();
    world.drive.fail(everything(Action::status_retry_after(429, "rateLimitExceeded", "8")));
    world.upload("film.mp4", 1_000);
    world.wait("the refusal is seen", async || world.log().contains("all calls to Drive pause")).await;
    let refused = Instant::now();
    world.drive.clear_faults();
    while refused.elapsed() < Duration::from_secs(7) {
        assert!(world.delivered().is_empty(), "nobody calls before the time is over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let calls = world.drive.requests().len();
    assert!((1..=3).contains(&calls), "{calls} calls");
    world.wait_for_file("film.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_said_once_waited_out_and_leaves_nothing_behind() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.fail(everything(Action::Html { code: 503, retry_after: None }));
    let id = world.upload("film.mp4", 1_000);
    world
        .wait("the status says so", async || world.status().await["not_ready"].to_string().contains("503"))
        .await;
    world.drive.clear_requests();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let calls = world.drive.requests().len();
    assert!((1..=6).contains(&calls), "the waits grow: {calls} calls in 8 s");
    assert_eq!(world.log().matches("Drive cannot be read").count(), 1);
    world.drive.clear_faults();
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_quota_parks_one_file_and_lets_the_others_through() {
    let world = World::running("").await;
    world.drive.fail(Fault::once("files.media", Action::status(403, "downloadQuotaExceeded")));
    world.upload("popular.mp4", 1_000);
    let parked = async || {
        let status = world.status().await;
        let files = status["attention"].as_array().unwrap();
        files.iter().find(|file| file["name"] == "popular.mp4").cloned().unwrap_or_default()
    };
    world.wait("it is parked", async || parked().await["reason"].to_string().contains("within a day")).await;
    world.upload("other.mp4", 1_000);
    world.wait_for_file("other.mp4").await;
    assert_eq!(world.delivered(), ["other.mp4"]);
    let next = parked().await["next"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(next.duration_since(jiff::Timestamp::now()).as_mins() >= 29, "for about an hour: {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_be_used_holds_its_files_and_heals() {
    let mut world = World::new("").await;
    fs::write(world.videos(), "this is no directory").unwrap();
    world.spawn();
    world.wait("it is said", async || world.log().contains("a destination cannot be used")).await;
    assert!(world.status().await["not_ready"].to_string().contains("cannot use the destination"));
    assert!(world.is_running());
    // What is there before the first run has ended was there before the first run.
    world
        .wait("the first run ends", async || {
            world.status().await["engines"].to_string().contains("no file found")
        })
        .await;
    let id = world.upload("film.mp4", 1_000);
    fs::remove_file(world.videos()).unwrap();
    world
        .wait_for("it heals", Duration::from_mins(1), async || world.videos().join("film.mp4").exists())
        .await;
    world.assert_same("film.mp4", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_away_while_it_waits_is_let_go() {
    let world = World::running("").await;
    world.drive.set_rate(Some(100_000));
    let trashed = world.upload("trashed.mp4", 3_000_000);
    let deleted = world.upload("deleted.mp4", 3_000_000);
    world.wait("both are on their way", async || world.parts().len() == 2).await;
    world.drive.trash(&trashed);
    world.drive.delete(&deleted);
    world.wait("both are void", async || world.status().await["deliveries"]["superseded"] == 2).await;
    world.wait("their parts are gone", async || world.parts().is_empty()).await;
    world.drive.set_rate(None);
    world.drive.untrash(&trashed);
    world.wait_for_file("trashed.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["trashed.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_content_overtakes_the_one_that_is_downloaded() {
    let world = World::running("").await;
    world.drive.set_rate(Some(200_000));
    let id = world.upload("film.mp4", 5_000_000);
    world.wait("it is on its way", async || world.parts().len() == 1).await;
    world.drive.revise(&id, drive_emulator::Content::pattern(5, 400_000));
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4"]);
    assert!(world.parts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_without_a_checksum_waits_until_drive_says_it() {
    let world = World::running("").await;
    world.drive.set_processing_delay(Duration::from_secs(3));
    world.drive.set_notifications(true);
    let id = world.upload("fresh.mp4", 10_000);
    world
        .wait("it is known and waits", async || world.log().contains("has not said its size and checksum"))
        .await;
    assert!(world.delivered().is_empty());
    world.wait_for_file("fresh.mp4").await;
    world.assert_same("fresh.mp4", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_left_and_changed_is_let_go_with_its_part() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.fail(Fault::always("files.media", Action::CutAfter { bytes: 500 }));
    let id = world.upload("film.mp4", 1_000_000);
    world.wait("a part is there", async || world.parts().len() == 1).await;
    world.drive.move_to(&id, &world.drive.root_id());
    world.drive.revise(&id, drive_emulator::Content::pattern(5, 400_000));
    world.drive.clear_faults();
    world.wait("it is void", async || world.status().await["deliveries"]["superseded"] == 1).await;
    world.wait("its part is gone", async || world.parts().is_empty()).await;
    assert!(world.delivered().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_away_between_two_attempts_leaves_no_part() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.fail(Fault::times("files.media", 1, Action::CutAfter { bytes: 500 }));
    world.drive.fail(Fault::always("files.media", Action::status(403, "downloadQuotaExceeded")));
    let id = world.upload("film.mp4", 1_000_000);
    world
        .wait("it waits for hours", async || {
            world.status().await["attention"].to_string().contains("within a day")
        })
        .await;
    assert_eq!(world.parts().len(), 1);
    world.drive.trash(&id);
    world.wait("its part is gone", async || world.parts().is_empty()).await;
    assert_eq!(world.status().await["deliveries"]["superseded"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_does_not_know_is_not_gone() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    let nobody = || Action::Html { code: 404, retry_after: None };
    world.drive.fail(Fault::always("files.media", nobody()));
    world.drive.fail(Fault::always("files.get", nobody()));
    world.upload("film.mp4", 1_000);
    world
        .wait("it is refused", async || {
            let log = world.log();
            log.contains("a file waits") || log.contains("a file is no longer wanted")
        })
        .await;
    assert!(!world.log().contains("a file is no longer wanted"));
    world.drive.clear_faults();
    world.wait_for_file("film.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_with_the_status_of_a_success_is_an_error() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.fail(Fault::always("changes.list", Action::text(r#"{"error":{"code":500}}"#)));
    world.upload("film.mp4", 1_000);
    world
        .wait("the status says so", async || {
            world.status().await["not_ready"].to_string().contains("not a page")
        })
        .await;
    world.drive.clear_faults();
    world.wait_for_file("film.mp4").await;
    world.until_ready().await;
}
