//! What clients write on a file besides its name, its place and its content.

use std::collections::BTreeMap;

/// Kept as it was written and given back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) description: Option<String>,
    pub(crate) starred: bool,
    /// For every app to see.
    pub(crate) properties: BTreeMap<String, String>,
    /// For the app that wrote them.
    pub(crate) app_properties: BTreeMap<String, String>,
    pub(crate) folder_color: Option<String>,
    /// When the user last looked at it.
    pub(crate) viewed: Option<i64>,
}
