//! Moves between My Drive and shared drives, as two change logs tell them.

use std::time::Duration;

use drive_emulator::Upload;
use reqwest::Method;
use serde_json::{Value, json};

use crate::changes::since;
use crate::support::{Drive, Receiver, drive};

/// The start token of a shared drive's own log.
pub(crate) async fn start_of(drive: &Drive, shared: &str) -> String {
    let path = format!("/drive/v3/changes/startPageToken?supportsAllDrives=true&driveId={shared}");
    drive.ok(&path).await["startPageToken"].as_str().unwrap().to_owned()
}

/// What a log says about items: ids and whether they are removed.
fn told(changes: &[Value]) -> Vec<(&str, bool)> {
    let of_files = changes.iter().filter(|change| change["changeType"] == "file");
    of_files
        .map(|change| (change["fileId"].as_str().unwrap(), change["removed"].as_bool().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_moved_folder_is_told_in_both_logs_and_what_is_below_in_none() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let team = emulator.shared_drive("Team");
    let folder = emulator.folder(&root, "f");
    let film = emulator.upload(Upload::new(&folder, "a.mp4", "x"));
    for descendants in [false, true] {
        emulator.set_descendant_entries(descendants);
        let (user, shared) = (drive.start_token().await, start_of(&drive, &team).await);
        emulator.move_to(&folder, &team);
        let expected = |removed| {
            let both = [(folder.as_str(), removed), (film.as_str(), removed)];
            if descendants { both.to_vec() } else { both[..1].to_vec() }
        };
        assert_eq!(told(&since(&drive, &user, "").await.0), expected(true));
        let (changes, _, _) = since(&drive, &shared, &format!("&driveId={team}")).await;
        assert_eq!(told(&changes), expected(false));
        assert_eq!(emulator.file_json(&film).unwrap()["driveId"], team.as_str());
        emulator.move_to(&folder, &root);
        let (changes, _, _) = since(&drive, &shared, &format!("&driveId={team}")).await;
        assert_eq!(told(&changes), expected(true));
        assert!(emulator.file_json(&film).unwrap()["driveId"].is_null());
    }
}

#[tokio::test]
async fn the_log_that_is_left_can_say_so_last() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let team = emulator.shared_drive("Team");
    let film = emulator.upload(Upload::new(&root, "a.mp4", "x"));
    let (user, shared) = (drive.start_token().await, start_of(&drive, &team).await);
    drive.watch("user-log", &receiver).await;
    receiver.wait(1).await;
    emulator.set_removal_lag(Duration::from_mins(1));
    emulator.move_to(&film, &team);
    let (changes, _, _) = since(&drive, &shared, &format!("&driveId={team}")).await;
    assert_eq!(told(&changes), [(film.as_str(), false)]);
    let (changes, user, _) = since(&drive, &user, "").await;
    assert_eq!(told(&changes), [], "the user log does not know it yet");
    assert_eq!(receiver.received().len(), 1);
    emulator.move_clock(61_000);
    assert_eq!(told(&since(&drive, &user, "").await.0), [(film.as_str(), true)]);
    receiver.wait(2).await;
}

#[tokio::test]
async fn a_late_removal_comes_with_real_time() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let team = emulator.shared_drive("Team");
    let receiver = Receiver::start().await;
    let film = emulator.upload(Upload::new(&team, "a.mp4", "x"));
    let shared = start_of(&drive, &team).await;
    let body = json!({"id": "team-log", "type": "web_hook", "address": receiver.address});
    let path = format!("/drive/v3/changes/watch?pageToken={shared}&supportsAllDrives=true&driveId={team}");
    assert_eq!(drive.post(&path, &body).await.0, 200);
    receiver.wait(1).await;
    emulator.set_removal_lag(Duration::from_millis(1500));
    emulator.move_to(&film, &root);
    let more = format!("&driveId={team}");
    assert_eq!(told(&since(&drive, &shared, &more).await.0), []);
    receiver.wait(2).await;
    assert_eq!(told(&since(&drive, &shared, &more).await.0), [(film.as_str(), true)]);
}

#[tokio::test]
async fn an_entry_from_before_the_move_does_not_show_what_has_left() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let team = emulator.shared_drive("Team");
    let user = drive.start_token().await;
    let folder = emulator.folder(&root, "f");
    let film = emulator.upload(Upload::new(&folder, "a.mp4", "x"));
    emulator.move_to(&folder, &team);
    assert_eq!(told(&since(&drive, &user, "").await.0), [(folder.as_str(), true)], "{film}");
}

#[tokio::test]
async fn a_removal_can_carry_the_item_that_only_moved() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let team = emulator.shared_drive("Team");
    let (moved, deleted) = (emulator.folder(&root, "moved"), emulator.folder(&root, "deleted"));
    let user = drive.start_token().await;
    emulator.move_to(&moved, &team);
    emulator.delete(&deleted);
    let (changes, _, _) = since(&drive, &user, "&includeCorpusRemovals=true").await;
    assert_eq!(told(&changes), [(moved.as_str(), true), (deleted.as_str(), true)]);
    assert_eq!(changes[0]["file"]["driveId"], team.as_str());
    assert!(changes[1]["file"].is_null());
    let (changes, _, _) = since(&drive, &user, "").await;
    assert!(changes[0]["file"].is_null());
}

#[tokio::test]
async fn how_moves_are_told_is_settable_over_http() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let team = emulator.shared_drive("Team");
    let folder = emulator.folder(&root, "f");
    let film = emulator.upload(Upload::new(&folder, "a.mp4", "x"));
    let user = drive.start_token().await;
    let settings = json!({"descendantEntries": true, "removalLagMilliseconds": 60_000});
    assert_eq!(drive.control(Method::POST, "/control/settings", &settings).await.0, 200);
    emulator.move_to(&folder, &team);
    assert_eq!(told(&since(&drive, &user, "").await.0), []);
    let clock = json!({"moveMilliseconds": 61_000});
    assert_eq!(drive.control(Method::POST, "/control/clock", &clock).await.0, 200);
    assert_eq!(told(&since(&drive, &user, "").await.0), [(folder.as_str(), true), (film.as_str(), true)]);
}
