//! What a change log says: the current state of items, not the steps that led there.

use std::fmt;

use super::{File, FileId, PageToken};

/// A change log. The user's own Drive has one, and so has every shared drive; each has page tokens of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeLog {
    /// My Drive and what others shared with the user.
    User,
    /// One shared drive, by its id.
    SharedDrive(String),
}

impl ChangeLog {
    /// The log that speaks of a file.
    pub fn of(file: &File) -> Self {
        file.drive_id.clone().map_or(Self::User, Self::SharedDrive)
    }

    /// The name the ledger knows it by.
    pub fn key(&self) -> String {
        match self {
            Self::User => "user".to_owned(),
            Self::SharedDrive(id) => format!("drive:{id}"),
        }
    }

    /// Reads `key` back.
    pub fn from_key(key: &str) -> Self {
        key.strip_prefix("drive:").map_or(Self::User, |id| Self::SharedDrive(id.to_owned()))
    }

    /// The shared drive's id, if it is one's log.
    pub fn drive_id(&self) -> Option<&str> {
        match self {
            Self::User => None,
            Self::SharedDrive(id) => Some(id),
        }
    }
}

impl fmt::Display for ChangeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// One page of a log.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub changes: Vec<Change>,
    /// Where to go on.
    pub next: PageToken,
    /// Whether `next` is already written, or is where changes to come will be.
    pub end: bool,
}

/// One entry of a log.
#[derive(Clone, Debug)]
pub struct Change {
    /// The item that changed.
    pub file_id: FileId,
    /// Its state now.
    pub entry: Entry,
}

/// The state of a changed item.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Deleted, no longer ours to see, or moved to another log.
    Gone,
    /// Still there.
    Present(Box<File>),
    /// The entry says that the item changed, but not what it is now: it has to be asked for.
    Unclear,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_from_the_ledger_as_it_was_written() {
        let team = ChangeLog::SharedDrive("0AbC:9".to_owned());
        for (log, key, drive) in [(ChangeLog::User, "user", None), (team, "drive:0AbC:9", Some("0AbC:9"))] {
            assert_eq!((log.key().as_str(), log.to_string().as_str(), log.drive_id()), (key, key, drive));
            assert_eq!(ChangeLog::from_key(key), log);
        }
    }
}
