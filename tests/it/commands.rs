//! The commands beside `run`, their output and their exit codes.

use std::fs;
use std::process::{Child, Stdio};

use drive_emulator::{Action, Fault, RequestRecord};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, text};

#[tokio::test(flavor = "multi_thread")]
async fn sync_fetches_everything_and_ends() {
    let world = World::with_folder("", "existing = \"download\"").await;
    let id = world.upload("film.mp4", 2_000_000);
    let dry = world.output(&["sync", "--dry-run"]).await;
    assert_eq!(dry.status.code(), Some(0), "{}", text(&dry.stderr));
    let said = text(&dry.stdout);
    assert!(
        said.contains("would download film.mp4 (1.9 MiB)") && said.contains("1 file would be downloaded"),
        "{said}"
    );
    assert!(!world.home().join("state.db").exists() && !world.videos().exists(), "nothing was changed");

    let sync = world.output(&["sync"]).await;
    assert_eq!(sync.status.code(), Some(0), "{}", text(&sync.stderr));
    assert!(text(&sync.stdout).contains("1 delivered, 0 waiting or failed"), "{}", text(&sync.stdout));
    world.assert_same("film.mp4", &id);

    world.upload("next.mp4", 1_000);
    let dry = world.output(&["sync", "--dry-run"]).await;
    assert!(text(&dry.stdout).contains("would download next.mp4"), "{}", text(&dry.stdout));
    let sync = world.output(&["sync"]).await;
    assert!(
        text(&sync.stdout).contains("1 delivered"),
        "a dry run took nothing away: {}",
        text(&sync.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_each_file_that_failed_and_why() {
    let world = World::running("").await;
    world.drive.fail(Fault::always("files.media", Action::status(403, "cannotDownloadAbusiveFile")));
    world.upload("harmful.mp4", 1_000);
    world.wait("it is given up", async || world.status().await["deliveries"]["failed"] == 1).await;
    let status = world.output(&["status"]).await;
    let said = text(&status.stdout);
    assert!(said.contains("harmful.mp4") && said.contains("download.acknowledge_abuse"), "{said}");
    let json = world.output(&["status", "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["attention"][0]["name"], "harmful.mp4");
    assert!(json["channels"][0]["seconds_left"].as_i64().unwrap() > 600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_reads_the_ledger_when_nothing_runs() {
    let mut world = World::running("").await;
    assert_eq!(world.output(&["status", "--check"]).await.status.code(), Some(0));
    world.terminate().await;
    assert_eq!(world.output(&["status", "--check"]).await.status.code(), Some(1));
    let status = world.output(&["status"]).await;
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    assert!(text(&status.stdout).contains("not running"), "{}", text(&status.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mistakes_are_both_told_with_78() {
    let mut world = World::new("").await;
    world.add_config("[download]\nconcurency = 3\nstall = \"soon\"");
    for command in [&["run"][..], &["config", "check"], &["status"]] {
        let output = world.output(command).await;
        assert_eq!(output.status.code(), Some(78), "{command:?}");
        let said = text(&output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("gdrive-webhook.toml:")).collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(said.contains("download.concurency") && said.contains("download.concurrency"), "{said}");
        assert!(said.contains("download.stall") && said.contains("soon"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_end_with_78_and_wrong_usage_with_64() {
    let world = World::new("").await;
    fs::write(world.home().join("credentials.json"), "{\"web\":{}}").unwrap();
    let run = world.output(&["run"]).await;
    assert_eq!(run.status.code(), Some(78));
    assert!(text(&run.stderr).contains("Desktop app"), "{}", text(&run.stderr));
    assert_eq!(world.output(&["rum"]).await.status.code(), Some(64));
    assert_eq!(world.output(&["--help"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effective_configuration_can_be_loaded_again() {
    let world = World::new("").await;
    let check = world.output(&["config", "check"]).await;
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let mut show = world.command(&["config", "show"]);
    show.env("GDRIVE_WEBHOOK__DOWNLOAD__CONCURRENCY", "9");
    let shown = text(&show.output().unwrap().stdout);
    assert!(shown.contains("concurrency = 9"), "{shown}");
    fs::write(world.config_path(), &shown).unwrap();
    assert_eq!(text(&world.output(&["config", "show"]).await.stdout), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_shared_is_named_and_the_others_go_on() {
    let mut world = World::new("").await;
    let nowhere = world.home().join("nowhere");
    world.add_config(&format!(
        "[[folder]]\nid = \"1NobodySharedThisFolderWithUs00000\"\ndestination = {nowhere:?}"
    ));
    world.spawn();
    world.wait("the log names it", async || world.log().contains("1NobodySharedThisFolderWithUs00000")).await;
    assert!(world.log().contains("share the folder"));
    world.wait("the channel is open", async || !world.drive.channels().is_empty()).await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_counts_what_waits_since_an_earlier_pass() {
    let world = World::with_folder("", "existing = \"download\"").await;
    world.upload("popular.mp4", 1_000);
    world.drive.fail(Fault::always("files.media", Action::status(403, "downloadQuotaExceeded")));
    for _ in 0..2 {
        let sync = world.output(&["sync"]).await;
        assert_eq!(sync.status.code(), Some(1), "{}", text(&sync.stdout));
        let told = text(&sync.stdout);
        assert!(
            told.contains("waiting popular.mp4: ") && told.contains("0 delivered, 1 waiting or failed"),
            "{told}"
        );
    }
}

/// The copies of the database that dry runs have made.
fn copies(world: &World) -> usize {
    let names = fs::read_dir(world.home()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("dry-run-")).count()
}

/// A dry run that reads a log.
async fn dry_run(world: &World) -> Child {
    world.drive.clear_requests();
    world.drive.fail(Fault::once("changes.list", Action::Delay { milliseconds: 20_000 }));
    let mut command = world.command(&["sync", "--dry-run"]);
    let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let asks = |record: &RequestRecord| record.operation == "changes.list";
    world.wait("it reads a log", async || world.drive.requests().iter().any(asks)).await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_is_interrupted_leaves_no_copy_of_the_database() {
    let mut world = World::running("").await;
    world.wait_until_idle().await;
    assert_eq!(world.terminate().await, 0);
    let running = dry_run(&world).await;
    assert_eq!(copies(&world), 1);
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    let output = tokio::task::spawn_blocking(move || running.wait_with_output().unwrap()).await.unwrap();
    assert_eq!((output.status.code(), copies(&world)), (Some(1), 0), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_of_a_dry_run_that_was_killed_goes_with_the_next_start() {
    let mut world = World::running("").await;
    world.wait_until_idle().await;
    assert_eq!(world.terminate().await, 0);
    for command in ["run", "sync", "sync --dry-run"] {
        let [mut killed, mut other] = [dry_run(&world).await, dry_run(&world).await];
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert_eq!(copies(&world), 2);
        if command == "run" {
            world.start().await;
            assert_eq!(world.terminate().await, 0);
        } else {
            let output = world.output(&command.split(' ').collect::<Vec<_>>()).await;
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        assert_eq!(copies(&world), 1, "{command}: the other one is at work");
        kill_process(Pid::from_child(&other), Signal::TERM).unwrap();
        tokio::task::spawn_blocking(move || other.wait().unwrap()).await.unwrap();
        assert_eq!(copies(&world), 0);
    }
}
