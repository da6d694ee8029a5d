//! Words for who may do what: roles, the permissions on one item, and the members of a shared drive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::late::Late;

/// What an account may do with an item, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// See and download.
    Reader,
    /// Also comment.
    Commenter,
    /// Also change and share.
    Writer,
    /// In shared drives: also move and trash.
    FileOrganizer,
    /// In shared drives: also delete and manage members.
    Organizer,
    /// In My Drive: everything.
    Owner,
}

/// Who may download a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Downloads {
    /// Everybody who sees it.
    #[default]
    Allowed,
    /// Not readers and commenters: `copyRequiresWriterPermission`.
    WritersOnly,
    /// Nobody at all, its owner included.
    Forbidden,
}

/// The permissions on one item itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sharing {
    /// The account it belongs to; `None` in shared drives.
    pub(crate) owner: Option<String>,
    /// By account.
    pub(crate) grants: BTreeMap<String, Late<Option<Role>>>,
    /// What everybody may do who has the link.
    pub(crate) link: Late<Option<Role>>,
    /// What those who only have the link must send as well.
    pub(crate) resource_key: Option<String>,
    pub(crate) downloads: Late<Downloads>,
}

#[derive(Clone, Debug)]
pub(crate) struct SharedDrive {
    pub(crate) name: String,
    pub(crate) created: i64,
    /// By account; who has left keeps an entry without a role.
    pub(crate) members: BTreeMap<String, Late<Option<Role>>>,
}
