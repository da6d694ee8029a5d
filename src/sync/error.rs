//! Why reading Drive did not go on.

use crate::drive::{self, Fault};
use crate::store;

/// Why a step could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Drive did not do what was asked.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A watched folder cannot be watched.
    #[error("folder {id}: {why}")]
    Folder {
        /// As the configuration names it.
        id: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Drive's pages do not come to an end.
    #[error("{what}: Drive's pages do not come to an end; this is tried again later")]
    Endless {
        /// What was read.
        what: String,
    },
}

/// Whether other calls are likely to fail in the same way.
pub(super) fn concerns_all(error: &drive::Error) -> bool {
    match error.fault() {
        Fault::Connection
        | Fault::Database
        | Fault::LoginNeeded
        | Fault::Credentials
        | Fault::Unauthorized
        | Fault::RateLimit
        | Fault::DailyLimit => true,
        Fault::Unreadable
        | Fault::Server
        | Fault::FileQuota
        | Fault::Abusive
        | Fault::NotDownloadable
        | Fault::Denied
        | Fault::NoBytes
        | Fault::Forbidden
        | Fault::NotFound
        | Fault::NotMember
        | Fault::TooManyChannels
        | Fault::PageToken
        | Fault::ChannelIdNotUnique
        | Fault::Push
        | Fault::Range
        | Fault::BadRequest => false,
    }
}

/// Whether calls about other items are likely to fail in the same way. A connection may break at the answer about one
/// item alone, again and again.
pub(super) fn concerns_others(error: &drive::Error) -> bool {
    concerns_all(error) && error.fault() != Fault::Connection
}

/// Whether Drive says that the account may not see something, or that it is not there. Both may pass: permissions take
/// effect late.
pub(super) fn is_hidden(error: &drive::Error) -> bool {
    matches!(error.fault(), Fault::NotFound | Fault::NotMember | Fault::Denied | Fault::Forbidden)
}
