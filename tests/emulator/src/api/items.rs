//! `files.delete`, `files.copy`, `files.generateIds` and `files.emptyTrash`.

use std::sync::Arc;

use serde_json::json;

use super::call::{Answer, Call};
use super::discovery::body;
use super::error::ApiError;
use super::view::View;
use super::written::{self, Purpose};
use super::{drives, files, write};
use crate::drive::edit::Making;
use crate::drive::ids;
use crate::drive::node::Node;
use crate::drive::role::Role;
use crate::inner::Inner;
use crate::serve::body::Reply;
use crate::world::World;

/// 204; a folder goes with everything below it.
pub(crate) fn delete(state: &mut World, call: &Call) -> Answer {
    let node = files::visible(state, call)?;
    View::of(state, call).require(node, View::least_to_delete(node))?;
    let id = node.id.clone();
    state.delete(&id)?;
    Ok(Reply::empty(204))
}

/// A copy of a file with content, beside the original if no other folder is named.
pub(crate) fn copy(inner: &Arc<Inner>, call: &Call) -> Answer {
    call.check_mask("File")?;
    let resource = body::read(&call.body, "File")?;
    written::check(&resource, Purpose::New)?;
    let mut edit = written::edit(&resource)?;
    let id = {
        let mut state = inner.state();
        let node = files::visible(&state, call)?;
        let not_copyable = || ApiError::new(403, "cannotCopyFile", "This file cannot be copied by the user.");
        let blob = node.blob().filter(|_| files::may_download(node)).ok_or_else(not_copyable)?;
        let making = Making::Blob(blob.content.clone(), blob.checksums.clone());
        edit.name.get_or_insert_with(|| format!("Copy of {}", node.name));
        edit.mime_type.get_or_insert_with(|| node.mime_type.clone());
        edit.modified.get_or_insert(node.modified);
        let view = View::of(&state, call);
        view.check_download(node).map_err(|_| not_copyable())?;
        edit.owner = Some(view.account.address.clone());
        // A copy of what lies where the caller may not put anything goes to the caller's own My Drive.
        let beside = node.parent.clone().filter(|parent| {
            state.find(parent).is_some_and(|parent| view.require(parent, Role::Writer).is_ok())
        });
        let parent = write::new_parent(&state, call, &resource, beside)?;
        let id = write::new_id(&resource)?;
        state.create(&parent, id, making, &edit)?
    };
    inner.follow_up(&id);
    write::told(&inner.state(), call, &id)
}

/// Ids for files that are still to be made.
pub(crate) fn generate_ids(_: &World, call: &Call) -> Answer {
    let count = call.params.count("count", 10, 1000);
    let ids: Vec<String> = (0..count).map(|_| ids::file()).collect();
    let space = call.params.filled("space").unwrap_or("drive");
    call.answer(json!({"kind": "drive#generatedIds", "space": space, "ids": ids}), "GeneratedIds", "*")
}

/// 204; what the user put into the trash of My Drive, or of the shared drive named, goes for ever.
pub(crate) fn empty_trash(state: &mut World, call: &Call) -> Answer {
    let drive = drives::drive_id(call);
    let view = View::of(state, call);
    if let Some(drive) = drive {
        drives::known(&view, drive)?;
    }
    let in_trash = |node: &&Node| {
        let is_deletable = || view.require(node, View::least_to_delete(node)).is_ok();
        node.trashed && node.drive.as_deref() == drive && is_deletable()
    };
    let ids: Vec<String> = state.nodes.values().filter(in_trash).map(|node| node.id.clone()).collect();
    for id in ids {
        // It went with its folder.
        let _ = state.delete(&id);
    }
    Ok(Reply::empty(204))
}
