//! Failures on demand, each as a client meets it.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use drive_emulator::{Action, Content, Fault, Matching, Upload};
use reqwest::Method;

use crate::support::{Drive, answer, drive};

const SIZE: u64 = 400_000;

fn film(drive: &Drive) -> (String, Content) {
    let content = Content::pattern(5, SIZE);
    (drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", content.clone())), content)
}

#[tokio::test]
async fn the_next_requests_fail_with_any_status_reason_and_retry_after() {
    let drive = drive().await;
    let action = Action::status_retry_after(429, "rateLimitExceeded", "7");
    drive.emulator.fail(Fault::times("files.list", 2, action));
    for _ in 0..2 {
        let response = drive.request(Method::GET, "/drive/v3/files").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"7".parse().unwrap())
        );
        let error = &answer(response).await.1["error"];
        assert_eq!(
            (&error["errors"][0]["domain"], &error["status"]),
            (&"usageLimits".into(), &"RESOURCE_EXHAUSTED".into())
        );
        assert_eq!(error["details"][0]["reason"], "RATE_LIMIT_EXCEEDED");
        assert_eq!(drive.get("/drive/v3/changes/startPageToken").await.0, 200, "other operations are well");
    }
    assert_eq!(drive.get("/drive/v3/files").await.0, 200);
    drive.emulator.fail(Fault::always("files.list", Action::html(502)));
    for _ in 0..3 {
        let response = drive.request(Method::GET, "/drive/v3/files").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (502, &"text/html; charset=UTF-8".parse().unwrap())
        );
    }
    drive.emulator.clear_faults();
    assert_eq!(drive.get("/drive/v3/files").await.0, 200);
}

#[tokio::test]
async fn faults_find_their_requests() {
    let drive = drive().await;
    let (a, _) = film(&drive);
    let (b, _) = film(&drive);
    let matching = Matching::operation("files.get").file(&a).skip(1);
    drive.emulator.fail(Fault { matching, times: 1, action: Action::status(500, "backendError") });
    let mut statuses = Vec::new();
    for id in [&a, &b, &a, &a] {
        statuses.push(drive.get(&format!("/drive/v3/files/{id}")).await.0);
    }
    assert_eq!(statuses, [200, 200, 500, 200]);
    drive.emulator.fail(Fault {
        matching: Matching { method: Some("POST".into()), ..Matching::path("/drive/v3/*/stop") },
        times: 1,
        action: Action::status(503, "backendError"),
    });
    let (status, _) = drive.post("/drive/v3/channels/stop", &serde_json::json!({})).await;
    assert_eq!(status, 503);
    drive.emulator.fail(Fault::once("token", Action::status(400, "invalid_grant")));
    let refused = drive.http.post(drive.url("/token")).send().await.unwrap();
    assert_eq!(answer(refused).await.1["error"], "invalid_grant");
}

/// What arrives of a body before its connection fails, and how it fails.
async fn torn(drive: &Drive, id: &str) -> (usize, bool) {
    let mut response = drive.media(id, None).await;
    let mut arrived = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => arrived += chunk.len(),
            Ok(None) => return (arrived, false),
            Err(_) => return (arrived, true),
        }
    }
}

#[tokio::test]
async fn connections_are_cut_in_mid_body() {
    let drive = drive().await;
    let (id, _) = film(&drive);
    drive.emulator.fail(Fault::once("files.media", Action::CutAfter { bytes: 123_456 }));
    assert_eq!(torn(&drive, &id).await, (123_456, true));
    drive.emulator.fail(Fault::once("files.media", Action::CutAfter { bytes: 0 }));
    assert_eq!(torn(&drive, &id).await, (0, true));
    assert_eq!(torn(&drive, &id).await, (SIZE as usize, false));
    let record = drive.emulator.requests().into_iter().find(|r| r.operation == "files.media").unwrap();
    assert_eq!((record.status, record.bytes_sent), (200, 123_456));
}

#[tokio::test]
async fn connections_are_reset() {
    let drive = drive().await;
    let (id, _) = film(&drive);
    drive.emulator.fail(Fault::once("files.media", Action::ResetAfter { bytes: 1000 }));
    let head = format!(
        "GET /drive/v3/files/{id}?alt=media&access_token={} HTTP/1.1\r\nhost: x\r\n\r\n",
        drive.emulator.access_token()
    );
    let port = drive.emulator.port();
    let read = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        (stream.read_to_end(&mut bytes).map_err(|error| error.kind()), bytes.len())
    });
    let (outcome, arrived) = read.await.unwrap();
    assert_eq!(outcome, Err(std::io::ErrorKind::ConnectionReset));
    assert!(arrived > 1000, "{arrived}");
}

#[tokio::test]
async fn bodies_stall_crawl_and_come_late() {
    let drive = drive().await;
    let (id, _) = film(&drive);
    drive.emulator.fail(Fault::once("files.media", Action::StallAfter { bytes: 5000 }));
    let mut response = drive.media(&id, None).await;
    let mut arrived = 0;
    let stalled = loop {
        match tokio::time::timeout(Duration::from_secs(1), response.chunk()).await {
            Ok(chunk) => arrived += chunk.unwrap().unwrap().len(),
            Err(elapsed) => break elapsed,
        }
    };
    assert_eq!(arrived, 5000, "{stalled}");
    let started = Instant::now();
    drive.emulator.fail(Fault::once("files.media", Action::Slow { bytes_per_second: 1_000_000 }));
    assert_eq!(torn(&drive, &id).await, (SIZE as usize, false));
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    let started = Instant::now();
    drive.emulator.fail(Fault::once("files.get", Action::Delay { milliseconds: 200 }));
    drive.ok(&format!("/drive/v3/files/{id}")).await;
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn bytes_and_lengths_can_be_wrong() {
    let drive = drive().await;
    let (id, content) = film(&drive);
    drive.emulator.fail(Fault::once("files.media", Action::WrongByte { offset: 300_000 }));
    let falsified = drive.media(&id, None).await.bytes().await.unwrap();
    let truth = content.slice(0, SIZE as usize);
    let wrong: Vec<usize> = (0..truth.len()).filter(|&at| truth[at] != falsified[at]).collect();
    assert_eq!((falsified.len(), wrong), (SIZE as usize, vec![300_000]));
    drive.emulator.fail(Fault::once("files.media", Action::WrongLength { by: -10 }));
    let short = drive.media(&id, None).await;
    assert_eq!(short.headers()["content-length"], (SIZE - 10).to_string().as_str());
    assert_eq!(short.bytes().await.unwrap(), truth.slice(..SIZE as usize - 10));
    drive.emulator.fail(Fault::once("files.media", Action::WrongLength { by: 10 }));
    assert_eq!(torn(&drive, &id).await, (SIZE as usize, true));
}

#[tokio::test]
async fn ranges_are_ignored_and_content_changes_between_two_of_them() {
    let drive = drive().await;
    let (id, old) = film(&drive);
    drive.emulator.fail(Fault::once("files.media", Action::IgnoreRange));
    let whole = drive.media(&id, Some("bytes=10-19")).await;
    assert_eq!((whole.status().as_u16(), whole.bytes().await.unwrap().len()), (200, SIZE as usize));
    let (new, revision) = (Content::pattern(6, SIZE), drive.emulator.head_revision_id(&id));
    let matching = Matching::operation("files.media").skip(1);
    drive.emulator.fail(Fault { matching, times: 1, action: Action::Revise(new.clone()) });
    let first = drive.media(&id, Some("bytes=0-99")).await.bytes().await.unwrap();
    let second = drive.media(&id, Some("bytes=100-199")).await.bytes().await.unwrap();
    assert_eq!((first, second), (old.slice(0, 100), new.slice(100, 100)));
    assert_ne!(drive.emulator.head_revision_id(&id), revision);
}

#[tokio::test]
async fn a_stopped_emulator_is_gone_and_its_port_free() {
    let drive = drive().await;
    let (id, _) = film(&drive);
    drive.emulator.fail(Fault::once("files.media", Action::StallAfter { bytes: 10 }));
    let stalled = drive.media(&id, None).await;
    drive.emulator.stop().await;
    assert!(stalled.bytes().await.is_err());
    assert!(drive.request(Method::GET, "/drive/v3/files").send().await.is_err());
    assert!(std::net::TcpListener::bind(("127.0.0.1", drive.emulator.port())).is_ok());
}
