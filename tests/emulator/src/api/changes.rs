//! `changes.getStartPageToken` and `changes.list`.

use serde_json::{Value, json};

use super::call::Call;
use super::drives;
use super::error::ApiError;
use super::resource;
use super::view::View;
use crate::drive::log::{Entry, Log, Subject};
use crate::serve::body::Reply;
use crate::world::World;

pub(crate) fn start_page_token(state: &World, call: &Call) -> Result<Reply, ApiError> {
    drives::included(call)?;
    let (_, log) = log(state, call)?;
    let token = log.head(state.now()).to_string();
    call.answer(json!({"kind": "drive#startPageToken", "startPageToken": token}), "StartPageToken", "*")
}

pub(crate) fn list(state: &World, call: &Call) -> Result<Reply, ApiError> {
    const DEFAULT: &str = "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,fileId,\
                           driveId,file(kind,id,name,mimeType,resourceKey),drive(kind,id,name))";
    let included = drives::included(call)?;
    let include_removed = call.params.flag("includeRemoved", true)?;
    let corpus_removals = if call.params.flag("includeCorpusRemovals", false)? {
        resource::Removals::WithFile
    } else {
        resource::Removals::Bare
    };
    let size = call.params.page_size(100, 1000)?;
    let (name, log) = log(state, call)?;
    let token = page_token(log, call)?;
    let view = View::of(state, call);
    let my_drive_only = call.params.flag("restrictToMyDrive", false)?;
    call.check_mask("ChangeList")?;
    let now = state.now();
    let mut answer = json!({"kind": "drive#changeList"});
    if state.settings.empty_pages && token % 2 == 0 {
        answer["changes"] = json!([]);
        answer["nextPageToken"] = json!((token + 1).to_string());
        return call.answer(answer, "ChangeList", DEFAULT);
    }
    let mut entries = log.since(token, now).peekable();
    let mut last = None;
    let mut changes: Vec<Value> = Vec::new();
    // Entries that are filtered out count as read, so that pages may come short as Drive's do.
    for (position, entry) in entries.by_ref().take(size) {
        last = Some(position);
        if call.is_about_drive()
            && (include_removed || !entry.removed)
            && is_shown(&view, entry, name, included)
            && (!my_drive_only || is_in_my_drive(&view, entry))
        {
            changes.push(resource::change(&view, entry, corpus_removals));
        }
    }
    answer["changes"] = Value::Array(changes);
    match (entries.peek(), last) {
        (Some(_), Some(last)) => answer["nextPageToken"] = json!((last + 1).to_string()),
        _ => answer["newStartPageToken"] = json!(log.head(now).to_string()),
    }
    call.answer(answer, "ChangeList", DEFAULT)
}

/// An entry is shown as long as the item belongs to the log, and items of shared drives only to those who asked for
/// them. What has left the log shows when the log reports it removed.
fn is_shown(view: &View<'_>, entry: &Entry, log: &str, included: bool) -> bool {
    match &entry.subject {
        Subject::File(_) if entry.removed => included || log == view.account.log,
        Subject::File(id) => view.nodes.get(id).is_some_and(|node| {
            let belongs = view.sees(node) && view.logs_of(node).contains(log);
            belongs && (included || node.drive.is_none())
        }),
        Subject::Drive(_) => included,
    }
}

/// What was shared and not put into the account's own folders is not in its My Drive. Of what is gone nobody knows.
fn is_in_my_drive(view: &View<'_>, entry: &Entry) -> bool {
    match &entry.subject {
        Subject::File(id) => view
            .nodes
            .get(id)
            .is_none_or(|node| view.lineage(node).any(|above| above.id == view.account.root)),
        Subject::Drive(_) => false,
    }
}

/// The log the caller means: its own, or that of the shared drive it names.
pub(crate) fn log<'a>(state: &'a World, call: &'a Call) -> Result<(&'a str, &'a Log), ApiError> {
    let view = View::of(state, call);
    let name = match drives::drive_id(call) {
        None => view.account.log.as_str(),
        Some(drive) => {
            drives::known(&view, drive)?;
            drive
        }
    };
    state
        .logs
        .get_key_value(name)
        .map(|(name, log)| (name.as_str(), log))
        .ok_or_else(|| drives::not_found(name))
}

/// The page token, if this log issued it and still honours it.
pub(crate) fn page_token(log: &Log, call: &Call) -> Result<u64, ApiError> {
    let text = call.params.required("pageToken")?;
    let token = text.parse().ok().filter(|token| log.accepts(*token));
    token.ok_or_else(|| ApiError::invalid_value("pageToken"))
}
