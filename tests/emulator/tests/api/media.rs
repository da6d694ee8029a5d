//! Bytes: whole, in ranges, refused.

use drive_emulator::{Content, Quirk, Upload};
use reqwest::Method;

use crate::support::{answer, drive};

#[tokio::test]
async fn whole_files_and_ranges_carry_the_right_bytes() {
    let drive = drive().await;
    let content = Content::pattern(9, 1_000_000);
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mov", content.clone()));
    let whole = drive.media(&id, None).await;
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.headers()["content-type"], "video/quicktime");
    assert_eq!(whole.headers()["content-length"], "1000000");
    for (name, value) in [
        ("server", "UploadServer"),
        ("content-disposition", "attachment"),
        ("cache-control", "private, max-age=0, must-revalidate"),
        ("vary", "Origin, X-Origin"),
    ] {
        assert_eq!(whole.headers()[name], value);
    }
    assert!(whole.headers()["x-goog-hash"].to_str().unwrap().starts_with("crc32c="));
    assert!(whole.headers()["x-guploader-uploadid"].len() > 50);
    assert_eq!(whole.bytes().await.unwrap(), content.slice(0, 1_000_000));
    for (range, served, start, length) in [
        ("bytes=0-0", "bytes 0-0/1000000", 0, 1),
        ("bytes=999990-2000000", "bytes 999990-999999/1000000", 999_990, 10),
        ("bytes=500000-", "bytes 500000-999999/1000000", 500_000, 500_000),
    ] {
        let part = drive.media(&id, Some(range)).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(part.headers()["content-range"], served);
        assert_eq!(part.bytes().await.unwrap(), content.slice(start, length), "{range}");
    }
    let beyond = drive.media(&id, Some("bytes=1000000-")).await;
    assert_eq!(beyond.headers()["content-range"], "bytes */1000000");
    let (status, body) = answer(beyond).await;
    assert_eq!(
        (status, &body["error"]["errors"][0]["reason"]),
        (416, &"requestedRangeNotSatisfiable".into())
    );
    let other = drive.request(Method::GET, &format!("/download/drive/v3/files/{id}?alt=media"));
    assert_eq!(other.send().await.unwrap().bytes().await.unwrap().len(), 1_000_000);
    let record =
        drive.emulator.requests().into_iter().rfind(|r| r.range.as_deref() == Some("bytes=0-0")).unwrap();
    assert_eq!((record.operation.as_str(), record.status, record.bytes_sent), ("files.media", 206, 1));
}

#[tokio::test]
async fn an_empty_file_is_empty_and_has_no_ranges() {
    let drive = drive().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "empty.mp4", ""));
    let whole = drive.media(&id, None).await;
    assert_eq!((whole.status().as_u16(), whole.bytes().await.unwrap().len()), (200, 0));
    let range = drive.media(&id, Some("bytes=0-99")).await;
    assert_eq!(
        (range.status().as_u16(), &range.headers()["content-range"]),
        (416, &"bytes */0".parse().unwrap())
    );
}

#[tokio::test]
async fn what_cannot_be_downloaded_says_why() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let folder = emulator.folder(&root, "f");
    let vid = emulator.upload(Upload::new(&root, "Vid", "").mime_type("application/vnd.google-apps.vid"));
    let forbidden = emulator.upload(Upload::new(&root, "a.mp4", "x").quirk(Quirk::NotDownloadable));
    let abusive = emulator.upload(Upload::new(&root, "b.mp4", "x").quirk(Quirk::Abusive));
    let link = emulator.shortcut(&root, "link", &abusive);
    for (id, reason) in [
        (&folder, "fileNotDownloadable"),
        (&vid, "fileNotDownloadable"),
        (&link, "fileNotDownloadable"),
        (&forbidden, "cannotDownloadFile"),
        (&abusive, "cannotDownloadAbusiveFile"),
    ] {
        let path = format!("/drive/v3/files/{id}?alt=media");
        assert_eq!(drive.refused(&path).await, (403, reason.to_owned()));
    }
    let (status, _) = drive.get(&format!("/drive/v3/files/{abusive}?alt=media&acknowledgeAbuse=true")).await;
    assert_eq!(status, 200);
    assert_eq!(emulator.file_json(&link).unwrap()["shortcutDetails"]["targetId"], abusive.as_str());
}

#[tokio::test]
async fn a_rate_holds_for_each_connection() {
    let drive = drive().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a", Content::pattern(1, 100_000)));
    drive.emulator.set_rate(Some(250_000));
    let started = std::time::Instant::now();
    assert_eq!(drive.media(&id, None).await.bytes().await.unwrap().len(), 100_000);
    let slow = started.elapsed().as_millis();
    assert!(slow >= 300, "{slow} ms");
    drive.emulator.set_rate(None);
    let started = std::time::Instant::now();
    drive.media(&id, None).await.bytes().await.unwrap();
    assert!(started.elapsed().as_millis() < slow);
}
