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

/// Whether the processor has instructions for SHA-256. Without them it takes more than twice as long as SHA-1 or MD5, and
/// less comes in a second than a fast line or disk brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShaInstructions {
    /// SHA-256 costs the least of all.
    Present,
    /// It costs the most.
    Absent,
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

    /// The one to verify the bytes by: the strongest of those that the processor computes fast, else what there is.
    pub fn to_verify(&self, instructions: ShaInstructions) -> Option<Checksum> {
        let fast = match instructions {
            ShaInstructions::Present => self.clone(),
            ShaInstructions::Absent => Self { sha256: None, ..self.clone() },
        };
        fast.strongest().or_else(|| self.strongest())
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sums(sha256: Option<&str>, sha1: Option<&str>, md5: Option<&str>) -> Checksums {
        let [sha256, sha1, md5] = [sha256, sha1, md5].map(|sum| sum.map(str::to_owned));
        Checksums { sha256, sha1, md5 }
    }

    /// A file of which nothing is known but its type.
    pub(crate) fn file(mime_type: &str) -> File {
        File {
            id: FileId::new("1AbC"),
            name: "clip.mp4".to_owned(),
            mime_type: mime_type.to_owned(),
            parent: None,
            size: None,
            checksums: Checksums::default(),
            revision: None,
            created: None,
            modified: None,
            trashed: false,
            resource_key: None,
            can_download: None,
            owner: None,
            shortcut_target: None,
            shortcut_target_key: None,
            drive_id: None,
        }
    }

    #[test]
    fn the_type_says_what_it_is() {
        for (mime_type, kind) in [
            (FOLDER, Kind::Folder),
            (SHORTCUT, Kind::Shortcut),
            (GOOGLE_VIDS, Kind::GoogleNative),
            ("application/vnd.google-apps.document", Kind::GoogleNative),
            ("video/mp4", Kind::Binary),
            ("application/vnd.google-appsx", Kind::Binary),
            ("", Kind::Binary),
        ] {
            assert_eq!(file(mime_type).kind(), kind, "{mime_type}");
        }
    }

    #[test]
    fn a_content_is_known_by_its_revision_or_else_by_its_strongest_checksum() {
        let mut file = file("video/mp4");
        assert_eq!(file.revision_key(), None);
        for (checksums, key) in [
            (sums(None, None, Some("c")), "sum:c"),
            (sums(None, Some("b"), Some("c")), "sum:b"),
            (sums(Some("a"), Some("b"), Some("c")), "sum:a"),
        ] {
            file.checksums = checksums;
            assert_eq!(file.revision_key(), Some(RevisionId::new(key)));
        }
        file.revision = Some(RevisionId::new("r1"));
        assert_eq!(file.revision_key(), Some(RevisionId::new("r1")));
    }

    #[test]
    fn bytes_are_verified_by_the_strongest_checksum_that_is_fast() {
        use ShaInstructions::{Absent, Present};
        let [a, b, c] = [Checksum::Sha256("a".into()), Checksum::Sha1("b".into()), Checksum::Md5("c".into())];
        for (checksums, instructions, expected) in [
            (sums(Some("a"), Some("b"), Some("c")), Present, Some(a.clone())),
            (sums(Some("a"), Some("b"), Some("c")), Absent, Some(b.clone())),
            (sums(Some("a"), None, Some("c")), Absent, Some(c.clone())),
            (sums(Some("a"), None, None), Absent, Some(a)),
            (sums(None, Some("b"), Some("c")), Present, Some(b)),
            (sums(None, None, Some("c")), Present, Some(c)),
            (Checksums::default(), Absent, None),
        ] {
            assert_eq!(checksums.to_verify(instructions), expected, "{instructions:?}");
        }
    }

    #[test]
    fn checksums_agree_by_one_that_both_have() {
        let all = sums(Some("a"), Some("b"), Some("c"));
        for same in [sums(Some("a"), None, None), sums(None, Some("b"), None), sums(None, None, Some("c"))] {
            assert!(all.agree_with(&same) && same.agree_with(&all), "{same:?}");
        }
        for other in [
            Checksums::default(),
            sums(Some("b"), None, None),
            sums(None, Some("c"), None),
            sums(None, None, Some("a")),
        ] {
            assert!(!all.agree_with(&other) && !other.agree_with(&all), "{other:?}");
        }
        assert!(!Checksums::default().agree_with(&Checksums::default()), "nothing is no evidence");
    }

    #[test]
    fn a_checksum_is_read_from_the_ledger_as_it_was_written() {
        for (sum, tagged) in [
            (Checksum::Sha256("ab".into()), "sha256:ab"),
            (Checksum::Sha1("ab".into()), "sha1:ab"),
            (Checksum::Md5("ab".into()), "md5:ab"),
        ] {
            assert_eq!((sum.hex(), sum.tagged().as_str()), ("ab", tagged));
            assert_eq!(Checksum::from_tagged(tagged), Some(sum));
        }
        assert_eq!(Checksum::from_tagged("crc32:ab"), None);
        assert_eq!(Checksum::from_tagged("ab"), None);
    }
}
