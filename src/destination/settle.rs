//! What a crash between "about to publish" and "published" has left: the disk tells which of the two came last.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{self as sys, Stat};

use super::local::{matches_record, stat_path};
use super::publish::move_without_overwriting;
use super::{Error, Local};
use crate::model::DeliveryId;
use crate::model::delivery::PublishedFile;

/// What the disk says of a delivery that a crash has interrupted while it was being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It had been published.
    Published,
    /// It had not.
    NotYet,
}

impl Local {
    /// Looks at the disk after a crash between "about to publish" and "published".
    ///
    /// The part keeps its inode when it is renamed, so the place tells. A part that is neither waiting nor at its
    /// place was published and taken away by whoever it was for, unless the hidden folder itself has been removed:
    /// then nothing is proved, and the file is fetched once more.
    pub fn settle(
        &self,
        id: &DeliveryId,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
    ) -> Result<Settled, Error> {
        let part = self.spool.path(id);
        let waiting = stat_path(&part).map_err(|errno| self.io("look at", &file.path, errno))?;
        let in_place = self.stat(&file.path)?.is_some_and(|stat| stat.st_ino == file.inode);
        match (waiting, in_place) {
            (None, true) => self.sync(&self.enter(&file.path)?, &file.path).map(|()| Settled::Published),
            (Some(left), true) => {
                self.sync(&self.enter(&file.path)?, &file.path)?;
                self.put_away(&part, &left, file, earlier)?;
                Ok(Settled::Published)
            }
            (Some(_), false) => Ok(Settled::NotYet),
            (None, false) if self.fresh => Ok(Settled::NotYet),
            (None, false) => Ok(Settled::Published),
        }
    }

    /// Something bears the part's name although the part is in its place: a second link to it, or the content that
    /// it was exchanged for. That one goes if it is untouched, and is kept under a name of its own if not.
    fn put_away(
        &self,
        part: &Path,
        left: &Stat,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
    ) -> Result<(), Error> {
        let own_link = left.st_ino == file.inode;
        if own_link || earlier.is_some_and(|earlier| matches_record(left, earlier)) {
            return sys::unlink(part)
                .map_err(|errno| self.io("remove the earlier content of", &file.path, errno));
        }
        let kept = self.free_place(&file.path, "kept", &HashSet::new())?;
        let place = self.enter(&kept)?;
        move_without_overwriting(part, &place).map_err(|errno| self.io("keep the changed", &kept, errno))?;
        self.sync(&place, &kept)
    }
}
