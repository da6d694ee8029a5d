//! Several accounts: what they see of each other, permissions that come, go and take effect late, links and their keys.

use std::time::Duration;

use drive_emulator::{Downloads, EffectEntry, Emulator, MediaRefusal, PermissionLag, Role, Upload, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::changes::since;
use crate::support::{Drive, answer, drive, ids};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

/// What a log says about items: ids and whether they are removed.
pub(crate) async fn told(drive: &Drive, token: &str, more: &str) -> Vec<(String, bool)> {
    let (changes, _, _) = since(drive, token, more).await;
    let of_files = changes.iter().filter(|change| change["changeType"] == "file");
    let pair = |change: &Value| {
        (change["fileId"].as_str().unwrap().to_owned(), change["removed"].as_bool().unwrap())
    };
    of_files.map(pair).collect()
}

async fn found(drive: &Drive, query: &str) -> Vec<String> {
    let request = drive.request(Method::GET, "/drive/v3/files").query(&[("q", query)]);
    let (status, list) = answer(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{query}: {list}");
    ids(&list).into_iter().map(str::to_owned).collect()
}

async fn media(drive: &Drive, id: &str) -> (u16, String) {
    let (status, body) = answer(drive.media(id, None).await).await;
    (status, body["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
}

/// Ann's folder with a film in it, and Bob, who does not see it yet.
fn ann_and_bob(emulator: &Emulator) -> (User, User, String, String) {
    let (ann, bob) = (emulator.user(ANN), emulator.user(BOB));
    let folder = ann.folder(&ann.root_id(), "Clips");
    let film = ann.upload(Upload::new(&folder, "a.mp4", "film"));
    (ann, bob, folder, film)
}

#[tokio::test]
async fn each_account_has_a_my_drive_a_log_and_an_identity_of_its_own() {
    let drive = drive().await;
    let (ann, bob, folder, film) = ann_and_bob(&drive.emulator);
    let (as_ann, as_bob) = (drive.by(&ann), drive.by(&bob));
    let (of_first, of_bob) = (drive.start_token().await, as_bob.start_token().await);
    let of_ann = as_ann.start_token().await;
    drive.emulator.touch(&film);
    assert_eq!(told(&as_ann, &of_ann, "").await, [(film.clone(), false)]);
    assert_eq!(told(&as_bob, &of_bob, "").await, []);
    assert_eq!(told(&drive, &of_first, "").await, []);
    assert_eq!(found(&as_ann, "'root' in parents").await, [folder]);
    assert_eq!(found(&as_bob, "'root' in parents").await, Vec::<String>::new());
    assert_eq!(found(&as_bob, "trashed = false").await, Vec::<String>::new());
    let roots = [&drive, &as_ann, &as_bob].map(|drive| drive.ok("/drive/v3/files/root?fields=id"));
    let roots = futures_util::future::join_all(roots).await;
    assert_eq!(
        roots,
        [json!({"id": drive.emulator.root_id()}), json!({"id": ann.root_id()}), json!({"id": bob.root_id()})]
    );
    let about = as_ann.ok("/drive/v3/about?fields=user(emailAddress,me)").await;
    assert_eq!(about["user"], json!({"emailAddress": ANN, "me": true}));
    assert_eq!(as_bob.refused(&format!("/drive/v3/files/{film}")).await, (404, "notFound".to_owned()));
    assert_eq!(media(&as_bob, &film).await, (404, "notFound".to_owned()));
    let listing = format!("/drive/v3/files?q='{}'+in+parents", ann.root_id());
    assert_eq!(
        as_bob.refused(&listing).await,
        (404, "notFound".to_owned()),
        "a folder that is not there for Bob"
    );
}

#[tokio::test]
async fn what_is_shared_is_seen_from_where_one_stands() {
    let drive = drive().await;
    let (ann, bob, folder, film) = ann_and_bob(&drive.emulator);
    let as_bob = drive.by(&bob);
    let start = as_bob.start_token().await;
    drive.emulator.share(&folder, BOB, Role::Reader);
    assert_eq!(told(&as_bob, &start, "").await, [(folder.clone(), false)], "what is below gets no entry");
    let (to_ann, to_bob) = (ann.file_json(&folder).unwrap(), bob.file_json(&folder).unwrap());
    assert_eq!((&to_ann["parents"][0], &to_bob["parents"]), (&ann.root_id().into(), &Value::Null));
    assert_eq!([&to_ann["ownedByMe"], &to_bob["ownedByMe"]], [true, false]);
    assert_eq!([&to_ann["shared"], &to_bob["shared"]], [true, true]);
    assert_eq!(
        (&to_bob["owners"][0]["emailAddress"], &to_bob["owners"][0]["me"]),
        (&ANN.into(), &false.into())
    );
    assert!(to_bob["sharedWithMeTime"].is_string() && to_ann["sharedWithMeTime"].is_null());
    assert_eq!(to_bob["capabilities"]["canEdit"], false);
    assert_eq!(to_ann["permissions"].as_array().unwrap().len(), 2);
    assert!(to_bob["permissions"].is_null(), "a reader is not told who else reads");
    let below = bob.file_json(&film).unwrap();
    assert_eq!((&below["parents"][0], &below["sharedWithMeTime"]), (&folder.as_str().into(), &Value::Null));
    assert_eq!(media(&as_bob, &film).await.0, 200);
    assert_eq!(found(&as_bob, &format!("'{folder}' in parents")).await, [film.as_str()]);
    assert_eq!(found(&as_bob, "sharedWithMe").await, [folder.as_str()]);
    assert_eq!(found(&as_bob, &format!("'{ANN}' in owners")).await, [folder.as_str(), film.as_str()]);
    assert_eq!(found(&as_bob, "'me' in owners or 'me' in writers").await, Vec::<String>::new());
    let start = as_bob.start_token().await;
    drive.emulator.revise(&film, "new");
    assert_eq!(told(&as_bob, &start, "").await, [(film.clone(), false)]);
    assert_eq!(told(&as_bob, &start, "&restrictToMyDrive=true").await, []);
}

#[tokio::test]
async fn what_is_not_shared_any_more_is_removed_from_that_log_alone() {
    let drive = drive().await;
    let (ann, bob, folder, film) = ann_and_bob(&drive.emulator);
    let (as_ann, as_bob) = (drive.by(&ann), drive.by(&bob));
    drive.emulator.share(&folder, BOB, Role::Writer);
    let (of_ann, of_bob) = (as_ann.start_token().await, as_bob.start_token().await);
    drive.emulator.share(&folder, BOB, Role::Reader);
    assert_eq!(told(&as_bob, &of_bob, "").await, [(folder.clone(), false)]);
    drive.emulator.unshare(&folder, BOB);
    assert_eq!(told(&as_ann, &of_ann, "").await, [(folder.clone(), false)]);
    assert_eq!(told(&as_bob, &of_bob, "").await, [(folder.clone(), true)]);
    for id in [&folder, &film] {
        assert_eq!(as_bob.refused(&format!("/drive/v3/files/{id}")).await.0, 404);
    }
    drive.emulator.share(&film, BOB, Role::Reader);
    drive.emulator.share(&folder, BOB, Role::Reader);
    let of_bob = as_bob.start_token().await;
    drive.emulator.unshare(&folder, BOB);
    drive.emulator.unshare(&film, BOB);
    assert_eq!(told(&as_bob, &of_bob, "").await, [(folder.clone(), true), (film.clone(), true)]);
    drive.emulator.set_descendant_entries(true);
    let of_bob = as_bob.start_token().await;
    drive.emulator.share(&folder, BOB, Role::Reader);
    assert_eq!(told(&as_bob, &of_bob, "").await, [(folder.clone(), false), (film.clone(), false)]);
    drive.emulator.move_to(&film, &ann.root_id());
    assert_eq!(
        told(&as_bob, &of_bob, "").await,
        [(folder, false), (film, true)],
        "moved out of what is shared"
    );
}

#[tokio::test]
async fn permissions_take_effect_late_with_or_without_an_entry() {
    let drive = drive().await;
    let (_, bob, folder, film) = ann_and_bob(&drive.emulator);
    let as_bob = drive.by(&bob);
    for (refusal, code, reason) in [
        (MediaRefusal::NotFound, 404, "notFound"),
        (MediaRefusal::InsufficientFilePermissions, 403, "insufficientFilePermissions"),
    ] {
        for entry in [EffectEntry::None, EffectEntry::Told] {
            let (metadata, late) = (Duration::from_mins(1), Duration::from_mins(2));
            drive.emulator.set_permission_lag(PermissionLag { metadata, media: late, refusal, entry });
            let start = as_bob.start_token().await;
            drive.emulator.share(&folder, BOB, Role::Reader);
            assert!(bob.file_json(&film).is_none());
            assert_eq!(
                told(&as_bob, &start, "").await,
                [],
                "the entry passes while the item is not to be seen"
            );
            let start = as_bob.start_token().await;
            drive.emulator.move_clock(61_000);
            assert!(bob.file_json(&film).is_some());
            assert_eq!(media(&as_bob, &film).await, (code, reason.to_owned()));
            let expected =
                if entry == EffectEntry::Told { vec![(folder.clone(), false)] } else { Vec::new() };
            assert_eq!(told(&as_bob, &start, "").await, expected);
            let start = as_bob.start_token().await;
            drive.emulator.move_clock(61_000);
            assert_eq!(media(&as_bob, &film).await.0, 200);
            assert_eq!(told(&as_bob, &start, "").await, expected);
            drive.emulator.unshare(&folder, BOB);
            assert_eq!(media(&as_bob, &film).await.0, 200, "it is still there for a while");
            drive.emulator.move_clock(121_000);
            assert_eq!(media(&as_bob, &film).await.0, 404);
        }
    }
}

#[tokio::test]
async fn an_effect_comes_with_real_time_too() {
    let drive = drive().await;
    let (_, bob, folder, film) = ann_and_bob(&drive.emulator);
    let as_bob = drive.by(&bob);
    let media_lag = Duration::from_millis(1500);
    drive.emulator.set_permission_lag(PermissionLag {
        media: media_lag,
        entry: EffectEntry::Told,
        ..Default::default()
    });
    drive.emulator.share(&folder, BOB, Role::Reader);
    assert_eq!(media(&as_bob, &film).await.0, 404);
    let start = as_bob.start_token().await;
    for _ in 0..500 {
        if !told(&as_bob, &start, "").await.is_empty() {
            assert_eq!(media(&as_bob, &film).await.0, 200);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there was no entry about the effect");
}

#[tokio::test]
async fn an_owner_forbids_downloads_and_allows_them_again() {
    let drive = drive().await;
    let (ann, bob, folder, film) = ann_and_bob(&drive.emulator);
    let (as_ann, as_bob) = (drive.by(&ann), drive.by(&bob));
    drive.emulator.share(&folder, BOB, Role::Reader);
    let refused = (403, "cannotDownloadFile".to_owned());
    let may = |user: &User| user.file_json(&film).unwrap()["capabilities"]["canDownload"].as_bool().unwrap();
    let start = as_bob.start_token().await;
    drive.emulator.set_downloads(&film, Downloads::WritersOnly);
    assert_eq!(told(&as_bob, &start, "").await, [(film.clone(), false)]);
    assert_eq!((may(&ann), may(&bob)), (true, false));
    assert_eq!(bob.file_json(&film).unwrap()["copyRequiresWriterPermission"], true);
    assert_eq!((media(&as_ann, &film).await.0, media(&as_bob, &film).await), (200, refused.clone()));
    drive.emulator.set_downloads(&film, Downloads::Forbidden);
    assert_eq!((may(&ann), may(&bob)), (false, false));
    assert_eq!(media(&as_ann, &film).await, refused);
    let lag = PermissionLag { media: Duration::from_mins(1), ..PermissionLag::default() };
    drive.emulator.set_permission_lag(lag);
    drive.emulator.set_downloads(&film, Downloads::Allowed);
    assert_eq!((may(&bob), media(&as_bob, &film).await), (true, refused), "metadata is ahead of media");
    drive.emulator.move_clock(61_000);
    assert_eq!(media(&as_bob, &film).await.0, 200);
}

#[tokio::test]
async fn a_service_account_owns_nothing_and_sees_what_is_shared_with_it() {
    let drive = drive().await;
    let (emulator, root) = (&drive.emulator, drive.emulator.root_id());
    let folder = emulator.folder(&root, "Inbox");
    let service = emulator.service_account();
    let as_service = drive.by(&service);
    assert_eq!(found(&as_service, "trashed = false").await, Vec::<String>::new());
    assert!(service.file_json(&root).is_none() && service.file_json(&folder).is_none());
    emulator.share(&folder, service.address(), Role::Reader);
    assert_eq!(found(&as_service, "sharedWithMe = true").await, [folder.as_str()]);
    assert!(service.file_json(&folder).unwrap()["parents"].is_null());
    let key: Value = serde_json::from_str(&emulator.service_account_json()).unwrap();
    assert_eq!(key["client_email"], service.address());
}

/// A GET with resource keys.
async fn with_keys(drive: &Drive, path: &str, keys: &str) -> (u16, Value) {
    let request = drive.request(Method::GET, path).header("X-Goog-Drive-Resource-Keys", keys);
    answer(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_link_with_a_resource_key_opens_only_with_the_key() {
    let drive = drive().await;
    let (ann, bob, folder, film) = ann_and_bob(&drive.emulator);
    let (emulator, as_bob) = (&drive.emulator, drive.by(&bob));
    let deep = ann.folder(&folder, "deep");
    let deep_film = ann.upload(Upload::new(&deep, "b.mp4", "deep"));
    let start = as_bob.start_token().await;
    emulator.share_link(&folder, Some(Role::Reader));
    assert_eq!(
        as_bob.get(&format!("/drive/v3/files/{film}")).await.0,
        200,
        "without a key the link is enough"
    );
    let (folder_key, deep_key) =
        (emulator.require_resource_key(&folder), emulator.require_resource_key(&deep));
    let get = |id: &str| format!("/drive/v3/files/{id}");
    let list = |id: &str| format!("/drive/v3/files?q='{id}'+in+parents");
    emulator.clear_requests();
    for path in [get(&folder), list(&folder), get(&deep), list(&deep)] {
        assert_eq!(as_bob.refused(&path).await, (404, "notFound".to_owned()), "{path}");
    }
    let keys = format!("x/y,{folder}/{folder_key}");
    assert_eq!(with_keys(&as_bob, &get(&folder), &keys).await.0, 200);
    let (_, listed) = with_keys(&as_bob, &list(&folder), &keys).await;
    assert_eq!(ids(&listed), [film.as_str(), deep.as_str()]);
    assert_eq!(
        listed["files"][1]["resourceKey"],
        deep_key.as_str(),
        "a listing tells the key of what is in it"
    );
    assert_eq!(with_keys(&as_bob, &list(&deep), &keys).await.0, 404, "every folder has a key of its own");
    let (_, listed) = with_keys(&as_bob, &list(&deep), &format!("{deep}/{deep_key}")).await;
    assert_eq!(ids(&listed), [deep_film.as_str()]);
    let sent: Vec<Option<String>> =
        emulator.requests().into_iter().map(|request| request.resource_keys).collect();
    assert_eq!(sent[..4], [const { None }; 4]);
    assert_eq!(sent[4..6], [Some(keys.clone()), Some(keys.clone())]);
    assert_eq!(told(&as_bob, &start, "").await, [], "what is seen by a link alone is in no log");
    assert_eq!(found(&as_bob, "trashed = false").await, Vec::<String>::new());
    emulator.share(&folder, BOB, Role::Reader);
    assert_eq!(as_bob.get(&get(&deep)).await.0, 200, "whoever has a permission needs no key");
    assert_eq!(drive.by(&ann).get(&get(&folder)).await.0, 200);
}

#[tokio::test]
async fn a_shortcut_tells_the_key_of_its_target() {
    let drive = drive().await;
    let (_, bob, folder, film) = ann_and_bob(&drive.emulator);
    let as_bob = drive.by(&bob);
    drive.emulator.share_link(&folder, Some(Role::Reader));
    let key = drive.emulator.require_resource_key(&film);
    let link = drive.emulator.shortcut(&bob.root_id(), "link", &film);
    let told = as_bob.ok(&format!("/drive/v3/files/{link}?fields=shortcutDetails,ownedByMe")).await;
    assert_eq!(told["shortcutDetails"]["targetResourceKey"], key.as_str());
    assert_eq!(told["ownedByMe"], true);
    assert_eq!(media(&as_bob, &film).await.0, 404);
    let path = format!("/drive/v3/files/{film}?alt=media");
    assert_eq!(
        with_keys(&as_bob, &path, &format!("{film}/{key}")).await,
        (200, Value::String("film".into()))
    );
}

#[tokio::test]
async fn what_is_given_away_belongs_to_somebody_else() {
    let drive = drive().await;
    let (ann, bob, _, film) = ann_and_bob(&drive.emulator);
    let start = drive.by(&bob).start_token().await;
    drive.emulator.give(&film, BOB);
    assert_eq!(told(&drive.by(&bob), &start, "").await, [(film.clone(), false)]);
    let (to_ann, to_bob) = (ann.file_json(&film).unwrap(), bob.file_json(&film).unwrap());
    assert_eq!([&to_ann["ownedByMe"], &to_bob["ownedByMe"]], [false, true]);
    assert!(to_bob["parents"].is_null(), "it lies in a folder that Bob does not see");
    assert_eq!([&to_ann["capabilities"]["canEdit"], &to_ann["capabilities"]["canDelete"]], [true, false]);
}

#[tokio::test]
async fn who_may_not_change_an_item_is_told_so() {
    let drive = drive().await;
    let (ann, bob, folder, film) = ann_and_bob(&drive.emulator);
    let as_bob = drive.by(&bob);
    let refused = (403, "insufficientFilePermissions".to_owned());
    let send = async |method: Method, path: String, body: Value| {
        let request = as_bob.request(method, &format!("/drive/v3/files{path}"));
        let (status, body) = answer(request.json(&body).send().await.unwrap()).await;
        (status, body["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
    };
    let into = json!({"name": "b.mp4", "parents": [folder]});
    assert_eq!(send(Method::POST, String::new(), into.clone()).await.0, 404, "what is not seen is not there");
    drive.emulator.share(&folder, BOB, Role::Reader);
    assert_eq!(send(Method::POST, String::new(), into.clone()).await, refused);
    assert_eq!(send(Method::PATCH, format!("/{film}"), json!({"name": "x"})).await, refused);
    let to_root = format!("/{film}?addParents=root&removeParents={folder}");
    assert_eq!(send(Method::PATCH, to_root, json!({})).await, refused);
    assert_eq!(send(Method::DELETE, format!("/{film}"), Value::Null).await, refused);
    drive.emulator.set_downloads(&film, Downloads::WritersOnly);
    let copied = send(Method::POST, format!("/{film}/copy"), json!({})).await;
    assert_eq!(copied, (403, "cannotCopyFile".to_owned()));
    drive.emulator.share(&folder, BOB, Role::Writer);
    assert_eq!(send(Method::PATCH, format!("/{film}"), json!({"name": "x"})).await.0, 200);
    assert_eq!(send(Method::DELETE, format!("/{film}"), Value::Null).await, refused, "a writer owns nothing");
    assert_eq!(send(Method::POST, String::new(), into).await.0, 200);
    let own = found(&as_bob, "'me' in owners").await;
    assert_eq!(own.len(), 1, "what Bob puts into Ann's folder is Bob's");
    assert_eq!(ann.file_json(&own[0]).unwrap()["owners"][0]["emailAddress"], BOB);
    assert_eq!(
        send(Method::POST, format!("/{film}/copy"), json!({"name": "copy", "parents": ["root"]})).await.0,
        200
    );
    assert_eq!(found(&as_bob, "'root' in parents").await.len(), 1, "Bob's own root");
    let team = drive.emulator.shared_drive("Team");
    let item = drive.emulator.upload(Upload::new(&team, "c.mp4", "c"));
    drive.emulator.join(&team, BOB, Role::Writer);
    let path = format!("/{item}?supportsAllDrives=true");
    assert_eq!(send(Method::PATCH, path.clone(), json!({"trashed": true})).await, refused);
    assert_eq!(send(Method::PATCH, path.clone(), json!({"name": "d.mp4"})).await.0, 200);
    drive.emulator.join(&team, BOB, Role::FileOrganizer);
    assert_eq!(send(Method::PATCH, path.clone(), json!({"trashed": true})).await.0, 200);
    assert_eq!(send(Method::DELETE, path.clone(), Value::Null).await, refused);
    drive.emulator.join(&team, BOB, Role::Organizer);
    assert_eq!(send(Method::DELETE, path, Value::Null).await.0, 204);
}
