//! The tree itself: what cannot be done to it, trash, deletion, and contents that come back.

use drive_emulator::{Content, Emulator, Upload};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Drive, drive};

/// What the control endpoint says to a patch.
async fn patched(drive: &Drive, id: &str, patch: Value) -> (u16, String) {
    let (status, answer) = drive.control(Method::PATCH, &format!("/control/files/{id}"), &patch).await;
    (status, answer["error"].as_str().unwrap_or_default().to_owned())
}

fn file(emulator: &Emulator, id: &str) -> Value {
    emulator.file_json(id).unwrap()
}

#[tokio::test]
async fn a_folder_cannot_be_moved_below_itself() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let outer = emulator.folder(&root, "outer");
    let inner = emulator.folder(&outer, "inner");
    let innermost = emulator.folder(&inner, "innermost");
    for parent in [&outer, &inner, &innermost] {
        let (status, said) = patched(&drive, &outer, json!({"name": "new", "parent": parent})).await;
        assert!(status == 400 && said.contains("below itself"), "{status} {said}");
    }
    assert_eq!(
        (&file(emulator, &outer)["name"], &file(emulator, &outer)["parents"][0]),
        (&"outer".into(), &root.into())
    );
    emulator.trash(&outer);
    assert_eq!(file(emulator, &innermost)["trashed"], true, "the way up still ends");
}

#[tokio::test]
async fn the_root_of_a_drive_stays() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let (folder, team) = (emulator.folder(&root, "f"), emulator.shared_drive("Team"));
    for id in [root.as_str(), "root", &team] {
        let (status, _) = drive.control(Method::DELETE, &format!("/control/files/{id}"), &Value::Null).await;
        assert_eq!(status, 400, "{id}");
        for patch in [json!({"name": "x", "trashed": true}), json!({"name": "x", "parent": folder})] {
            let (status, said) = patched(&drive, id, patch).await;
            assert!(status == 400 && said.contains("root"), "{id}: {status} {said}");
        }
    }
    assert_eq!(
        (&file(emulator, &root)["name"], &file(emulator, &team)["name"]),
        (&"My Drive".into(), &"Team".into())
    );
    assert_eq!(file(emulator, &folder)["trashed"], false);
}

#[tokio::test]
async fn a_refused_patch_and_an_unknown_key_change_nothing() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let id = drive.emulator.upload(Upload::new(&root, "a.mp4", "x"));
    let before = file(&drive.emulator, &id);
    assert_eq!(
        patched(&drive, &id, json!({"name": "b.mp4", "trashed": true, "parent": "none"})).await.0,
        404
    );
    assert_eq!(patched(&drive, &id, json!({"name": "b.mp4", "trashed": true, "parent": id})).await.0, 400);
    assert_eq!(file(&drive.emulator, &id), before);
    let text = json!({"text": "x"});
    let (status, answer) = drive.control(Method::POST, "/control/files?name=x&mime=video/mp4", &text).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("`mime`"), "{status} {answer}");
}

#[tokio::test]
async fn trash_reaches_down_and_says_who_was_meant() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let folder = emulator.folder(&root, "f");
    let (kept, trashed) = (
        emulator.upload(Upload::new(&folder, "a.mp4", "a")),
        emulator.upload(Upload::new(&folder, "b.mp4", "b")),
    );
    let flags = |id: &str| {
        let file = file(emulator, id);
        (file["trashed"].as_bool().unwrap(), file["explicitlyTrashed"].as_bool().unwrap())
    };
    emulator.trash(&trashed);
    emulator.trash(&folder);
    assert_eq!([flags(&folder), flags(&kept), flags(&trashed)], [(true, true), (true, false), (true, true)]);
    emulator.untrash(&folder);
    assert_eq!(
        [flags(&folder), flags(&kept), flags(&trashed)],
        [(false, false), (false, false), (true, true)]
    );
}

#[tokio::test]
async fn a_deleted_folder_takes_everything_below_with_it() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let folder = emulator.folder(&root, "f");
    let deep = emulator.folder(&folder, "g");
    let film = emulator.upload(Upload::new(&deep, "a.mp4", "a"));
    let token = drive.start_token().await;
    emulator.delete(&folder);
    for id in [&folder, &deep, &film] {
        assert_eq!(drive.get(&format!("/drive/v3/files/{id}")).await.0, 404);
    }
    let changes = drive.ok(&format!("/drive/v3/changes?pageToken={token}")).await;
    let removed: Vec<&Value> =
        changes["changes"].as_array().unwrap().iter().filter(|change| change["removed"] == true).collect();
    assert_eq!(removed.len(), 3, "{changes}");
}

#[tokio::test]
async fn an_old_revision_comes_back_under_a_new_id() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let id = emulator.upload(Upload::new(&root, "a.mp4", Content::pattern(1, 1000)));
    let first = file(emulator, &id);
    let token = drive.start_token().await;
    emulator.revise(&id, Content::pattern(2, 2000));
    let restored = emulator.restore(&id, first["headRevisionId"].as_str().unwrap());
    let last = file(emulator, &id);
    assert_eq!(last["headRevisionId"], restored.as_str());
    assert_eq!((&last["sha256Checksum"], &last["size"]), (&first["sha256Checksum"], &first["size"]));
    let revisions = emulator.revisions(&id);
    assert_eq!((revisions.len(), revisions.last()), (3, Some(&restored)));
    assert_eq!(first["headRevisionId"], revisions[0].as_str());
    let bytes = drive.media(&id, None).await.bytes().await.unwrap();
    assert_eq!(bytes, Content::pattern(1, 1000).slice(0, 1000));
    let changes =
        drive.ok(&format!("/drive/v3/changes?pageToken={token}&fields=changes/file/headRevisionId")).await;
    assert_eq!(changes["changes"], json!([{"file": {"headRevisionId": restored}}]));
    let path = format!("/control/files/{id}/restore");
    let (status, told) = drive.control(Method::POST, &path, &json!({"revisionId": revisions[1]})).await;
    assert_eq!((status, &told["headRevisionId"]), (200, &emulator.head_revision_id(&id).unwrap().into()));
    assert_eq!(file(emulator, &id)["size"], "2000");
    assert_eq!(drive.control(Method::POST, &path, &json!({"revisionId": "none"})).await.0, 404);
}
