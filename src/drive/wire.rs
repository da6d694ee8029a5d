//! Drive's JSON. Every field is optional here, whatever the documentation says; 64-bit numbers come as strings.

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::{Change, Checksums, Entry, File, FileId, PageToken, RevisionId};

/// The fields of a file that are asked for.
pub(super) const FILE_FIELDS: &str = "id,name,mimeType,parents,size,md5Checksum,sha1Checksum,sha256Checksum,\
    headRevisionId,createdTime,modifiedTime,trashed,driveId,resourceKey,shortcutDetails(targetId),\
    capabilities(canDownload),owners(emailAddress)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFile {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    mime_type: String,
    #[serde(default)]
    parents: Vec<String>,
    size: Option<String>,
    md5_checksum: Option<String>,
    sha1_checksum: Option<String>,
    sha256_checksum: Option<String>,
    head_revision_id: Option<String>,
    created_time: Option<Timestamp>,
    modified_time: Option<Timestamp>,
    #[serde(default)]
    trashed: bool,
    drive_id: Option<String>,
    resource_key: Option<String>,
    shortcut_details: Option<WireShortcut>,
    capabilities: Option<WireCapabilities>,
    #[serde(default)]
    owners: Vec<WireUser>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireShortcut {
    target_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCapabilities {
    can_download: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireUser {
    email_address: Option<String>,
    display_name: Option<String>,
}

impl WireUser {
    /// The address; not every account shows one.
    pub(super) fn name(self) -> String {
        self.email_address.or(self.display_name).unwrap_or_else(|| "an account without a name".to_owned())
    }
}

#[derive(Deserialize)]
pub(super) struct WireAbout {
    pub(super) user: WireUser,
}

impl From<WireFile> for File {
    fn from(wire: WireFile) -> Self {
        let lower =
            |hex: Option<String>| hex.map(|hex| hex.to_ascii_lowercase()).filter(|hex| !hex.is_empty());
        Self {
            id: FileId::new(wire.id),
            name: wire.name,
            mime_type: wire.mime_type,
            parent: wire.parents.into_iter().next().map(FileId::new),
            size: wire.size.and_then(|size| size.parse().ok()),
            checksums: Checksums {
                sha256: lower(wire.sha256_checksum),
                sha1: lower(wire.sha1_checksum),
                md5: lower(wire.md5_checksum),
            },
            revision: wire.head_revision_id.map(RevisionId::new),
            created: wire.created_time,
            modified: wire.modified_time,
            trashed: wire.trashed,
            resource_key: wire.resource_key,
            can_download: wire.capabilities.and_then(|capabilities| capabilities.can_download),
            owner: wire.owners.into_iter().next().and_then(|owner| owner.email_address),
            shortcut_target: wire.shortcut_details.and_then(|details| details.target_id).map(FileId::new),
            drive_id: wire.drive_id,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireStartPageToken {
    pub(super) start_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireChanges {
    #[serde(default)]
    pub(super) changes: Vec<WireChange>,
    pub(super) next_page_token: Option<String>,
    pub(super) new_start_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireChange {
    file_id: Option<String>,
    #[serde(default)]
    removed: bool,
    file: Option<WireFile>,
}

impl WireChange {
    /// `None` for entries that concern a shared drive as a whole.
    pub(super) fn into_change(self) -> Option<Change> {
        let entry = match self.file {
            Some(file) if !self.removed => Entry::Present(Box::new(file.into())),
            _ => Entry::Gone,
        };
        Some(Change { file_id: FileId::new(self.file_id?), entry })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFiles {
    #[serde(default)]
    pub(super) files: Vec<WireFile>,
    pub(super) next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireChannel {
    pub(super) resource_id: String,
    /// Milliseconds since 1970, as text.
    pub(super) expiration: Option<String>,
}

/// A token that Drive gave.
pub(super) fn page_token(text: String) -> PageToken {
    PageToken::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_everything_missing_that_can_be() {
        let bare: WireFile = serde_json::from_str(r#"{"id":"f"}"#).unwrap();
        let file = File::from(bare);
        assert_eq!((file.size, file.revision, file.parent, file.trashed), (None, None, None, false));
    }

    #[test]
    fn numbers_come_as_text() {
        let wire: WireFile = serde_json::from_str(
            r#"{"id":"f","size":"9007199254740993","md5Checksum":"ABCDEF","parents":["p"]}"#,
        )
        .unwrap();
        let file = File::from(wire);
        assert_eq!(file.size, Some(9_007_199_254_740_993));
        assert_eq!(file.checksums.md5.as_deref(), Some("abcdef"));
    }

    #[test]
    fn entries_of_drives_and_removals() {
        let of = |json: &str| serde_json::from_str::<WireChange>(json).unwrap().into_change();
        assert!(of(r#"{"changeType":"drive","driveId":"d"}"#).is_none());
        assert!(matches!(of(r#"{"fileId":"f","removed":true}"#).unwrap().entry, Entry::Gone));
        assert!(matches!(of(r#"{"fileId":"f","file":{"id":"f"}}"#).unwrap().entry, Entry::Present(_)));
    }
}
