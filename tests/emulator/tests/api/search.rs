//! `files.list`: which parameters go together, whose page a token is, in which order files come.

use drive_emulator::{Content, Upload};
use reqwest::Method;
use serde_json::Value;

use crate::support::{Drive, answer, drive, ids};

async fn list(drive: &Drive, query: &[(&str, &str)]) -> (u16, Value) {
    answer(drive.request(Method::GET, "/drive/v3/files").query(query).send().await.unwrap()).await
}

#[tokio::test]
async fn shared_drives_are_asked_for_in_the_one_way_that_drive_admits() {
    let drive = drive().await;
    let shared = drive.emulator.shared_drive("Team");
    let film = drive.emulator.upload(Upload::new(&shared, "film.mp4", "x"));
    let supported = ("supportsAllDrives", "true");
    let included = ("includeItemsFromAllDrives", "true");
    let (corpora, id) = (("corpora", "drive"), ("driveId", shared.as_str()));
    for (query, reason) in [
        (vec![supported, included, id], "teamDriveIdRequiresTeamDriveCorpora"),
        (vec![supported, included, corpora], "teamDriveIdRequiresTeamDriveCorpora"),
        (vec![supported, included, ("corpora", "allDrives"), id], "teamDriveIdRequiresTeamDriveCorpora"),
        (vec![supported, corpora, id], "includeTeamDriveItemsRequired"),
        (vec![supported, ("corpora", "allDrives")], "includeTeamDriveItemsRequired"),
        (vec![included, corpora, id], "supportsTeamDrivesRequired"),
    ] {
        let (status, body) = list(&drive, &query).await;
        assert_eq!((status, body["error"]["errors"][0]["reason"].as_str()), (403, Some(reason)), "{query:?}");
    }
    for query in [vec![supported, included, corpora, id], vec![supported, included, ("corpora", "allDrives")]]
    {
        let (_, found) = list(&drive, &query).await;
        assert_eq!(ids(&found), [film.as_str()], "{query:?}");
    }
}

#[tokio::test]
async fn a_token_goes_on_with_its_own_search_only() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let files: Vec<String> = (0..3)
        .map(|n| drive.emulator.upload(Upload::new(&root, &format!("n{n}"), Content::pattern(n, 9))))
        .collect();
    let first = [("pageSize", "1"), ("q", "'root' in parents"), ("orderBy", "name")];
    let (_, page) = list(&drive, &first).await;
    let token = page["nextPageToken"].as_str().unwrap().to_owned();
    let next = |q, order| [("pageSize", "9"), ("q", q), ("orderBy", order), ("pageToken", token.as_str())];
    for (q, order) in [("trashed = false", "name"), ("'root' in parents", "name desc"), ("", "name")] {
        let (status, body) = list(&drive, &next(q, order)).await;
        assert_eq!(
            (status, &body["error"]["errors"][0]["location"]),
            (400, &"pageToken".into()),
            "{q} {order}"
        );
    }
    let own = next("'root' in parents", "name");
    let (_, page) = list(&drive, &[&own[..], &[("fields", "files(id)"), ("alt", "json")]].concat()).await;
    assert_eq!(ids(&page), files[1..].iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_sorted_or_searched_is_refused() {
    let drive = drive().await;
    for (query, code, location) in [
        ([("q", "fullText contains 'x'"), ("orderBy", "name")], 403, "orderBy"),
        ([("q", "name contains 'x' or not fullText contains 'x'"), ("orderBy", "folder")], 403, "orderBy"),
        ([("q", "sharedWithMe = false"), ("orderBy", "")], 400, "q"),
        ([("q", "visibility = 'hidden'"), ("orderBy", "")], 400, "q"),
        ([("q", "trashed = false"), ("orderBy", "name up")], 400, "orderBy"),
    ] {
        let (status, body) = list(&drive, &query).await;
        assert_eq!((status, &body["error"]["errors"][0]["location"]), (code, &location.into()), "{query:?}");
    }
}

#[tokio::test]
async fn orders_and_spaces_are_drives() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let make = |name: &str| drive.emulator.upload(Upload::new(&root, name, "x"));
    let (ten, nine) = (make("Take 10.mp4"), make("Take 9.mp4"));
    let deep = drive.emulator.folder(&root, "Zoo");
    for (order, expected) in [
        ("name asc", [&ten, &nine, &deep]),
        ("name_natural", [&nine, &ten, &deep]),
        ("folder, name desc", [&deep, &nine, &ten]),
    ] {
        let (_, found) = list(&drive, &[("orderBy", order)]).await;
        assert_eq!(ids(&found), expected, "{order}");
    }
    let (_, all) = list(&drive, &[("q", "visibility = 'limited'"), ("spaces", "drive,appDataFolder")]).await;
    assert_eq!(ids(&all).len(), 3);
    let (_, found) = list(&drive, &[("q", "fullText contains 'take'")]).await;
    assert_eq!(ids(&found), [&ten, &nine]);
    for (name, value) in
        [("spaces", "appDataFolder"), ("q", "'x' in labels"), ("q", "viewedByMeTime > '2020-01-01'")]
    {
        let (status, empty) = list(&drive, &[(name, value)]).await;
        assert_eq!((status, ids(&empty).len()), (200, 0), "{name}={value}");
    }
}

#[tokio::test]
async fn the_apps_own_folder_has_no_changes() {
    let drive = drive().await;
    let token = drive.start_token().await;
    drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a", "x"));
    for (spaces, expected) in [("drive", 1), ("appDataFolder", 0), ("appDataFolder,drive", 1)] {
        let page = drive.ok(&format!("/drive/v3/changes?pageToken={token}&spaces={spaces}")).await;
        assert_eq!(page["changes"].as_array().unwrap().len(), expected, "{spaces}");
        assert!(page["newStartPageToken"].is_string(), "{spaces}");
    }
}
