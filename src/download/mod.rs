//! The download engine: one delivery's bytes from Drive into a verified part. It knows Drive and the spool, but not the
//! destination or the ledger.

mod lane;
pub mod limit;
pub mod plan;
pub mod streams;
mod transfer;
pub mod trickle;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::drive::{self, Drive, Fault};
use crate::model::{DeliveryId, FileId, ResourceKeys, RevisionId};
use crate::retry::Class;
use crate::spool::{Buffers, Expected, Part, Spool, Suspect, VerifiedPart};
use limit::Limit;

/// `[download]` of the configuration, as far as it concerns one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connections at once for one large file.
    pub streams: usize,
    /// No byte for this long: the connection counts as dead.
    pub stall: Duration,
    /// Download files that Google has marked as malware or spam; works only for their owner.
    pub acknowledge_abuse: bool,
    /// Bytes per second, all downloads together; 0: as fast as it goes.
    pub rate_limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { streams: 4, stall: Duration::from_mins(1), acknowledge_abuse: false, rate_limit: 0 }
    }
}

/// Why a download did not end in a verified part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Drive did not give the bytes.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The connection ended in order, again and again, before all bytes were there.
    #[error("the download ended before all bytes arrived")]
    Short,
    /// Another connection for a later range was answered from the file's first byte on.
    #[error("Drive ignored the requested range")]
    NoRange,
    /// The file has another content by now.
    #[error("the content changed: {0}")]
    Changed(String),
    /// Drive shows the file as before, but does not give its bytes.
    #[error("{0}")]
    Refused(drive::Error),
    /// Drive does not show the file any more, or shows it in the trash.
    #[error("the file is no longer in Drive")]
    Gone,
    /// Drive says that the account may not download the file.
    #[error("its owner does not allow downloads; it is downloaded when they are allowed")]
    NotAllowed,
    /// The expected content is no longer the file's content.
    #[error("Drive now has another content of the file")]
    Replaced,
    /// All bytes came, and they are not what Drive said.
    #[error("wrong content: {why}")]
    WrongContent {
        /// In what they differ.
        why: String,
        /// Whether the disk may be to blame.
        suspect: Suspect,
    },
    /// The disk.
    #[error("cannot write the downloaded bytes")]
    Disk(#[from] io::Error),
    /// The thread that writes has ended without an error.
    #[error("the thread that writes the file has ended")]
    WriterGone,
    /// The program is ending.
    #[error("stopped")]
    Stopped,
}

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file.
    pub file_id: &'a FileId,
    /// The key that link-shared older files ask for.
    pub resource_key: Option<&'a str>,
    /// The expected content. Drive only serves the latest one.
    pub revision: &'a RevisionId,
}

/// How a download is watched and ended.
pub struct Control<'a> {
    /// Shows how many bytes are there.
    pub received: &'a AtomicU64,
    /// Ends it at a written block.
    pub stop: &'a CancellationToken,
    /// Called when nothing more comes from Drive; the disk may have work to do still.
    pub arrived: Box<dyn FnOnce() + Send + 'a>,
}

/// The engine: a connection to Drive and how to use it.
#[derive(Clone, Debug)]
pub struct Downloader {
    drive: Drive,
    /// As it is now, for all clones.
    config: Arc<ArcSwap<Config>>,
    limit: Limit,
    buffers: Buffers,
}

impl Downloader {
    /// Makes no call yet.
    pub fn new(drive: Drive, config: Config) -> Self {
        let limit = Limit::new(config.rate_limit);
        Self { drive, config: Arc::new(ArcSwap::from_pointee(config)), limit, buffers: Buffers::default() }
    }

    /// Uses another configuration from now on. The rate also changes for running transfers, the number of connections only
    /// for new ones. `stall` belongs to the HTTP client and does not change.
    pub fn set(&self, config: Config) {
        self.limit.set(config.rate_limit);
        self.config.store(Arc::new(config));
    }

    /// Whether files are downloaded that Google takes for harmful.
    pub fn acknowledges_abuse(&self) -> bool {
        self.config.load().acknowledge_abuse
    }

    /// Nothing to download for now: returns memory to the system.
    pub fn rest(&self) {
        self.buffers.release();
    }

    /// Downloads into the spool, going on from what an earlier run has left there.
    pub async fn fetch(
        &self,
        source: &Source<'_>,
        spool: &Spool,
        id: &DeliveryId,
        expected: Expected,
        control: Control<'_>,
    ) -> Result<VerifiedPart, Error> {
        let part = Part::open(spool, id, expected).await?;
        let fetched = transfer::transfer(self, source, part, control).await;
        match fetched {
            Err(Error::Changed(_) | Error::WrongContent { .. }) if self.is_replaced(source).await => {
                Err(Error::Replaced)
            }
            Err(Error::Drive(error)) if error.class() == Class::Permission => {
                Err(self.refused(source, error).await)
            }
            fetched => fetched,
        }
    }

    /// Drive did not give the bytes. What it says of the file tells why: a refusal of bytes alone may pass.
    async fn refused(&self, source: &Source<'_>, error: drive::Error) -> Error {
        let keys = ResourceKeys::of(source.file_id, source.resource_key);
        match self.drive.file(source.file_id, &keys).await {
            Ok(file) if file.trashed => Error::Gone,
            Ok(file) if file.can_download == Some(false) => Error::NotAllowed,
            Ok(file) if file.revision_key().is_some_and(|now| now != *source.revision) => Error::Replaced,
            Ok(_) => Error::Refused(error),
            Err(gone) if gone.fault() == Fault::NotFound => Error::Gone,
            Err(other) => Error::Drive(other),
        }
    }

    /// Whether Drive says that the file has another content by now. The change log says so as well, unless the file
    /// has left the watched folders meanwhile: then nobody else would ever notice.
    async fn is_replaced(&self, source: &Source<'_>) -> bool {
        let keys = ResourceKeys::of(source.file_id, source.resource_key);
        match self.drive.file(source.file_id, &keys).await {
            Ok(file) => file.revision_key().is_some_and(|now| now != *source.revision),
            Err(_) => false,
        }
    }
}
