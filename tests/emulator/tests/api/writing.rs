//! Clients that write: items of every kind, moves, trash, copies, and what is refused before anything is changed.

use drive_emulator::Upload;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Drive, answer, drive, ids};

const FOLDER: &str = "application/vnd.google-apps.folder";

async fn send(drive: &Drive, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = drive.request(method, &format!("/drive/v3/{path}")).json(body);
    answer(request.send().await.unwrap()).await
}

async fn create(drive: &Drive, body: Value) -> Value {
    let (status, made) = send(drive, Method::POST, "files?fields=*&supportsAllDrives=true", &body).await;
    assert_eq!(status, 200, "{body}: {made}");
    made
}

fn reason(body: &Value) -> &str {
    body["error"]["errors"][0]["reason"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn items_of_every_kind_are_made() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let token = drive.start_token().await;
    let folder =
        create(&drive, json!({"name": "Inbox", "mimeType": FOLDER, "folderColorRgb": "#ac725e"})).await;
    assert_eq!((&folder["parents"], &folder["folderColorRgb"]), (&json!([root]), &"#ac725e".into()));
    let (_, generated) = drive.get("/drive/v3/files/generateIds?count=2").await;
    let id = generated["ids"][1].as_str().unwrap();
    let file = json!({
        "id": id,
        "name": "empty.mp4",
        "parents": [folder["id"]],
        "modifiedTime": "2026-01-02T03:04:05Z",
        "createdTime": "2026-01-01T00:00:00Z",
        "description": "a film",
        "starred": true,
        "properties": {"scene": "1"},
        "appProperties": {"seen": "no"},
    });
    let file = create(&drive, file).await;
    for (name, expected) in [
        ("id", json!(id)),
        ("mimeType", json!("application/octet-stream")),
        ("size", json!("0")),
        ("modifiedTime", json!("2026-01-02T03:04:05.000Z")),
        ("createdTime", json!("2026-01-01T00:00:00.000Z")),
        ("description", json!("a film")),
        ("starred", json!(true)),
        ("properties", json!({"scene": "1"})),
        ("appProperties", json!({"seen": "no"})),
        ("version", json!("1")),
    ] {
        assert_eq!(file[name], expected, "{name}");
    }
    let link = json!({"name": "link", "mimeType": "application/vnd.google-apps.shortcut", "shortcutDetails": {"targetId": id}});
    assert_eq!(create(&drive, link).await["shortcutDetails"]["targetMimeType"], "application/octet-stream");
    let document = create(&drive, json!({"mimeType": "application/vnd.google-apps.document"})).await;
    assert_eq!((&document["name"], &document["headRevisionId"]), (&"Untitled".into(), &Value::Null));
    let changes = drive.ok(&format!("/drive/v3/changes?pageToken={token}")).await;
    assert_eq!(changes["changes"].as_array().unwrap().len(), 4);
    for q in [
        "starred = true",
        "properties has {key='scene' and value='1'}",
        "appProperties has {key='seen' and value='no'}",
    ] {
        let found = drive.request(Method::GET, "/drive/v3/files").query(&[("q", q)]).send().await.unwrap();
        assert_eq!(ids(&answer(found).await.1), [id], "{q}");
    }
}

#[tokio::test]
async fn what_cannot_be_made_says_why() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let file = drive.emulator.upload(Upload::new(&root, "a", "x"));
    let shared = drive.emulator.shared_drive("Team");
    for (body, code, expected) in [
        (json!({"name": "x", "colour": "red"}), 400, "invalid"),
        (json!({"name": 5}), 400, "invalid"),
        (json!({"name": "x", "parents": ["none"]}), 404, "notFound"),
        (json!({"name": "x", "parents": [file]}), 403, "parentNotAFolder"),
        (json!({"name": "x", "parents": [shared]}), 404, "notFound"),
        (json!({"name": "x", "parents": [root, "y"]}), 403, "cannotAddParent"),
        (json!({"name": "x", "id": "mine"}), 400, "badRequest"),
        (json!({"name": "x", "id": file}), 409, "fileIdInUse"),
        (json!({"name": "x", "md5Checksum": "0"}), 403, "fieldNotWritable"),
        (json!({"name": "x", "modifiedTime": "soon"}), 400, "invalid"),
        (json!({"mimeType": "application/vnd.google-apps.shortcut"}), 400, "required"),
        (json!({"name": "x", "contentRestrictions": [{"readOnly": true}]}), 501, "notImplemented"),
    ] {
        let (status, answer) = send(&drive, Method::POST, "files", &body).await;
        assert_eq!((status, reason(&answer)), (code, expected), "{body}: {answer}");
    }
    assert_eq!(ids(&drive.ok("/drive/v3/files").await), [&file], "nothing was made");
}

#[tokio::test]
async fn a_file_is_renamed_moved_and_trashed_in_one_request() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let (from, to) = (drive.emulator.folder(&root, "from"), drive.emulator.folder(&root, "to"));
    let file = drive.emulator.upload(Upload::new(&from, "a.mp4", "x"));
    let path = format!("files/{file}?addParents={to}&removeParents={from}&fields=name,parents,trashed");
    let (status, after) =
        send(&drive, Method::PATCH, &path, &json!({"name": "b.mp4", "trashed": true})).await;
    assert_eq!((status, after), (200, json!({"name": "b.mp4", "parents": [to], "trashed": true})));
    let written = json!({"trashed": false, "properties": {"a": "1", "b": "2"}, "description": "x"});
    send(&drive, Method::PATCH, &format!("files/{file}"), &written).await;
    let written = json!({"properties": {"a": null}, "description": ""});
    let (_, after) = send(&drive, Method::PATCH, &format!("files/{file}?fields=*"), &written).await;
    assert_eq!((&after["properties"], &after["description"]), (&json!({"b": "2"}), &Value::Null));
    assert_eq!((&after["trashed"], &after["parents"]), (&false.into(), &json!([to])));
}

#[tokio::test]
async fn a_refused_update_changes_nothing() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let outer = drive.emulator.folder(&root, "outer");
    let inner = drive.emulator.folder(&outer, "inner");
    let file = drive.emulator.upload(Upload::new(&outer, "a", "x"));
    let before = (drive.emulator.file_json(&file), drive.emulator.file_json(&outer));
    for (id, query, body, code, expected) in [
        (&file, "addParents=none&removeParents=OUTER", json!({}), 404, "notFound"),
        (&file, "addParents=SELF&removeParents=OUTER", json!({}), 403, "parentNotAFolder"),
        (&file, "addParents=root", json!({}), 403, "cannotAddParent"),
        (&file, "removeParents=OUTER", json!({}), 403, "cannotRemoveParent"),
        (&file, "addParents=root&removeParents=OUTER", json!({"size": "5"}), 403, "fieldNotWritable"),
        (&file, "addParents=root&removeParents=OUTER", json!({"parents": ["root"]}), 403, "fieldNotWritable"),
        (&file, "addParents=root&removeParents=OUTER", json!({"modifiedTime": "soon"}), 400, "invalid"),
        (&outer, "addParents=INNER&removeParents=root", json!({}), 400, "badRequest"),
        (&outer, "addParents=OUTER&removeParents=root", json!({}), 400, "badRequest"),
        (&root, "", json!({}), 403, "insufficientFilePermissions"),
    ] {
        let query = query.replace("OUTER", &outer).replace("INNER", &inner).replace("SELF", &file);
        let mut body = body;
        body["name"] = json!("renamed");
        body["trashed"] = json!(true);
        let (status, answer) = send(&drive, Method::PATCH, &format!("files/{id}?{query}"), &body).await;
        assert_eq!((status, reason(&answer)), (code, expected), "{query} {body}: {answer}");
    }
    assert_eq!((drive.emulator.file_json(&file), drive.emulator.file_json(&outer)), before);
}

#[tokio::test]
async fn deleting_takes_what_is_below_and_spares_the_root() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let folder = drive.emulator.folder(&root, "folder");
    let file = drive.emulator.upload(Upload::new(&folder, "a", "x"));
    let refused = send(&drive, Method::DELETE, "files/root", &json!({})).await;
    assert_eq!((refused.0, reason(&refused.1)), (403, "insufficientFilePermissions"));
    let token = drive.start_token().await;
    let response = drive.request(Method::DELETE, &format!("/drive/v3/files/{folder}")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap()), (204, String::new()));
    assert_eq!(drive.get(&format!("/drive/v3/files/{file}")).await.0, 404);
    let changes = drive.ok(&format!("/drive/v3/changes?pageToken={token}")).await;
    let removed: Vec<&Value> =
        changes["changes"].as_array().unwrap().iter().filter(|change| change["removed"] == true).collect();
    assert_eq!(removed.len(), 2);
    assert_eq!(drive.get("/drive/v3/files/root").await.0, 200);
}

#[tokio::test]
async fn the_trash_is_emptied() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let kept = drive.emulator.upload(Upload::new(&root, "kept", "x"));
    let folder = drive.emulator.folder(&root, "folder");
    let below = drive.emulator.upload(Upload::new(&folder, "below", "x"));
    let shared = drive.emulator.shared_drive("Team");
    let elsewhere = drive.emulator.upload(Upload::new(&shared, "elsewhere", "x"));
    for id in [&folder, &elsewhere] {
        let (_, after) = send(
            &drive,
            Method::PATCH,
            &format!("files/{id}?supportsAllDrives=true&fields=explicitlyTrashed"),
            &json!({"trashed": true}),
        )
        .await;
        assert_eq!(after, json!({"explicitlyTrashed": true}));
    }
    assert_eq!(
        drive.ok(&format!("/drive/v3/files/{below}?fields=trashed,explicitlyTrashed")).await,
        json!({"trashed": true, "explicitlyTrashed": false})
    );
    let empty =
        async |query: &str| send(&drive, Method::DELETE, &format!("files/trash{query}"), &json!({})).await.0;
    assert_eq!(empty("?driveId=none").await, 404);
    assert_eq!(empty("").await, 204);
    let there = |id: &str| drive.emulator.file_json(id).is_some();
    assert_eq!([&kept, &folder, &below, &elsewhere].map(|id| there(id)), [true, false, false, true]);
    assert_eq!(empty(&format!("?driveId={shared}")).await, 204);
    assert!(!there(&elsewhere));
}

#[tokio::test]
async fn a_copy_has_the_bytes_and_a_revision_of_its_own() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let folder = drive.emulator.folder(&root, "folder");
    let file = drive.emulator.upload(Upload::new(&folder, "a.mp4", "bytes"));
    let (_, copy) = send(&drive, Method::POST, &format!("files/{file}/copy?fields=*"), &json!({})).await;
    let original = drive.emulator.file_json(&file).unwrap();
    for name in ["md5Checksum", "mimeType", "parents", "modifiedTime"] {
        assert_eq!(copy[name], original[name], "{name}");
    }
    assert_ne!(copy["headRevisionId"], original["headRevisionId"]);
    assert_eq!(copy["name"], "Copy of a.mp4");
    let elsewhere = json!({"name": "b.mp4", "parents": ["root"]});
    let (_, copy) =
        send(&drive, Method::POST, &format!("files/{file}/copy?fields=name,parents"), &elsewhere).await;
    assert_eq!(copy, json!({"name": "b.mp4", "parents": [root]}));
    let (status, refused) = send(&drive, Method::POST, &format!("files/{folder}/copy"), &json!({})).await;
    assert_eq!((status, reason(&refused)), (403, "cannotCopyFile"));
}
