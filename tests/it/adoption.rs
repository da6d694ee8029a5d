//! What lies at a destination before it is delivered is not doubled, and stays whoever's it is.

use std::fs;

use drive_emulator::Upload;

use crate::world::{World, content_of};

const SIZE: u64 = 100_000;

/// Writes what Drive has under this name.
fn copy(world: &World, id: &str, to: &str) {
    let path = world.videos().join(to);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let content = world.drive.content(id).unwrap();
    fs::write(path, content.slice(0, content.size() as usize)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_another_tool_has_made_is_not_downloaded_again_and_not_replaced() {
    let mut world = World::with_folder("", "existing = \"download\"").await;
    let trip = world.drive.folder(&world.inbox, "Trip");
    let there = world.drive.upload(Upload::new(&trip, "there.mp4", content_of("there", SIZE)));
    let alike = world.upload("alike.mp4", SIZE);
    let twins = [world.upload("twin.mp4", SIZE), world.upload("twin.mp4", SIZE)];
    copy(&world, &there, "Trip/there.mp4");
    copy(&world, &twins[0], "twin.mp4");
    fs::write(world.videos().join("alike.mp4"), vec![7; SIZE as usize]).unwrap();
    world.start().await;
    world.wait("all are delivered", async || world.status().await["deliveries"]["done"] == 4).await;
    let marked = |name: &str, id: &str| format!("{name} [{}].mp4", &id[..8]);
    let twin = twins.iter().map(|id| marked("twin", id)).find(|name| world.delivered().contains(name));
    let mut expected = [
        "Trip/there.mp4".to_owned(),
        "alike.mp4".into(),
        marked("alike", &alike),
        "twin.mp4".into(),
        twin.unwrap(),
    ];
    expected.sort();
    assert_eq!(world.delivered(), expected, "one of the twins is there, the other one comes beside it");
    assert_eq!(world.drive.count("files.media"), 2, "only what was not there is downloaded");
    assert_eq!(world.log().matches("is there already").count(), 2);

    let before = fs::read(world.videos().join("Trip/there.mp4")).unwrap();
    world.drive.revise(&there, content_of("newer", SIZE));
    let beside = format!("Trip/{}", marked("there", &there));
    world.wait_for_file(&beside).await;
    world.wait_until_idle().await;
    world.assert_same(&beside, &there);
    assert_eq!(fs::read(world.videos().join("Trip/there.mp4")).unwrap(), before, "it is not this program's");
    // The file beside it is this program's.
    world.drive.revise(&there, content_of("newest", SIZE));
    world
        .wait("it is replaced", async || {
            crate::world::sha256(&world.videos().join(&beside)) == world.drive.content_sha256(&there).unwrap()
        })
        .await;
    assert_eq!(world.delivered().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_lost_doubles_nothing() {
    let mut world = World::with_folder("", "existing = \"download\"").await;
    let trip = world.drive.folder(&world.inbox, "Trip: all?");
    world.drive.upload(Upload::new(&trip, "a.mp4", content_of("a", SIZE)));
    for name in ["b.mp4", "twin.mp4", "twin.mp4", "COM¹.mp4"] {
        world.upload(name, SIZE);
    }
    let other = Upload::new(&world.inbox, "twin.mp4", content_of("another twin", SIZE));
    world.drive.upload(other);
    world.start().await;
    world.wait("all are delivered", async || world.status().await["deliveries"]["done"] == 6).await;
    let before = world.delivered();
    assert_eq!(world.terminate().await, 0);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(world.home().join(name));
    }
    let calls = world.drive.count("files.media");
    world.start().await;
    world.wait("all are known again", async || world.status().await["deliveries"]["done"] == 6).await;
    assert_eq!(world.delivered(), before);
    assert_eq!(world.drive.count("files.media"), calls, "nothing is downloaded");
}
