//! Change logs: collapse, pages, removals, shared drives, refused tokens.

use std::time::Duration;

use drive_emulator::{Content, Upload};
use serde_json::Value;

use crate::support::{Drive, drive};

const ALL: &str = "supportsAllDrives=true&includeItemsFromAllDrives=true";

/// Everything since a token, page by page; and the token to go on with.
pub(crate) async fn since(drive: &Drive, token: &str, more: &str) -> (Vec<Value>, String, usize) {
    let (mut token, mut changes, mut pages) = (token.to_owned(), Vec::new(), 0);
    loop {
        let page = drive.ok(&format!("/drive/v3/changes?{ALL}&fields=*&pageToken={token}{more}")).await;
        pages += 1;
        changes.extend(page["changes"].as_array().unwrap().iter().cloned());
        match (page["nextPageToken"].as_str(), page["newStartPageToken"].as_str()) {
            (Some(next), None) => next.clone_into(&mut token),
            (None, Some(new)) => return (changes, new.to_owned(), pages),
            both => panic!("exactly one token, not {both:?}"),
        }
    }
}

fn files(changes: &[Value]) -> Vec<&str> {
    changes.iter().map(|change| change["fileId"].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn one_entry_for_each_file_the_newest_last() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let start = drive.start_token().await;
    assert!(start.bytes().all(|byte| byte.is_ascii_digit()));
    let a = emulator.upload(Upload::new(&root, "a.mp4", "1"));
    let b = emulator.upload(Upload::new(&root, "b.mp4", "2"));
    let first = emulator.head_revision_id(&a);
    emulator.touch(&a);
    let (changes, next, _) = since(&drive, &start, "").await;
    assert_eq!(files(&changes), [b.as_str(), a.as_str()]);
    let file = &changes[1]["file"];
    assert_eq!((&file["version"], file["headRevisionId"].as_str()), (&"2".into(), first.as_deref()));
    assert_eq!((&changes[1]["changeType"], &changes[1]["removed"]), (&"file".into(), &false.into()));
    let (nothing, same, _) = since(&drive, &next, "").await;
    assert_eq!((nothing.len(), &same), (0, &next));
    let revision = emulator.revise(&a, "new");
    assert_ne!(Some(&revision), first.as_ref());
    let (changes, _, _) = since(&drive, &next, "").await;
    assert_eq!(changes[0]["file"]["headRevisionId"], revision.as_str());
    assert_eq!(changes[0]["file"]["size"], "3");
    let (again, _, _) = since(&drive, &start, "").await;
    assert_eq!(files(&again), [b.as_str(), a.as_str()], "an old token still holds");
}

#[tokio::test]
async fn pages_end_with_the_new_start_token() {
    let drive = drive().await;
    let start = drive.start_token().await;
    let root = drive.emulator.root_id();
    let uploaded: Vec<String> =
        (0..25).map(|n| drive.emulator.upload(Upload::new(&root, &n.to_string(), ""))).collect();
    let (changes, next, pages) = since(&drive, &start, "&pageSize=10").await;
    assert_eq!((files(&changes), pages), (uploaded.iter().map(String::as_str).collect(), 3));
    drive.emulator.set_empty_pages(true);
    let (changes, same, pages) = since(&drive, &start, "&pageSize=10").await;
    assert_eq!((changes.len(), pages), (25, 6));
    assert_eq!(next, same);
}

#[tokio::test]
async fn bins_moves_and_removals() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let folder = emulator.folder(&root, "f");
    let file = emulator.upload(Upload::new(&folder, "a", ""));
    let start = drive.start_token().await;
    emulator.trash(&folder);
    let (changes, next, _) = since(&drive, &start, "").await;
    assert_eq!(files(&changes), [folder.as_str()], "what is below gets no entry");
    assert_eq!(changes[0]["file"]["trashed"], true);
    let below = emulator.file_json(&file).unwrap();
    assert_eq!((&below["trashed"], &below["explicitlyTrashed"]), (&true.into(), &false.into()));
    emulator.untrash(&folder);
    emulator.move_to(&file, &root);
    emulator.rename(&file, "b");
    let (changes, next, _) = since(&drive, &next, "").await;
    assert_eq!(files(&changes), [folder.as_str(), file.as_str()]);
    assert_eq!((&changes[1]["file"]["parents"][0], &changes[1]["file"]["name"]), (&root.into(), &"b".into()));
    emulator.delete(&file);
    let (changes, _, _) = since(&drive, &next, "").await;
    assert_eq!((changes[0]["removed"].as_bool(), &changes[0]["file"]), (Some(true), &Value::Null));
    assert_eq!(changes[0]["fileId"], file.as_str());
    let (changes, _, _) = since(&drive, &next, "&includeRemoved=false").await;
    assert_eq!(changes, Vec::<Value>::new());
}

#[tokio::test]
async fn a_shared_drive_has_its_own_log() {
    let drive = drive().await;
    let emulator = &drive.emulator;
    let file = emulator.upload(Upload::new(&emulator.root_id(), "a", ""));
    let user = drive.start_token().await;
    let shared = emulator.shared_drive("Team");
    let path = format!("/drive/v3/changes/startPageToken?supportsAllDrives=true&driveId={shared}");
    let team = drive.ok(&path).await["startPageToken"].as_str().unwrap().to_owned();
    emulator.move_to(&file, &shared);
    let (changes, _, _) = since(&drive, &team, &format!("&driveId={shared}")).await;
    assert_eq!(
        (files(&changes), changes[0]["driveId"].as_str()),
        (vec![file.as_str()], Some(shared.as_str()))
    );
    let (changes, _, _) = since(&drive, &user, "").await;
    assert_eq!(
        (changes[0]["changeType"].as_str(), &changes[0]["drive"]["name"]),
        (Some("drive"), &"Team".into())
    );
    assert_eq!((changes[1]["fileId"].as_str(), &changes[1]["removed"]), (Some(file.as_str()), &true.into()));
    let unknown = format!("/drive/v3/changes?{ALL}&driveId=none&pageToken=1");
    assert_eq!(drive.refused(&unknown).await, (404, "notFound".to_owned()));
    let unasked = format!("/drive/v3/changes?driveId={shared}&pageToken={team}");
    assert_eq!(drive.refused(&unasked).await, (403, "supportsTeamDrivesRequired".to_owned()));
}

#[tokio::test]
async fn tokens_that_do_not_hold_are_refused() {
    let drive = drive().await;
    let token = drive.start_token().await;
    assert_eq!(drive.refused("/drive/v3/changes").await, (400, "required".to_owned()));
    for bad in ["nonsense", "99999999999", "-1"] {
        let (code, body) = drive.get(&format!("/drive/v3/changes?pageToken={bad}")).await;
        let inner = &body["error"]["errors"][0];
        assert_eq!(
            (code, &inner["reason"], &inner["location"]),
            (400, &"invalid".into(), &"pageToken".into())
        );
    }
    drive.emulator.refuse_page_tokens_before_now();
    assert_eq!(drive.refused(&format!("/drive/v3/changes?pageToken={token}")).await.0, 400);
    let token = drive.start_token().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a", ""));
    assert_eq!(files(&since(&drive, &token, "").await.0), [id.as_str()]);
}

#[tokio::test]
async fn changes_may_be_listed_late() {
    let drive = drive().await;
    let start = drive.start_token().await;
    drive.emulator.set_change_delay(Duration::from_mins(1));
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a", ""));
    assert!(drive.emulator.file_json(&id).is_some());
    let (changes, head, _) = since(&drive, &start, "").await;
    assert_eq!(changes, Vec::<Value>::new());
    drive.emulator.move_clock(61_000);
    // The clock of the token moved as well, by less than its life.
    assert_eq!(files(&since(&drive, &head, "").await.0), [id.as_str()]);
}

#[tokio::test]
async fn sizes_and_checksums_may_appear_late_with_noise_around() {
    let drive = drive().await;
    let emulator = &drive.emulator;
    emulator.set_processing_delay(Duration::from_millis(150));
    emulator.set_noise(2);
    let id = emulator.upload(Upload::new(&emulator.root_id(), "a.mp4", Content::pattern(3, 10)));
    let fresh = emulator.file_json(&id).unwrap();
    assert!(
        fresh["size"].is_null() && fresh["md5Checksum"].is_null() && fresh["videoMediaMetadata"].is_null()
    );
    let settled = || emulator.file_json(&id).filter(|file| file["version"] == "4");
    let settled = crate::support::eventually("two noises and one processing", settled).await;
    assert_eq!(settled["size"], "10");
    assert_eq!(settled["headRevisionId"], fresh["headRevisionId"]);
}
