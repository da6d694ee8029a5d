//! Hands in the hidden folder and at the destination: parts that are removed or moved away, files that are taken away at
//! once. What is gone without a trace is fetched again, and what was taken from its place is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use drive_emulator::Content;

use crate::world::World;

const SIZE: u64 = 3_000_000;
const KILL_AT: &str = "GDRIVE_WEBHOOK_KILL_AT";
const FAIL_AT: &str = "GDRIVE_WEBHOOK_FAIL_AT";

/// Removes the files of the hidden folder, but for its marker.
fn clean(world: &World) {
    for entry in fs::read_dir(world.videos().join(".gdrive-webhook")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "marker") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// What is in the hidden folder besides its marker.
fn hidden(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.videos().join(".gdrive-webhook")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["marker", "lock"].contains(&name.as_str())).collect()
}

fn downloads(world: &World) -> usize {
    world.drive.requests().into_iter().filter(|request| request.operation == "files.media").count()
}

/// Kills the daemon at a point of the delivery of `film.mp4`, does something, and starts it again.
async fn killed_at(point: &str, is_update: bool, hand: impl FnOnce(&World)) -> (World, String) {
    let mut world = World::running("").await;
    let mut id = String::new();
    if is_update {
        id = world.upload("film.mp4", SIZE);
        world.wait_for_file("film.mp4").await;
        world.wait_until_idle().await;
    }
    assert_eq!(world.terminate().await, 0);
    world.spawn_with(&[(KILL_AT, point)]);
    if is_update {
        world.drive.revise(&id, Content::pattern(99, SIZE));
    } else {
        id = world.upload("film.mp4", SIZE);
    }
    world.until_killed().await;
    hand(&world);
    world.drive.clear_requests();
    world.start().await;
    world.wait_until_idle().await;
    (world, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_removed_during_its_download_is_fetched_again() {
    let world = World::running("[download]\nstreams = 1").await;
    world.drive.set_rate(Some(2_000_000));
    let id = world.upload("film.mp4", SIZE);
    let has_bytes = |part: &Path| part.metadata().is_ok_and(|metadata| metadata.len() > 500_000);
    world.wait("a part is there", async || world.parts().iter().any(|part| has_bytes(part))).await;
    clean(&world);
    world.drive.set_rate(None);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    world.wait_until_idle().await;
    assert!(world.log().contains("Keep whatever cleans or empties this folder away from"), "the remedy");
    world.wait("nothing is left", async || hidden(&world).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_removed_while_the_program_is_down_is_fetched_again() {
    for (point, is_update) in [("verified", false), ("planned", false), ("planned", true)] {
        let (world, id) = killed_at(point, is_update, clean).await;
        assert_eq!(world.delivered(), ["film.mp4"], "{point}");
        world.assert_same("film.mp4", &id);
        assert_eq!(downloads(&world), 1, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_taken_from_its_place_is_not_fetched_again() {
    let take = |world: &World| fs::remove_file(world.videos().join("film.mp4")).unwrap();
    for (point, is_update) in
        [("published", false), ("done", false), ("exchanged", true), ("published", true), ("done", true)]
    {
        let (world, _) = killed_at(point, is_update, take).await;
        assert_eq!(world.delivered(), [""; 0], "{point}");
        assert_eq!(downloads(&world), 0, "{point}");
        assert_eq!(world.status().await["deliveries"], serde_json::json!({"done": 1 + u8::from(is_update)}));
        world.wait("nothing is left", async || hidden(&world).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_move_and_its_note_nothing_is_lost() {
    let (world, id) = killed_at("moved", false, |_| {}).await;
    assert_eq!(world.delivered(), ["film.mp4"]);
    world.assert_same("film.mp4", &id);
    assert_eq!(downloads(&world), 0, "it is in its place");
    // Taken away in this very moment it comes twice: nobody can tell it from a part that was removed.
    let (world, id) =
        killed_at("moved", false, |world| fs::remove_file(world.videos().join("film.mp4")).unwrap()).await;
    world.assert_same("film.mp4", &id);
}

/// A daemon whom modes keep out though it is root, and a file that it has delivered.
async fn without_rights() -> (World, String) {
    let mut world = World::new("").await;
    let mut command = world.command(&["run"]);
    if rustix::process::geteuid().is_root() {
        let run = command;
        command = Command::new("setpriv");
        command.env_clear().args(["--bounding-set=-dac_override", "--inh-caps=-dac_override"]);
        command.arg(run.get_program()).args(run.get_args());
    }
    command.stderr(fs::File::create(world.home().join("log")).unwrap());
    world.spawn_command(command);
    world.until_ready().await;
    let id = world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    (world, id)
}

/// Makes the destination read-only for its owner, or not.
fn close(world: &World, is_closed: bool) {
    let mode = if is_closed { 0o500 } else { 0o700 };
    fs::set_permissions(world.videos(), fs::Permissions::from_mode(mode)).unwrap();
}

/// Nothing else wakes it: the next poll is ten minutes away.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_could_not_be_put_in_its_place_is_tried_again_by_itself() {
    let (world, _) = without_rights().await;
    close(&world, true);
    world.upload("second.mp4", 1_000);
    world
        .wait("it cannot be published", async || world.status().await["deliveries"]["publishing"] == 1)
        .await;
    close(&world, false);
    world.wait_for_file("second.mp4").await;
    world.wait_until_idle().await;
}

/// Whether it is in its place is for the disk to say: an attempt from the beginning would put a second file beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_could_not_be_made_durable_is_not_made_twice() {
    let mut world = World::new("").await;
    world.spawn_with(&[(FAIL_AT, "moved")]);
    world.until_ready().await;
    let id = world.upload("film.mp4", SIZE);
    world.wait("it fails", async || world.log().contains("could not be moved to its place yet")).await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4"]);
    world.assert_same("film.mp4", &id);
    assert_eq!(downloads(&world), 1);
    world.wait("nothing is left", async || hidden(&world).is_empty()).await;
}

/// The last content wins, however often it could not be put in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_could_not_be_put_in_its_place_never_replaces_a_later_one() {
    let (world, id) = without_rights().await;
    let counted = async |stage: &str| world.status().await["deliveries"][stage].as_i64().unwrap_or(0);
    close(&world, true);
    world.drive.revise(&id, Content::pattern(2, SIZE));
    world.wait("the second waits", async || counted("publishing").await == 1).await;
    world.drive.revise(&id, Content::pattern(3, SIZE));
    world.wait("the third came, and the second is void", async || counted("superseded").await == 1).await;
    close(&world, false);
    world.wait_until_idle().await;
    world.assert_same("film.mp4", &id);
    assert_eq!(world.delivered(), ["film.mp4"]);
    assert_eq!(world.status().await["deliveries"], serde_json::json!({"done": 2, "superseded": 1}));
}
