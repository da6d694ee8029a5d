//! `drives`: shared drives as their members see and manage them.

use serde_json::{Value, json};

use super::call::Call;
use super::discovery::body;
use super::error::ApiError;
use super::resource;
use super::view::View;
use crate::drive::role::{Role, SharedDrive};
use crate::drive::state::DriveRefusal;
use crate::serve::body::Reply;
use crate::world::World;

const DEFAULT: &str = "kind,id,name";

pub(crate) fn list(state: &World, call: &Call) -> Result<Reply, ApiError> {
    if call.params.flag("useDomainAdminAccess", false)? {
        let reason = "noListTeamDrivesAdministratorPrivilege";
        return Err(ApiError::new(403, reason, "The user does not have administrator privilege."));
    }
    if call.params.filled("q").is_some() {
        return Err(ApiError::not_emulated("a search for shared drives"));
    }
    let size = call.params.page_size(10, 100)?;
    let start = match call.params.filled("pageToken") {
        None => 0,
        Some(token) => token.parse::<usize>().map_err(|_| ApiError::invalid_value("pageToken"))?,
    };
    let view = View::of(state, call);
    let own: Vec<_> = state.drives.iter().filter(|(id, _)| view.is_member(id)).collect();
    let page = own.iter().skip(start).take(size).map(|(id, drive)| resource::drive(&view, id, drive));
    let mut answer = json!({"kind": "drive#driveList", "drives": page.collect::<Vec<Value>>()});
    if start + size < own.len() {
        answer["nextPageToken"] = json!((start + size).to_string());
    }
    call.answer(answer, "DriveList", "kind,nextPageToken,drives(kind,id,name)")
}

pub(crate) fn get(state: &World, call: &Call) -> Result<Reply, ApiError> {
    told(state, call, call.id())
}

pub(crate) fn create(state: &mut World, call: &Call) -> Result<Reply, ApiError> {
    call.check_mask("Drive")?;
    call.params.required("requestId")?;
    let wanted = wanted(call)?;
    let name = wanted["name"].as_str().ok_or_else(|| ApiError::required("name"))?;
    let organizer = View::of(state, call).account.address.clone();
    let id = state.shared_drive(name, &organizer)?;
    told(state, call, &id)
}

pub(crate) fn update(state: &mut World, call: &Call) -> Result<Reply, ApiError> {
    call.check_mask("Drive")?;
    let wanted = wanted(call)?;
    managed(state, call)?;
    if let Some(name) = wanted["name"].as_str() {
        state.rename_drive(call.id(), name)?;
    }
    told(state, call, call.id())
}

/// A drive as a client writes it; of what can be written the name alone has an effect here.
fn wanted(call: &Call) -> Result<Value, ApiError> {
    let wanted = body::read(&call.body, "Drive")?;
    let members = wanted.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    match members.map(|(name, _)| name.as_str()).find(|name| !matches!(*name, "name" | "kind" | "id")) {
        Some(name) => Err(ApiError::not_emulated(&format!("writing {name} of a shared drive"))),
        None => Ok(wanted),
    }
}

/// 204; what is not in the trash must be gone before.
pub(crate) fn delete(state: &mut World, call: &Call) -> Result<Reply, ApiError> {
    managed(state, call)?;
    let is_left = |(_, id): &(u64, String)| state.nodes.get(id).is_some_and(|node| !node.trashed);
    if state.children.get(call.id()).into_iter().flatten().any(is_left) {
        return Err(ApiError::bad_request("A shared drive that is not empty cannot be deleted."));
    }
    state.delete_drive(call.id())?;
    Ok(Reply::empty(204))
}

/// Refuses everybody but those who manage the drive.
fn managed(state: &World, call: &Call) -> Result<(), ApiError> {
    let view = View::of(state, call);
    known(&view, call.id())?;
    let root = state.known(call.id())?;
    view.require(root, Role::Organizer)
}

fn told(state: &World, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let view = View::of(state, call);
    call.answer(resource::drive(&view, id, known(&view, id)?), "Drive", DEFAULT)
}

/// A shared drive that the caller is a member of.
pub(crate) fn known<'a>(view: &'a View<'_>, id: &str) -> Result<&'a SharedDrive, ApiError> {
    let drive = view.drives.get(id).ok_or_else(|| not_found(id))?;
    if view.is_member(id) {
        return Ok(drive);
    }
    Err(match view.settings.drive_refusal {
        DriveRefusal::NotFound => not_found(id),
        DriveRefusal::MembershipRequired => {
            let text = "The attempted action requires shared drive membership.";
            ApiError::new(403, "teamDriveMembershipRequired", text)
        }
    })
}

pub(crate) fn not_found(id: &str) -> ApiError {
    ApiError::new(404, "notFound", format!("Shared drive not found: {id}")).at_parameter("driveId")
}

/// The rule that parameters about shared drives need `supportsAllDrives=true`.
///
/// Returns whether items of shared drives are wanted.
pub(crate) fn included(call: &Call) -> Result<bool, ApiError> {
    let params = &call.params;
    let supported = params.flag("supportsAllDrives", false)? || params.flag("supportsTeamDrives", false)?;
    let included =
        params.flag("includeItemsFromAllDrives", false)? || params.flag("includeTeamDriveItems", false)?;
    let named = drive_id(call).is_some();
    if (included || named) && !supported {
        let text = "The supportsAllDrives parameter was not set to true.";
        return Err(ApiError::new(403, "supportsTeamDrivesRequired", text));
    }
    Ok(included)
}

pub(crate) fn drive_id(call: &Call) -> Option<&str> {
    call.params.filled("driveId").or_else(|| call.params.filled("teamDriveId"))
}
