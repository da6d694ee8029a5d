//! How things of the Drive look in Google's JSON: 64-bit numbers as text, times in UTC with milliseconds.

use serde_json::{Value, json};

use crate::drive::clock::rfc3339;
use crate::drive::extras::Extras;
use crate::drive::log::{Entry, Subject};
use crate::drive::mime;
use crate::drive::node::{Blob, Kind, Node, Quirk};
use crate::drive::state::{SharedDrive, State};
use crate::oauth::credentials;

/// Everything about a file.
pub(crate) fn file(state: &State, node: &Node) -> Value {
    let mut file = json!({
        "kind": "drive#file",
        "id": node.id,
        "name": node.name,
        "mimeType": node.mime_type,
        "version": node.version.to_string(),
        "createdTime": rfc3339(node.created),
        "modifiedTime": rfc3339(node.modified),
        "modifiedByMeTime": rfc3339(node.modified),
        "modifiedByMe": true,
        "viewedByMe": node.extras.viewed.is_some(),
        "starred": node.extras.starred,
        "spaces": ["drive"],
        "trashed": state.is_trashed(node),
        "explicitlyTrashed": node.trashed,
        "lastModifyingUser": user(),
        "copyRequiresWriterPermission": false,
        "quotaBytesUsed": "0",
        "iconLink": format!("https://drive-thirdparty.googleusercontent.com/16/type/{}", node.mime_type),
        "webViewLink": web_view_link(node),
        "isAppAuthorized": true,
        "capabilities": capabilities(node),
    });
    if let Some(parent) = &node.parent {
        file["parents"] = json!([parent]);
    }
    if let Some(drive) = &node.drive {
        file["driveId"] = json!(drive);
        file["teamDriveId"] = json!(drive);
        if let Some(time) = node.trashed_time {
            file["trashedTime"] = json!(rfc3339(time));
            file["trashingUser"] = user();
        }
    } else {
        file["owners"] = json!([user()]);
        file["ownedByMe"] = json!(true);
        file["shared"] = json!(false);
    }
    add_extras(&mut file, &node.extras);
    match &node.kind {
        Kind::Blob(blob) => add_blob(&mut file, node, blob, state.now()),
        Kind::Shortcut { target, target_mime_type } => {
            file["shortcutDetails"] = json!({"targetId": target, "targetMimeType": target_mime_type});
        }
        Kind::Folder | Kind::Document => {}
    }
    file
}

fn add_extras(file: &mut Value, extras: &Extras) {
    let texts = [("description", &extras.description), ("folderColorRgb", &extras.folder_color)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
        file[name] = json!(text);
    }
    for (name, map) in [("properties", &extras.properties), ("appProperties", &extras.app_properties)] {
        if !map.is_empty() {
            file[name] = json!(map);
        }
    }
    if let Some(viewed) = extras.viewed {
        file["viewedByMeTime"] = json!(rfc3339(viewed));
    }
}

fn add_blob(file: &mut Value, node: &Node, blob: &Blob, now: i64) {
    file["headRevisionId"] = json!(blob.revision);
    file["originalFilename"] = json!(blob.original_name);
    file["webContentLink"] = json!(format!("https://drive.google.com/uc?id={}&export=download", node.id));
    let extension = mime::extension(&node.name).unwrap_or_default();
    file["fileExtension"] = json!(extension);
    file["fullFileExtension"] = json!(extension);
    if now < blob.processed {
        return;
    }
    if !node.has(Quirk::NoSize) {
        file["size"] = json!(blob.content.size().to_string());
        file["quotaBytesUsed"] = json!(blob.content.size().to_string());
    }
    if !node.has(Quirk::NoChecksums) {
        file["md5Checksum"] = json!(blob.checksums.md5);
        file["sha1Checksum"] = json!(blob.checksums.sha1);
        file["sha256Checksum"] = json!(blob.checksums.sha256);
    }
    if node.mime_type.starts_with("video/") && !node.has(Quirk::NoVideoMetadata) {
        // A plausible length: Drive's own figure depends on the film, not on its bytes.
        let milliseconds = (blob.content.size() / 1000).max(1000);
        file["videoMediaMetadata"] =
            json!({"width": 1920, "height": 1080, "durationMillis": milliseconds.to_string()});
    }
}

fn web_view_link(node: &Node) -> String {
    let kind = if node.is_folder() { "drive/folders" } else { "file/d" };
    let tail = if node.is_folder() { "" } else { "/view?usp=drivesdk" };
    format!("https://drive.google.com/{kind}/{}{tail}", node.id)
}

fn capabilities(node: &Node) -> Value {
    let is_folder = node.is_folder();
    let is_blob = node.blob().is_some();
    let may_download = is_blob && !node.has(Quirk::NotDownloadable);
    json!({
        "canAddChildren": is_folder,
        "canListChildren": is_folder,
        "canRemoveChildren": is_folder,
        "canDownload": may_download,
        "canReadRevisions": may_download,
        "canCopy": may_download,
        "canComment": true,
        "canDelete": true,
        "canEdit": true,
        "canModifyContent": is_blob,
        "canRename": true,
        "canShare": true,
        "canTrash": true,
        "canUntrash": true,
    })
}

/// What is left of a file without a mask.
pub(crate) const FILE_DEFAULT: &str = "kind,id,name,mimeType,resourceKey";

/// Whether an item that left a log, and still exists, is told with its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removals {
    Bare,
    WithFile,
}

/// One entry of a change log; the file in its present state.
pub(crate) fn change(state: &State, entry: &Entry, removals: Removals) -> Value {
    let mut change = json!({
        "kind": "drive#change",
        "time": rfc3339(entry.time),
        "removed": entry.removed,
    });
    match &entry.subject {
        Subject::File(id) => {
            change["changeType"] = json!("file");
            change["type"] = json!("file");
            change["fileId"] = json!(id);
            if let Some(node) =
                state.nodes.get(id).filter(|_| !entry.removed || removals == Removals::WithFile)
            {
                change["file"] = file(state, node);
                if let Some(drive) = &node.drive {
                    change["driveId"] = json!(drive);
                }
            }
        }
        Subject::Drive(id) => {
            change["changeType"] = json!("drive");
            change["type"] = json!("drive");
            change["driveId"] = json!(id);
            if let Some(shared) = state.drives.get(id).filter(|_| !entry.removed) {
                change["drive"] = drive(id, shared);
            }
        }
    }
    change
}

pub(crate) fn drive(id: &str, drive: &SharedDrive) -> Value {
    json!({
        "kind": "drive#drive",
        "id": id,
        "name": drive.name,
        "createdTime": rfc3339(drive.created),
        "hidden": false,
        "capabilities": {"canAddChildren": true, "canDownload": true, "canListChildren": true, "canReadRevisions": true},
        "restrictions": {"driveMembersOnly": false, "domainUsersOnly": false, "copyRequiresWriterPermission": false},
    })
}

pub(crate) fn user() -> Value {
    json!({
        "kind": "drive#user",
        "displayName": "Emulated User",
        "emailAddress": credentials::USER,
        "me": true,
        "permissionId": "02718281828459045235",
    })
}
