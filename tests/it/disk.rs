//! Disks that are full, gone, or another's. The destination waits as a whole, says so once, and comes back by itself.

use std::fs;
use std::time::Duration;

use crate::world::{BOUND, World};

/// A destination that was held is looked at again within half a minute.
const LOOK: Duration = Duration::from_mins(1);

/// What `status` says of the destination.
async fn problem(world: &World) -> String {
    world.status().await["destinations"][0]["problem"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_keeps_the_queue_waiting_with_one_line() {
    let mut world = World::running("[download]\nreserve = \"9000000GiB\"").await;
    let ids: Vec<String> = (0..5).map(|n| world.upload(&format!("{n}.mp4"), 1_000)).collect();
    world.wait("the destination waits", async || problem(&world).await.contains("download.reserve")).await;
    world.wait("all of them wait", async || world.status().await["deliveries"]["pending"] == ids.len()).await;
    assert!(world.status().await["not_ready"].to_string().contains("download.reserve"));
    assert_eq!(world.log().matches("a destination cannot be used").count(), 1, "one line for all of them");
    assert!(!world.log().contains("a delivery waits"));
    assert!(world.delivered().is_empty() && world.parts().is_empty());
    let shown = world.output(&["status"]).await;
    assert!(crate::world::text(&shown.stdout).contains("destinations that wait"));
    assert_eq!(world.drive.count("files.media"), 0, "and no call is made for any");

    assert_eq!(world.terminate().await, 0);
    world.replace_config("9000000GiB", "1MiB");
    world.start().await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered().len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_mount_point_is_not_the_destination() {
    let world = World::running("").await;
    let first = world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    let (videos, aside) = (world.videos(), world.home().join("unmounted"));
    fs::rename(&videos, &aside).unwrap();
    fs::create_dir(&videos).unwrap();
    let second = world.upload("second.mp4", 1_000);
    world.wait("it is noticed", async || problem(&world).await.contains("is its disk mounted?")).await;
    assert_eq!(fs::read_dir(&videos).unwrap().count(), 0, "nothing is put into the mount point");
    assert_eq!(world.log().matches("a destination cannot be used").count(), 1);

    fs::remove_dir(&videos).unwrap();
    fs::rename(&aside, &videos).unwrap();
    let path = videos.join("second.mp4");
    world.wait_for("it heals", LOOK, async || path.exists()).await;
    world.wait("and says so", async || world.log().contains("a destination can be used again")).await;
    assert!(problem(&world).await.is_empty());
    world.assert_same("first.mp4", &first);
    world.assert_same("second.mp4", &second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_begins_anew_when_somebody_says_so() {
    let world = World::running("").await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    fs::remove_dir_all(world.videos()).unwrap();
    let second = world.upload("second.mp4", 1_000);
    world.wait("it is noticed", async || problem(&world).await.contains("mkdir -p")).await;
    assert!(!world.videos().exists(), "a destination that is gone is not made anew by itself");
    // Word for word what the message says.
    let said = problem(&world).await;
    let command = said.split("as a new destination: ").nth(1).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
    let path = world.videos().join("second.mp4");
    world.wait_for("it goes on", LOOK, async || path.exists()).await;
    world.assert_same("second.mp4", &second);
    assert_eq!(world.delivered(), ["second.mp4"], "what was delivered is not delivered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_folder_that_was_removed_is_made_again() {
    let world = World::running("").await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    fs::remove_dir_all(world.videos().join(".gdrive-webhook")).unwrap();
    let second = world.upload("second.mp4", 1_000);
    // The destination is looked at again every half minute.
    let there = world.videos().join("second.mp4");
    world.wait_for("it is delivered", BOUND * 3, async || there.exists()).await;
    world.assert_same("second.mp4", &second);
    assert!(problem(&world).await.is_empty(), "the first file proves that it is the same directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_holds_its_own_files_only() {
    let mut world = World::new("").await;
    let other = world.drive.folder(&world.drive.root_id(), "Other");
    let there = world.home().join("other");
    world.add_config(&format!("[[folder]]\nid = {other:?}\ndestination = {there:?}"));
    world.start().await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    // Whoever opens a pipe waits for its other end, as with a file on a server that is away.
    let (marker, aside, pipe) = (
        world.videos().join(".gdrive-webhook/marker"),
        world.home().join("aside"),
        world.home().join("pipe"),
    );
    fs::rename(&marker, &aside).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &marker,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let held = world.upload("held.mp4", 1_000);
    world.wait("it is noticed", async || problem(&world).await.contains("does not answer")).await;
    let free = world.drive.upload(drive_emulator::Upload::new(
        &other,
        "free.mp4",
        crate::world::content_of("free.mp4", 1_000),
    ));
    let path = there.join("free.mp4");
    world.wait("the others go on", async || path.exists()).await;
    assert_eq!(crate::world::sha256(&path), world.drive.content_sha256(&free).unwrap());

    fs::rename(&marker, &pipe).unwrap();
    fs::rename(&aside, &marker).unwrap();
    tokio::task::spawn_blocking(move || fs::write(pipe, "").unwrap());
    let path = world.videos().join("held.mp4");
    world.wait_for("it heals", LOOK, async || path.exists()).await;
    world.assert_same("held.mp4", &held);
    assert_eq!(world.log().matches("a destination cannot be used").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_on_another_file_system_gets_its_files() {
    let mut world = World::new("").await;
    let below = world.videos().join("Trip");
    fs::create_dir_all(&below).unwrap();
    let daemon = world.command(&["run"]);
    let mut command = std::process::Command::new("unshare");
    command.env_clear().current_dir(world.home()).args(["--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs trip \"$0\" && exec \"$@\"").arg(&below);
    let probe = command.get_args().map(ToOwned::to_owned).chain(["true".into()]).collect::<Vec<_>>();
    if !std::process::Command::new("unshare").args(probe).status().is_ok_and(|status| status.success()) {
        eprintln!("nothing can be mounted here");
        return;
    }
    command.arg(daemon.get_program()).args(daemon.get_args());
    command.stdout(std::process::Stdio::null()).stderr(fs::File::create(world.home().join("log")).unwrap());
    world.spawn_command(command);
    world.until_ready().await;
    let trip = world.drive.folder(&world.inbox, "Trip");
    let upload = |name: &str| {
        let content = crate::world::content_of(name, 3_000_000);
        world.drive.upload(drive_emulator::Upload::new(&trip, name, content))
    };
    // As the daemon sees it.
    let seen = std::path::PathBuf::from(format!("/proc/{}/root{}", world.pid(), below.display()));
    let there = |name: &str, id: &str| {
        let path = seen.join(name);
        path.exists() && Some(crate::world::sha256(&path)) == world.drive.content_sha256(id)
    };
    for name in ["first.mp4", "second.mp4"] {
        let id = upload(name);
        world.wait("a copy is in its place", async || there(name, &id)).await;
    }
    let first = upload("third.mp4");
    world.wait("a copy is in its place", async || there("third.mp4", &first)).await;
    world.drive.revise(&first, crate::world::content_of("newer", 2_000_000));
    world.wait("a new content takes its place", async || there("third.mp4", &first)).await;
    world.wait_until_idle().await;
    assert_eq!(fs::read_dir(&seen).unwrap().count(), 3, "nothing hidden is left");
    assert!(fs::read_dir(&below).unwrap().next().is_none(), "the mount point itself stays empty");
    assert_eq!(world.log().matches("files are copied into it").count(), 1, "{}", world.log());
    assert!(world.parts().is_empty());
}
