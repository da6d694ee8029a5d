//! Why an attempt at a delivery ends early.

use crate::destination;
use crate::download;
use crate::store;

/// Why a delivery stops early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes did not come.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The destination cannot be used.
    #[error(transparent)]
    Destination(#[from] destination::Error),
    /// The file could not be published, or its name could not be made durable.
    #[error(transparent)]
    Unpublished(destination::Error),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It was superseded meanwhile.
    #[error("superseded")]
    Overtaken,
    /// It is not known whether an earlier content of its file is in its place.
    #[error("it waits until it is known whether earlier content of the file is in its place")]
    Unsettled,
    /// The task that published it has failed.
    #[error("moving it to its place ended without a result")]
    Unfinished,
}
