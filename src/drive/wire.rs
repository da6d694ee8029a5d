//! Drive's JSON. Every field is optional here and may be null, whatever the documentation says; 64-bit numbers come as
//! strings.

use jiff::Timestamp;
use serde::Deserialize;

use super::odd;
use crate::model::{Account, AccountId, Checksums, File, FileId, RevisionId};

/// The fields of a file that are asked for.
pub(super) const FILE_FIELDS: &str = "id,name,mimeType,parents,size,md5Checksum,sha1Checksum,sha256Checksum,\
    headRevisionId,createdTime,modifiedTime,trashed,driveId,resourceKey,shortcutDetails(targetId,targetResourceKey),\
    capabilities(canDownload),owners(emailAddress)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFile {
    pub(super) id: String,
    name: Option<String>,
    mime_type: Option<String>,
    parents: Option<Vec<String>>,
    size: Option<String>,
    md5_checksum: Option<String>,
    sha1_checksum: Option<String>,
    sha256_checksum: Option<String>,
    head_revision_id: Option<String>,
    created_time: Option<String>,
    modified_time: Option<String>,
    trashed: Option<bool>,
    drive_id: Option<String>,
    resource_key: Option<String>,
    shortcut_details: Option<WireShortcut>,
    capabilities: Option<WireCapabilities>,
    owners: Option<Vec<WireUser>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireShortcut {
    target_id: Option<String>,
    target_resource_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCapabilities {
    can_download: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUser {
    permission_id: Option<String>,
    email_address: Option<String>,
    display_name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireAbout {
    user: Option<WireUser>,
}

impl WireAbout {
    /// `None`: it says nothing that tells accounts apart. Not every account shows an address.
    pub(super) fn account(self) -> Option<Account> {
        let user = self.user?;
        let id = user.permission_id.or_else(|| user.email_address.clone()).filter(|id| !id.is_empty())?;
        let name = user.email_address.or(user.display_name);
        Some(Account {
            id: AccountId::new(id),
            name: name.unwrap_or_else(|| "an account without a name".to_owned()),
        })
    }
}

impl From<WireFile> for File {
    fn from(wire: WireFile) -> Self {
        let lower =
            |hex: Option<String>| hex.map(|hex| hex.to_ascii_lowercase()).filter(|hex| !hex.is_empty());
        let time = |text: Option<String>| text.and_then(|text| text.parse::<Timestamp>().ok());
        // Drive's numbers are signed, and so are the ledger's.
        let size = wire.size.and_then(|size| size.parse::<i64>().ok());
        let shortcut = wire.shortcut_details.map(|details| (details.target_id, details.target_resource_key));
        let (target, target_key) = shortcut.unwrap_or_default();
        Self {
            id: FileId::new(wire.id),
            name: wire.name.unwrap_or_default(),
            mime_type: wire.mime_type.unwrap_or_default(),
            parent: wire.parents.into_iter().flatten().next().map(FileId::new),
            size: size.and_then(|size| u64::try_from(size).ok()),
            checksums: Checksums {
                sha256: lower(wire.sha256_checksum),
                sha1: lower(wire.sha1_checksum),
                md5: lower(wire.md5_checksum),
            },
            revision: wire.head_revision_id.map(RevisionId::new),
            created: time(wire.created_time),
            modified: time(wire.modified_time),
            trashed: wire.trashed.unwrap_or_default(),
            resource_key: wire.resource_key,
            can_download: wire.capabilities.and_then(|capabilities| capabilities.can_download),
            owner: wire.owners.into_iter().flatten().next().and_then(|owner| owner.email_address),
            shortcut_target: target.map(FileId::new),
            shortcut_target_key: target_key,
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
pub(super) struct WireChannel {
    pub(super) resource_id: String,
    /// Milliseconds since 1970, as text.
    pub(super) expiration: Option<String>,
}

/// An answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON, or not of this form.
    #[error("the answer cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Whoever took it for a page would take the log for read, or the folder for empty.
    #[error("the answer is not a page: {0} is missing")]
    NotAPage(&'static str),
    /// Whoever followed it would ask for the same page for ever.
    #[error("the answer is a page that names itself as the next one")]
    Circular,
}

/// Reads the state of one file.
pub(super) fn read_file(body: &[u8]) -> Result<File, Unreadable> {
    Ok(odd::read::<WireFile>(body)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_be_read_does_not_hide_the_rest() {
        let wire: WireFile = serde_json::from_str(
            r#"{"id":"f","name":"n","size":"9223372036854775808","createdTime":"soon"}"#,
        )
        .unwrap();
        let file = File::from(wire);
        assert_eq!((file.name.as_str(), file.size, file.created), ("n", None, None));
    }

    #[test]
    fn a_file_is_read_with_everything_missing_that_can_be() {
        let bare: WireFile = serde_json::from_str(r#"{"id":"f"}"#).unwrap();
        let file = File::from(bare);
        assert_eq!((file.size, file.revision, file.parent, file.trashed), (None, None, None, false));
    }

    #[test]
    fn an_account_is_told_by_its_permission_id() {
        let of = |text: &str| {
            let account = serde_json::from_str::<WireAbout>(text).unwrap().account();
            account.map(|account| format!("{} {}", account.id, account.name))
        };
        let told =
            of(r#"{"user":{"permissionId":"07","emailAddress":"ann@example.com","displayName":"Ann"}}"#);
        assert_eq!(told.as_deref(), Some("07 ann@example.com"));
        assert_eq!(of(r#"{"user":{"permissionId":"07","displayName":"Ann"}}"#).as_deref(), Some("07 Ann"));
        assert_eq!(of(r#"{"user":{"emailAddress":"a@b"}}"#).as_deref(), Some("a@b a@b"));
        assert_eq!(of(r#"{"user":{"displayName":"Ann"}}"#), None);
        assert_eq!(of("{}"), None);
    }

    #[test]
    fn a_broken_name_costs_no_file() {
        let read = |body: &[u8]| read_file(body).map(|file| file.name).ok();
        assert_eq!(read(br#"{"id":"f","name":"a\udc00"}"#).as_deref(), Some("a\u{fffd}"));
        assert_eq!(read(b"{\"id\":\"f\",\"name\":\"a\xff\"}").as_deref(), Some("a\u{fffd}"));
        assert_eq!(read(br#"{"id":"f","trashed":"no"}"#), None, "what it says of its place is not guessed");
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
}
