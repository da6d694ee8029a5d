//! A delivery: one revision of one file, from the moment it is known to the moment it is in its place.

use std::path::PathBuf;

use jiff::Timestamp;

use super::file::{Checksum, Checksums};
use super::{DeliveryId, FileId, RelativePath, RevisionId};

/// A row of the ledger.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its own id; names its part on disk, too.
    pub id: DeliveryId,
    /// The file.
    pub file_id: FileId,
    /// Which content of it. `(file_id, revision)` is unique in the ledger.
    pub revision: RevisionId,
    /// The name in Drive.
    pub name: String,
    /// The type in Drive.
    pub mime_type: String,
    /// Bytes to expect.
    pub size: Option<u64>,
    /// What the bytes must hash to.
    pub checksums: Checksums,
    /// Modification time for the delivered file.
    pub modified: Option<Timestamp>,
    /// The key that link-shared older files ask for.
    pub resource_key: Option<String>,
    /// The directory it goes to.
    pub destination: PathBuf,
    /// The name that is wanted below `destination`.
    pub wanted: RelativePath,
    /// What a new content of an already delivered file does.
    pub on_update: OnUpdate,
    /// How far it is.
    pub stage: Stage,
    /// Failed attempts so far.
    pub attempt: u32,
    /// Not before this.
    pub run_at: Timestamp,
    /// Why it waits, failed, or was skipped.
    pub reason: Option<String>,
    /// What it depended on, if it was skipped and may be delivered later.
    pub cause: Option<Cause>,
    /// When Drive is asked about the file again, if it was skipped.
    pub look_at: Option<Timestamp>,
    /// First seen, or brought again by hand.
    pub created: Timestamp,
    /// Last moved.
    pub updated: Timestamp,
    /// What was, or is about to be, published.
    pub published: Option<PublishedFile>,
}

/// A file at the destination as it was when it was put there: enough to tell later whether it still is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// Below the destination.
    pub path: RelativePath,
    /// What its destination tells it by.
    pub identity: Identity,
    /// Bytes.
    pub size: u64,
    /// The verified checksum.
    pub checksum: Option<Checksum>,
    /// It takes the place of an earlier content at the same path.
    pub replaces: bool,
    /// It was there before this program had put anything there. It is not this program's: nothing replaces it.
    pub adopted: bool,
}

/// What was seen of a file in its place, besides its size. Each kind of destination has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// In a directory.
    File {
        /// Inode number, which a rename keeps and a rewrite through a new file does not.
        inode: u64,
        /// Modification time, nanoseconds since 1970.
        modified_ns: i64,
    },
}

/// What happens when a delivered file gets a new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUpdate {
    /// Takes the earlier one's place, as long as that one is still as it was delivered; else both are kept.
    Replace,
    /// Lies beside it under another name.
    KeepBoth,
    /// Is not delivered.
    Ignore,
}

/// What a skipped delivery depended on. It says when the delivery is considered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A setting of this program: considered again when the setting changes.
    Setting,
    /// Drive says that the account may not download the file: considered again when Drive says that it may. Drive is asked
    /// again soon, then less and less often, then once a day.
    Permission,
    /// Drive shows the file, and refused its bytes for a day: considered again when Drive says something about the file, and
    /// once a day.
    Refused,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Setting, Self::Permission, Self::Refused];

    /// The word that the ledger uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setting => "setting",
            Self::Permission => "permission",
            Self::Refused => "refused",
        }
    }

    /// Reads `as_str` back.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// Whether Drive is asked about the file again, without a change of a setting.
    pub fn is_asked_for(self) -> bool {
        match self {
            Self::Permission | Self::Refused => true,
            Self::Setting => false,
        }
    }
}

/// The way of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Drive has not said size and checksum yet: looked at again soon.
    Unready,
    /// Waits for its turn, or for `run_at`.
    Pending,
    /// A transfer works on it.
    Downloading,
    /// Verified, and about to be moved to `published`: a crash here is settled by looking at the disk.
    Publishing,
    /// In its place.
    Done,
    /// Given up, with the reason; `retry` puts it back.
    Failed,
    /// Not wanted or not to be had, with the reason.
    Skipped,
    /// Overtaken: a newer content, trashed, or gone from Drive.
    Superseded,
    /// Was there before the first run, and `existing = "ignore"` says to leave it.
    Existing,
}

impl Stage {
    const ALL: [Self; 9] = [
        Self::Unready,
        Self::Pending,
        Self::Downloading,
        Self::Publishing,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Superseded,
        Self::Existing,
    ];

    /// The word the ledger, the log and `status` use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unready => "unready",
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Publishing => "publishing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Existing => "existing",
        }
    }

    /// Reads `as_str` back.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }

    /// Whether work is left to do.
    pub fn is_open(self) -> bool {
        match self {
            Self::Unready | Self::Pending | Self::Downloading | Self::Publishing => true,
            Self::Done | Self::Failed | Self::Skipped | Self::Superseded | Self::Existing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_read_from_the_ledger_as_it_was_written() {
        let words = Cause::ALL.map(|cause| (cause.as_str(), cause.is_asked_for()));
        assert_eq!(words, [("setting", false), ("permission", true), ("refused", true)]);
        assert_eq!(Cause::ALL.map(|cause| Cause::from_word(cause.as_str())), Cause::ALL.map(Some));
        assert_eq!(Cause::from_word("weather"), None);
    }

    #[test]
    fn a_stage_is_read_from_the_ledger_as_it_was_written() {
        let words = Stage::ALL.map(|stage| (stage.as_str(), stage.is_open()));
        let expected = [
            ("unready", true),
            ("pending", true),
            ("downloading", true),
            ("publishing", true),
            ("done", false),
            ("failed", false),
            ("skipped", false),
            ("superseded", false),
            ("existing", false),
        ];
        assert_eq!(words, expected);
        assert_eq!(Stage::ALL.map(|stage| Stage::from_word(stage.as_str())), Stage::ALL.map(Some));
        assert_eq!(Stage::from_word("lost"), None);
    }
}
