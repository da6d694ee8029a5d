//! Drive's JSON. Every field is optional here and may be null, whatever the documentation says; 64-bit numbers come as
//! strings. One value that cannot be read is left out: a page that cannot be read would hold up its whole log.

use jiff::Timestamp;
use serde::Deserialize;

use super::Listed;
use crate::model::{Change, Checksums, Entry, File, FileId, Page, PageToken, RevisionId};

/// The fields of a file that are asked for.
pub(super) const FILE_FIELDS: &str = "id,name,mimeType,parents,size,md5Checksum,sha1Checksum,sha256Checksum,\
    headRevisionId,createdTime,modifiedTime,trashed,driveId,resourceKey,shortcutDetails(targetId,targetResourceKey),\
    capabilities(canDownload),owners(emailAddress)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFile {
    id: String,
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
struct WireChanges {
    changes: Option<Vec<WireChange>>,
    next_page_token: Option<String>,
    new_start_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireChange {
    file_id: Option<String>,
    removed: Option<bool>,
    file: Option<WireFile>,
}

impl WireChange {
    /// `None` for entries that concern a shared drive as a whole.
    fn into_change(self) -> Option<Change> {
        let entry = match self.file {
            Some(file) if self.removed != Some(true) => Entry::Present(Box::new(file.into())),
            _ => Entry::Gone,
        };
        Some(Change { file_id: FileId::new(self.file_id?), entry })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFiles {
    files: Option<Vec<WireFile>>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireChannel {
    pub(super) resource_id: String,
    /// Milliseconds since 1970, as text.
    pub(super) expiration: Option<String>,
}

/// A token that leads somewhere: asking with an empty one would begin again, without an end.
fn given(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}

/// Reads a page of a change log that was asked for with this token.
pub fn read_changes(body: &[u8], asked: &PageToken) -> serde_json::Result<Page> {
    let answer: WireChanges = serde_json::from_slice(body)?;
    let (next, end) = match (given(answer.next_page_token), given(answer.new_start_page_token)) {
        (Some(next), _) => (PageToken::new(next), false),
        (None, Some(start)) => (PageToken::new(start), true),
        // Neither is against the documentation; staying where we are repeats this page and loses nothing.
        (None, None) => (asked.clone(), true),
    };
    let changes = answer.changes.into_iter().flatten().filter_map(WireChange::into_change).collect();
    Ok(Page { changes, next, end })
}

/// Reads a page of a folder's listing.
pub fn read_listing(body: &[u8]) -> serde_json::Result<Listed> {
    let answer: WireFiles = serde_json::from_slice(body)?;
    let files = answer.files.into_iter().flatten().map(File::from).collect();
    Ok(Listed { files, next: given(answer.next_page_token) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Value, json};

    use super::*;

    /// A page of changes that is a page of a listing as well.
    fn page() -> Value {
        let file = json!({
            "id": "1AbC", "name": "clip.mp4", "mimeType": "video/mp4", "parents": ["1Folder"], "size": "1000",
            "md5Checksum": "AB", "sha1Checksum": "CD", "sha256Checksum": "", "headRevisionId": "r1",
            "createdTime": "2026-03-04T23:59:59.123Z", "modifiedTime": "2026-03-05T00:00:00Z", "trashed": false,
            "driveId": "0A", "resourceKey": "0-k", "shortcutDetails": {"targetId": "1Other", "targetResourceKey": "0-t"},
            "capabilities": {"canDownload": true}, "owners": [{"emailAddress": "ann@example.com"}],
        });
        json!({
            "nextPageToken": "7", "newStartPageToken": "8", "files": [file],
            "changes": [{"fileId": "1AbC", "removed": false, "file": file}, {"fileId": "1Gone", "removed": true}],
        })
    }

    /// Where the values are, as JSON pointers.
    fn pointers(value: &Value, here: &str) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect()
            }
            _ => Vec::new(),
        };
        let below = below.into_iter().flat_map(|(name, value)| pointers(value, &format!("{here}/{name}")));
        std::iter::once(here.to_owned()).chain(below).collect()
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(|number| Value::from(number.to_string())),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-zA-Z]{1,8}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    fn read(page: &Value) -> (serde_json::Result<Page>, serde_json::Result<Listed>) {
        let body = page.to_string().into_bytes();
        (read_changes(&body, &PageToken::new("asked")), read_listing(&body))
    }

    proptest! {
        #[test]
        fn any_page_is_survived(slips in prop::collection::vec((any::<Index>(), any_json()), 1..4)) {
            let mut page = page();
            for (at, slip) in slips {
                let all = pointers(&page, "");
                *page.pointer_mut(&all[at.index(all.len())]).unwrap() = slip;
            }
            let (changes, listed) = read(&page);
            let mut files = listed.as_ref().map_or(&[][..], |listed| &listed.files).to_vec();
            if let Ok(page) = changes {
                prop_assert!(!page.next.as_str().is_empty());
                files.extend(page.changes.into_iter().filter_map(|change| match change.entry {
                    Entry::Present(file) => Some(*file),
                    Entry::Gone | Entry::Unclear => None,
                }));
            }
            prop_assert!(!listed.is_ok_and(|listed| listed.next.is_some_and(|next| next.is_empty())));
            for file in files {
                prop_assert!(file.size.is_none_or(|size| i64::try_from(size).is_ok()));
                let sums = [file.checksums.sha256, file.checksums.sha1, file.checksums.md5];
                prop_assert!(sums.iter().flatten().all(|sum| !sum.is_empty() && *sum == sum.to_ascii_lowercase()));
            }
        }

        #[test]
        fn nothing_but_an_id_has_to_be_there(at in any::<Index>(), text in ".{0,12}", how in 0..3) {
            let mut page = page();
            let optional: Vec<String> = pointers(&page, "")
                .into_iter()
                .filter(|at| !at.is_empty() && !at.ends_with("/id") && !at.ends_with(char::is_numeric))
                .collect();
            let at = at.get(&optional);
            let (above, name) = at.rsplit_once('/').unwrap();
            let members = page.pointer_mut(above).unwrap().as_object_mut().unwrap();
            match how {
                0 => drop(members.remove(name)),
                1 => members[name] = Value::Null,
                _ if members[name].is_string() => members[name] = Value::from(text),
                _ => {}
            }
            let (changes, listed) = read(&page);
            prop_assert!(changes.is_ok() && listed.is_ok(), "{at}: {:?} {:?}", changes.err(), listed.err());
        }
    }

    #[test]
    fn an_empty_token_is_none() {
        let (changes, listed) = read(&json!({"nextPageToken": "", "newStartPageToken": ""}));
        let page = changes.unwrap();
        assert_eq!((page.next.as_str(), page.end), ("asked", true));
        assert_eq!(listed.unwrap().next, None);
    }

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
