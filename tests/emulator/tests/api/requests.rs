//! What a request may say: names, types and choices of parameters, methods that are missing, scopes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{answer, drive};

#[tokio::test]
async fn parameters_are_read_by_the_documents_words() {
    let drive = drive().await;
    for (path, reason, said) in [
        (
            "files?supportsAllDrives=on",
            "invalid",
            "Invalid value at 'supports_all_drives' (TYPE_BOOL), \"on\"",
        ),
        ("files?pageSize=NOPE", "invalid", "Invalid value at 'page_size' (TYPE_INT32), \"NOPE\""),
        ("files?pageSize=0", "invalidParameter", "[1, 1000]"),
        ("files?colour=red", "invalid", "Unknown name \"colour\": Cannot bind query parameter"),
        ("files?corpus=drive", "invalidParameter", "Allowed values: [domain, user]"),
        ("files?%24.xgafv=3", "invalidParameter", "Allowed values: [1, 2]"),
        ("files?corpora=everything", "invalid", "Invalid Value"),
        ("files?spaces=photos", "invalid", "Invalid Value"),
        ("changes", "required", "Required parameter: pageToken"),
        ("changes?pageToken=1&includeRemoved=maybe", "invalid", "TYPE_BOOL"),
        ("about?fields=user&q=x", "invalid", "Unknown name \"q\""),
    ] {
        let (status, body) = drive.get(&format!("/drive/v3/{path}")).await;
        let error = &body["error"];
        assert_eq!((status, error["errors"][0]["reason"].as_str()), (400, Some(reason)), "{path}: {body}");
        assert!(error["message"].as_str().unwrap().contains(said), "{path}: {body}");
    }
    let old =
        "supportsTeamDrives=Yes&includeTeamDriveItems=T&corpus=user&pageSize=5000&prettyPrint=0&alt=JSON";
    drive.ok(&format!("/drive/v3/files?{old}")).await;
}

#[tokio::test]
async fn a_value_of_another_type_names_its_field() {
    let drive = drive().await;
    let (_, body) = drive.get("/drive/v3/files?pageSize=many").await;
    assert_eq!(body["error"]["status"], "INVALID_ARGUMENT");
    assert!(body["error"]["errors"][0]["domain"].is_null());
    assert_eq!(body["error"]["details"][0]["fieldViolations"][0]["field"], "page_size");
    let (_, body) = drive.get("/drive/v3/files?colour=red").await;
    assert_eq!(body["error"]["status"], "INVALID_ARGUMENT");
    let violation = &body["error"]["details"][0]["fieldViolations"][0];
    assert_eq!(violation["description"], body["error"]["message"]);
}

#[tokio::test]
async fn what_google_has_and_the_emulator_lacks_says_so() {
    let drive = drive().await;
    for (method, path, name) in [
        (Method::GET, "files/x/comments", "comments.list"),
        (Method::GET, "files/x/export?mimeType=text/plain", "files.export"),
        (Method::POST, "files/x/approvals/y:approve", "approvals.approve"),
        (Method::GET, "apps/x", "apps.get"),
        (Method::PATCH, "teamdrives/x", "teamdrives.update"),
    ] {
        let request = drive.request(method, &format!("/drive/v3/{path}"));
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!(
            (status, &body["error"]["errors"][0]["reason"]),
            (501, &json!("notImplemented")),
            "{path}"
        );
        assert!(body["error"]["message"].as_str().unwrap().contains(name), "{path}: {body}");
    }
    let record = drive.emulator.requests().pop().unwrap();
    assert_eq!((record.operation.as_str(), record.status), ("teamdrives.update", 501));
    for path in ["/drive/v3/nowhere", "/drive/v2/files", "/drive/v3/files/x/nowhere"] {
        let (status, page) = drive.get(path).await;
        assert_eq!(status, 404, "{path}");
        assert!(matches!(page, Value::String(page) if page.starts_with("<!DOCTYPE html>")), "{path}");
    }
}

#[tokio::test]
async fn a_channel_in_the_query_is_a_missing_body() {
    let drive = drive().await;
    let path = "/drive/v3/changes/watch?pageToken=1&id=x&type=web_hook&address=https://example.com";
    let (status, body) = answer(drive.request(Method::POST, path).send().await.unwrap()).await;
    assert_eq!((status, &body["error"]["errors"][0]["location"]), (400, &json!("entityResource")));
}

#[tokio::test]
async fn a_query_that_is_too_long_for_an_address_comes_in_a_body() {
    let drive = drive().await;
    let file = drive.emulator.upload(drive_emulator::Upload::new(&drive.emulator.root_id(), "a", "x"));
    let request = drive.request(Method::POST, "/drive/v3/files").header("x-http-method-override", "GET");
    let (status, found) =
        answer(request.form(&[("q", "name = 'a'"), ("fields", "files(id)")]).send().await.unwrap()).await;
    assert_eq!((status, found), (200, json!({"files": [{"id": file}]})));
    let record = drive.emulator.requests().pop().unwrap();
    assert_eq!((record.operation.as_str(), record.method.as_str()), ("files.list", "GET"));
    assert!(record.query.contains("name"), "{}", record.query);
}

#[tokio::test]
async fn what_would_be_overlooked_is_refused_instead() {
    let drive = drive().await;
    drive.emulator.shared_drive("Team");
    for (method, path, body) in [
        (Method::GET, "files?alt=proto", Value::Null),
        (Method::GET, "drives?q=name+%3D+'x'", Value::Null),
        (Method::POST, "drives?requestId=1", json!({"name": "x", "hidden": true})),
    ] {
        let request = drive.request(method, &format!("/drive/v3/{path}"));
        let request = if body.is_null() { request } else { request.json(&body) };
        assert_eq!(request.send().await.unwrap().status(), 501, "{path}");
    }
}
