//! The handle over HTTP does what the handle does, and says what it does not understand.

use drive_emulator::Content;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Receiver, answer, drive};

#[tokio::test]
async fn files_are_made_changed_and_removed() {
    let drive = drive().await;
    let emulator = &drive.emulator;
    let (status, folder) = drive.control(Method::POST, "/control/folders", &json!({"name": "Inbox"})).await;
    assert_eq!(status, 200);
    let folder = folder["id"].as_str().unwrap();
    let path = format!("/control/files?name=a%2Fb.mp4&parent={folder}&modifiedTime=2026-01-01T00:00:00Z");
    let raw = drive.http.post(drive.url(&path)).body("abc").send().await.unwrap();
    let (status, made) = answer(raw).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!((status, made["sha256Checksum"].as_str()), (200, emulator.content_sha256(id).as_deref()));
    assert_eq!(made["headRevisionId"].as_str(), emulator.head_revision_id(id).as_deref());
    let file = emulator.file_json(id).unwrap();
    assert_eq!(
        (&file["name"], &file["size"], &file["parents"][0]),
        (&"a/b.mp4".into(), &"3".into(), &folder.into())
    );
    assert_eq!(file["modifiedTime"], "2026-01-01T00:00:00.000Z");
    let pattern = json!({"pattern": {"seed": 1, "size": 1000}});
    let (_, revised) = drive.control(Method::POST, &format!("/control/files/{id}/content"), &pattern).await;
    assert_ne!(revised["headRevisionId"], made["headRevisionId"]);
    assert_eq!(emulator.content(id).unwrap().slice(0, 1000), Content::pattern(1, 1000).slice(0, 1000));
    let changed = json!({"name": "c.mp4", "parent": emulator.root_id(), "trashed": true});
    let (_, patched) = drive.control(Method::PATCH, &format!("/control/files/{id}"), &changed).await;
    assert_eq!(patched, emulator.file_json(id).unwrap());
    assert_eq!((&patched["name"], &patched["trashed"]), (&"c.mp4".into(), &true.into()));
    let link = json!({"name": "link", "target": id});
    let (_, link) = drive.control(Method::POST, "/control/shortcuts", &link).await;
    let (_, team) = drive.control(Method::POST, "/control/drives", &json!({"name": "Team"})).await;
    let (_, all) = drive.control(Method::GET, "/control/files", &Value::Null).await;
    let ids: Vec<&Value> = all["files"].as_array().unwrap().iter().map(|file| &file["id"]).collect();
    assert_eq!(ids, [&emulator.root_id().into(), &folder.into(), &id.into(), &link["id"], &team["id"]]);
    assert_eq!(drive.control(Method::DELETE, &format!("/control/files/{id}"), &Value::Null).await.0, 200);
    assert!(emulator.file_json(id).is_none());
}

#[tokio::test]
async fn what_is_not_understood_is_said() {
    let drive = drive().await;
    for (method, path, body, code, said) in [
        (Method::GET, "/control/files/none", Value::Null, 404, "no file \"none\""),
        (Method::DELETE, "/control/files/none", Value::Null, 404, "no file \"none\""),
        (Method::POST, "/control/folders", json!({"nam": "x"}), 400, "unknown field `nam`"),
        (Method::POST, "/control/folders", json!({"name": "x", "parent": "none"}), 404, "no file \"none\""),
        (Method::POST, "/control/files", json!({"text": "x"}), 400, "no name="),
        (Method::POST, "/control/files?name=x&modifiedTime=never", json!({"text": "x"}), 400, "RFC 3339"),
        (Method::POST, "/control/settings", json!({"speed": 1}), 400, "unknown field `speed`"),
        (
            Method::POST,
            "/control/faults",
            json!({"action": {"explode": {}}}),
            400,
            "unknown variant `explode`",
        ),
        (Method::GET, "/control/credentials/root", Value::Null, 404, "service-account"),
        (Method::POST, "/control/nonsense", Value::Null, 404, "/control/nonsense"),
    ] {
        let (status, answer) = drive.control(method, path, &body).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(status == code && error.contains(said), "{path}: {status} {answer}");
    }
}

#[tokio::test]
async fn faults_settings_and_records_are_reachable() {
    let (drive, receiver) = (drive().await, Receiver::start().await);
    let post = async |path: &str, body: Value| {
        let (status, answer) = drive.control(Method::POST, path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let action = json!({"status": {"code": 503, "reason": "backendError", "retryAfter": "3"}});
    post(
        "/control/faults",
        json!({"matching": {"operation": "files.list", "skip": 1}, "times": 1, "action": action}),
    )
    .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(drive.get("/drive/v3/files").await.0);
    }
    assert_eq!(statuses, [200, 503, 200]);
    for action in [
        json!({"html": {"code": 502}}),
        json!({"cutAfter": {"bytes": 1}}),
        json!({"stallAfter": {"bytes": 1}}),
        json!({"resetAfter": {"bytes": 1}}),
        json!({"delay": {"milliseconds": 1}}),
        json!({"answerLate": {"milliseconds": 1}}),
        json!({"slow": {"bytesPerSecond": 1}}),
        json!({"wrongByte": {"offset": 1}}),
        json!({"wrongLength": {"by": -1}}),
        json!("ignoreRange"),
        json!({"revise": {"text": "new"}}),
    ] {
        post("/control/faults", json!({"action": action})).await;
    }
    drive.control(Method::DELETE, "/control/faults", &Value::Null).await;
    assert_eq!(drive.get("/drive/v3/files").await.0, 200);
    post("/control/settings", json!({"channelLifetimeCapSeconds": 60, "rate": 1000, "noise": true})).await;
    let channel = drive.watch("one", &receiver).await;
    let expires: i64 = channel["expiration"].as_str().unwrap().parse().unwrap();
    assert!(expires <= drive.emulator.now() + 60_000);
    post(
        "/control/settings",
        json!({"rate": null, "latencyMilliseconds": 1, "noise": 2, "syncBeforeAnswer": true, "emptyPages": false}),
    )
    .await;
    receiver.wait(1).await;
    post("/control/notifications", json!({"disturbance": "drop"})).await;
    post("/control/notifications", json!({"disturbance": {"delay": {"milliseconds": 1}}, "times": 1})).await;
    post("/control/push", Value::Null).await;
    post("/control/push", Value::Null).await;
    receiver.wait(2).await;
    let (_, told) = drive.control(Method::GET, "/control/notifications", &Value::Null).await;
    assert_eq!(told["notifications"].as_array().unwrap().len(), 2);
    let (_, channels) = drive.control(Method::GET, "/control/channels", &Value::Null).await;
    assert_eq!(
        (&channels["channels"][0]["id"], &channels["channels"][0]["resourceId"]),
        (&"one".into(), &channel["resourceId"])
    );
    let (_, requests) =
        drive.control(Method::GET, "/control/requests?operation=changes.watch", &Value::Null).await;
    assert_eq!(requests["requests"].as_array().unwrap().len(), 1);
    post("/control/channels/shorten", json!({"seconds": 0})).await;
    post("/control/push", Value::Null).await;
    assert!(drive.emulator.channels()[0].expires <= drive.emulator.now());
}

#[tokio::test]
async fn tokens_and_the_clock_are_reachable() {
    let drive = drive().await;
    let token = drive.start_token().await;
    drive.control(Method::POST, "/control/page-tokens/refuse", &Value::Null).await;
    assert_eq!(drive.get(&format!("/drive/v3/changes?pageToken={token}")).await.0, 400);
    for (kind, expected) in [
        ("service-account", drive.emulator.service_account_json()),
        ("client", drive.emulator.installed_client_json()),
        ("authorized-user", drive.emulator.authorized_user_json()),
    ] {
        let file = drive.http.get(drive.url(&format!("/control/credentials/{kind}"))).send().await.unwrap();
        assert_eq!(file.text().await.unwrap(), expected);
    }
    let before = drive.emulator.authorized_user_json();
    drive.control(Method::POST, "/control/refresh-tokens/revoke", &Value::Null).await;
    assert_ne!(drive.emulator.authorized_user_json(), before);
    let now = drive.emulator.now();
    let (_, moved) =
        drive.control(Method::POST, "/control/clock", &json!({"moveMilliseconds": 60_000})).await;
    assert!((60_000..70_000).contains(&(moved["now"].as_i64().unwrap() - now)));
    drive.control(Method::POST, "/control/access-tokens/expire", &Value::Null).await;
    assert_eq!(drive.get("/drive/v3/files").await.0, 401);
    assert_eq!(drive.emulator.count("files.list"), 1, "control requests are not recorded");
}
