//! Disks that are full, gone, or another's. The destination waits as a whole, says so once, and comes back by itself.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::world::{BOUND, World};

/// A destination that was held is looked at again within half a minute.
const LOOK: Duration = Duration::from_mins(1);

/// What `status` says of the destination.
async fn problem(world: &World) -> String {
    world.status().await["destinations"][0]["problem"].as_str().unwrap_or_default().to_owned()
}

/// A file of a file system whose server does not answer, as with a server that is away.
struct Silent {
    path: PathBuf,
    /// What nobody reads the requests from. Whoever waits for an answer gets an error when it is closed.
    device: Option<File>,
}

impl Silent {
    /// Mounted over a file. `None`: this takes root.
    fn over(path: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=100600,user_id=0,group_id=0\0", device.as_raw_fd());
        let options = std::ffi::CString::from_vec_with_nul(options.into_bytes()).unwrap();
        mount("silent", path, "fuse", MountFlags::empty(), options.as_c_str()).unwrap();
        Some(Self { path: path.to_owned(), device: Some(device) })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        drop(self.device.take());
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_keeps_the_queue_waiting_with_one_line() {
    let mut world = World::running("[download]\nreserve = \"9000000GiB\"").await;
    let ids: Vec<String> = (0..5).map(|n| world.upload(&format!("{n}.mp4"), 1_000)).collect();
    world.wait("the destination waits", async || problem(&world).await.contains("download.reserve")).await;
    world.wait("all of them wait", async || world.status().await["deliveries"]["pending"] == ids.len()).await;
    assert!(world.status().await["not_ready"].to_string().contains("download.reserve"));
    assert_eq!(world.log().matches("a destination cannot be used").count(), 1, "one line for all of them");
    assert!(!world.log().contains("a file waits"));
    assert!(world.delivered().is_empty() && world.parts().is_empty());
    let shown = world.output(&["status"]).await;
    assert!(crate::world::text(&shown.stdout).contains("destinations that cannot be used"));
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
    // The daemon of this test runs as the same user.
    let command = format!("sudo() {{ shift 2; \"$@\"; }}; {command}");
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
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
    let marker = world.videos().join(".gdrive-webhook/marker");
    let Some(silent) = Silent::over(&marker) else { return };
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

    drop(silent);
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

/// Others can write to the destination, as to a share, and were there before the first start.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_put_in_the_place_of_the_hidden_folder_is_not_used() {
    type Plant = fn(&Path, &Path);
    const STRANGER: u32 = 54_321;
    let plants: [(&str, Plant); 3] = [
        (
            "is a symbolic link or a file, where the program needs a directory of its own; remove it",
            |hidden, outside| {
                symlink(outside, hidden).unwrap();
            },
        ),
        ("belongs to 54321", |hidden, _| {
            fs::create_dir(hidden).unwrap();
            chown(hidden, Some(STRANGER), Some(STRANGER)).unwrap();
        }),
        ("marker is a named pipe", |hidden, _| {
            fs::create_dir(hidden).unwrap();
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, hidden.join("marker"), fifo, mode, 0).unwrap();
        }),
    ];
    for (said, plant) in plants {
        if said.contains("54321") && !rustix::process::geteuid().is_root() {
            continue;
        }
        let world = World::with_folder("", "existing = \"download\"").await;
        let (videos, outside) = (world.videos(), world.home().join("outside"));
        fs::create_dir(&videos).unwrap();
        fs::create_dir(&outside).unwrap();
        plant(&videos.join(".gdrive-webhook"), &outside);
        let film = world.upload("film.mp4", 1_000);
        let sync = world.output(&["sync"]).await;
        let log = crate::world::text(&sync.stderr);
        assert!(log.contains(said), "{said}: {log}");
        assert!(world.delivered().is_empty());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{said}");
        // Somebody does what it says.
        fs::rename(videos.join(".gdrive-webhook"), world.home().join("aside")).unwrap();
        world
            .wait_for("it is delivered", LOOK, async || {
                world.output(&["sync"]).await;
                videos.join("film.mp4").exists()
            })
            .await;
        world.assert_same("film.mp4", &film);
    }
}

/// So that it can be unmounted.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_destination_stays_open_while_there_is_nothing_to_do() {
    let world = World::running("").await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    let files = format!("/proc/{}/fd", world.pid());
    let open = || {
        let links =
            fs::read_dir(&files).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.filter(|file| file.starts_with(world.videos())).collect::<Vec<_>>()
    };
    world.wait("all is closed", async || open().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_mount_point_is_not_the_destination_after_a_restart_either() {
    let mut world = World::running("").await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.terminate().await, 0);
    let (videos, aside) = (world.videos(), world.home().join("unmounted"));
    fs::rename(&videos, &aside).unwrap();
    fs::create_dir(&videos).unwrap();
    let second = world.upload("second.mp4", 1_000);
    world.spawn();
    let is_noticed = async || world.log().contains("is its disk mounted?");
    world.wait("it is noticed", is_noticed).await;
    assert_eq!(fs::read_dir(&videos).unwrap().count(), 0, "nothing is put into the mount point");
    fs::remove_dir(&videos).unwrap();
    fs::rename(&aside, &videos).unwrap();
    let path = videos.join("second.mp4");
    world.wait_for("it heals", LOOK, async || path.exists()).await;
    world.assert_same("second.mp4", &second);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_do_not_share_a_destination() {
    let mut world = World::running("").await;
    world.upload("first.mp4", 1_000);
    world.wait_for_file("first.mp4").await;
    world.wait_until_idle().await;
    let lock = fs::File::options().write(true).open(world.videos().join(".gdrive-webhook/lock")).unwrap();
    world.wait("it is let go while there is nothing to do", async || lock.try_lock().is_ok()).await;
    lock.set_len(0).unwrap();
    std::io::Write::write_all(&mut &lock, b"the daemon with the database /srv/other.db").unwrap();
    let second = world.upload("second.mp4", 1_000);
    world.wait("it is named", async || problem(&world).await.contains("/srv/other.db")).await;
    assert_eq!(world.log().matches("a destination cannot be used").count(), 1);
    assert_eq!(world.delivered(), ["first.mp4"]);
    drop(lock);
    let path = world.videos().join("second.mp4");
    world.wait_for("it goes on", LOOK, async || path.exists()).await;
    world.assert_same("second.mp4", &second);

    // Another database comes, and what the first one has not finished stays.
    assert_eq!(world.terminate().await, 0);
    let hidden = world.videos().join(".gdrive-webhook");
    let part = |name: &str| hidden.join(name);
    fs::write(part("a1.part"), "theirs").unwrap();
    fs::write(part("b2.part"), "forgotten").unwrap();
    let month = Duration::from_hours(31 * 24);
    let old = fs::File::options().write(true).open(part("b2.part")).unwrap();
    old.set_modified(std::time::SystemTime::now() - month).unwrap();
    world.replace_config("state.db", "other.db");
    world.start().await;
    world.wait("it is said", async || world.log().contains("last used with another database")).await;
    world.wait("what nobody needs is removed", async || !part("b2.part").exists()).await;
    assert!(part("a1.part").exists());
}
