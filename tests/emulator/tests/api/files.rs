//! `about`, `files.get`, `files.list`, `drives`: fields, queries, shared drives, errors.

use drive_emulator::{Content, Quirk, Upload};
use reqwest::Method;
use serde_json::json;

use crate::support::{answer, drive, ids};

#[tokio::test]
async fn a_file_is_told_in_googles_own_terms() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let upload = Upload::new(&root, "film.mp4", "abc").modified_time("2026-01-02T03:04:05Z");
    let id = drive.emulator.upload(upload);
    assert_eq!((id.len(), id.as_bytes()[0]), (33, b'1'));
    let file = drive.ok(&format!("/drive/v3/files/{id}?fields=*")).await;
    assert_eq!(file, drive.emulator.file_json(&id).unwrap());
    for (name, expected) in [
        ("kind", json!("drive#file")),
        ("mimeType", json!("video/mp4")),
        ("size", json!("3")),
        ("version", json!("1")),
        ("md5Checksum", json!("900150983cd24fb0d6963f7d28e17f72")),
        ("modifiedTime", json!("2026-01-02T03:04:05.000Z")),
        ("parents", json!([root])),
        ("trashed", json!(false)),
        ("fileExtension", json!("mp4")),
        ("ownedByMe", json!(true)),
    ] {
        assert_eq!(file[name], expected, "{name}");
    }
    assert_eq!(file["sha256Checksum"].as_str(), drive.emulator.content_sha256(&id).as_deref());
    assert!(file["videoMediaMetadata"]["durationMillis"].is_string());
    let short = drive.ok(&format!("/drive/v3/files/{id}")).await;
    assert_eq!(
        short,
        json!({"kind": "drive#file", "id": id, "name": "film.mp4", "mimeType": "video/mp4"}),
        "without a mask"
    );
    assert_eq!(drive.ok("/drive/v3/files/root?fields=id").await, json!({"id": root}));
}

#[tokio::test]
async fn errors_come_in_googles_envelope() {
    let drive = drive().await;
    let response = drive.request(Method::GET, "/drive/v3/files/nothing").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["content-type"], "application/json; charset=UTF-8");
    let text = response.text().await.unwrap();
    assert!(text.starts_with("{\n  \"error\"") && text.ends_with("}\n"), "{text}");
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        error,
        json!({"error": {
            "code": 404,
            "message": "File not found: nothing.",
            "errors": [{
                "message": "File not found: nothing.",
                "domain": "global",
                "reason": "notFound",
                "location": "fileId",
                "locationType": "parameter",
            }],
        }})
    );
    for (path, code, reason) in [
        ("/drive/v3/about", 400, "required"),
        ("/drive/v3/files?fields=files(colour)", 400, "invalidParameter"),
        ("/drive/v3/files?q=name+like+'x'", 400, "invalid"),
        ("/drive/v3/files?pageToken=nonsense", 400, "invalid"),
        ("/drive/v3/files?pageSize=0", 400, "invalidParameter"),
        ("/drive/v3/files?includeItemsFromAllDrives=true", 403, "supportsTeamDrivesRequired"),
        ("/drive/v3/files/x?acknowledgeAbuse=true", 403, "invalidAbuseAcknowledgment"),
        ("/drive/v3/drives/x", 404, "notFound"),
        ("/drive/v3/drives?useDomainAdminAccess=true", 403, "noListTeamDrivesAdministratorPrivilege"),
    ] {
        assert_eq!(drive.refused(path).await, (code, reason.to_owned()), "{path}");
    }
    let (_, angled) = drive.get("/drive/v3/files?fields=%3Cb%3E").await;
    assert_eq!(angled["error"]["message"], "Invalid field selection <b>");
    let raw = drive.request(Method::GET, "/drive/v3/files?fields=%3Cb%3E").send().await.unwrap();
    assert!(raw.text().await.unwrap().contains("\\u003cb\\u003e"));
    let unknown = drive.request(Method::GET, "/drive/v3/nowhere").send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.unwrap().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let drive = drive().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a", "x"));
    let cases = [
        (Method::GET, "/drive/v3/files".to_owned(), None, 403, "forbidden"),
        (Method::GET, format!("/drive/v3/files/{id}?alt=media"), None, 403, "forbidden"),
        (Method::POST, "/drive/v3/channels/stop".to_owned(), None, 401, "required"),
        (Method::GET, "/drive/v3/files".to_owned(), Some("stale"), 401, "authError"),
        (Method::GET, format!("/drive/v3/files/{id}?alt=media"), Some("stale"), 401, "authError"),
    ];
    for (method, path, token, code, reason) in cases {
        let request = drive.http.request(method, drive.url(&path));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!((status, body["error"]["errors"][0]["reason"].as_str()), (code, Some(reason)), "{path}");
    }
    drive.emulator.expire_access_tokens();
    assert_eq!(drive.refused("/drive/v3/files").await.0, 401);
}

#[tokio::test]
async fn about_tells_the_user_and_the_room() {
    let drive = drive().await;
    let about = drive.ok("/drive/v3/about?fields=user(emailAddress,permissionId),storageQuota").await;
    assert!(about["user"]["emailAddress"].as_str().unwrap().contains('@'));
    assert!(about["storageQuota"]["limit"].is_string());
    assert!(about["kind"].is_null());
}

#[tokio::test]
async fn queries_find_what_they_say() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let folder = emulator.folder(&root, "Clips");
    let film =
        emulator.upload(Upload::new(&folder, "It's a film.mov", "1").modified_time("2026-03-01T00:00:00Z"));
    let text = emulator.upload(Upload::new(&folder, "notes.txt", "2").modified_time("2026-01-01T00:00:00Z"));
    let binned = emulator.upload(Upload::new(&folder, "old film.avi", "3"));
    emulator.trash(&binned);
    let deep = emulator.folder(&folder, "deep");
    let link = emulator.shortcut(&root, "link", &film);
    for (query, expected) in [
        (format!("'{folder}' in parents and trashed = false"), vec![&film, &text, &deep]),
        (format!("trashed=false and ('{folder}' in parents)"), vec![&film, &text, &deep]),
        ("'root' in parents".to_owned(), vec![&folder, &link]),
        ("mimeType contains 'video/'".to_owned(), vec![&film, &binned]),
        ("mimeType = 'text/plain' or trashed = true".to_owned(), vec![&text, &binned]),
        (r"name = 'It\'s a film.mov'".to_owned(), vec![&film]),
        ("name contains 'film' and not trashed = true".to_owned(), vec![&film]),
        ("name contains 'ilm'".to_owned(), vec![]),
        (
            format!(
                "modifiedTime > '2026-02-01T00:00:00' and '{folder}' in parents and mimeType != 'application/vnd.google-apps.folder'"
            ),
            vec![&film, &binned],
        ),
        (format!("shortcutDetails.targetId = '{film}'"), vec![&link]),
        ("'me' in owners and mimeType='application/vnd.google-apps.folder'".to_owned(), vec![&folder, &deep]),
        ("sharedWithMe = true".to_owned(), vec![]),
    ] {
        let list =
            drive.request(Method::GET, "/drive/v3/files").query(&[("q", &query)]).send().await.unwrap();
        let (status, list) = answer(list).await;
        assert_eq!((status, ids(&list)), (200, expected.iter().map(|id| id.as_str()).collect()), "{query}");
    }
    for bad in
        ["", "'x' in", "name", "trashed > true", "(trashed = true", "size > 3", "name = 'x' trashed = true"]
    {
        let path = format!("/drive/v3/files?q={}", bad.replace(' ', "+"));
        let expected = if bad.is_empty() { 200 } else { 400 };
        assert_eq!(drive.get(&path).await.0, expected, "{bad}");
    }
}

#[tokio::test]
async fn lists_come_in_pages_and_in_order() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let sizes = [3_u64, 1, 2, 5, 4];
    for (index, size) in sizes.iter().enumerate() {
        drive.emulator.upload(Upload::new(&root, &format!("n{index}"), Content::pattern(1, *size)));
    }
    let mut token = String::new();
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let path =
            format!("/drive/v3/files?pageSize=2&orderBy=quotaBytesUsed+desc&fields=*&pageToken={token}");
        let page = drive.ok(&path).await;
        pages += 1;
        seen.extend(
            page["files"].as_array().unwrap().iter().map(|file| file["size"].as_str().unwrap().to_owned()),
        );
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!((seen.join(""), pages), ("54321".to_owned(), 3));
    assert_eq!(drive.refused("/drive/v3/files?orderBy=colour").await.0, 400);
}

#[tokio::test]
async fn names_are_free_and_quirks_show() {
    let drive = drive().await;
    let root = drive.emulator.root_id();
    let long = "x".repeat(300);
    for name in ["a/b", "\u{1}\n", "twice", "twice", long.as_str(), "früh 🎬.mkv"] {
        let id = drive.emulator.upload(Upload::new(&root, name, ""));
        assert_eq!(drive.ok(&format!("/drive/v3/files/{id}")).await["name"], name);
    }
    let odd = Upload::new(&root, "odd.mp4", "x").quirk(Quirk::NoChecksums).quirk(Quirk::NoSize);
    let odd = drive.emulator.upload(odd.quirk(Quirk::NoVideoMetadata).quirk(Quirk::NotDownloadable));
    let file = drive.ok(&format!("/drive/v3/files/{odd}?fields=*")).await;
    for absent in ["size", "md5Checksum", "sha1Checksum", "sha256Checksum", "videoMediaMetadata"] {
        assert!(file[absent].is_null(), "{absent}");
    }
    assert_eq!(file["capabilities"]["canDownload"], false);
    let forced = Upload::new(&root, "film.mkv", "x").mime_type("application/octet-stream");
    let forced = drive.emulator.upload(forced);
    assert_eq!(drive.emulator.file_json(&forced).unwrap()["mimeType"], "application/octet-stream");
}

#[tokio::test]
async fn shared_drives_show_only_to_those_who_ask() {
    let drive = drive().await;
    let shared = drive.emulator.shared_drive("Team");
    let id = drive.emulator.upload(Upload::new(&shared, "x.mp4", "x"));
    assert_eq!(drive.refused(&format!("/drive/v3/files/{id}")).await, (404, "notFound".to_owned()));
    let file = drive.ok(&format!("/drive/v3/files/{id}?supportsAllDrives=true&fields=*")).await;
    assert_eq!(file["driveId"], shared.as_str());
    assert!(file["owners"].is_null());
    assert_eq!(ids(&drive.ok("/drive/v3/files?supportsAllDrives=true").await), Vec::<&str>::new());
    let both = "supportsAllDrives=true&includeItemsFromAllDrives=true";
    let all = drive.ok(&format!("/drive/v3/files?{both}&corpora=drive&driveId={shared}")).await;
    assert_eq!(ids(&all), [id.as_str()]);
    assert_eq!(drive.refused(&format!("/drive/v3/files?driveId={shared}")).await.0, 403);
    assert_eq!(drive.refused(&format!("/drive/v3/files?{both}&corpora=drive&driveId=none")).await.0, 404);
    let drives = drive.ok("/drive/v3/drives").await;
    assert_eq!(drives["drives"], json!([{"kind": "drive#drive", "id": shared, "name": "Team"}]));
    assert_eq!(drive.ok(&format!("/drive/v3/drives/{shared}?fields=name")).await, json!({"name": "Team"}));
}
