//! Answers that are other than Drive means them, as a client meets them.

use drive_emulator::{Action, Content, Fault, Framing, Upload};
use reqwest::{Method, Version};
use serde_json::{Value, json};

use crate::support::{Drive, answer, drive, tls_drive};

const FILES: &str = "/drive/v3/files?fields=files(id,name),nextPageToken";

fn once(drive: &Drive, operation: &str, action: Action) {
    drive.emulator.fail(Fault::once(operation, action));
}

#[tokio::test]
async fn one_value_of_an_answer_can_be_anything_else_or_missing() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    drive.emulator.upload(Upload::new(&root, "a.mp4", "x"));
    once(&drive, "files.list", Action::patch("/files/0/name", "7"));
    assert_eq!(drive.ok(FILES).await["files"][0]["name"], 7);
    once(&drive, "files.list", Action::Remove { pointer: "/files/0".into() });
    assert_eq!(drive.ok(FILES).await["files"], json!([]));
    once(&drive, "files.list", Action::patch("/files/0/name", r#""\ud800""#));
    let response = drive.request(Method::GET, FILES).send().await.unwrap();
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""name": "\ud800""#) && serde_json::from_str::<Value>(&text).is_err(), "{text}");
    assert_eq!(drive.ok(FILES).await["files"][0]["name"], "a.mp4");
    let patch = json!({"matching": {"operation": "token"}, "action": {"patch": {"pointer": "/expires_in", "json": "1e12"}}});
    assert_eq!(drive.control(Method::POST, "/control/faults", &patch).await.0, 200);
    let (status, token) = answer(drive.http.post(drive.url("/token")).send().await.unwrap()).await;
    assert_eq!((status, &token["expires_in"]), (400, &json!(1e12)), "any path can be struck");
}

#[tokio::test]
async fn a_text_answers_for_ever_and_refers_to_the_request() {
    let drive = drive().await;
    let endless = Action::text(r#"{"nextPageToken": "{query:pageToken}{count}"}"#);
    drive.emulator.fail(Fault::always("changes.list", endless));
    let mut token = "1".to_owned();
    for expected in ["11", "112", "1123"] {
        let page = drive.ok(&format!("/drive/v3/changes?pageToken={token}")).await;
        page["nextPageToken"].as_str().unwrap().clone_into(&mut token);
        assert_eq!(token, expected);
    }
}

#[tokio::test]
async fn bodies_end_early_with_a_length_that_agrees_or_does_not() {
    let drive = drive().await;
    once(&drive, "files.list", Action::Truncate { bytes: 10 });
    let response = drive.request(Method::GET, FILES).send().await.unwrap();
    assert_eq!(response.headers()["content-length"], "10");
    assert_eq!(response.bytes().await.unwrap().len(), 10);
    once(&drive, "files.list", Action::CutAfter { bytes: 10 });
    let response = drive.request(Method::GET, FILES).send().await.unwrap();
    assert_ne!(response.headers()["content-length"], "10");
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn bodies_come_without_their_length() {
    let tls = tls_drive("lengths").await;
    let content = Content::pattern(1, 300_000);
    let id = tls.drive.emulator.upload(Upload::new(&tls.drive.emulator.root_id(), "a.mp4", content.clone()));
    let path = format!("/drive/v3/files/{id}?alt=media");
    for (framing, version) in [(Framing::Chunked, Version::HTTP_11), (Framing::UntilClose, Version::HTTP_10)]
    {
        for range in [None, Some("bytes=1000-")] {
            once(&tls.drive, "files.media", Action::WithoutLength(framing));
            let response = tls.drive.media(&id, range).await;
            let start = range.map_or(0, |_| 1000);
            assert_eq!(response.status(), if start == 0 { 200 } else { 206 });
            assert_eq!((response.version(), response.content_length()), (version, None));
            let chunked = response.headers().contains_key("transfer-encoding");
            assert_eq!(chunked, framing == Framing::Chunked);
            assert_eq!(response.bytes().await.unwrap(), content.slice(start, 300_000));
        }
        once(&tls.drive, "files.media", Action::WithoutLength(framing));
        let response = tls.get(&tls.client().build().unwrap(), &path).send().await.unwrap();
        assert_eq!((response.version(), response.content_length()), (Version::HTTP_2, None));
        assert_eq!(response.bytes().await.unwrap(), content.slice(0, 300_000));
    }
}

#[tokio::test]
async fn ranges_and_headers_say_what_they_like() {
    let drive = drive().await;
    let content = Content::pattern(1, 1000);
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", content.clone()));
    once(&drive, "files.media", Action::WrongRange { start_by: 10, total_by: -100 });
    let response = drive.media(&id, Some("bytes=100-199")).await;
    assert_eq!(response.headers()["content-range"], "bytes 110-209/900");
    assert_eq!(response.bytes().await.unwrap(), content.slice(100, 100));
    once(&drive, "files.media", Action::Header { name: "Content-Range".into(), value: None });
    let response = drive.media(&id, Some("bytes=100-199")).await;
    assert_eq!((response.status().as_u16(), response.headers().get("content-range")), (206, None));
    once(&drive, "files.media", Action::Header { name: "Server".into(), value: Some("other".into()) });
    let response = drive.media(&id, None).await;
    assert_eq!(response.headers().get_all("server").iter().collect::<Vec<_>>(), ["other"]);
}

#[tokio::test]
async fn answers_are_somewhere_else() {
    let tls = tls_drive("redirect").await;
    let id = tls.drive.emulator.upload(Upload::new(&tls.drive.emulator.root_id(), "a.mp4", "x"));
    let path = format!("/drive/v3/files/{id}?alt=media");
    for (location, expected) in [
        ("/elsewhere?n={count}".to_owned(), "/elsewhere?n=1".to_owned()),
        (tls.url.clone(), format!("{}{path}", tls.url)),
    ] {
        once(&tls.drive, "files.media", Action::redirect(&location));
        let response = tls.drive.media(&id, None).await;
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()["location"], expected.as_str());
    }
}

#[tokio::test]
async fn a_bomb_is_small_on_its_way_and_large_when_it_is_unpacked() {
    let drive = drive().await;
    drive.emulator.fail(Fault::times("files.list", 2, Action::Bomb { megabytes: 20 }));
    let raw = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let request = raw.get(drive.url(FILES)).bearer_auth(drive.emulator.access_token());
    assert!(request.send().await.unwrap().bytes().await.unwrap().len() < 100_000);
    let response = drive.request(Method::GET, FILES).send().await.unwrap();
    let unpacked = response.bytes().await.unwrap();
    assert!(unpacked.len() > 20 << 20);
    assert_eq!(serde_json::from_slice::<Value>(&unpacked).unwrap(), json!({"files": []}));
}
