//! A user's actions over HTTP.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Command, Outcome, Refused};
use crate::api::resource;
use crate::drive::content::Content;
use crate::drive::node::{Quirk, Upload};

pub(super) fn all(command: &Command) -> Value {
    command.emulator.with_state(|state| {
        let mut nodes: Vec<_> = state.nodes.values().collect();
        nodes.sort_by_key(|node| node.sequence);
        json!({"files": nodes.into_iter().map(|node| resource::file(state, node)).collect::<Vec<_>>()})
    })
}

pub(super) fn one(command: &Command, id: &str) -> Outcome {
    Ok(command.emulator.with_state(|state| state.known(id).map(|node| resource::file(state, node)))?)
}

pub(super) fn upload(command: &Command) -> Outcome {
    const KEYS: [&str; 7] = ["name", "parent", "mimeType", "modifiedTime", "createdTime", "id", "quirks"];
    if let Some((unknown, _)) = command.params.pairs().find(|(key, _)| !KEYS.contains(key)) {
        return Err(Refused(
            400,
            format!("unknown key `{unknown}` in the query; known are {}", KEYS.join(", ")),
        ));
    }
    let text = |name: &str| command.params.get(name).map(str::to_owned);
    let name = text("name").ok_or_else(|| Refused(400, "the query has no name=…".to_owned()))?;
    let quirks =
        command.params.filled("quirks").unwrap_or_default().split(',').filter(|quirk| !quirk.is_empty());
    let quirks = quirks.map(|quirk| {
        serde_json::from_value::<Quirk>(json!(quirk))
            .map_err(|error| Refused(400, format!("quirks: {error}")))
    });
    let mut upload = Upload::new(&command.parent(command.params.get("parent")), &name, content(command)?);
    upload.mime_type = text("mimeType");
    upload.modified_time = text("modifiedTime");
    upload.created_time = text("createdTime");
    upload.id = text("id");
    upload.quirks = quirks.collect::<Result<_, _>>()?;
    let id = command.emulator.try_upload(upload)?;
    Ok(told(command, &id))
}

pub(super) fn revise(command: &Command, id: &str) -> Outcome {
    command.emulator.try_revise(id, content(command)?)?;
    Ok(told(command, id))
}

pub(super) fn restore(command: &Command, id: &str) -> Outcome {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Restore {
        revision_id: String,
    }
    command.emulator.try_restore(id, &command.json::<Restore>()?.revision_id)?;
    Ok(told(command, id))
}

/// The raw body, or what a JSON body describes.
fn content(command: &Command) -> Result<Content, Refused> {
    if command.is_json {
        return command.json();
    }
    // A small body is a window on the connection's read buffer, which it must not keep alive.
    Ok(Content::Bytes(Bytes::copy_from_slice(&command.body)))
}

fn told(command: &Command, id: &str) -> Value {
    let emulator = &command.emulator;
    json!({
        "id": id,
        "headRevisionId": emulator.head_revision_id(id),
        "sha256Checksum": emulator.content_sha256(id),
    })
}

pub(super) fn patch(command: &Command, id: &str) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Patch {
        name: Option<String>,
        parent: Option<String>,
        trashed: Option<bool>,
    }
    let patch: Patch = command.json()?;
    command.emulator.with_state(|state| {
        // What can be refused comes first, so that a refused patch changes nothing: an item that was moved is not a
        // root, so it can be trashed, and any item can be renamed.
        if let Some(parent) = patch.parent {
            state.move_to(id, &parent)?;
        }
        if let Some(trashed) = patch.trashed {
            state.set_trashed(id, trashed)?;
        }
        if let Some(name) = patch.name {
            state.rename(id, &name)?;
        }
        Ok::<_, Refused>(())
    })?;
    one(command, id)
}

pub(super) fn touch(command: &Command, id: &str) -> Outcome {
    command.emulator.with_state(|state| state.touch(id))?;
    one(command, id)
}

pub(super) fn hide(command: &Command, id: &str) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hide {
        milliseconds: u64,
    }
    let lag = Duration::from_millis(command.json::<Hide>()?.milliseconds);
    command.emulator.with_state(|state| state.hide_from_listings(id, lag))?;
    one(command, id)
}

pub(super) fn delete(command: &Command, id: &str) -> Outcome {
    command.emulator.with_state(|state| state.delete(id))?;
    Ok(json!({}))
}

pub(super) fn folder(command: &Command) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Folder {
        name: String,
        parent: Option<String>,
    }
    let folder: Folder = command.json()?;
    let parent = command.parent(folder.parent.as_deref());
    let id = command.emulator.with_state(|state| state.folder(&parent, &folder.name))?;
    Ok(json!({"id": id}))
}

pub(super) fn shortcut(command: &Command) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shortcut {
        name: String,
        target: String,
        parent: Option<String>,
    }
    let shortcut: Shortcut = command.json()?;
    let parent = command.parent(shortcut.parent.as_deref());
    let id =
        command.emulator.with_state(|state| state.shortcut(&parent, &shortcut.name, &shortcut.target))?;
    Ok(json!({"id": id}))
}

pub(super) fn shared_drive(command: &Command) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SharedDrive {
        name: String,
    }
    let drive: SharedDrive = command.json()?;
    Ok(json!({"id": command.emulator.shared_drive(&drive.name)}))
}
