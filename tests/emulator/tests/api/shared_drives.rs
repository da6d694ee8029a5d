//! Shared drives: members who come and go, and folders shared with somebody who is no member.

use drive_emulator::{DriveRefusal, Role, Upload};
use reqwest::Method;
use serde_json::{Value, json};

use crate::changes::since;
use crate::moves::start_of;
use crate::sharing::told;
use crate::support::{Drive, drive, ids};

const ALL: &str = "supportsAllDrives=true&includeItemsFromAllDrives=true";
const BOB: &str = "bob@example.com";

/// What the account's own log says about drives: name and whether it is removed.
async fn told_of_drives(drive: &Drive, token: &str) -> Vec<(Option<String>, bool)> {
    let (changes, _, _) = since(drive, token, "").await;
    let of_drives = changes.iter().filter(|change| change["changeType"] == "drive");
    let pair = |change: &Value| {
        assert!(change["driveId"].is_string());
        (change["drive"]["name"].as_str().map(str::to_owned), change["removed"].as_bool().unwrap())
    };
    of_drives.map(pair).collect()
}

#[tokio::test]
async fn drives_are_joined_renamed_left_and_deleted() {
    let drive = drive().await;
    let (emulator, bob) = (&drive.emulator, drive.emulator.user(BOB));
    let as_bob = drive.by(&bob);
    let start = as_bob.start_token().await;
    let team = emulator.shared_drive("Team");
    let film = emulator.upload(Upload::new(&team, "a.mp4", "x"));
    assert_eq!(told_of_drives(&as_bob, &start).await, []);
    assert_eq!(as_bob.ok("/drive/v3/drives").await["drives"], json!([]));
    emulator.join(&team, BOB, Role::Reader);
    assert_eq!(told_of_drives(&as_bob, &start).await, [(Some("Team".into()), false)]);
    assert_eq!(told(&as_bob, &start, "").await, [], "what is in it gets no entries");
    assert_eq!(as_bob.ok("/drive/v3/drives").await["drives"][0]["id"], team.as_str());
    let of_team = start_of(&as_bob, &team).await;
    emulator.touch(&film);
    let more = format!("&driveId={team}");
    assert_eq!(told(&as_bob, &of_team, &more).await, [(film.clone(), false)]);
    assert_eq!(bob.file_json(&film).unwrap()["capabilities"]["canEdit"], false);
    emulator.rename_drive(&team, "Crew");
    assert_eq!(told_of_drives(&as_bob, &start).await, [(Some("Crew".into()), false)]);
    assert_eq!(bob.file_json(&team).unwrap()["name"], "Crew");
    emulator.leave(&team, BOB);
    assert_eq!(told_of_drives(&as_bob, &start).await, [(None, true)]);
    let path = format!("/drive/v3/files/{film}?supportsAllDrives=true");
    assert_eq!(as_bob.refused(&path).await, (404, "notFound".to_owned()));
    let changes = format!("/drive/v3/changes?{ALL}&pageToken={of_team}{more}");
    assert_eq!(as_bob.refused(&changes).await, (404, "notFound".to_owned()));
    emulator.join(&team, BOB, Role::Organizer);
    emulator.delete_drive(&team);
    assert_eq!(told_of_drives(&as_bob, &start).await, [(None, true)]);
    for path in [format!("/drive/v3/files/{film}?supportsAllDrives=true"), format!("/drive/v3/drives/{team}")]
    {
        assert_eq!(as_bob.get(&path).await.0, 404);
    }
    assert_eq!(as_bob.refused(&changes).await.0, 404);
    assert!(emulator.file_json(&team).is_none());
}

#[tokio::test]
async fn a_folder_of_a_shared_drive_may_be_shared_with_one_who_is_no_member() {
    let drive = drive().await;
    let (emulator, bob) = (&drive.emulator, drive.emulator.user(BOB));
    let as_bob = drive.by(&bob);
    let team = emulator.shared_drive("Team");
    let folder = emulator.folder(&team, "Clips");
    let film = emulator.upload(Upload::new(&folder, "a.mp4", "film"));
    let hidden = emulator.upload(Upload::new(&team, "b.mp4", "hidden"));
    let of_team = start_of(&drive, &team).await;
    let start = as_bob.start_token().await;
    emulator.share(&folder, BOB, Role::Reader);
    let seen =
        as_bob.ok(&format!("/drive/v3/files/{folder}?supportsAllDrives=true&fields=driveId,parents")).await;
    assert_eq!(seen, json!({"driveId": team}), "the drive is told, the folder above is not");
    assert!(bob.file_json(&hidden).is_none() && bob.file_json(&team).is_none());
    let listed = as_bob.ok(&format!("/drive/v3/files?{ALL}&q='{folder}'+in+parents")).await;
    assert_eq!(ids(&listed), [film.as_str()]);
    assert_eq!(as_bob.media(&film, None).await.status(), 404, "without supportsAllDrives");
    let path = format!("/drive/v3/files/{film}?alt=media&supportsAllDrives=true");
    assert_eq!(as_bob.request(Method::GET, &path).send().await.unwrap().status(), 200);
    for (refusal, expected) in [
        (DriveRefusal::NotFound, (404, "notFound".to_owned())),
        (DriveRefusal::MembershipRequired, (403, "teamDriveMembershipRequired".to_owned())),
    ] {
        emulator.set_drive_refusal(refusal);
        for path in [
            format!("/drive/v3/drives/{team}"),
            format!("/drive/v3/changes/startPageToken?supportsAllDrives=true&driveId={team}"),
            format!("/drive/v3/changes?{ALL}&driveId={team}&pageToken={of_team}"),
            format!("/drive/v3/files?{ALL}&driveId={team}&corpora=drive"),
        ] {
            assert_eq!(as_bob.refused(&path).await, expected, "{path}");
        }
    }
    assert_eq!(as_bob.ok("/drive/v3/drives").await["drives"], json!([]));
    emulator.revise(&film, "new");
    assert_eq!(told(&as_bob, &start, "").await, [(folder.clone(), false), (film.clone(), false)]);
    emulator.set_outsider_entries(false);
    let start = as_bob.start_token().await;
    emulator.revise(&film, "newer");
    assert_eq!(told(&as_bob, &start, "").await, []);
    let (changes, _, _) = since(&drive, &of_team, &format!("&driveId={team}")).await;
    assert_eq!(changes.last().unwrap()["fileId"], film.as_str(), "members read it in the drive's log");
}

#[tokio::test]
async fn accounts_and_drives_are_reachable_over_http() {
    let drive = drive().await;
    let emulator = &drive.emulator;
    let send = async |method: Method, path: &str, body: Value| {
        let (status, answer) = drive.control(method, &format!("/control/{path}"), &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let opened = send(Method::POST, "users", json!({"address": BOB})).await;
    let bob = emulator.user(BOB);
    assert_eq!(opened, json!({"address": BOB, "rootId": bob.root_id()}));
    let key = send(Method::GET, &format!("users/{BOB}/credentials"), Value::Null).await;
    assert_eq!(key["type"], "authorized_user");
    let film = emulator.upload(Upload::new(&emulator.root_id(), "a.mp4", "film"));
    let path = format!("files/{film}/permissions");
    send(Method::POST, &path, json!({"address": BOB, "role": "reader"})).await;
    assert!(bob.file_json(&film).is_some());
    send(Method::POST, &format!("files/{film}/downloads"), json!({"downloads": "writersOnly"})).await;
    assert_eq!(bob.file_json(&film).unwrap()["capabilities"]["canDownload"], false);
    send(Method::DELETE, &format!("{path}/{BOB}"), Value::Null).await;
    assert!(bob.file_json(&film).is_none());
    send(Method::POST, &path, json!({"role": "reader"})).await;
    assert!(bob.file_json(&film).is_some());
    let key = send(Method::POST, &format!("files/{film}/resource-key"), Value::Null).await;
    assert_eq!(emulator.file_json(&film).unwrap()["resourceKey"], key["resourceKey"]);
    assert!(bob.file_json(&film).is_none());
    send(Method::DELETE, &format!("{path}/link"), Value::Null).await;
    assert_eq!(emulator.file_json(&film).unwrap()["shared"], false);
    send(Method::POST, &format!("files/{film}/owner"), json!({"address": BOB})).await;
    assert_eq!(bob.file_json(&film).unwrap()["ownedByMe"], true);
    let team = emulator.shared_drive("Team");
    send(Method::POST, &format!("drives/{team}/members"), json!({"address": BOB, "role": "organizer"})).await;
    send(Method::PATCH, &format!("drives/{team}"), json!({"name": "Crew"})).await;
    assert_eq!(bob.file_json(&team).unwrap()["name"], "Crew");
    send(Method::DELETE, &format!("drives/{team}/members/{BOB}"), Value::Null).await;
    assert!(bob.file_json(&team).is_none());
    send(Method::DELETE, &format!("drives/{team}"), Value::Null).await;
    assert!(emulator.file_json(&team).is_none());
    let lag = json!({"mediaMilliseconds": 60_000, "refusal": "insufficientFilePermissions", "entry": true});
    let settings = json!({"permissionLag": lag, "driveRefusal": "membershipRequired", "outsiderEntries": false,
        "consentAs": BOB, "ownServiceAccount": true});
    send(Method::POST, "sharing", settings).await;
    for (method, path, body, code) in [
        (Method::POST, "files/none/permissions".to_owned(), json!({"address": BOB, "role": "reader"}), 404),
        (Method::POST, format!("files/{film}/permissions"), json!({"address": "x@y", "role": "reader"}), 404),
        (Method::POST, format!("files/{film}/permissions"), json!({"address": BOB, "role": "owner"}), 400),
        (Method::DELETE, "drives/none".to_owned(), Value::Null, 404),
        (Method::POST, "sharing".to_owned(), json!({"lag": 1}), 400),
        (Method::GET, "users/x@y/credentials".to_owned(), Value::Null, 404),
    ] {
        let (status, answer) = drive.control(method, &format!("/control/{path}"), &body).await;
        assert!(status == code && answer["error"].is_string(), "{path}: {status} {answer}");
    }
}
