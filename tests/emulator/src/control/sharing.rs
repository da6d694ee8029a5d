//! Accounts, permissions and shared drives over HTTP.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Command, Outcome, Refused};
use crate::drive::late::{EffectEntry, MediaRefusal, PermissionLag};
use crate::drive::role::{Downloads, Role};
use crate::drive::state::DriveRefusal;

/// What this file knows of; `None` for everything else.
pub(super) fn obey(method: &Method, path: &[&str], command: &Command) -> Option<Outcome> {
    Some(match (method.as_str(), path) {
        ("POST", ["users"]) => user(command),
        ("GET", ["users", address, "credentials"]) => credentials(command, address),
        ("POST", ["files", id, "permissions"]) => share(command, id),
        ("DELETE", ["files", id, "permissions", who]) => unshare(command, id, who),
        ("POST", ["files", id, "resource-key"]) => resource_key(command, id),
        ("POST", ["files", id, "downloads"]) => downloads(command, id),
        ("POST", ["files", id, "owner"]) => give(command, id),
        ("PATCH", ["drives", id]) => rename(command, id),
        ("DELETE", ["drives", id]) => done(command.emulator.with_state(|state| state.delete_drive(id))),
        ("POST", ["drives", id, "members"]) => join(command, id),
        ("DELETE", ["drives", id, "members", who]) => {
            done(command.emulator.with_state(|state| state.set_member(id, who, None)))
        }
        ("POST", ["sharing"]) => settings(command),
        _ => return None,
    })
}

fn done(result: Result<(), crate::drive::tree::Refusal>) -> Outcome {
    Ok(result.map(|()| json!({}))?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    address: String,
}

fn user(command: &Command) -> Outcome {
    let who: Who = command.json()?;
    let user = command.emulator.user(&who.address);
    Ok(json!({"address": user.address(), "rootId": user.root_id()}))
}

fn credentials(command: &Command, address: &str) -> Outcome {
    command.emulator.with_state(|state| state.account(address).map(drop))?;
    Ok(Value::String(command.emulator.user(address).authorized_user_json()))
}

/// Without an address: everybody who has the link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permission {
    address: Option<String>,
    role: Role,
}

fn share(command: &Command, id: &str) -> Outcome {
    let permission: Permission = command.json()?;
    done(command.emulator.with_state(|state| match &permission.address {
        Some(address) => state.share(id, address, Some(permission.role)),
        None => state.share_link(id, Some(permission.role)),
    }))
}

fn unshare(command: &Command, id: &str, who: &str) -> Outcome {
    done(command.emulator.with_state(|state| match who {
        "link" => state.share_link(id, None),
        address => state.share(id, address, None),
    }))
}

fn resource_key(command: &Command, id: &str) -> Outcome {
    let key = command.emulator.with_state(|state| state.require_resource_key(id))?;
    Ok(json!({"resourceKey": key}))
}

fn downloads(command: &Command, id: &str) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        downloads: Downloads,
    }
    let order: Order = command.json()?;
    done(command.emulator.with_state(|state| state.set_downloads(id, order.downloads)))
}

fn give(command: &Command, id: &str) -> Outcome {
    let to: Who = command.json()?;
    done(command.emulator.with_state(|state| state.give(id, &to.address)))
}

fn rename(command: &Command, id: &str) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Patch {
        name: String,
    }
    let patch: Patch = command.json()?;
    done(command.emulator.with_state(|state| state.rename_drive(id, &patch.name)))
}

fn join(command: &Command, id: &str) -> Outcome {
    let permission: Permission = command.json()?;
    let Some(address) = permission.address else {
        return Err(Refused(400, "a member has an address".to_owned()));
    };
    done(command.emulator.with_state(|state| state.set_member(id, &address, Some(permission.role))))
}

/// What is given is set; what is not stays.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    permission_lag: Option<Lag>,
    drive_refusal: Option<DriveRefusal>,
    outsider_entries: Option<bool>,
    consent_as: Option<String>,
    own_service_account: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Lag {
    #[serde(default)]
    metadata_milliseconds: u64,
    #[serde(default)]
    media_milliseconds: u64,
    #[serde(default)]
    refusal: MediaRefusal,
    #[serde(default)]
    entry: bool,
}

fn settings(command: &Command) -> Outcome {
    let settings: Settings = command.json()?;
    let emulator = &command.emulator;
    if let Some(address) = &settings.consent_as {
        emulator.with_state(|state| state.account(address).map(drop))?;
        emulator.consent_as(address);
    }
    if let Some(lag) = settings.permission_lag {
        emulator.set_permission_lag(PermissionLag {
            metadata: Duration::from_millis(lag.metadata_milliseconds),
            media: Duration::from_millis(lag.media_milliseconds),
            refusal: lag.refusal,
            entry: if lag.entry { EffectEntry::Told } else { EffectEntry::None },
        });
    }
    if let Some(refusal) = settings.drive_refusal {
        emulator.set_drive_refusal(refusal);
    }
    if let Some(on) = settings.outsider_entries {
        emulator.set_outsider_entries(on);
    }
    if settings.own_service_account == Some(true) {
        emulator.service_account();
    }
    Ok(json!({}))
}
