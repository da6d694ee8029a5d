//! `about.get`.

use serde_json::json;

use super::call::Call;
use super::error::ApiError;
use super::resource;
use super::view::View;
use crate::serve::body::Reply;
use crate::world::World;

/// Who the user is and how much room there is; `fields` is mandatory.
pub(crate) fn get(state: &World, call: &Call) -> Result<Reply, ApiError> {
    if call.params.get("fields").is_none() {
        let text = "The 'fields' parameter is required for this method.";
        return Err(ApiError::new(400, "required", text).at_parameter("fields"));
    }
    let view = View::of(state, call);
    let usage: u64 =
        state.nodes.values().filter_map(|node| node.blob()).map(|blob| blob.content.size()).sum();
    let about = json!({
        "kind": "drive#about",
        "user": resource::user_for(&view, view.account),
        "storageQuota": {
            "limit": (2_u64 << 40).to_string(),
            "usage": usage.to_string(),
            "usageInDrive": usage.to_string(),
            "usageInDriveTrash": "0",
        },
        "maxUploadSize": "5242880000000",
        "appInstalled": false,
        "canCreateDrives": true,
        "canCreateTeamDrives": true,
        "importFormats": {},
        "exportFormats": {},
        "maxImportSizes": {},
        "folderColorPalette": ["#ac725e", "#d06b64"],
        "driveThemes": [],
        "teamDriveThemes": [],
    });
    call.answer(about, "About", "*")
}
