//! A Drive file as this program sees it: the facts that decide whether, how and where it is delivered.

use jiff::Timestamp;

use super::{FileId, RevisionId};

/// The type that marks a folder.
pub const FOLDER: &str = "application/vnd.google-apps.folder";
/// The type that marks a shortcut.
pub const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// The type of a Google Vids project: a video to its author, but without bytes to download.
pub const GOOGLE_VIDS: &str = "application/vnd.google-apps.vid";
/// Everything below this prefix is Google's own and has no bytes of its own.
const GOOGLE_APPS: &str = "application/vnd.google-apps.";

/// The current state of a file, folder or shortcut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Drive's id.
    pub id: FileId,
    /// The name as its owner wrote it: not unique, and with any character in it.
    pub name: String,
    /// The type as the uploader or Drive set it; frozen until the content changes.
    pub mime_type: String,
    /// The folder it lies in; absent when that folder is not visible to us.
    pub parent: Option<FileId>,
    /// Bytes; absent for folders and shortcuts, and for a while on some fresh uploads.
    pub size: Option<u64>,
    /// What Drive says of the content.
    pub checksums: Checksums,
    /// `headRevisionId`; only files with bytes have one.
    pub revision: Option<RevisionId>,
    /// Set by the uploader, so it proves nothing about when the file came.
    pub created: Option<Timestamp>,
    /// Set by the uploader; becomes the delivered file's modification time.
    pub modified: Option<Timestamp>,
    /// In the bin, by itself or with a folder above it.
    pub trashed: bool,
    /// The key that link-shared older files ask for.
    pub resource_key: Option<String>,
    /// Whether we may have the bytes. `None`: Drive did not say.
    pub can_download: Option<bool>,
    /// The owner's address; absent on shared drives.
    pub owner: Option<String>,
    /// What a shortcut points at.
    pub shortcut_target: Option<FileId>,
    /// The key that the target of a shortcut asks for.
    pub shortcut_target_key: Option<String>,
    /// The shared drive it is on.
    pub drive_id: Option<String>,
}

/// What a file is to a downloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has children, no bytes.
    Folder,
    /// Points at another file.
    Shortcut,
    /// Google's own formats: documents, Vids, forms; nothing to download.
    GoogleNative,
    /// Has bytes.
    Binary,
}

impl File {
    /// What it is, by its type alone.
    pub fn kind(&self) -> Kind {
        match self.mime_type.as_str() {
            FOLDER => Kind::Folder,
            SHORTCUT => Kind::Shortcut,
            other if other.starts_with(GOOGLE_APPS) => Kind::GoogleNative,
            _ => Kind::Binary,
        }
    }

    /// The key of this content in the ledger. A file with bytes but without a `headRevisionId` is told apart by
    /// its checksum; without either it cannot be told apart yet.
    pub fn revision_key(&self) -> Option<RevisionId> {
        self.revision
            .clone()
            .or_else(|| self.checksums.strongest().map(|sum| RevisionId::new(format!("sum:{}", sum.hex()))))
    }
}

/// The checksums that Drive publishes, each of them optional, as lower-case hexadecimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// `sha256Checksum`
    pub sha256: Option<String>,
    /// `sha1Checksum`
    pub sha1: Option<String>,
    /// `md5Checksum`
    pub md5: Option<String>,
}

/// One checksum with its algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256
    Sha256(String),
    /// SHA-1
    Sha1(String),
    /// MD5
    Md5(String),
}

impl Checksums {
    /// The strongest of them.
    pub fn strongest(&self) -> Option<Checksum> {
        None.or_else(|| self.sha256.clone().map(Checksum::Sha256))
            .or_else(|| self.sha1.clone().map(Checksum::Sha1))
            .or_else(|| self.md5.clone().map(Checksum::Md5))
    }

    /// Whether both name the same content by an algorithm that both have.
    pub fn agree_with(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        same(&self.sha256, &other.sha256) || same(&self.sha1, &other.sha1) || same(&self.md5, &other.md5)
    }
}

impl Checksum {
    /// The digest as lower-case hexadecimal text.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Sha1(hex) | Self::Md5(hex) => hex,
        }
    }

    /// `sha256:…`, the form the ledger keeps.
    pub fn tagged(&self) -> String {
        let algorithm = match self {
            Self::Sha256(_) => "sha256",
            Self::Sha1(_) => "sha1",
            Self::Md5(_) => "md5",
        };
        format!("{algorithm}:{}", self.hex())
    }

    /// Reads `tagged` back.
    pub fn from_tagged(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once(':')?;
        match algorithm {
            "sha256" => Some(Self::Sha256(hex.to_owned())),
            "sha1" => Some(Self::Sha1(hex.to_owned())),
            "md5" => Some(Self::Md5(hex.to_owned())),
            _ => None,
        }
    }
}
