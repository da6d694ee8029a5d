//! `permissions`: who may do what with an item, or with a whole shared drive by way of its root folder.

use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::discovery::body;
use super::error::ApiError;
use super::files;
use super::resource;
use super::view::View;
use crate::drive::late::When;
use crate::drive::node::Node;
use crate::drive::role::Role;
use crate::serve::body::Reply;
use crate::world::World;

const DEFAULT: &str = "kind,id,type,role";
/// The id of the permission of everybody who has the link.
const LINK: &str = "anyoneWithLink";

pub(crate) fn list(state: &World, call: &Call) -> Answer {
    let node = manageable(state, call)?;
    let all = of(&View::of(state, call), node);
    let answer = json!({"kind": "drive#permissionList", "permissions": all});
    call.answer(answer, "PermissionList", "kind,nextPageToken,permissions(kind,id,type,role)")
}

pub(crate) fn get(state: &World, call: &Call) -> Answer {
    let node = manageable(state, call)?;
    told(state, call, node, inner_id(call))
}

/// A new permission, or another role for whoever has one already.
pub(crate) fn create(state: &mut World, call: &Call) -> Answer {
    call.check_mask("Permission")?;
    let wanted = body::read(&call.body, "Permission")?;
    let id = manageable(state, call)?.id.clone();
    let role = role(&wanted)?;
    let permission = match wanted["type"].as_str() {
        Some("anyone") => LINK.to_owned(),
        Some("user") => {
            let address =
                wanted["emailAddress"].as_str().ok_or_else(|| ApiError::required("emailAddress"))?;
            let account = state.account(address).map_err(|_| {
                let text = "The address does not belong to an account of this emulator.";
                ApiError::new(400, "invalidSharingRequest", text)
            })?;
            account.permission_id.clone()
        }
        Some(_) => return Err(ApiError::bad_request("Only users and anyone are given permissions here.")),
        None => return Err(ApiError::required("permission.type")),
    };
    set(state, call, &id, &permission, Some(role))?;
    told(state, call, state.known(&id)?, &permission)
}

pub(crate) fn update(state: &mut World, call: &Call) -> Answer {
    call.check_mask("Permission")?;
    let wanted = body::read(&call.body, "Permission")?;
    let node = manageable(state, call)?;
    let (id, permission) = (node.id.clone(), inner_id(call));
    find(&View::of(state, call), node, permission)?;
    set(state, call, &id, permission, Some(role(&wanted)?))?;
    told(state, call, state.known(&id)?, permission)
}

/// 204.
pub(crate) fn delete(state: &mut World, call: &Call) -> Answer {
    let node = manageable(state, call)?;
    let id = node.id.clone();
    find(&View::of(state, call), node, inner_id(call))?;
    set(state, call, &id, inner_id(call), None)?;
    Ok(Reply::empty(204))
}

/// The item in the path, if the caller may read and give permissions on it.
fn manageable<'a>(state: &'a World, call: &Call) -> Result<&'a Node, ApiError> {
    let node = files::visible(state, call)?;
    let is_drive = node.drive.as_ref() == Some(&node.id);
    View::of(state, call).require(node, if is_drive { Role::Organizer } else { Role::Writer })?;
    Ok(node)
}

fn inner_id(call: &Call) -> &str {
    call.route.inner_id.as_deref().unwrap_or_default()
}

fn role(wanted: &Value) -> Result<Role, ApiError> {
    let role = wanted.get("role").ok_or_else(|| ApiError::required("permission.role"))?;
    let text = "The specified role is not one of those that Drive knows.";
    serde_json::from_value(role.clone()).map_err(|_| ApiError::bad_request(text))
}

/// The permissions on an item itself, and those of the members of its shared drive.
fn of(view: &View<'_>, node: &Node) -> Vec<Value> {
    let drive = node.drive.as_ref().and_then(|drive| view.drives.get(drive));
    let members = drive.into_iter().flat_map(|drive| &drive.members).filter_map(|(address, role)| {
        Some(resource::permission(view.account(address).ok()?, (*role.get(When::Settled))?))
    });
    resource::permissions(view, node).into_iter().chain(members).collect()
}

fn find(view: &View<'_>, node: &Node, permission: &str) -> Result<Value, ApiError> {
    let found = of(view, node).into_iter().find(|found| found["id"] == permission);
    found.ok_or_else(|| {
        let text = format!("Permission not found: {permission}.");
        ApiError::new(404, "notFound", text).at_parameter("permissionId")
    })
}

fn told(state: &World, call: &Call, node: &Node, permission: &str) -> Answer {
    call.answer(find(&View::of(state, call), node, permission)?, "Permission", DEFAULT)
}

/// Gives the account or the link behind a permission's id a role, or takes it away.
fn set(
    state: &mut World,
    call: &Call,
    id: &str,
    permission: &str,
    role: Option<Role>,
) -> Result<(), ApiError> {
    let account = state.accounts.values().find(|account| account.permission_id == permission);
    let Some(address) = account.map(|account| account.address.clone()) else {
        return Ok(state.share_link(id, role)?);
    };
    let is_owner = state.known(id)?.sharing.owner.as_ref() == Some(&address);
    if is_owner && role != Some(Role::Owner) {
        // Ownership is handed over, never dropped.
        return Err(ApiError::of_reason(403, "insufficientFilePermissions", None));
    }
    if role == Some(Role::Owner) && !is_owner {
        if !call.params.flag("transferOwnership", false)? {
            let text = "The transferOwnership parameter must be enabled when the permission role is 'owner'.";
            return Err(ApiError::new(403, "forbidden", text).at_parameter("transferOwnership"));
        }
        let node = state.known(id)?;
        View::of(state, call).require(node, Role::Owner)?;
        return Ok(state.give(id, &address)?);
    }
    if state.drives.contains_key(id) {
        return Ok(state.set_member(id, &address, role)?);
    }
    if !is_owner {
        state.share(id, &address, role)?;
    }
    Ok(())
}
