//! The words of a decision: what is known of an entry's origin, and what the entry comes to.

use jiff::Timestamp;

use super::contents::Sight;
use super::rules::Skip;
use crate::model::ChangeLog;
use crate::store::{Folder, Listing, NewDelivery, Why as Asked};

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A change log: somebody did something.
    Change,
    /// A listing, whose files are new if the ledger does not have them.
    Listing,
    /// The first listing of a watched folder with `existing = "ignore"`.
    FirstListing,
    /// The listing of such a folder after `recursive` or `shortcuts` was switched on.
    WiderListing,
}

impl Origin {
    pub(super) fn sight(self) -> Sight {
        match self {
            Self::Change => Sight::Now,
            Self::Listing => Sight::Listed,
            Self::FirstListing | Self::WiderListing => Sight::Noted,
        }
    }
}

/// Who says so, and what that proves.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Where the entry comes from.
    pub origin: Origin,
    /// The log that says so; `None` for Drive's word about the item itself or its place.
    pub log: Option<&'a ChangeLog>,
    /// When the last complete read of that log began.
    pub read: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

impl Evidence<'_> {
    /// Drive's own word.
    pub fn of(origin: Origin, now: Timestamp) -> Self {
        Self { origin, log: None, read: None, now }
    }

    /// Whether this is about an item of that log. The log that an item has left may say that it is gone after its new
    /// log has shown it.
    pub fn is_about(&self, log: &ChangeLog) -> bool {
        self.log.is_none_or(|said| said == log)
    }
}

impl Origin {
    /// The origin of what is found while listing a folder.
    pub fn of(listing: Listing) -> Self {
        match listing {
            Listing::Note => Self::FirstListing,
            Listing::Deliver | Listing::Look | Listing::Compare | Listing::Done => Self::Listing,
            Listing::Widen => Self::WiderListing,
        }
    }

    /// The origin of one entry. In a wider listing, a file that lies in the folder itself counted before; what
    /// folders and shortcuts bring is seen for the first time.
    #[must_use]
    pub fn of_entry(self, reached: Reached) -> Self {
        match (self, reached) {
            (Self::WiderListing, Reached::Directly) => Self::Listing,
            (Self::WiderListing, Reached::Through) => Self::FirstListing,
            (Self::Change | Self::Listing | Self::FirstListing, _) => self,
        }
    }
}

/// How a listing comes to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It is a file in the folder itself.
    Directly,
    /// It is a folder, or what a shortcut points at.
    Through,
}

/// What an entry comes to.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A folder is below a watched one now, or has another name or place there. What is to be listed is its `listing`.
    Adopt(Folder),
    /// A watched folder cannot be watched.
    Trouble(Trouble),
    /// Drive has to be asked what the item is.
    Ask(Asked),
    /// A folder no longer is.
    Drop,
    /// A file goes into the ledger.
    Record(Box<NewDelivery>),
    /// What is open for the file is void.
    Withdraw(&'static str),
    /// Size and checksum of a file were waited for, and show that its content is a known one.
    StopWaiting,
    /// A file in a watched folder is not wanted.
    Skip(Skip),
    /// Nothing is to be done.
    Nothing(Why),
}

/// Why a watched folder cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is in Drive's trash.
    Trashed,
    /// Drive does not show it.
    NotShown,
}

/// Why nothing is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It lies below no watched folder.
    Elsewhere,
    /// Its content is in the ledger already.
    Known,
    /// The bytes are the same as those of an earlier content that is in the ledger.
    SameBytes,
}
