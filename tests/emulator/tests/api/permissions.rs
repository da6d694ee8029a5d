//! Permissions and shared drives as clients manage them.

use drive_emulator::{Role, Upload};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Drive, answer, drive};

const BOB: &str = "bob@example.com";

/// A request with a body: status, and the answer or the reason of a refusal.
async fn send(drive: &Drive, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = drive.request(method, &format!("/drive/v3/{path}")).json(&body);
    let (status, answer) = answer(request.send().await.unwrap()).await;
    let reason = answer["error"]["errors"][0]["reason"].clone();
    (status, if reason.is_null() { answer } else { reason })
}

#[tokio::test]
async fn permissions_are_given_changed_and_taken_away() {
    let drive = drive().await;
    let bob = drive.emulator.user(BOB);
    let film = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", "x"));
    let path = format!("files/{film}/permissions");
    let wanted = json!({"type": "user", "role": "reader", "emailAddress": BOB});
    let (status, made) = send(&drive, Method::POST, &path, wanted).await;
    assert_eq!((status, &made["role"], &made["kind"]), (200, &"reader".into(), &"drive#permission".into()));
    assert!(bob.file_json(&film).is_some());
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        send(&drive.by(&bob), Method::GET, &path, Value::Null).await,
        (403, "insufficientFilePermissions".into())
    );
    assert_eq!(send(&drive, Method::PATCH, &one, json!({"role": "writer"})).await.1["role"], "writer");
    assert_eq!(bob.file_json(&film).unwrap()["capabilities"]["canEdit"], true);
    let listed = drive.ok(&format!("/drive/v3/{path}?fields=permissions(emailAddress,role)")).await;
    let owner = drive.emulator.first_user().address().to_owned();
    assert_eq!(
        listed["permissions"],
        json!([{"emailAddress": owner, "role": "owner"}, {"emailAddress": BOB, "role": "writer"}])
    );
    assert_eq!(
        drive.ok(&format!("/drive/v3/{one}")).await,
        json!({"kind": "drive#permission", "id": made["id"], "type": "user", "role": "writer"})
    );
    assert_eq!(send(&drive, Method::DELETE, &one, Value::Null).await.0, 204);
    assert!(bob.file_json(&film).is_none());
    assert_eq!(send(&drive, Method::DELETE, &one, Value::Null).await, (404, "notFound".into()));
    let (_, link) = send(&drive, Method::POST, &path, json!({"type": "anyone", "role": "reader"})).await;
    assert_eq!(link["id"], "anyoneWithLink");
    assert!(bob.file_json(&film).is_some());
    for (wanted, reason) in [
        (
            json!({"type": "user", "role": "reader", "emailAddress": "nobody@example.com"}),
            "invalidSharingRequest",
        ),
        (json!({"type": "user", "role": "reader"}), "required"),
        (json!({"type": "user", "role": "king", "emailAddress": BOB}), "badRequest"),
        (json!({"type": "user", "role": "owner", "emailAddress": BOB}), "forbidden"),
    ] {
        assert_eq!(send(&drive, Method::POST, &path, wanted.clone()).await.1, reason, "{wanted}");
    }
    let given = json!({"type": "user", "role": "owner", "emailAddress": BOB});
    assert_eq!(send(&drive, Method::POST, &format!("{path}?transferOwnership=true"), given).await.0, 200);
    assert_eq!(bob.file_json(&film).unwrap()["ownedByMe"], true);
}

#[tokio::test]
async fn shared_drives_are_made_managed_and_deleted_by_clients() {
    let drive = drive().await;
    let bob = drive.emulator.user(BOB);
    let (status, made) = send(&drive, Method::POST, "drives?requestId=1", json!({"name": "Team"})).await;
    assert_eq!((status, &made["name"]), (200, &"Team".into()));
    let team = made["id"].as_str().unwrap().to_owned();
    assert_eq!(send(&drive, Method::POST, "drives", json!({"name": "Team"})).await, (400, "required".into()));
    let member = json!({"type": "user", "role": "fileOrganizer", "emailAddress": BOB});
    let members = format!("files/{team}/permissions?supportsAllDrives=true");
    let (status, given) = send(&drive, Method::POST, &members, member).await;
    assert_eq!((status, &given["role"]), (200, &"fileOrganizer".into()));
    let path = format!("drives/{team}");
    let as_bob = drive.by(&bob);
    assert_eq!(as_bob.ok(&format!("/drive/v3/{path}")).await["name"], "Team");
    let refused = (403, json!("insufficientFilePermissions"));
    assert_eq!(send(&as_bob, Method::PATCH, &path, json!({"name": "Bob's"})).await, refused);
    assert_eq!(send(&drive, Method::PATCH, &path, json!({"name": "Crew"})).await.1["name"], "Crew");
    let film = drive.emulator.upload(Upload::new(&team, "a.mp4", "x"));
    assert_eq!(send(&drive, Method::DELETE, &path, Value::Null).await.0, 400, "it is not empty");
    drive.emulator.trash(&film);
    assert_eq!(send(&as_bob, Method::DELETE, &path, Value::Null).await, refused);
    assert_eq!(send(&drive, Method::DELETE, &path, Value::Null).await.0, 204);
    assert_eq!(drive.get(&format!("/drive/v3/{path}")).await.0, 404);
    let second = drive.emulator.shared_drive("Second");
    drive.emulator.join(&second, BOB, Role::Reader);
    let of_second = format!("files/{second}/permissions");
    let listed = drive.ok(&format!("/drive/v3/{of_second}?supportsAllDrives=true")).await;
    assert_eq!(listed["permissions"].as_array().unwrap().len(), 2);
    let leaving =
        listed["permissions"].as_array().unwrap().iter().find(|one| one["role"] == "reader").unwrap();
    let one = format!("{of_second}/{}?supportsAllDrives=true", leaving["id"].as_str().unwrap());
    assert_eq!(send(&drive, Method::DELETE, &one, Value::Null).await.0, 204);
    assert_eq!(as_bob.ok("/drive/v3/drives").await["drives"], json!([]));
}
