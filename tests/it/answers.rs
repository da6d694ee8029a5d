//! Answers that lie, lead in circles, or hand secrets on.

use std::fs;
use std::time::Duration;

use drive_emulator::{Action, Emulator, Fault, Options};

use crate::login::log_in;
use crate::world::{World, text};

async fn sync(world: &World) {
    let output = world.output(&["sync"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn patch(pointer: &str, json: &str) -> Action {
    Action::Patch { pointer: pointer.to_owned(), json: json.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_costs_neither_its_page_nor_its_file() {
    for odd in [
        Action::Remove { pointer: "/changes/1/file".to_owned() },
        patch("/changes/1/file", "null"),
        patch("/changes/1/file/size", "7"),
        patch("/changes/1/file/parents", "\"x\""),
        patch("/changes/1/removed", "\"no\""),
        patch("/changes/1/file/name", r#""\ud800""#),
    ] {
        let world = World::new("").await;
        sync(&world).await;
        for name in ["a.mp4", "b.mp4", "c.mp4"] {
            world.upload(name, 1_000);
        }
        let is_name = matches!(&odd, Action::Patch { pointer, .. } if pointer.ends_with("name"));
        world.drive.fail(Fault::once("changes.list", odd.clone()));
        sync(&world).await;
        let delivered = world.delivered();
        if is_name {
            assert_eq!(delivered.len(), 3, "{delivered:?}");
            assert!(delivered.contains(&"a.mp4".to_owned()) && delivered.contains(&"c.mp4".to_owned()));
        } else {
            assert_eq!(delivered, ["a.mp4", "b.mp4", "c.mp4"], "{odd:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_listing_shows_broken_is_looked_at_and_its_neighbours_are_listed() {
    let world = World::with_folder("", "existing = \"download\"").await;
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        world.upload(name, 1_000);
    }
    world.drive.fail(Fault::once("files.list", patch("/files/1/size", "7")));
    sync(&world).await;
    assert_eq!(world.delivered(), ["a.mp4", "b.mp4", "c.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leads_back_to_itself_is_tried_again_later_and_not_at_once() {
    let world = World::running("[sync]\npoll = \"1h\"").await;
    world.wait_until_idle().await;
    world.drive.clear_requests();
    world.drive.fail(Fault::always("changes.list", patch("/nextPageToken", "\"{query:pageToken}\"")));
    world.upload("film.mp4", 1_000);
    world.wait("it is said", async || world.log().contains("names itself as the next one")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.drive.count("changes.list");
    assert!((1..=6).contains(&calls), "{calls} calls in 3 s");
    world.drive.clear_faults();
    world.wait_for_file("film.mp4").await;
}

/// The token of a listing's second page is refused, whenever it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_whose_second_page_is_always_refused_is_tried_again_later_and_not_at_once() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.wait_until_idle().await;
    world.drive.fail(Fault::always("files.list", patch("/nextPageToken", "\"no token\"")));
    world.drive.clear_requests();
    world.drive.folder(&world.inbox, "Folder");
    world.wait("it is refused", async || world.drive.count("files.list") >= 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.drive.count("files.list");
    assert!((2..=8).contains(&calls), "{calls} calls in 3 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_does_not_put_a_retry_off() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.wait_until_idle().await;
    let reads = || {
        let all = world.drive.requests().into_iter();
        all.filter(|request| request.operation == "changes.list").collect::<Vec<_>>()
    };
    world.drive.fail(Fault::once("changes.list", Action::status_retry_after(503, "backendError", "6")));
    world.wait("it is refused", async || reads().iter().any(|read| read.status == 503)).await;
    // Shortly before the retry.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    let reads = reads();
    let refused = reads.iter().position(|read| read.status == 503).unwrap();
    let wait = reads[refused + 1].time - reads[refused].time;
    assert!((5_900..9_000).contains(&wait), "{wait} ms where Drive asked for 6 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_an_absurd_life_is_used_like_any_other() {
    for life in ["1000000000000", "-1000000000000", "\"soon\"", "null", "1e300"] {
        for has_user in [true, false] {
            let world = World::new("").await;
            if has_user {
                fs::write(world.home().join("credentials.json"), world.drive.installed_client_json())
                    .unwrap();
                log_in(&world).await;
            }
            world.drive.fail(Fault::always("token", patch("/expires_in", life)));
            sync(&world).await;
            world.upload("film.mp4", 1_000);
            sync(&world).await;
            assert_eq!(world.delivered(), ["film.mp4"], "{life}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_cannot_send_the_login_to_another_host() {
    let mut world = World::new("[sync]\npoll = \"1s\"").await;
    fs::write(world.home().join("credentials.json"), world.drive.installed_client_json()).unwrap();
    log_in(&world).await;
    let other = Emulator::start(Options::default()).await.unwrap();
    let location = other.url();
    world.drive.fail(Fault::always("token", Action::Redirect { code: 307, location }));
    world.spawn();
    world.wait("it is said", async || world.log().contains("which is not followed")).await;
    assert!(other.requests().is_empty(), "{:?}", other.requests());
    world.drive.clear_faults();
    world.until_ready().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert!(other.requests().is_empty());
    other.stop().await;
}
