//! One large file over several connections: they are used where they help, a crash costs little, and a connection that
//! stalls, is refused, or is answered with something else holds up nobody.

use std::time::{Duration, Instant};

use drive_emulator::{Action, Content, Fault, Matching, RequestRecord};

use crate::world::World;

const SIZE: u64 = 120_000_000;
/// What the emulator may have sent on a connection that was given up, and nobody read.
const UNREAD: u64 = 12_000_000;

fn media(world: &World) -> Vec<RequestRecord> {
    world.drive.requests().into_iter().filter(|request| request.operation == "files.media").collect()
}

fn fetched(world: &World) -> u64 {
    media(world).iter().map(|request| request.bytes_sent).sum()
}

/// Every connection is held to this, so that more of them bring more.
async fn slow_world(bytes_per_second: u64) -> World {
    let world = World::running("").await;
    world.drive.set_rate(Some(bytes_per_second));
    world
}

async fn assert_delivered(world: &World, name: &str, id: &str) {
    world.wait_for_file(name).await;
    world.wait_until_idle().await;
    world.assert_same(name, id);
    assert_eq!(world.delivered(), [name]);
    assert!(world.parts().is_empty(), "nothing is left in the hidden folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_held_to_a_rate_gets_others_beside_it() {
    let world = slow_world(12_000_000).await;
    let began = Instant::now();
    let id = world.upload("big.mp4", SIZE);
    assert_delivered(&world, "big.mp4", &id).await;
    // One alone takes ten seconds. How much faster four are is a figure of the bench.
    let asked = media(&world);
    assert!(asked.len() >= 4, "{asked:?}");
    assert!(asked.iter().any(|request| request.range.as_deref().is_some_and(|range| !range.ends_with('-'))));
    assert!(fetched(&world) < SIZE + 3 * UNREAD, "{} bytes in {:?}", fetched(&world), began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_if_told_so_and_for_small_files() {
    let world = World::running("[download]\nstreams = 1").await;
    world.drive.set_rate(Some(20_000_000));
    let id = world.upload("big.mp4", 30_000_000);
    assert_delivered(&world, "big.mp4", &id).await;
    assert_eq!(media(&world).len(), 1);
    let world = slow_world(4_000_000).await;
    let id = world.upload("small.mp4", 3_000_000);
    assert_delivered(&world, "small.mp4", &id).await;
    assert_eq!(media(&world).len(), 1);
    assert_eq!(media(&world)[0].range, None, "the whole file is no range");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_survive_kill_9() {
    let mut world = slow_world(6_000_000).await;
    let id = world.upload("big.mp4", SIZE);
    for share in [4, 2] {
        world
            .wait("a share of it has come", async || {
                let transfers = world.status().await["transfers"].clone();
                transfers[0]["received"].as_u64().is_some_and(|received| received > SIZE / share)
            })
            .await;
        world.kill();
        world.start().await;
    }
    world.drive.set_rate(None);
    assert_delivered(&world, "big.mp4", &id).await;
    // What was not written down yet is a second's worth of four connections, twice.
    let again = fetched(&world).saturating_sub(SIZE);
    assert!(again < 2 * 4 * 6_000_000 + 3 * UNREAD, "{again} bytes were fetched twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_keeps_every_range() {
    let mut world = slow_world(6_000_000).await;
    let id = world.upload("big.mp4", SIZE);
    world
        .wait("a half of it has come", async || {
            world.status().await["transfers"][0]["received"]
                .as_u64()
                .is_some_and(|received| received > SIZE / 2)
        })
        .await;
    assert_eq!(world.terminate().await, 0);
    let beside = world.parts()[0].with_extension("ranges");
    assert!(beside.exists(), "what is there is written down");
    world.drive.clear_requests();
    world.drive.set_rate(None);
    world.start().await;
    assert_delivered(&world, "big.mp4", &id).await;
    // Without a rate the emulator fills the buffers of several connections at once, one of which is enough then.
    assert!(fetched(&world) < SIZE / 2 + 2 * UNREAD, "{} bytes", fetched(&world));
}

/// The second connection does this; what it has left would take minutes.
async fn assert_replaced(action: Action) {
    let world = slow_world(10_000_000).await;
    world.drive.fail(Fault { matching: Matching::operation("files.media").skip(1), times: 1, action });
    let began = Instant::now();
    let id = world.upload("big.mp4", SIZE);
    assert_delivered(&world, "big.mp4", &id).await;
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stalls_is_replaced_by_another() {
    // Long before it counts as dead.
    assert_replaced(Action::StallAfter { bytes: 3_000_000 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_far_slower_than_the_others_is_replaced_by_another() {
    assert_replaced(Action::Slow { bytes_per_second: 50_000 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_on_slow_lines_take_little_memory() {
    const MOST: u64 = 44 << 20;
    let world = World::running("[download]\nconcurrency = 8\nstreams = 16").await;
    let before = world.peak_memory();
    world.drive.set_rate(Some(200_000));
    for number in 0..8_u64 {
        world.upload(&format!("{number}.mp4"), 200_000_000 + number);
    }
    world
        .wait_for("64 connections", Duration::from_mins(1), async || {
            media(&world).iter().filter(|request| request.bytes_sent > 0).count() >= 64
        })
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let buffers = world.peak_memory() - before;
    assert!(buffers <= MOST, "{} MiB more than before", buffers >> 20);
}

/// Nothing can be compared with it, so its own rate has to tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_trickles_is_replaced_although_it_is_the_only_one() {
    let world = World::running("").await;
    let action = Action::Slow { bytes_per_second: 2_000 };
    world.drive.fail(Fault { matching: Matching::operation("files.media"), times: 1, action });
    let began = Instant::now();
    // With less than two pieces of it there is never a second connection.
    let id = world.upload("small.mp4", 8_000_000);
    assert_delivered(&world, "small.mp4", &id).await;
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert_eq!(media(&world).len(), 2);
}

/// All that comes for twenty seconds is there already.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_brings_what_is_there_already_does_not_trickle() {
    let world = World::running("[download]\nstreams = 1").await;
    world.drive.set_rate(Some(2_400_000));
    for action in [Action::CutAfter { bytes: 54_000_000 }, Action::IgnoreRange] {
        world.drive.fail(Fault::once("files.media", action));
    }
    let id = world.upload("big.mp4", 56_000_000);
    let path = world.videos().join("big.mp4");
    world.wait_for("it is there", Duration::from_secs(80), async || path.exists()).await;
    world.assert_same("big.mp4", &id);
    assert_eq!(media(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_one_connection_only_it_brings_all() {
    let only_whole = Action::IgnoreRange;
    let refused = Action::status(500, "backendError");
    for action in [only_whole, refused] {
        let world = slow_world(15_000_000).await;
        let matching = Matching::operation("files.media").skip(1);
        world.drive.fail(Fault { matching, times: u32::MAX, action });
        let id = world.upload("big.mp4", 60_000_000);
        assert_delivered(&world, "big.mp4", &id).await;
        assert!(media(&world).len() > 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_with_what_another_one_gave_up_does_not_wait() {
    let world = slow_world(20_000_000).await;
    // The connection for the end of the file: the one before it gets its piece, which lies behind the end of what that
    // one asked for.
    let matching = Matching::operation("files.media").to_end();
    world.drive.fail(Fault { matching, times: 1, action: Action::status(500, "backendError") });
    let id = world.upload("big.mp4", 200 << 20);
    assert_delivered(&world, "big.mp4", &id).await;
    let log = world.log();
    assert!(log.contains("a connection fewer"), "{log}");
    assert!(!log.contains("a connection was interrupted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_content_between_the_ranges_throws_the_old_one_away() {
    let world = slow_world(10_000_000).await;
    let new = Content::pattern(77, 60_000_000);
    let matching = Matching::operation("files.media").skip(2);
    world.drive.fail(Fault { matching, times: 1, action: Action::Revise(new) });
    let id = world.upload("film.mp4", 60_000_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    world.assert_same("film.mp4", &id);
    assert_eq!(world.delivered(), ["film.mp4"]);
    assert!(world.parts().is_empty());
    assert_eq!(world.status().await["deliveries"], serde_json::json!({"done": 1, "superseded": 1}));
}
