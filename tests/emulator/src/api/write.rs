//! `files.create` and `files.update`: everything is looked at first, then everything is changed.

use std::sync::Arc;

use serde_json::Value;

use super::call::{Answer, Call};
use super::error::ApiError;
use super::resource;
use super::view::View;
use super::written::{self, Purpose};
use super::{drives, files};
use crate::drive::content::{Checksums, Content};
use crate::drive::edit::{Edit, Making};
use crate::drive::mime;
use crate::drive::node::Node;
use crate::drive::role::Role;
use crate::drive::tree::Refusal;
use crate::inner::Inner;
use crate::world::World;

/// Bytes that came with a request.
pub(crate) struct Media {
    pub(crate) content: Content,
    /// What the uploader says it is.
    pub(crate) mime_type: Option<String>,
}

struct Digested {
    content: Content,
    checksums: Checksums,
    mime_type: Option<String>,
}

/// Makes the file or changes it, whichever the path means, and returns its id.
pub(crate) async fn store(
    inner: &Arc<Inner>,
    call: &Call,
    resource: &Value,
    media: Option<Media>,
) -> Result<String, ApiError> {
    call.check_mask("File")?;
    let media = match media {
        None => None,
        Some(media) => Some(digest(media).await?),
    };
    let has_content = media.is_some();
    let id = {
        let mut state = inner.state();
        if call.route.id.is_none() {
            create(&mut state, call, resource, media)?
        } else {
            update(&mut state, call, resource, media)?
        }
    };
    if has_content {
        inner.follow_up(&id);
    }
    Ok(id)
}

/// The answer about a file that was just written.
pub(crate) fn told(state: &World, call: &Call, id: &str) -> Answer {
    let node = state.find(id).ok_or_else(|| ApiError::file_not_found(id))?;
    call.answer(resource::file_for(&View::of(state, call), node), "File", resource::FILE_DEFAULT)
}

/// Refuses what could be refused before the content is there.
pub(crate) fn look(state: &World, call: &Call, resource: &Value) -> Result<(), ApiError> {
    call.check_mask("File")?;
    written::edit(resource)?;
    if call.route.id.is_none() {
        written::check(resource, Purpose::New)?;
        new_parent(state, call, resource, None)?;
        new_id(resource)?;
        Ok(())
    } else {
        written::check(resource, Purpose::Existing)?;
        place(state, call).map(drop)
    }
}

/// Off the runtime's threads: large contents take a while.
async fn digest(media: Media) -> Result<Digested, ApiError> {
    let Media { content, mime_type } = media;
    let work = move || Digested { checksums: content.checksums(), content, mime_type };
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::of_reason(500, "internalError", None))
}

fn create(
    state: &mut World,
    call: &Call,
    resource: &Value,
    media: Option<Digested>,
) -> Result<String, ApiError> {
    written::check(resource, Purpose::New)?;
    let parent = new_parent(state, call, resource, None)?;
    let id = new_id(resource)?;
    let mut edit = written::edit(resource)?;
    let making = making(resource, &mut edit, media)?;
    edit.owner = Some(View::of(state, call).account.address.clone());
    Ok(state.create(&parent, id, making, &edit)?)
}

/// The kind of item that a type, a target and content mean together.
fn making(resource: &Value, edit: &mut Edit, media: Option<Digested>) -> Result<Making, ApiError> {
    let mime_type = edit.mime_type.as_deref().unwrap_or_default();
    if !Node::is_google_type(mime_type) {
        let blank = || Digested {
            content: Content::from(""),
            checksums: Content::from("").checksums(),
            mime_type: None,
        };
        let is_bare = media.is_none();
        let Digested { content, checksums, mime_type } = media.unwrap_or_else(blank);
        edit.mime_type = edit.mime_type.take().or(mime_type);
        if is_bare && edit.mime_type.is_none() {
            edit.mime_type = Some("application/octet-stream".to_owned());
        }
        return Ok(Making::Blob(content, checksums));
    }
    // Clients without a way to create a thing of no content send an empty one for a folder, and Drive takes that.
    let is_empty = mime_type == mime::FOLDER && media.as_ref().is_some_and(|media| media.content.size() == 0);
    if media.is_some() && !is_empty {
        return Err(ApiError::bad_request("Content cannot be converted to a type of Google's own here."));
    }
    match (mime_type, resource["shortcutDetails"]["targetId"].as_str()) {
        (mime::FOLDER, _) => Ok(Making::Folder),
        (mime::SHORTCUT, Some(target)) => Ok(Making::Shortcut(target.to_owned())),
        (mime::SHORTCUT, None) => Err(ApiError::required("shortcutDetails.targetId")),
        _ => Ok(Making::Document),
    }
}

/// The folder of a new item: the one it names, or the usual one.
pub(crate) fn new_parent(
    state: &World,
    call: &Call,
    resource: &Value,
    usual: Option<String>,
) -> Result<String, ApiError> {
    let parents: Vec<&str> =
        resource["parents"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match parents.as_slice() {
        [] => Ok(usual.unwrap_or_else(|| View::of(state, call).account.root.clone())),
        [parent] => Ok(folder(state, call, parent)?.id.clone()),
        _ => Err(too_many_parents()),
    }
}

/// A folder that the caller may put something into.
fn folder<'a>(state: &'a World, call: &Call, id: &str) -> Result<&'a Node, ApiError> {
    let node = files::find(state, call, id)?;
    if !node.is_folder() {
        return Err(Refusal::NotAFolder(id.to_owned()).into());
    }
    View::of(state, call).require(node, Role::Writer)?;
    Ok(node)
}

/// An id that the client chose, which must look as if it came from `files.generateIds`.
pub(crate) fn new_id(resource: &Value) -> Result<Option<String>, ApiError> {
    let Some(id) = resource["id"].as_str() else { return Ok(None) };
    let is_usable =
        id.len() == 33 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_usable {
        Ok(Some(id.to_owned()))
    } else {
        Err(ApiError::bad_request("The provided file ID is not usable."))
    }
}

fn update(
    state: &mut World,
    call: &Call,
    resource: &Value,
    media: Option<Digested>,
) -> Result<String, ApiError> {
    written::check(resource, Purpose::Existing)?;
    let mut edit = written::edit(resource)?;
    let trashed = written::flag(&resource["trashed"]);
    let (node, target) = place(state, call)?;
    let id = node.id.clone();
    if media.is_some() && node.blob().is_none() {
        return Err(Refusal::NotABlob(id).into());
    }
    let trash = trashed.filter(|trashed| *trashed != node.trashed);
    if target.is_some() || trash.is_some() {
        let view = View::of(state, call);
        view.require(node, View::least_to_move(node))?;
    }
    // From here on nothing is refused.
    if let Some(target) = target {
        state.move_to(&id, &target)?;
    }
    if let Some(Digested { content, checksums, mime_type }) = media {
        state.revise(&id, content, checksums)?;
        edit.mime_type = edit.mime_type.take().or(mime_type);
    }
    if let Some(trashed) = trash {
        state.set_trashed(&id, trashed)?;
    }
    state.edit(&id, &edit)?;
    Ok(id)
}

/// The item in the path, which is no root, and the folder it is to be moved to.
fn place<'a>(state: &'a World, call: &Call) -> Result<(&'a Node, Option<String>), ApiError> {
    let node = files::visible(state, call)?;
    if node.parent.is_none() {
        return Err(Refusal::IsRoot(node.id.clone()).into());
    }
    View::of(state, call).require(node, Role::Writer)?;
    Ok((node, moved(state, call, node)?))
}

/// The folder that `addParents` and `removeParents` move an item to, if they do: an item has exactly one.
fn moved(state: &World, call: &Call, node: &Node) -> Result<Option<String>, ApiError> {
    let root = View::of(state, call).account.root.as_str();
    let ids = |name: &str| -> Vec<&str> {
        let list = call.params.get(name).unwrap_or_default().split(',').map(str::trim);
        list.filter(|id| !id.is_empty()).map(|id| if id == "root" { root } else { id }).collect()
    };
    let (added, removed) = (ids("addParents"), ids("removeParents"));
    let mut after: Vec<&str> =
        node.parent.iter().map(String::as_str).filter(|id| !removed.contains(id)).collect();
    for id in added {
        let id = folder(state, call, id)?.id.as_str();
        if !after.contains(&id) {
            after.push(id);
        }
    }
    match after.as_slice() {
        [target] if node.parent.as_deref() == Some(*target) => Ok(None),
        [target] => {
            let target = state.known(target)?;
            if state.lineage(target).any(|above| above.id == node.id) {
                return Err(Refusal::BelowItself(node.id.clone()).into());
            }
            Ok(Some(target.id.clone()))
        }
        _ if node.drive.is_some() => {
            let text = "A shared drive item must have exactly one parent.";
            Err(ApiError::new(403, "teamDrivesParentLimit", text))
        }
        [] => Err(ApiError::new(403, "cannotRemoveParent", "The item would be left without a parent.")),
        _ => Err(too_many_parents()),
    }
}

fn too_many_parents() -> ApiError {
    ApiError::new(403, "cannotAddParent", "Increasing the number of parents is not allowed")
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NoSuchFile(id) => Self::file_not_found(&id),
            Refusal::NoSuchDrive(id) => drives::not_found(&id),
            Refusal::NotAFolder(_) => {
                Self::new(403, "parentNotAFolder", "The specified parent is not a folder.")
            }
            Refusal::IsRoot(_) => Self::of_reason(403, "insufficientFilePermissions", None),
            Refusal::IdTaken(_) => {
                Self::new(409, "fileIdInUse", "A file already exists with the provided ID.")
            }
            // Google's guide lists a cycle among the bad requests.
            Refusal::BelowItself(_)
            | Refusal::NotABlob(_)
            | Refusal::BadTime(_)
            | Refusal::NoSuchAccount(_)
            | Refusal::BadRole(_)
            | Refusal::NoSuchRevision(_) => Self::bad_request(&text),
        }
    }
}
