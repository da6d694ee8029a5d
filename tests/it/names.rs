//! Names that Drive takes and a file system does not, or should not.

use std::fs;

use drive_emulator::Upload;

use crate::world::{World, content_of};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_delivered_once_each_inside_the_destination() {
    let mut world = World::new("").await;
    fs::create_dir_all(world.videos()).unwrap();
    fs::write(world.videos().join("mine.mp4"), "not yours").unwrap();
    let outside = world.home().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, world.videos().join("Link")).unwrap();
    world.start().await;

    let long = format!("{}.mp4", "x".repeat(296));
    let names = [
        "../../x.mp4",
        "/abs.mp4",
        "a/b.mp4",
        long.as_str(),
        "bell\u{7}line\nfeed.mp4",
        "twin.mp4",
        "twin.mp4",
        "mine.mp4",
        "..",
        ".gdrive-webhook",
        "no ending",
    ];
    let ids: Vec<String> = names
        .iter()
        .map(|name| {
            world
                .drive
                .upload(Upload::new(&world.inbox, name, content_of(name, 1_000)).mime_type("video/mp4"))
        })
        .collect();
    let linked = world.drive.folder(&world.inbox, "Link");
    world.drive.upload(Upload::new(&linked, "in.mp4", content_of("in", 1_000)));
    world
        .wait("all are delivered", async || world.status().await["deliveries"]["done"] == names.len() + 1)
        .await;

    let delivered = world.delivered();
    assert_eq!(
        delivered.len(),
        names.len() + 2,
        "one file each, one in the folder, and the one that was there: {delivered:?}"
    );
    for expected in [
        "_._.._x.mp4",
        "_abs.mp4",
        "a_b.mp4",
        "bell_line_feed.mp4",
        "twin.mp4",
        "_",
        "_gdrive-webhook",
        "no ending",
        "Link_/in.mp4",
    ] {
        assert!(delivered.contains(&expected.to_owned()), "{expected} in {delivered:?}");
    }
    assert!(delivered.contains(&format!("mine [{}].mp4", &ids[7][..8])), "{delivered:?}");
    assert_eq!(fs::read_to_string(world.videos().join("mine.mp4")).unwrap(), "not yours");
    let twins = delivered.iter().filter(|name| name.starts_with("twin")).count();
    assert_eq!(twins, 2, "{delivered:?}");
    let shortened = delivered.iter().find(|name| name.starts_with("xxx")).unwrap();
    assert!(shortened.len() <= 255 && shortened.ends_with("x.mp4"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing is written through a symbolic link");
    let strays = fs::read_dir(world.home())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".mp4"));
    assert_eq!(strays.count(), 0);
}
