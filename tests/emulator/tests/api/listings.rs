//! Listings as Drive makes them: behind the change log, and shifting between pages.

use std::time::Duration;

use drive_emulator::{Emulator, Upload};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Drive, drive, ids};

async fn listed(drive: &Drive, folder: &str) -> Vec<String> {
    let list = drive.ok(&format!("/drive/v3/files?q='{folder}'+in+parents")).await;
    ids(&list).into_iter().map(str::to_owned).collect()
}

/// Whether the change log and `files.get` show the item.
async fn is_known_otherwise(drive: &Drive, token: &str, id: &str) -> bool {
    let changes = drive.ok(&format!("/drive/v3/changes?pageToken={token}")).await;
    let is_logged = changes["changes"].as_array().unwrap().iter().any(|change| change["fileId"] == id);
    is_logged && drive.ok(&format!("/drive/v3/files/{id}")).await["id"] == id
}

fn video(emulator: &Emulator, folder: &str, name: &str) -> String {
    emulator.upload(Upload::new(folder, name, "x"))
}

#[tokio::test]
async fn a_new_item_is_listed_later_than_it_is_logged() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let token = drive.start_token().await;
    emulator.set_listing_lag(Duration::from_mins(1));
    let id = video(emulator, &root, "a.mp4");
    assert!(is_known_otherwise(&drive, &token, &id).await);
    assert_eq!(listed(&drive, &root).await, Vec::<String>::new());
    emulator.move_clock(61_000);
    assert_eq!(listed(&drive, &root).await, std::slice::from_ref(&id));
    emulator.revise(&id, "new");
    emulator.rename(&id, "b.mp4");
    assert_eq!(listed(&drive, &root).await, [id], "what was listed once stays listed");
}

#[tokio::test]
async fn a_lag_passes_with_real_time() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    drive.emulator.set_listing_lag(Duration::from_millis(1500));
    let id = video(&drive.emulator, &root, "a.mp4");
    assert_eq!(listed(&drive, &root).await, Vec::<String>::new());
    for _ in 0..500 {
        if listed(&drive, &root).await == [id.clone()] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was never listed");
}

#[tokio::test]
async fn what_is_moved_in_is_listed_late_and_what_is_below_at_once() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let (inbox, folder) = (emulator.folder(&root, "Inbox"), emulator.folder(&root, "A"));
    let below = video(emulator, &folder, "a.mp4");
    let token = drive.start_token().await;
    emulator.set_listing_lag(Duration::from_mins(1));
    emulator.move_to(&folder, &inbox);
    assert!(is_known_otherwise(&drive, &token, &folder).await);
    assert_eq!(listed(&drive, &inbox).await, Vec::<String>::new());
    assert_eq!(listed(&drive, &folder).await, std::slice::from_ref(&below));
    emulator.hide_from_listings(&below, Duration::from_mins(2));
    emulator.move_clock(61_000);
    assert_eq!(listed(&drive, &inbox).await, std::slice::from_ref(&folder));
    assert_eq!(listed(&drive, &folder).await, Vec::<String>::new());
    emulator.move_clock(61_000);
    assert_eq!(listed(&drive, &folder).await, [below]);
}

/// Two items a page, by name; and the token of the next page.
async fn page(drive: &Drive, folder: &str, token: &str) -> (Vec<String>, String) {
    let path = format!("/drive/v3/files?q='{folder}'+in+parents&orderBy=name&pageSize=2&pageToken={token}");
    let page = drive.ok(&path).await;
    let token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
    (ids(&page).into_iter().map(str::to_owned).collect(), token)
}

#[tokio::test]
async fn a_listing_can_miss_an_item_or_show_it_twice() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    for is_shifting in [false, true] {
        emulator.set_shifting_listings(is_shifting);
        let folder = emulator.folder(&root, "f");
        let all: Vec<String> = (0..4).map(|n| video(emulator, &folder, &n.to_string())).collect();
        let (first, token) = page(&drive, &folder, "").await;
        assert_eq!(first, all[..2]);
        emulator.delete(&all[0]);
        let missed = if is_shifting { &all[3..] } else { &all[2..] };
        assert_eq!(page(&drive, &folder, &token).await.0, missed);
        let (first, token) = page(&drive, &folder, "").await;
        assert_eq!(first, all[1..3]);
        video(emulator, &folder, "!");
        let doubled = if is_shifting { &all[2..] } else { &all[3..] };
        assert_eq!(page(&drive, &folder, &token).await.0, doubled);
    }
}

#[tokio::test]
async fn lags_are_reachable_over_http() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let settings = json!({"listingLagMilliseconds": 60_000, "shiftingListings": true});
    assert_eq!(drive.control(Method::POST, "/control/settings", &settings).await.0, 200);
    let id = video(&drive.emulator, &root, "a.mp4");
    assert_eq!(listed(&drive, &root).await, Vec::<String>::new());
    let hide = |milliseconds: u64| json!({"milliseconds": milliseconds});
    let path = format!("/control/files/{id}/hide");
    assert_eq!(drive.control(Method::POST, &path, &hide(0)).await.0, 200);
    assert_eq!(listed(&drive, &root).await, [id]);
    let (status, refused) = drive.control(Method::POST, "/control/files/none/hide", &hide(0)).await;
    assert_eq!((status, refused["error"].as_str().is_some()), (404, true));
    assert_eq!(drive.control(Method::POST, &path, &Value::Null).await.0, 400);
}
