//! `files.get` and `files.list`.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::call::Call;
use super::drives;
use super::error::ApiError;
use super::order::Order;
use super::query::Query;
use super::resource;
use super::view::View;
use crate::drive::content::hex;
use crate::drive::ids;
use crate::drive::node::{Node, Quirk};
use crate::drive::state::{Cursor, Listings};
use crate::serve::body::Reply;
use crate::world::World;

/// The file in the path, if the caller may see it under its parameters.
pub(crate) fn visible<'a>(state: &'a World, call: &Call) -> Result<&'a Node, ApiError> {
    find(state, call, call.id())
}

/// A file that the caller may see under its parameters.
pub(crate) fn find<'a>(state: &'a World, call: &Call, id: &str) -> Result<&'a Node, ApiError> {
    let supported =
        call.params.flag("supportsAllDrives", false)? || call.params.flag("supportsTeamDrives", false)?;
    let node = View::of(state, call).find(id).filter(|node| node.drive.is_none() || supported);
    node.ok_or_else(|| ApiError::file_not_found(id))
}

/// Whether the caller may have the file's bytes.
pub(crate) fn may_download(node: &Node) -> bool {
    !node.has(Quirk::NotDownloadable)
}

pub(crate) fn get(state: &World, call: &Call) -> Result<Reply, ApiError> {
    if call.params.flag("acknowledgeAbuse", false)? {
        let text = "The acknowledgeAbuse parameter is only applicable for download requests.";
        return Err(ApiError::new(403, "invalidAbuseAcknowledgment", text).at_parameter("acknowledgeAbuse"));
    }
    let node = visible(state, call)?;
    call.answer(resource::file_for(&View::of(state, call), node), "File", resource::FILE_DEFAULT)
}

pub(crate) fn list(state: &mut World, call: &Call) -> Result<Reply, ApiError> {
    const DEFAULT: &str = "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType,resourceKey)";
    let size = call.params.page_size(100, 1000)?;
    call.check_mask("FileList")?;
    let (ids, offset) = match call.params.filled("pageToken") {
        None => (Arc::new(search(state, call)?), 0),
        Some(token) => {
            let is_ours = token.starts_with(&token_prefix(call));
            let cursor = state.cursors.iter().find(|cursor| is_ours && cursor.token == token);
            let cursor = cursor.ok_or_else(|| ApiError::invalid_value("pageToken"))?;
            let (mut ids, offset) = (cursor.ids.clone(), cursor.offset);
            if state.settings.listings == Listings::Shifting {
                ids = Arc::new(search(state, call)?);
            }
            let offset = offset.min(ids.len());
            (ids, offset)
        }
    };
    let end = (offset + size).min(ids.len());
    let files = ids[offset..end].iter().filter_map(|id| state.nodes.get(id));
    let view = View::of(state, call);
    let files: Vec<Value> = files.map(|node| resource::file_for(&view, node)).collect();
    let mut answer = json!({"kind": "drive#fileList", "incompleteSearch": false, "files": files});
    if end < ids.len() {
        answer["nextPageToken"] = json!(keep(state, token_prefix(call), ids, end));
    }
    call.answer(answer, "FileList", DEFAULT)
}

/// How the page tokens of a listing begin: another search does not go on with them.
fn token_prefix(call: &Call) -> String {
    const FREE: [&str; 9] = [
        "pageToken",
        "pageSize",
        "fields",
        "prettyPrint",
        "access_token",
        "oauth_token",
        "alt",
        "key",
        "quotaUser",
    ];
    let mut pairs: Vec<_> =
        call.params.pairs().filter(|(name, value)| !FREE.contains(name) && !value.is_empty()).collect();
    pairs.sort_unstable();
    let mut digest = hex(&Sha256::digest(format!("{pairs:?}")));
    digest.truncate(16);
    format!("~!!~{digest}")
}

/// Remembers where a listing stands, and forgets the oldest ones.
fn keep(state: &mut World, prefix: String, ids: Arc<Vec<String>>, offset: usize) -> String {
    const KEPT: usize = 512;
    let token = prefix + &ids::random(70);
    if state.cursors.len() == KEPT {
        state.cursors.pop_front();
    }
    state.cursors.push_back(Cursor { token: token.clone(), ids, offset });
    token
}

/// The shared drive that a listing is confined to, and whether items of shared drives are wanted at all.
fn corpus(call: &Call) -> Result<(bool, Option<&str>), ApiError> {
    let included = drives::included(call)?;
    let drive = drives::drive_id(call);
    let corpora = call.params.filled("corpora").unwrap_or("user");
    if (corpora == "drive") != drive.is_some() {
        let text = "The driveId parameter must be specified if and only if corpora is set to drive.";
        return Err(ApiError::new(403, "teamDriveIdRequiresTeamDriveCorpora", text));
    }
    if matches!(corpora, "drive" | "allDrives") && !included {
        let text = "The includeItemsFromAllDrives parameter must be set to true when driveId is specified or corpora \
                    contains drive or allDrives.";
        return Err(ApiError::new(403, "includeTeamDriveItemsRequired", text));
    }
    Ok((included, drive))
}

/// The search and its order, as far as they go together.
fn query(call: &Call) -> Result<(Option<Query>, Order), ApiError> {
    let query = call.params.filled("q").map(Query::parse).transpose()?;
    let order = Order::parse(call.params.get("orderBy").unwrap_or_default())?;
    if !order.is_empty() && query.as_ref().is_some_and(Query::searches_text) {
        let text = "Sorting is not supported for queries with fullText terms. Results are always in descending \
                    relevance order.";
        return Err(ApiError::new(403, "forbidden", text).at_parameter("orderBy"));
    }
    Ok((query, order))
}

fn search(state: &World, call: &Call) -> Result<Vec<String>, ApiError> {
    let (included, drive) = corpus(call)?;
    let view = View::of(state, call);
    if let Some(drive) = drive {
        drives::known(&view, drive)?;
    }
    let (query, order) = query(call)?;
    let folder = query.as_ref().and_then(Query::folder);
    // Real answers to a search in a folder that is not there name no file.
    let folder = folder.map(|id| view.find(id).ok_or_else(|| ApiError::file_not_found(""))).transpose()?;
    if !call.is_about_drive() {
        return Ok(Vec::new());
    }
    let in_scope = |node: &Node| match (&node.drive, drive) {
        (None, None) => true,
        (Some(_), None) => included,
        (own, Some(drive)) => included && own.as_deref() == Some(drive),
    };
    let now = state.now();
    let wanted = |node: &&Node| {
        node.parent.is_some()
            && node.listed_from <= now
            && in_scope(node)
            && if folder.is_some() { view.lists(node) } else { view.by_name(node).is_some() }
            && query.as_ref().is_none_or(|query| query.matches(&view, node))
    };
    let mut found: Vec<&Node> = match folder {
        Some(folder) => {
            let children = state.children.get(&folder.id).into_iter().flatten();
            children.filter_map(|(_, id)| state.nodes.get(id)).filter(wanted).collect()
        }
        None => state.nodes.values().filter(wanted).collect(),
    };
    found.sort_by(|a, b| order.compare(a, b));
    Ok(found.into_iter().map(|node| node.id.clone()).collect())
}
