//! Why something could not be done to the Drive.

use super::role::Role;

/// Why a user's action could not be done.
#[derive(Debug)]
pub(crate) enum Refusal {
    NoSuchFile(String),
    NotAFolder(String),
    NotABlob(String),
    BadTime(String),
    IdTaken(String),
    /// The root of My Drive or of a shared drive stays where and what it is.
    IsRoot(String),
    /// A folder cannot lie below itself.
    BelowItself(String),
    NoSuchRevision(String),
    NoSuchAccount(String),
    NoSuchDrive(String),
    /// Owners are made by giving an item away, and are none in shared drives.
    BadRole(Role),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchFile(id) => write!(f, "the emulated Drive has no file {id:?}"),
            Self::NotAFolder(id) => write!(f, "{id:?} is not a folder"),
            Self::NotABlob(id) => write!(f, "{id:?} has no content of its own"),
            Self::BadTime(text) => write!(f, "{text:?} is not an RFC 3339 time"),
            Self::IdTaken(id) => write!(f, "the id {id:?} is taken"),
            Self::IsRoot(id) => {
                write!(f, "{id:?} is a drive's root, which cannot be moved, trashed or deleted")
            }
            Self::BelowItself(id) => write!(f, "{id:?} cannot be moved into itself or below itself"),
            Self::NoSuchAccount(address) => write!(f, "there is no account {address:?}"),
            Self::NoSuchDrive(id) => write!(f, "there is no shared drive {id:?}"),
            Self::BadRole(role) => write!(f, "the role {role:?} cannot be given here"),
            Self::NoSuchRevision(id) => write!(f, "the file has no revision {id:?}"),
        }
    }
}

impl std::error::Error for Refusal {}

pub(crate) type Done<T> = Result<T, Refusal>;
