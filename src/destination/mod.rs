//! Where delivered files go. Takes only a `VerifiedPart`; overwrites nothing that it did not put there itself.

mod acl;
mod calls;
mod claim;
mod copies;
mod error;
mod learned;
mod local;
mod lock;
mod lying;
mod marker;
mod moves;
mod off_thread;
mod place;
mod publish;
mod published;
mod rights;
mod settle;
mod tree;

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use local::{Local, Space};
pub use lock::Claimant;
pub use marker::Marker;
pub use publish::{Planned, Wish};
pub use rights::Rights;
pub use settle::Settled;

use crate::model::delivery::PublishedFile;
use crate::model::{DeliveryId, RelativePath};
use crate::spool::{Expected, Spool};
use off_thread::off_thread;

/// A destination. What may wait for a disk or a server leaves the runtime's threads by itself, each method at most once.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A directory on this machine.
    Local(Local),
}

/// How a destination is opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What files and directories that are made there get.
    pub rights: Rights,
    /// Its marker in the ledger, if the ledger knows it.
    pub known: Option<Marker>,
    /// The database that it is opened for.
    pub by: Claimant,
}

impl Destination {
    /// Opens a destination by what the ledger knows of it, and takes it for a database, as long as this value or a clone of
    /// it lives. One that the ledger does not know is created if it is missing. Says as well how much room there is.
    pub async fn open(at: &Path, opening: Opening) -> Result<(Self, Space), Error> {
        let root = at.to_owned();
        let open = move || {
            let Opening { rights, known, by } = opening;
            with_space(Local::open(&root, known.as_ref(), rights)?.claim(&by)?)
        };
        off_thread(at, open).await
    }

    /// Opens a destination whose marker is lost. Its new marker is written by `mark`, when the ledger has it.
    pub async fn open_anew(at: &Path, rights: Rights, by: Claimant) -> Result<(Self, Space), Error> {
        let root = at.to_owned();
        off_thread(at, move || with_space(Local::anew(&root, rights)?.claim(&by)?)).await
    }

    /// Whether one of these files, which were delivered to a destination, lies there as it was. Nothing of the program's own
    /// need be there.
    pub async fn has_any(at: &Path, files: Vec<PublishedFile>) -> Result<bool, Error> {
        let root = at.to_owned();
        off_thread(at, move || Ok(files.iter().any(|file| Local::is_witness(&root, file)))).await
    }

    /// Where it is, as the configuration and the ledger say.
    pub fn root(&self) -> &Path {
        match self {
            Self::Local(local) => local.root(),
        }
    }

    /// What the ledger knows it by.
    pub fn marker(&self) -> &Marker {
        match self {
            Self::Local(local) => local.marker(),
        }
    }

    /// The whole path of a delivered file.
    pub fn absolute(&self, path: &RelativePath) -> PathBuf {
        match self {
            Self::Local(local) => local.absolute(path),
        }
    }

    /// Where its parts wait.
    pub fn spool(&self) -> &Spool {
        match self {
            Self::Local(local) => local.spool(),
        }
    }

    /// Writes its marker, if it is not there yet.
    pub async fn mark(&self) -> Result<(), Error> {
        match self {
            Self::Local(local) => local.off_thread(Local::mark).await,
        }
    }

    /// Checks that it can be written to.
    pub async fn try_out(&self) -> Result<(), Error> {
        match self {
            Self::Local(local) => local.off_thread(Local::try_out).await,
        }
    }

    /// How much room there is for parts.
    pub async fn space(&self) -> Result<Space, Error> {
        match self {
            Self::Local(local) => local.off_thread(Local::space).await,
        }
    }

    /// How much of its room the part of a delivery has taken.
    pub async fn taken(&self, id: DeliveryId) -> Result<u64, Error> {
        match self {
            Self::Local(local) => local.off_thread(move |local| Ok(local.taken(&id))).await,
        }
    }

    /// The places at which a file of this size lies that may be the wanted one, the likeliest first. Nothing is read.
    pub async fn alike(
        &self,
        wanted: RelativePath,
        mark: String,
        size: u64,
    ) -> Result<Vec<RelativePath>, Error> {
        match self {
            Self::Local(local) => local.off_thread(move |local| local.alike(&wanted, &mark, size)).await,
        }
    }

    /// The file at a place if it has the expected size and checksum. It is read for that, until `stop`, and made durable.
    pub async fn lies_there(
        &self,
        path: RelativePath,
        expected: Expected,
        stop: CancellationToken,
    ) -> Result<Option<PublishedFile>, Error> {
        let goes_on = move || !stop.is_cancelled();
        match self {
            Self::Local(local) => {
                local.off_thread(move |local| local.lies_there(&path, &expected, &goes_on)).await
            }
        }
    }

    /// Finds a place for each of the parts, whose names are durable from here on.
    pub async fn plan(&self, wishes: Vec<Wish>) -> Result<Vec<Result<Planned, Error>>, Error> {
        match self {
            Self::Local(local) => local.off_thread(move |local| local.plan(&wishes)).await,
        }
    }

    /// Moves the parts to their places, and makes that durable.
    pub async fn publish(&self, planned: Vec<Planned>) -> Result<Vec<Result<(), Error>>, Error> {
        match self {
            Self::Local(local) => local.off_thread(move |local| Ok(local.publish(&planned))).await,
        }
    }

    /// Finds out after a crash what became of a delivery between "about to publish" and "published".
    pub async fn settle(
        &self,
        id: DeliveryId,
        file: PublishedFile,
        earlier: Option<PublishedFile>,
    ) -> Result<Settled, Error> {
        match self {
            Self::Local(local) => {
                local.off_thread(move |local| local.settle(&id, &file, earlier.as_ref())).await
            }
        }
    }

    /// The database knows that these were published: nothing else has to tell.
    pub async fn forget_moves(&self, ids: Vec<DeliveryId>) -> Result<(), Error> {
        match self {
            Self::Local(local) => {
                let forget = move |local: &Local| {
                    local.forget_moves(&ids);
                    Ok(())
                };
                local.off_thread(forget).await
            }
        }
    }

    /// The deliveries that have left something here that is not in its place.
    pub async fn parts(&self) -> Result<Vec<DeliveryId>, Error> {
        match self {
            Self::Local(local) => local.off_thread(Local::parts).await,
        }
    }

    /// Removes what is left of a delivery that will not be finished.
    pub async fn discard(&self, id: DeliveryId) -> Result<(), Error> {
        match self {
            Self::Local(local) => local.off_thread(move |local| local.discard(&id)).await,
        }
    }

    /// Whether nobody has used the part of a delivery for so long that nobody will. For parts that the database does not
    /// know.
    pub async fn is_forgotten(&self, id: DeliveryId) -> Result<bool, Error> {
        match self {
            Self::Local(local) => local.off_thread(move |local| local.is_forgotten(&id)).await,
        }
    }
}

fn with_space(local: Local) -> Result<(Destination, Space), Error> {
    let space = local.space()?;
    Ok((Destination::Local(local), space))
}
