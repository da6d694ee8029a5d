//! How things of the Drive look in Google's JSON: 64-bit numbers as text, times in UTC with milliseconds.

use serde_json::{Value, json};

use super::view::View;
use crate::drive::account::Account;
use crate::drive::clock::rfc3339;
use crate::drive::extras::Extras;
use crate::drive::late::When;
use crate::drive::log::{Entry, Subject};
use crate::drive::mime;
use crate::drive::node::{Blob, Kind, Node, Quirk};
use crate::drive::role::{Downloads, Role, SharedDrive};
use crate::world::World;

/// Everything about a file, as its owner sees it.
pub(crate) fn file(state: &World, node: &Node) -> Value {
    file_for(&View::of_owner(state, node), node)
}

/// Everything about a file, as one account sees it.
pub(crate) fn file_for(view: &View<'_>, node: &Node) -> Value {
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
        "trashed": view.is_trashed(node),
        "explicitlyTrashed": node.trashed,
        "lastModifyingUser": user_for(view, owner_of(view, node)),
        "copyRequiresWriterPermission": *downloads_of(view, node) != Downloads::Allowed,
        "quotaBytesUsed": "0",
        "iconLink": format!("https://drive-thirdparty.googleusercontent.com/16/type/{}", node.mime_type),
        "webViewLink": web_view_link(node),
        "isAppAuthorized": true,
        "capabilities": capabilities(view, node),
    });
    add_place(&mut file, view, node);
    add_sharing(&mut file, view, node);
    add_extras(&mut file, &node.extras);
    match &node.kind {
        Kind::Blob(blob) => add_blob(&mut file, node, blob, view.now()),
        Kind::Shortcut { target, target_mime_type } => {
            let mut details = json!({"targetId": target, "targetMimeType": target_mime_type});
            if let Some(key) = view.nodes.get(target).and_then(|target| target.sharing.resource_key.as_ref())
            {
                details["targetResourceKey"] = json!(key);
            }
            file["shortcutDetails"] = details;
        }
        Kind::Folder | Kind::Document => {}
    }
    file
}

/// Where it is. A folder that the account does not see is not told.
fn add_place(file: &mut Value, view: &View<'_>, node: &Node) {
    let parent = node.parent.as_ref().and_then(|parent| view.nodes.get(parent));
    if let Some(parent) = parent.filter(|parent| view.sees(parent)) {
        file["parents"] = json!([parent.id]);
    }
    if let Some(drive) = &node.drive {
        file["driveId"] = json!(drive);
        file["teamDriveId"] = json!(drive);
        if let Some(time) = node.trashed_time {
            file["trashedTime"] = json!(rfc3339(time));
            file["trashingUser"] = user_for(view, &view.first);
        }
    }
}

/// Whose it is, and who else may see it. In shared drives most of that is not told.
fn add_sharing(file: &mut Value, view: &View<'_>, node: &Node) {
    let sharing = &node.sharing;
    if let Some(key) = &sharing.resource_key {
        file["resourceKey"] = json!(key);
    }
    let is_owner = sharing.owner.as_ref() == Some(&view.account.address);
    if node.drive.is_none() {
        let is_shared = |node: &Node| {
            let mut others = node.sharing.grants.values().chain([&node.sharing.link]);
            others.any(|role| role.get(When::Settled).is_some())
        };
        file["owners"] = json!([user_for(view, owner_of(view, node))]);
        file["ownedByMe"] = json!(is_owner);
        file["shared"] = json!(!is_owner || view.lineage(node).any(is_shared));
    }
    if let Some(time) = view.shared_with_me(node) {
        file["sharedWithMeTime"] = json!(rfc3339(time));
    }
    if view.role(node) >= Some(Role::Writer) {
        let permissions = permissions(view, node);
        file["permissionIds"] = permissions.iter().map(|permission| permission["id"].clone()).collect();
        file["permissions"] = json!(permissions);
    }
}

/// The permissions on an item itself, its owner's first.
pub(crate) fn permissions(view: &View<'_>, node: &Node) -> Vec<Value> {
    let sharing = &node.sharing;
    let owner = sharing.owner.iter().map(|address| (address, Role::Owner));
    let granted =
        sharing.grants.iter().filter_map(|(address, role)| Some((address, (*role.get(When::Settled))?)));
    let by_name =
        owner.chain(granted).filter_map(|(address, role)| Some((view.account(address).ok()?, role)));
    let mut all: Vec<Value> = by_name.map(|(account, role)| permission(account, role)).collect();
    if let Some(role) = sharing.link.get(When::Settled) {
        all.push(json!({
            "kind": "drive#permission",
            "id": "anyoneWithLink",
            "type": "anyone",
            "role": role,
            "allowFileDiscovery": false,
        }));
    }
    all
}

pub(crate) fn permission(account: &Account, role: Role) -> Value {
    json!({
        "kind": "drive#permission",
        "id": account.permission_id,
        "type": "user",
        "emailAddress": account.address,
        "displayName": account.name,
        "role": role,
        "deleted": false,
        "pendingOwner": false,
    })
}

fn owner_of<'a>(view: &'a View<'_>, node: &Node) -> &'a Account {
    let owner = node.sharing.owner.as_ref().and_then(|owner| view.account(owner).ok());
    owner.unwrap_or(&view.first)
}

fn downloads_of<'a>(view: &View<'_>, node: &'a Node) -> &'a Downloads {
    node.sharing.downloads.get(When::Metadata(view.now()))
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

fn capabilities(view: &View<'_>, node: &Node) -> Value {
    let is_folder = node.is_folder();
    let is_blob = node.blob().is_some();
    let role = view.role(node);
    let (comments, writes) = (role >= Some(Role::Commenter), role >= Some(Role::Writer));
    let moves = role >= Some(View::least_to_move(node));
    let may_download = is_blob && !node.has(Quirk::NotDownloadable) && view.can_download(node);
    json!({
        "canAddChildren": is_folder && writes,
        "canListChildren": is_folder,
        "canRemoveChildren": is_folder && moves,
        "canDownload": may_download,
        "canReadRevisions": may_download && writes,
        "canCopy": may_download,
        "canComment": comments,
        "canDelete": role >= Some(View::least_to_delete(node)),
        "canEdit": writes,
        "canModifyContent": is_blob && writes,
        "canRename": writes,
        "canShare": writes,
        "canTrash": moves,
        "canUntrash": moves,
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
pub(crate) fn change(view: &View<'_>, entry: &Entry, removals: Removals) -> Value {
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
            let is_told =
                |node: &&Node| view.sees(node) && (!entry.removed || removals == Removals::WithFile);
            if let Some(node) = view.nodes.get(id).filter(is_told) {
                change["file"] = file_for(view, node);
                if let Some(drive) = &node.drive {
                    change["driveId"] = json!(drive);
                }
            }
        }
        Subject::Drive(id) => {
            change["changeType"] = json!("drive");
            change["type"] = json!("drive");
            change["driveId"] = json!(id);
            if let Some(shared) = view.drives.get(id).filter(|_| !entry.removed) {
                change["drive"] = drive(view, id, shared);
            }
        }
    }
    change
}

pub(crate) fn drive(view: &View<'_>, id: &str, drive: &SharedDrive) -> Value {
    let role = view.membership(&view.account.address, id, When::Metadata(view.now()));
    let (writes, manages) = (role >= Some(Role::Writer), role >= Some(Role::Organizer));
    json!({
        "kind": "drive#drive",
        "id": id,
        "name": drive.name,
        "createdTime": rfc3339(drive.created),
        "hidden": false,
        "capabilities": {
            "canAddChildren": writes,
            "canDownload": true,
            "canListChildren": true,
            "canReadRevisions": writes,
            "canManageMembers": manages,
            "canRenameDrive": manages,
            "canDeleteDrive": manages,
        },
        "restrictions": {"driveMembersOnly": false, "domainUsersOnly": false, "copyRequiresWriterPermission": false},
    })
}

/// An account, and whether it is the one that asks.
pub(crate) fn user_for(view: &View<'_>, account: &Account) -> Value {
    json!({
        "kind": "drive#user",
        "displayName": account.name,
        "emailAddress": account.address,
        "me": account.address == view.account.address,
        "permissionId": account.permission_id,
    })
}
