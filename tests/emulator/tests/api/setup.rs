//! A Drive to begin with: filled from a directory, emptied again.

use std::fs;

use drive_emulator::{Action, Fault, Seeded, Upload};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Receiver, drive, ids};

#[tokio::test]
async fn a_directory_comes_in_with_names_bytes_and_times() {
    let drive = drive().await;
    let directory = std::env::temp_dir().join(format!("drive-emulator-seed-{}", std::process::id()));
    fs::create_dir_all(directory.join("deep/er")).unwrap();
    fs::write(directory.join("film.mp4"), "abc").unwrap();
    fs::write(directory.join("deep/er/été.mkv"), "").unwrap();
    std::os::unix::fs::symlink("film.mp4", directory.join("link")).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_767_225_600_500);
    fs::File::options().write(true).open(directory.join("film.mp4")).unwrap().set_modified(time).unwrap();
    let inbox = drive.emulator.folder(&drive.emulator.root_id(), "Inbox");
    let seeded = drive.emulator.seed(&directory, &inbox).unwrap();
    assert_eq!(seeded, Seeded { folders: 2, files: 2, left_out: 1 });
    let list = drive
        .ok(&format!(
            "/drive/v3/files?q='{inbox}'+in+parents&orderBy=name&fields=files(id,name,size,modifiedTime)"
        ))
        .await;
    let film = &list["files"][1];
    assert_eq!(
        (&film["name"], &film["size"], &film["modifiedTime"]),
        (&"film.mp4".into(), &"3".into(), &"2026-01-01T00:00:00.500Z".into())
    );
    let deep = list["files"][0]["id"].as_str().unwrap();
    let inner = drive.ok(&format!("/drive/v3/files?q='{deep}'+in+parents")).await;
    let deepest = drive.ok(&format!("/drive/v3/files?q='{}'+in+parents", ids(&inner)[0])).await;
    assert_eq!(deepest["files"][0]["name"], "été.mkv");
    let order = json!({"directory": directory, "into": inbox});
    let (status, again) = drive.control(Method::POST, "/control/seed", &order).await;
    assert_eq!((status, again), (200, json!({"folders": 2, "files": 2, "leftOut": 1})));
    fs::remove_dir_all(&directory).unwrap();
    let (status, gone) = drive.control(Method::POST, "/control/seed", &order).await;
    assert!(status == 400 && gone["error"].as_str().unwrap().contains("drive-emulator-seed-"), "{gone}");
    let nowhere = json!({"directory": "/", "into": "none"});
    assert_eq!(drive.control(Method::POST, "/control/seed", &nowhere).await.0, 404);
}

#[tokio::test]
async fn a_reset_leaves_nothing_behind() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let emulator = &drive.emulator;
    let (root, credentials) = (emulator.root_id(), emulator.authorized_user_json());
    emulator.upload(Upload::new(&root, "a.mp4", "x"));
    emulator.shared_drive("Team");
    drive.watch("one", &receiver).await;
    receiver.wait(1).await;
    emulator.fail(Fault::always("files.list", Action::html(502)));
    emulator.set_empty_pages(true);
    emulator.move_clock(3_600_000);
    let path = "/upload/drive/v3/files?uploadType=resumable";
    let token = emulator.access_token();
    let session = drive.http.post(drive.url(path)).bearer_auth(&token).send().await.unwrap();
    let session = session.headers()["location"].to_str().unwrap().to_owned();
    let (status, told) = drive.control(Method::POST, "/control/reset", &Value::Null).await;
    assert_eq!((status, &told["root"]), (200, &json!(emulator.root_id())));
    assert!(
        emulator.requests().is_empty()
            && emulator.notifications().is_empty()
            && emulator.channels().is_empty()
    );
    assert_eq!(drive.http.put(&session).body("x").send().await.unwrap().status(), 404);
    assert_eq!(drive.refused("/drive/v3/files").await, (401, "authError".to_owned()));
    let get = async |path: &str| {
        let request = drive.http.get(drive.url(path)).bearer_auth(emulator.access_token());
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(get("/drive/v3/files?fields=files").await, json!({"files": []}));
    assert_eq!(get("/drive/v3/drives?fields=drives").await, json!({"drives": []}));
    assert!(emulator.file_json(&root).is_none(), "My Drive is another one");
    assert!((emulator.now() - jiff::Timestamp::now().as_millisecond()).abs() < 60_000);
    let start = get("/drive/v3/changes/startPageToken").await["startPageToken"].as_str().unwrap().to_owned();
    let page = get(&format!("/drive/v3/changes?pageToken={start}")).await;
    assert_eq!(page["newStartPageToken"], start.as_str(), "no empty pages any more");
    assert_eq!(emulator.authorized_user_json(), credentials);
}
