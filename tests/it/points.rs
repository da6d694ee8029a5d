//! SIGKILL at every named point of a delivery. Afterwards the ledger, the destination and Drive agree, nothing
//! half-made was ever to be seen, and nothing that was on disk is fetched again.

use drive_emulator::Content;

use crate::world::World;

const SIZE: u64 = 3_000_000;
const VARIABLE: &str = "GDRIVE_WEBHOOK_KILL_AT";

/// What is under the final name is whole, if anything is there.
fn assert_whole(world: &World, name: &str, right: &[String]) {
    if world.videos().join(name).exists() {
        let there = crate::world::sha256(&world.videos().join(name));
        assert!(right.contains(&there), "{name} is visible and not whole");
    }
}

/// Bytes of media that were asked for since the requests were last cleared.
fn fetched(world: &World) -> u64 {
    let media = world.drive.requests().into_iter().filter(|request| request.operation == "files.media");
    media.map(|request| request.bytes_sent).sum()
}

async fn assert_right(world: &World, name: &str, id: &str, contents: u64) {
    world.wait_until_idle().await;
    world.wait_for_file(name).await;
    world.wait_until_idle().await;
    world.assert_same(name, id);
    assert_eq!(world.delivered(), [name], "once");
    let counts = world.status().await["deliveries"].clone();
    assert_eq!(counts, serde_json::json!({"done": contents}), "the ledger agrees");
    world.wait("no part is left", async || world.parts().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_a_new_file_is_delivered_once_and_whole() {
    // The share of the file that may still have to be fetched by the next run.
    let points = [
        ("page-read", 1.0),
        ("page-recorded", 1.0),
        ("claimed", 1.0),
        ("first-byte", 1.0),
        ("half", 0.55),
        ("verified", 0.0),
        ("planned", 0.0),
        ("published", 0.0),
        ("done", 0.0),
    ];
    for (point, left) in points {
        let mut world = World::running("").await;
        assert_eq!(world.terminate().await, 0);
        world.spawn_with(&[(VARIABLE, point)]);
        // Slow enough for the writer to keep up, so that what was sent is what was written.
        world.drive.set_rate(Some(20_000_000));
        let id = world.upload("film.mp4", SIZE);
        world.until_killed().await;
        assert_whole(&world, "film.mp4", &[world.drive.content_sha256(&id).unwrap()]);
        assert_eq!(
            world.videos().join("film.mp4").exists(),
            matches!(point, "published" | "done"),
            "{point}"
        );
        world.drive.clear_requests();
        world.drive.set_rate(None);
        world.start().await;
        assert_right(&world, "film.mp4", &id, 1).await;
        let share = fetched(&world) as f64 / SIZE as f64;
        assert!(share <= left, "{point}: {share:.2} of the file was fetched again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_a_new_content_takes_the_place_of_the_earlier_one_whole() {
    for point in ["verified", "planned", "exchanged", "published", "done"] {
        let mut world = World::running("").await;
        let id = world.upload("film.mp4", SIZE);
        world.wait_for_file("film.mp4").await;
        world.wait_until_idle().await;
        let earlier = world.drive.content_sha256(&id).unwrap();
        assert_eq!(world.terminate().await, 0);
        world.spawn_with(&[(VARIABLE, point)]);
        world.drive.revise(&id, Content::pattern(99, SIZE));
        world.until_killed().await;
        assert_whole(&world, "film.mp4", &[earlier, world.drive.content_sha256(&id).unwrap()]);
        assert!(world.videos().join("film.mp4").exists(), "{point}: one of them is always there");
        world.drive.clear_requests();
        world.start().await;
        assert_right(&world, "film.mp4", &id, 2).await;
        assert_eq!(fetched(&world), 0, "{point}: nothing is fetched again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_a_channel_is_opened_again_and_notifications_come() {
    for point in ["channel-planned", "channel-opened"] {
        let mut world = World::new("").await;
        world.spawn_with(&[(VARIABLE, point)]);
        world.until_killed().await;
        world.start().await;
        world.upload("film.mp4", 1_000);
        world.wait_for_file("film.mp4").await;
        let listed = world.status().await["channels"].as_array().unwrap().len();
        assert_eq!(listed, 1, "{point}");
    }
}
