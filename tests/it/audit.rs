//! The audit: what it finds, what it takes for a fault, and what it does about that.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use drive_emulator::{Action, Downloads, Fault, Matching, RequestRecord, Role, Upload};
use gdrive_webhook::audit::{self, Desk, Waits};
use gdrive_webhook::config::{self, follow};
use gdrive_webhook::daemon::Instruments;
use gdrive_webhook::model::{ChangeLog, FileId};
use gdrive_webhook::store::Access;
use gdrive_webhook::task::{StatusBoard, run, status_board, wake_up};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::{World, client, content_of, text};

/// The exit code of an audit, and its report.
async fn audit(world: &World, arguments: &[&str]) -> (i32, Value) {
    let arguments: Vec<&str> = ["audit", "--json"].iter().chain(arguments).copied().collect();
    let output = world.output(&arguments).await;
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}{}", text(&output.stdout), text(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// The numbers that are not zero, in the order of the report.
fn numbers(tally: &Value) -> String {
    let told =
        ["wanted", "here", "taken_away", "changed", "missing", "waiting", "failed", "skipped", "unseen"];
    let told = told.iter().filter(|what| tally[**what].as_u64() != Some(0));
    told.map(|what| format!("{} {what}", tally[*what])).collect::<Vec<_>>().join(", ")
}

/// The files with this outcome: path and reason.
fn named(report: &Value, outcome: &str) -> Vec<(String, String)> {
    let all = report["files"].as_array().unwrap().iter().filter(|file| file["outcome"] == outcome);
    let word = |file: &Value, what| file[what].as_str().unwrap().to_owned();
    all.map(|file| (word(file, "path"), word(file, "reason"))).collect()
}

/// Changes the database behind the daemon's back.
async fn change(world: &World, sql: &'static str) {
    sqlx::any::install_default_drivers();
    let path = world.home().join("state.db");
    let ledger = sqlx::AnyPool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    assert!(sqlx::query(sql).execute(&ledger).await.unwrap().rows_affected() > 0, "{sql}");
    ledger.close().await;
}

async fn readiness(world: &World) -> (u16, String) {
    let answer = client().get(format!("http://127.0.0.1:{}/readyz", world.private)).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_here_taken_away_or_changed() {
    let mut world = World::new("").await;
    world.upload("before.mp4", 1_000);
    world.start().await;
    world.wait_until_idle().await;
    for name in ["a.mp4", "b.mp4", "c.mp4", "d.mp4"] {
        world.upload(name, 1_000);
        world.wait_for_file(name).await;
    }
    world.upload("notes.txt", 10);
    world.wait_until_idle().await;
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "4 wanted, 4 here"), "{report}");
    let left_out = serde_json::json!({"existing": 1, "type": 1});
    assert_eq!(report["total"]["left_out"], left_out);

    let file = |name: &str| world.videos().join(name);
    fs::remove_file(file("a.mp4")).unwrap();
    fs::write(file("b.mp4"), "edited").unwrap();
    let modified = fs::metadata(file("c.mp4")).unwrap().modified().unwrap();
    let mut bytes = fs::read(file("c.mp4")).unwrap();
    bytes[500] ^= 1;
    fs::write(file("c.mp4"), bytes).unwrap();
    fs::File::options().append(true).open(file("c.mp4")).unwrap().set_modified(modified).unwrap();
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "4 wanted, 2 here, 1 taken_away, 1 changed"));
    let (code, report) = audit(&world, &["--checksums"]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "4 wanted, 1 here, 1 taken_away, 2 changed"));
    let changed = named(&report, "changed");
    assert!(
        changed.iter().any(|(path, why)| path == "c.mp4" && why.contains("check the disk")),
        "{changed:?}"
    );

    // Nothing of this is a fault, nor brings anything.
    assert_eq!(readiness(&world).await.0, 200);
    let status = text(&world.output(&["status"]).await.stdout);
    assert!(
        status.contains("last audit\n") && status.contains("4 wanted, 1 here, 1 taken away since"),
        "{status}"
    );
    assert_eq!(world.delivered(), ["b.mp4", "c.mp4", "d.mp4"]);

    // What was taken away is named, with what brings it again.
    let taken = named(&report, "taken-away");
    assert!(taken.len() == 1 && taken[0].0 == "a.mp4", "{taken:?}");
    let id = taken[0].1.split(['`', ' ']).nth(3).unwrap();
    assert_eq!(world.output(&["redeliver", id]).await.status.code(), Some(0), "{taken:?}");
    world.wait_for_file("a.mp4").await;
    world.wait_until_idle().await;
    fs::remove_file(file("a.mp4")).unwrap();

    // The same without the daemon.
    world.terminate().await;
    let said = text(&world.output(&["audit"]).await.stdout);
    for line in
        ["4  wanted", "2  here", "1  taken away since", "1  no video", "changed since they were delivered"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    let status: Value = serde_json::from_slice(&world.output(&["status", "--json"]).await.stdout).unwrap();
    assert_eq!(numbers(&status["audit"]["total"]), "4 wanted, 2 here, 1 taken_away, 1 changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_has_lost_is_missing_until_it_is_brought() {
    let mut world = World::running("").await;
    let below = world.drive.folder(&world.inbox, "Trip");
    world.drive.upload(Upload::new(&below, "deep.mp4", content_of("deep.mp4", 1_000)));
    for name in ["lost.mp4", "let go.mp4", "nowhere.mp4", "fine.mp4"] {
        world.upload(name, 1_000);
        world.wait_for_file(name).await;
    }
    world.wait_for_file("Trip/deep.mp4").await;
    world.wait_until_idle().await;
    for name in ["lost.mp4", "let go.mp4", "nowhere.mp4", "Trip/deep.mp4"] {
        fs::remove_file(world.videos().join(name)).unwrap();
    }
    change(&world, "delete from delivery where name in ('lost.mp4', 'deep.mp4')").await;
    change(&world, "update delivery set stage = 'superseded', reason = 'odd' where name = 'let go.mp4'")
        .await;
    change(&world, "update delivery set place = null where name = 'nowhere.mp4'").await;
    change(&world, "delete from folder where name = 'Trip'").await;
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (1, "5 wanted, 1 here, 1 missing, 3 waiting"));
    assert!(named(&report, "waiting").iter().all(|(_, why)| why.contains("since Drive's lists lag behind")));
    change(&world, "update folder set listing = 'done'").await;
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (1, "5 wanted, 1 here, 4 missing"), "{report}");
    let missing = named(&report, "missing");
    for (path, why) in [
        ("lost.mp4", "does not know it"),
        ("let go.mp4", "no longer wants it: odd"),
        ("nowhere.mp4", "does not know where"),
        ("Trip/deep.mp4", "does not know it"),
    ] {
        assert!(missing.iter().any(|(at, said)| at == path && said.contains(why)), "{path}: {missing:?}");
    }
    let (code, said) = readiness(&world).await;
    assert!(code == 503 && said.contains("4 files are") && said.contains("audit --fix"), "{said}");
    assert_eq!(world.output(&["status", "--check"]).await.status.code(), Some(1));

    let (code, report) = audit(&world, &["--fix"]).await;
    assert_eq!((code, report["queued"].as_u64()), (0, Some(4)), "{report}");
    assert_eq!(numbers(&report["total"]), "5 wanted, 1 here, 4 waiting");
    assert_eq!(readiness(&world).await.0, 200);
    for name in ["lost.mp4", "let go.mp4", "nowhere.mp4", "Trip/deep.mp4"] {
        world.wait_for_file(name).await;
    }
    world.wait_until_idle().await;
    let (code, report) = audit(&world, &["--checksums"]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "5 wanted, 5 here"), "{report}");

    // While the daemon is stopped, what is missing comes at its next start.
    world.terminate().await;
    change(&world, "delete from delivery where name = 'lost.mp4'").await;
    fs::remove_file(world.videos().join("lost.mp4")).unwrap();
    assert_eq!(audit(&world, &["--fix"]).await.1["queued"], 1);
    world.start().await;
    world.wait_for_file("lost.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_failed_or_was_skipped_is_named_and_is_not_missing() {
    let world = World::running("").await;
    let refuse = |id: &str, reason: &str| {
        let matching = Matching::operation("files.media").file(id);
        world.drive.fail(Fault { matching, times: u32::MAX, action: Action::status(403, reason) });
    };
    // Nothing is asked for before its fault is known.
    world.drive.fail(Fault::always("changes.list", Action::status(500, "backendError")));
    let popular = world.upload("popular.mp4", 1_000);
    refuse(&popular, "downloadQuotaExceeded");
    let harmful = world.upload("harmful.mp4", 1_000);
    refuse(&harmful, "cannotDownloadAbusiveFile");
    let forbidden = world.upload("forbidden.mp4", 1_000);
    world.drive.set_downloads(&forbidden, Downloads::Forbidden);
    world.drive.clear_faults();
    refuse(&popular, "downloadQuotaExceeded");
    refuse(&harmful, "cannotDownloadAbusiveFile");
    let settled = async || {
        let deliveries = &world.status().await["deliveries"];
        ["pending", "failed", "skipped"].iter().all(|stage| deliveries[stage] == 1)
    };
    world.wait("they are where they stay", settled).await;
    let (code, report) = audit(&world, &[]).await;
    let expected = "3 wanted, 1 waiting, 1 failed, 1 skipped";
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, expected), "{report}");
    for (outcome, path, why) in [
        ("waiting", "popular.mp4", "quota"),
        ("failed", "harmful.mp4", "acknowledge_abuse"),
        ("skipped", "forbidden.mp4", "owner does not allow"),
    ] {
        let named = named(&report, outcome);
        assert!(named.len() == 1 && named[0].0 == path && named[0].1.contains(why), "{named:?}");
    }
    let status = text(&world.output(&["status"]).await.stdout);
    assert!(status.contains("3 wanted, 0 here, 1 waiting, 1 failed, 1 skipped, 0 missing"), "{status}");
}

/// The change log lags behind listings, and a daemon that is stopped has read nothing of what came since.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_change_log_has_not_told_yet_is_not_missing() {
    let mut world = World::running("").await;
    world.drive.set_change_delay(Duration::from_secs(3));
    world.upload("late.mp4", 1_000);
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, &report["total"]["missing"]), (0, &Value::from(0)), "{report}");
    assert_eq!(report["total"]["wanted"], 1);
    world.wait_for_file("late.mp4").await;

    world.drive.set_change_delay(Duration::ZERO);
    world.terminate().await;
    let new = world.drive.folder(&world.inbox, "New");
    world.drive.upload(Upload::new(&new, "new.mp4", content_of("new.mp4", 1_000)));
    world.upload("next.mp4", 1_000);
    let (code, report) = audit(&world, &["--fix"]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "3 wanted, 1 here, 2 waiting"), "{report}");
    assert!(named(&report, "waiting").iter().all(|(_, why)| why.contains("after Drive was last read")));
    assert_eq!(report["queued"], 0);
    world.drive.refuse_page_tokens_before_now();
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "3 wanted, 1 here, 2 waiting"), "{report}");
    world.start().await;
    world.wait_for_file("New/new.mp4").await;
    world.wait_for_file("next.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_counts_once_wherever_it_can_be_reached() {
    let mut world = World::with_folder("", "existing = \"download\"\nexclude = [\"*draft*\"]").await;
    let drive = &world.drive;
    let inner = drive.folder(&world.inbox, "Inner");
    let deep = drive.folder(&inner, "Deep");
    let outside = drive.folder(&drive.root_id(), "Outside");
    let more = drive.folder(&outside, "More");
    let put = |folder: &str, name: &str| drive.upload(Upload::new(folder, name, content_of(name, 1_000)));
    let own = put(&world.inbox, "own.mp4");
    put(&inner, "inner.mov");
    put(&inner, "a draft.mov");
    put(&deep, "deep.mp4");
    put(&more, "more.mp4");
    let far = put(&drive.root_id(), "far.mp4");
    let gone = put(&world.inbox, "gone.mp4");
    drive.trash(&gone);
    // To a folder, into a circle, to a file twice, to one that is here anyway, and to nothing.
    drive.shortcut(&world.inbox, "Outside", &outside);
    drive.shortcut(&more, "Back", &world.inbox);
    drive.shortcut(&inner, "far one.mp4", &far);
    drive.shortcut(&world.inbox, "far two.mp4", &far);
    drive.shortcut(&inner, "own again.mp4", &own);
    let lost = put(&drive.root_id(), "lost.mp4");
    drive.shortcut(&world.inbox, "lost.mp4", &lost);
    drive.delete(&lost);
    // The inner one takes movies only, and the outer one the rest. Both have one destination.
    let videos = world.videos();
    world.add_config(&format!(
        "[[folder]]\nid = {inner:?}\ndestination = {videos:?}\nexisting = \"download\"\n\
         include = [\"video/quicktime\"]\nextensions = [\"mov\"]\nrecursive = false"
    ));
    world.start().await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered().len(), 6, "{:?}", world.delivered());
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "6 wanted, 6 here"), "{report}");
    let folders: Vec<String> = report["folders"].as_array().unwrap().iter().map(numbers).collect();
    assert_eq!(folders, ["4 wanted, 4 here", "2 wanted, 2 here"], "{report}");
    assert_eq!(report["total"]["left_out"], serde_json::json!({"dangling": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_database_was_lost_all_files_are_here() {
    let mut world = World::with_folder("", "existing = \"download\"").await;
    let trip = world.drive.folder(&world.inbox, "Trip");
    world.drive.upload(Upload::new(&trip, "deep.mp4", content_of("deep.mp4", 1_000)));
    for name in ["a.mp4", "gone.mp4"] {
        world.upload(name, 1_000);
    }
    world.start().await;
    world.wait("all are delivered", async || world.status().await["deliveries"]["done"] == 3).await;
    world.terminate().await;
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(world.home().join(format!("state.db{ending}")));
    }
    fs::remove_file(world.videos().join("gone.mp4")).unwrap();
    world.start().await;
    world.wait("all are delivered", async || world.status().await["deliveries"]["done"] == 3).await;
    let (code, report) = audit(&world, &["--checksums"]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "3 wanted, 3 here"), "{report}");
    assert_eq!(world.delivered(), ["Trip/deep.mp4", "a.mp4", "gone.mp4"], "nothing is doubled");
}

/// One shared drive has a change log for the account; the other one is listed at every poll.
#[tokio::test(flavor = "multi_thread")]
async fn shared_drives_are_audited_with_and_without_membership() {
    let mut world = World::new("").await;
    let us = world.drive.service_account().address().to_owned();
    world.drive.share(&world.inbox, &us, Role::Reader);
    let mut folders = Vec::new();
    for name in ["Member", "Guest"] {
        let team = world.drive.shared_drive(name);
        let folder = world.drive.folder(&team, name);
        if name == "Member" {
            world.drive.join(&team, &us, Role::Reader);
        } else {
            world.drive.share(&folder, &us, Role::Reader);
        }
        let there = world.videos();
        world.add_config(&format!(
            "[[folder]]\nid = {folder:?}\ndestination = {there:?}\nexisting = \"download\""
        ));
        let video = format!("{name}.mp4");
        world.drive.upload(Upload::new(&folder, &video, content_of(&video, 1_000)));
        folders.push(folder);
    }
    world.start().await;
    for name in ["Member.mp4", "Guest.mp4"] {
        world.wait_for_file(name).await;
    }
    world.wait_until_idle().await;
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (0, "2 wanted, 2 here"), "{report}");

    // Nobody tells of what comes to the one that is polled. The audit does not take that for a fault, and has it polled.
    let new = "new.mp4";
    world.drive.upload(Upload::new(&folders[1], new, content_of(new, 1_000)));
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, &report["total"]["missing"]), (0, &Value::from(0)), "{report}");
    world.wait_for_file(new).await;

    change(&world, "update folder set listing = 'done'").await;
    change(&world, "delete from delivery where name = 'Member.mp4'").await;
    fs::remove_file(world.videos().join("Member.mp4")).unwrap();
    world.terminate().await;
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (1, "3 wanted, 2 here, 1 missing"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_is_said() {
    let mut world = World::running("").await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    world.terminate().await;
    // The mount point without its disk.
    fs::rename(world.videos(), world.home().join("disk")).unwrap();
    fs::create_dir(world.videos()).unwrap();
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (1, "1 wanted, 1 unseen"), "{report}");
    assert!(report["problems"][0].as_str().unwrap().contains("is its disk mounted?"), "{report}");
    fs::remove_dir(world.videos()).unwrap();
    fs::rename(world.home().join("disk"), world.videos()).unwrap();

    world.drive.trash(&world.inbox);
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (1, ""), "{report}");
    assert!(report["problems"][0].as_str().unwrap().contains("in Drive's trash"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_none_is_made() {
    let world = World::new("").await;
    let output = world.output(&["audit"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no database"), "{}", text(&output.stderr));
    assert!(!world.home().join("state.db").exists() && !world.home().join("state.db.lock").exists());
}

/// An engine in this process, with short waits, on the database of a world whose daemon does not run.
async fn engine(world: &World, stop: &CancellationToken) -> (StatusBoard, Instruments) {
    gdrive_webhook::http::install_tls();
    let path = world.config_path();
    let text = fs::read_to_string(&path).unwrap();
    let settings = config::load_from(&text, &path, world.home(), []).unwrap();
    let instruments = Instruments::open(&settings, Access::Exclusive).await.unwrap();
    let (wake, wakeups) = wake_up();
    let soon = Duration::from_millis(100);
    let waits = Waits {
        after_comparison: soon,
        look: soon,
        settle: soon,
        settle_asked: soon,
        again: soon,
        ..Waits::default()
    };
    let (wanted, configured) = watch::channel(follow::to_audit(&settings));
    let (reader, readings) = wake_up();
    let mut engine = instruments.auditor(configured, Desk::new(wake.clone()), reader, waits);
    let board = status_board();
    let (shown, stop) = (board.clone(), stop.clone());
    tokio::spawn(async move {
        let _held = (wanted, readings, wake);
        run(wakeups, shown, stop, &mut engine).await;
    });
    (board, instruments)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_follows_each_comparison_of_all_folders() {
    let mut world = World::running("").await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.wait_until_idle().await;
    world.terminate().await;
    let stop = CancellationToken::new();
    let (board, instruments) = engine(&world, &stop).await;
    let store = &instruments.store;
    let began = async |after: Option<jiff::Timestamp>| {
        let mut began = None;
        world
            .wait("an audit was made", async || {
                store.audited().await.unwrap().is_some_and(|at| Some(at) > after)
            })
            .await;
        began = began.or(audit::last(store).await.unwrap());
        began.unwrap()
    };
    let first = began(None).await;
    assert_eq!((first.total.wanted, first.total.here, first.is_well()), (1, 1, true));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(audit::last(store).await.unwrap(), Some(first.clone()), "once for each comparison");

    // Drive fails meanwhile: the audit is made when it answers again.
    world.drive.fail(Fault::times("files.list", 4, Action::status(500, "internalError")));
    store.compare(&ChangeLog::User, jiff::Timestamp::now()).await.unwrap();
    sqlx::any::install_default_drivers();
    change(&world, "update folder set round = (select round from change_log)").await;
    let second = began(Some(first.began)).await;
    assert!(second.total.here + second.problems.len() as u64 >= 1, "{second:?}");
    assert!(board.borrow().outcome.clone().unwrap().is_ok(), "{:?}", board.borrow().outcome);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_and_goes_away_in_drive_is_not_missing_any_more() {
    let mut world = World::running("").await;
    let names = ["trashed.mp4", "deleted.mp4", "left.mp4"];
    let ids = names.map(|name| world.upload(name, 1_000));
    for name in names {
        world.wait_for_file(name).await;
    }
    world.wait_until_idle().await;
    world.terminate().await;
    change(&world, "delete from delivery").await;
    change(&world, "update folder set listing = 'done'").await;
    let (code, report) = audit(&world, &[]).await;
    assert_eq!((code, numbers(&report["total"]).as_str()), (1, "3 wanted, 3 missing"), "{report}");

    // Another audit is not due.
    let stop = CancellationToken::new();
    let (_board, parts) = engine(&world, &stop).await;
    world.drive.fail(Fault::once("files.get", Action::status(500, "internalError")));
    world.drive.trash(&ids[0]);
    world.drive.delete(&ids[1]);
    let last = async || audit::last(&parts.store).await.unwrap().unwrap();
    world.wait("they are let go", async || last().await.total.missing == 1).await;
    let report = last().await;
    assert!(report.complaint().unwrap().starts_with("1 file is in Drive and never arrived (left.mp4)"));
    assert_eq!((report.total.wanted, report.folders[0].tally.missing), (1, 1));
    assert_eq!(report.began.as_millisecond(), parts.store.audited().await.unwrap().unwrap().as_millisecond());

    parts.store.suspend(&FileId::new(&world.inbox), jiff::Timestamp::now()).await.unwrap();
    assert_eq!((last().await.complaint(), last().await.total.wanted), (None, 0), "nobody watches its folder");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_audit_is_told_that_the_daemon_was_restarted() {
    let mut world = World::running("").await;
    world.wait_until_idle().await;
    world.drive.fail(Fault::once("files.list", Action::Delay { milliseconds: 20_000 }));
    world.drive.clear_requests();
    let mut command = world.command(&["audit", "--fix"]);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let asks = |record: &RequestRecord| record.operation == "files.list";
    world.wait("the audit lists a folder", async || world.drive.requests().iter().any(asks)).await;
    // It sees nothing of the moment in which nobody answers.
    let signal = |signal| kill_process(Pid::from_child(&waiting), signal).unwrap();
    signal(Signal::STOP);
    world.kill();
    world.start().await;
    signal(Signal::CONT);
    let output = tokio::task::spawn_blocking(move || waiting.wait_with_output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(15), output).await.unwrap().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("run `gdrive-webhook audit` again"), "{said}");
}
