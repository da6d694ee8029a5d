//! One thing in the tree: a folder, a file with bytes, a shortcut, or one of Google's own documents.

use serde::Deserialize;

use super::content::{Checksums, Content};
use super::extras::Extras;
use super::mime;
use super::role::Sharing;

/// What makes a file differ from a healthy one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Quirk {
    /// Drive never published a checksum.
    NoChecksums,
    /// Drive never published a size.
    NoSize,
    /// `videoMediaMetadata` never appears.
    NoVideoMetadata,
    /// The owner forbids downloads: `capabilities.canDownload` is false, media answers `cannotDownloadFile`.
    NotDownloadable,
    /// Flagged as malware: media answers `cannotDownloadAbusiveFile` unless `acknowledgeAbuse=true`.
    Abusive,
}

/// A file to be put into the emulated Drive.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Folder it goes to.
    pub parent: String,
    /// Any text at all, as in Drive.
    pub name: String,
    /// `None`: detected from the name. Under `application/vnd.google-apps.` the file has no bytes.
    pub mime_type: Option<String>,
    /// Its bytes.
    pub content: Content,
    /// RFC 3339; `None`: now.
    pub modified_time: Option<String>,
    /// RFC 3339; `None`: now.
    pub created_time: Option<String>,
    /// `None`: a fresh one.
    pub id: Option<String>,
    /// In which ways it is unhealthy.
    pub quirks: Vec<Quirk>,
    /// The address of the account it belongs to; `None`: to whoever owns the folder.
    pub owner: Option<String>,
}

impl Upload {
    /// A healthy file, uploaded now, its type detected from its name.
    pub fn new(parent: &str, name: &str, content: impl Into<Content>) -> Self {
        Self {
            parent: parent.to_owned(),
            name: name.to_owned(),
            mime_type: None,
            content: content.into(),
            modified_time: None,
            created_time: None,
            id: None,
            quirks: Vec::new(),
            owner: None,
        }
    }

    /// The type the uploader claims.
    #[must_use]
    pub fn mime_type(mut self, mime_type: &str) -> Self {
        self.mime_type = Some(mime_type.to_owned());
        self
    }

    /// The time the uploader claims, RFC 3339.
    #[must_use]
    pub fn modified_time(mut self, time: &str) -> Self {
        self.modified_time = Some(time.to_owned());
        self
    }

    /// The creation time the uploader claims, RFC 3339.
    #[must_use]
    pub fn created_time(mut self, time: &str) -> Self {
        self.created_time = Some(time.to_owned());
        self
    }

    /// A chosen id instead of a fresh one.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// One way in which it is unhealthy; may be called several times.
    #[must_use]
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    /// `None` for the root of My Drive and of a shared drive.
    pub(crate) parent: Option<String>,
    /// The shared drive it is in.
    pub(crate) drive: Option<String>,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    /// Trashed itself, not by way of its parent.
    pub(crate) trashed: bool,
    pub(crate) trashed_time: Option<i64>,
    pub(crate) version: u64,
    /// Listings show it from this time on: later than its creation or move while they lag.
    pub(crate) listed_from: i64,
    /// Order of creation.
    pub(crate) sequence: u64,
    pub(crate) quirks: Vec<Quirk>,
    pub(crate) extras: Extras,
    pub(crate) sharing: Sharing,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Folder,
    Blob(Blob),
    Shortcut { target: String, target_mime_type: String },
    Document,
}

#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) content: Content,
    pub(crate) checksums: Checksums,
    pub(crate) revision: String,
    pub(crate) original_name: String,
    /// Size, checksums and video metadata are published from this time on.
    pub(crate) processed: i64,
    /// What it contained before, the oldest first.
    pub(crate) former: Vec<Former>,
}

/// A revision that is not the head any more.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) revision: String,
    pub(crate) content: Content,
    pub(crate) checksums: Checksums,
}

impl Blob {
    /// All that is left of this content once it has a successor: Drive keeps two hundred revisions.
    pub(crate) fn into_former(self) -> Vec<Former> {
        const KEPT: usize = 200;
        let Self { content, checksums, revision, mut former, .. } = self;
        former.push(Former { revision, content, checksums });
        former.drain(..former.len().saturating_sub(KEPT - 1));
        former
    }
}

impl Node {
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder)
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    pub(crate) fn blob(&self) -> Option<&Blob> {
        match &self.kind {
            Kind::Blob(blob) => Some(blob),
            Kind::Folder | Kind::Shortcut { .. } | Kind::Document => None,
        }
    }

    pub(crate) fn is_google_type(mime_type: &str) -> bool {
        mime_type.starts_with(mime::GOOGLE)
    }
}
