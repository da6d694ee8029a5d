//! Limits on what downloads may take.

use std::time::{Duration, Instant};

use drive_emulator::{Action, Fault};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limit_holds_all_downloads_and_can_be_lifted_while_they_run() {
    let mut world = World::running("[download]\nrate_limit = \"100KB\"").await;
    // A minute's worth of the rate, in two files at once.
    let ids: Vec<String> = (0..2).map(|n| world.upload(&format!("{n}.mp4"), 3_000_000)).collect();
    world
        .wait("both are on their way", async || {
            world.status().await["transfers"].as_array().is_some_and(|transfers| transfers.len() == 2)
        })
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let received: u64 = world.status().await["transfers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|transfer| transfer["received"].as_u64().unwrap())
        .sum();
    assert!(received < 2_000_000, "{received} bytes in about two seconds");
    assert!(world.delivered().is_empty());
    world.replace_config("100KB", "0");
    for (n, id) in ids.iter().enumerate() {
        world.wait_for_file(&format!("{n}.mp4")).await;
        world.assert_same(&format!("{n}.mp4"), id);
    }
    assert_eq!(world.drive.count("files.media"), 2, "no connection was given up for being slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_once_more_count_for_the_rate_limit() {
    let world = World::running("[download]\nstreams = 1\nrate_limit = \"2MB\"").await;
    for action in [Action::CutAfter { bytes: 4_000_000 }, Action::IgnoreRange] {
        world.drive.fail(Fault::once("files.media", action));
    }
    let began = Instant::now();
    let id = world.upload("film.mp4", 4_400_000);
    world.wait_for_file("film.mp4").await;
    assert!(began.elapsed() >= Duration::from_millis(3_900), "8.4 MB in {:?}", began.elapsed());
    world.assert_same("film.mp4", &id);
    assert_eq!(world.drive.count("files.media"), 2);
}
