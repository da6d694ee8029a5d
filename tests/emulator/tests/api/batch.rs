//! Several requests in one.

use drive_emulator::{Action, Fault, Upload};
use reqwest::Method;
use serde_json::Value;

use crate::support::{Drive, drive};

/// Sends requests, each a line and a body, and returns what the whole and what each of them came to.
async fn send(drive: &Drive, requests: &[(&str, &str)]) -> (u16, Vec<(String, String)>) {
    let mut body = String::new();
    for (number, (line, json)) in requests.iter().enumerate() {
        body += &format!(
            "--b\nContent-Type: application/http\nContent-ID: <x + {number}>\n\n{line} HTTP/1.1\ncontent-type: application/json\n\n{json}\n"
        );
    }
    body += "--b--\n";
    let request =
        drive.request(Method::POST, "/batch/drive/v3").header("content-type", "multipart/mixed; boundary=b");
    let response = request.body(body).send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    let Some((_, boundary)) = kind.split_once("boundary=") else { return (status, Vec::new()) };
    let delimiter = format!("--{boundary}");
    let parts = text.split(&delimiter).filter(|part| part.contains("HTTP/1.1"));
    let parts = parts.map(|part| {
        let (head, rest) = part.trim_start().split_once("\r\n\r\n").unwrap();
        (head.to_owned(), rest.to_owned())
    });
    (status, parts.collect())
}

#[tokio::test]
async fn each_request_is_answered_by_itself() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let file = drive.emulator.upload(Upload::new(&root, "a.mp4", "x"));
    drive.emulator.fail(Fault::once("about.get", Action::status(503, "backendError")));
    let get = format!("GET /drive/v3/files/{file}?fields=id");
    let media = format!("GET /drive/v3/files/{file}?alt=media");
    let delete = format!("DELETE https://www.googleapis.com/drive/v3/files/{file}");
    let (status, parts) = send(
        &drive,
        &[
            (&get, ""),
            ("POST /drive/v3/files?fields=name", r#"{"name":"made"}"#),
            ("GET /drive/v3/files/none", ""),
            ("GET /drive/v3/about?fields=user", ""),
            (&media, ""),
            ("POST /batch", ""),
            ("POST /upload/drive/v3/files?uploadType=media", "x"),
            (&delete, ""),
            (&get, ""),
        ],
    )
    .await;
    let codes: Vec<&str> = parts.iter().map(|(_, rest)| rest.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!((status, codes), (200, vec!["200", "200", "404", "503", "302", "400", "400", "204", "404"]));
    assert!(parts[1].0.contains("Content-ID: <response-x + 1>"), "{}", parts[1].0);
    let (_, json) = parts[1].1.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(json).unwrap()["name"], "made");
    let location = drive.url(&format!("/download/drive/v3/files/{file}?alt=media"));
    assert!(parts[4].1.contains(&format!("location: {location}\r\n")), "{}", parts[4].1);
    let operations: Vec<(String, u16)> =
        drive.emulator.requests().into_iter().map(|record| (record.operation, record.status)).collect();
    assert_eq!(operations[0], ("batch".into(), 200));
    assert_eq!(operations[2], ("files.create".into(), 200));
    assert_eq!(operations.len(), 10);
}

#[tokio::test]
async fn a_batch_has_a_hundred_requests_at_most_and_credentials() {
    let drive = drive().await;
    let about = ("GET /drive/v3/about?fields=kind", "");
    assert_eq!(send(&drive, &[about; 100]).await.1.len(), 100);
    assert_eq!(send(&drive, &[about; 101]).await.0, 400);
    assert_eq!(send(&drive, &[]).await.0, 400);
    drive.emulator.expire_access_tokens();
    let (status, parts) = send(&drive, &[about]).await;
    assert!(status == 200 && parts[0].1.starts_with("HTTP/1.1 401"), "{parts:?}");
    let plain = drive.http.post(drive.url("/batch")).body("x").send().await.unwrap();
    assert_eq!(plain.status(), 400);
}
