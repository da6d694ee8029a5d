//! Content on its way in: with the request, with metadata, and in sessions that survive a cut.

use drive_emulator::{Action, Content, Fault, Upload};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Drive, answer, drive};

const BLOCK: usize = 256 << 10;

/// Opens a session and returns where its bytes go.
async fn begin(drive: &Drive, method: Method, path: &str, body: &Value) -> String {
    let request = drive.request(method, path).json(body).header("x-upload-content-type", "video/mp4");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.headers()["location"].to_str().unwrap().to_owned()
}

/// Sends a piece: status, `Range` header, body.
async fn put(drive: &Drive, address: &str, range: &str, bytes: &[u8]) -> (u16, Option<String>, Value) {
    let request = drive.http.put(address).header("content-range", range).body(bytes.to_vec());
    let response = request.send().await.unwrap();
    let range = response.headers().get("range").map(|value| value.to_str().unwrap().to_owned());
    let (status, body) = answer(response).await;
    (status, range, body)
}

#[tokio::test]
async fn content_comes_alone_or_with_its_metadata() {
    let drive = drive().await;
    let path = "/upload/drive/v3/files?uploadType=media&setModifiedDate=true&fields=id,name,mimeType,size";
    let alone = drive.request(Method::POST, path).header("content-type", "video/webm").body("abc");
    let (_, alone) = answer(alone.send().await.unwrap()).await;
    assert_eq!(
        (&alone["name"], &alone["mimeType"], &alone["size"]),
        (&"Untitled".into(), &"video/webm".into(), &"3".into())
    );
    let body = "--b\r\nContent-Type: application/json\r\n\r\n{\"name\":\"film.mp4\",\"starred\":true}\r\n--b\r\nContent-Type: video/mp4\r\n\r\none\r\n--two\r\n--b--\r\n";
    let path = "/upload/drive/v3/files?uploadType=multipart&fields=*";
    let both =
        drive.request(Method::POST, path).header("content-type", "multipart/related; boundary=b").body(body);
    let (status, both) = answer(both.send().await.unwrap()).await;
    assert_eq!((status, &both["name"], &both["starred"]), (200, &"film.mp4".into(), &true.into()), "{both}");
    let id = both["id"].as_str().unwrap();
    assert_eq!(drive.emulator.content(id).unwrap().slice(0, 99), "one\r\n--two");
    assert_eq!(both["videoMediaMetadata"]["width"], 1920);
    let revision = drive.emulator.head_revision_id(id);
    let path = format!("/upload/drive/v3/files/{id}?uploadType=media&fields=size,mimeType,name");
    let new = drive.request(Method::PATCH, &path).header("content-type", "video/mp4").body("longer");
    let (_, new) = answer(new.send().await.unwrap()).await;
    assert_eq!(new, json!({"name": "film.mp4", "mimeType": "video/mp4", "size": "6"}));
    assert_ne!(drive.emulator.head_revision_id(id), revision);
}

#[tokio::test]
async fn an_empty_content_makes_a_folder_and_any_other_does_not() {
    let drive = drive().await;
    let path = "/upload/drive/v3/files?uploadType=multipart&fields=id,mimeType,size";
    let made = async |content: &str| {
        let metadata = "{\"name\":\"trip\",\"mimeType\":\"application/vnd.google-apps.folder\"}";
        let body = format!(
            "--b\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--b\r\n\
             Content-Type: application/vnd.google-apps.folder\r\n\r\n{content}\r\n--b--\r\n"
        );
        let request =
            drive.request(Method::POST, path).header("content-type", "multipart/related; boundary=b");
        answer(request.body(body).send().await.unwrap()).await
    };
    let (status, folder) = made("").await;
    assert_eq!(
        (status, &folder["mimeType"], &folder["size"]),
        (200, &"application/vnd.google-apps.folder".into(), &Value::Null)
    );
    drive.emulator.upload(Upload::new(folder["id"].as_str().unwrap(), "inside.mp4", "x"));
    assert_eq!(made("x").await.0, 400);
}

#[tokio::test]
async fn what_cannot_be_taken_says_why() {
    let drive = drive().await;
    let folder = drive.emulator.folder(&drive.emulator.root_id(), "folder");
    for (method, path, code) in [
        (Method::POST, "files".to_owned(), 400),
        (Method::POST, "files?uploadType=smoke".to_owned(), 400),
        (Method::POST, "files?uploadType=multipart".to_owned(), 400),
        (Method::POST, "files?uploadType=media&supportsAllDrives=on".to_owned(), 400),
        (Method::PATCH, format!("files/{folder}?uploadType=media"), 400),
        (Method::PATCH, "files/root?uploadType=resumable".to_owned(), 403),
        (Method::PATCH, "files/none?uploadType=resumable".to_owned(), 404),
        (Method::PUT, "files?uploadType=resumable&upload_id=none".to_owned(), 404),
        (Method::POST, format!("files/{folder}/copy?uploadType=media"), 404),
    ] {
        let request = drive.request(method, &format!("/upload/drive/v3/{path}"));
        assert_eq!(request.send().await.unwrap().status(), code, "{path}");
    }
    let files = drive.ok("/drive/v3/files?fields=files(id)").await;
    assert_eq!(files, json!({"files": [{"id": folder}]}), "nothing was made");
}

#[tokio::test]
async fn a_session_takes_pieces_and_tells_what_it_has() {
    let drive = drive().await;
    let content = Content::pattern(3, 2 * BLOCK as u64 + 1000);
    let (bytes, total) = (content.slice(0, usize::MAX), content.size());
    let path = "/upload/drive/v3/files?uploadType=resumable&fields=id,name,mimeType,sha256Checksum";
    let address = begin(&drive, Method::POST, path, &json!({"name": "film.mp4"})).await;
    assert!(address.starts_with(&drive.url("/upload/drive/v3/files?")), "{address}");
    assert_eq!(put(&drive, &address, &format!("bytes */{total}"), b"").await.1, None, "nothing yet");
    let odd = put(&drive, &address, &format!("bytes 0-{}/{total}", BLOCK + 9), &bytes[..BLOCK + 10]).await;
    assert_eq!((odd.0, odd.1.as_deref()), (308, Some("bytes=0-262143")), "whole blocks stay");
    let gap =
        put(&drive, &address, &format!("bytes {}-{}/{total}", 2 * BLOCK, total - 1), &bytes[2 * BLOCK..])
            .await;
    assert_eq!((gap.0, gap.1.as_deref()), (308, Some("bytes=0-262143")), "no gaps");
    let rest = put(&drive, &address, &format!("bytes {BLOCK}-{}/{total}", total - 1), &bytes[BLOCK..]).await;
    assert_eq!(
        (rest.0, &rest.2["name"], &rest.2["mimeType"]),
        (200, &"film.mp4".into(), &"video/mp4".into())
    );
    let id = rest.2["id"].as_str().unwrap();
    assert_eq!(rest.2["sha256Checksum"].as_str(), drive.emulator.content_sha256(id).as_deref());
    assert_eq!(drive.emulator.content(id).unwrap().slice(0, usize::MAX), bytes);
    let again = put(&drive, &address, &format!("bytes */{total}"), b"").await;
    assert_eq!((again.0, &again.2), (200, &rest.2), "an answer that was lost can be had again");
}

#[tokio::test]
async fn a_session_of_unknown_length_ends_with_its_last_piece() {
    let drive = drive().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", "old"));
    let path = format!("/upload/drive/v3/files/{id}?uploadType=resumable");
    let address = begin(&drive, Method::PATCH, &path, &json!({})).await;
    let piece = vec![7; BLOCK];
    assert_eq!(put(&drive, &address, "bytes 0-262143/*", &piece).await.0, 308);
    let veiled =
        drive.http.put(&address).header("content-range", "bytes */*").header("x-guploader-no-308", "yes");
    let veiled = veiled.send().await.unwrap();
    assert_eq!(
        (veiled.status().as_u16(), &veiled.headers()["x-http-status-code-override"]),
        (200, &"308".parse().unwrap())
    );
    assert_eq!(put(&drive, &address, "bytes 262144-262144/262145", b"!").await.0, 200);
    assert_eq!(drive.emulator.content(&id).unwrap().size(), 262_145);
    let whole = begin(&drive, Method::PATCH, &path, &json!({"name": "b.mp4"})).await;
    let sent = drive.http.put(&whole).body("all at once").send().await.unwrap();
    assert_eq!(sent.status(), 200);
    assert_eq!(drive.emulator.file_json(&id).unwrap()["name"], "b.mp4");
    assert_eq!(drive.emulator.content(&id).unwrap().slice(0, 99), "all at once");
}

#[tokio::test]
async fn a_cut_upload_goes_on_where_its_last_block_was() {
    let drive = drive().await;
    let path = "/upload/drive/v3/files?uploadType=resumable&fields=id";
    let address = begin(&drive, Method::POST, path, &json!({"name": "film.mp4"})).await;
    let content = Content::pattern(5, 3 * BLOCK as u64);
    let bytes = content.slice(0, usize::MAX);
    let mut line = TcpStream::connect(("127.0.0.1", drive.emulator.port())).await.unwrap();
    let target = address.strip_prefix(&drive.emulator.url()).unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-range: bytes 0-{}/{}\r\ncontent-length: {}\r\n\r\n",
        bytes.len() - 1,
        bytes.len(),
        bytes.len()
    );
    line.write_all(head.as_bytes()).await.unwrap();
    line.write_all(&bytes[..BLOCK + 5000]).await.unwrap();
    line.shutdown().await.unwrap();
    let mut rest = Vec::new();
    // Answered or not: the client cannot have heard of it.
    let _ = line.read_to_end(&mut rest).await;
    let (status, range, _) = put(&drive, &address, &format!("bytes */{}", bytes.len()), b"").await;
    assert_eq!((status, range.as_deref()), (308, Some("bytes=0-262143")));
    drive.emulator.fail(Fault::once("upload", Action::status(503, "backendError")));
    let last = format!("bytes {BLOCK}-{}/{}", bytes.len() - 1, bytes.len());
    assert_eq!(put(&drive, &address, &last, &bytes[BLOCK..]).await.0, 503);
    let (status, _, file) = put(&drive, &address, &format!("bytes */{}", bytes.len()), b"").await;
    assert_eq!(status, 200, "{file}");
    assert_eq!(drive.emulator.content(file["id"].as_str().unwrap()).unwrap().slice(0, usize::MAX), bytes);
}

#[tokio::test]
async fn a_session_is_cancelled_or_runs_out() {
    let drive = drive().await;
    let path = "/upload/drive/v3/files?uploadType=resumable";
    let cancelled = begin(&drive, Method::POST, path, &json!({})).await;
    assert_eq!(drive.http.delete(&cancelled).send().await.unwrap().status(), 499);
    assert_eq!(put(&drive, &cancelled, "bytes */5", b"").await.0, 404);
    let late = begin(&drive, Method::POST, path, &json!({})).await;
    assert_eq!(put(&drive, &late, "lines 0-5", b"").await.0, 400);
    assert_eq!(put(&drive, &late, "bytes */5", b"").await.0, 308);
    drive.emulator.move_clock(8 * 24 * 3600 * 1000);
    assert_eq!(put(&drive, &late, "bytes */5", b"").await.0, 404);
    let (_, files) = answer(drive.http.get(drive.url("/control/files")).send().await.unwrap()).await;
    assert_eq!(files["files"].as_array().unwrap().len(), 1, "the root alone: {files}");
}

#[tokio::test]
async fn scopes_that_only_look_take_no_content() {
    let drive = drive().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a", "x"));
    let scope = |name: &str| format!("https://www.googleapis.com/auth/{name}");
    for (name, method, path, expected) in [
        ("drive.readonly", Method::POST, "/drive/v3/files".to_owned(), 403),
        ("drive.readonly", Method::POST, "/upload/drive/v3/files?uploadType=media".to_owned(), 403),
        ("drive.metadata", Method::PATCH, format!("/drive/v3/files/{id}"), 200),
        ("drive.metadata", Method::PATCH, format!("/upload/drive/v3/files/{id}?uploadType=media"), 403),
        ("drive.file", Method::POST, "/upload/drive/v3/files?uploadType=media".to_owned(), 200),
    ] {
        let token = drive.emulator.access_token_for(&scope(name));
        let (status, body) =
            answer(drive.http.request(method, drive.url(&path)).bearer_auth(token).send().await.unwrap())
                .await;
        assert_eq!(status, expected, "{name} {path}: {body}");
        if status == 403 {
            assert_eq!(body["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
        }
    }
}
