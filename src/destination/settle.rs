//! What a crash between "about to publish" and "published" has left: the disk tells which of the two came last.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{self as sys, Stat};
use tracing::debug;

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
    /// It had not, and its part waits.
    NotYet,
    /// Neither the part nor the file is there, and nothing shows that it was ever moved.
    Lost,
}

impl Local {
    /// Looks at the disk after a crash between "about to publish" and "published".
    ///
    /// The part keeps its inode when it is moved, so the place tells. If the file is not there, it was either taken away
    /// from its place by whoever it was for, or its part was removed before. The first leaves evidence: the witness that
    /// is made right after the move, or the earlier content that it was exchanged for under the part's name. Without
    /// evidence it is fetched again: should somebody have taken it between the move and the witness, he gets it twice,
    /// which is better than never.
    pub fn settle(
        &self,
        id: &DeliveryId,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
    ) -> Result<Settled, Error> {
        let part = self.spool.path(id);
        let left = stat_path(&part).map_err(|errno| self.io("look at", &file.path, errno))?;
        // The inode alone proves nothing: one that is free is soon given to another file.
        let in_place = self.stat(&file.path)?.is_some_and(|stat| matches_record(&stat, file));
        if in_place {
            self.sync(&self.enter(&file.path)?, &file.path)?;
        }
        match left {
            Some(left) if in_place || file.replaces && was_exchanged(&left, file, earlier) => {
                self.spool
                    .note_move(id)
                    .map_err(|source| Error::io("note the move of", part.clone(), source))?;
                self.put_away(&part, &left, file, earlier).map(|()| Settled::Published)
            }
            Some(_) => Ok(Settled::NotYet),
            None if in_place || self.was_moved(id)? => Ok(Settled::Published),
            None => Ok(Settled::Lost),
        }
    }

    fn was_moved(&self, id: &DeliveryId) -> Result<bool, Error> {
        self.spool.was_moved(id).map_err(|source| Error::Io {
            doing: "look at",
            path: self.spool.path(id),
            source,
        })
    }

    /// The database knows that these were moved: nothing else has to tell.
    pub fn forget_moves(&self, ids: &[DeliveryId]) {
        for id in ids {
            if let Err(error) = self.spool.forget_move(id) {
                debug!(delivery.id = %id, %error, "the note that a file was put in its place is removed later");
            }
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
        if own_link || is_earlier(left, earlier) {
            return sys::unlink(part)
                .map_err(|errno| self.io("remove the earlier content of", &file.path, errno));
        }
        let kept = self.free_place(&file.path, "kept", &HashSet::new())?;
        let place = self.enter(&kept)?;
        move_without_overwriting(part, &place).map_err(|errno| self.io("keep the changed", &kept, errno))?;
        self.sync(&place, &kept)
    }
}

/// Whether what bears the part's name is what was in its place before, and not the part: that one has its inode, or at
/// least its size and time where inodes change.
fn was_exchanged(left: &Stat, file: &PublishedFile, earlier: Option<&PublishedFile>) -> bool {
    let under_any_inode = PublishedFile { inode: left.st_ino, ..file.clone() };
    is_earlier(left, earlier) || left.st_ino != file.inode && !matches_record(left, &under_any_inode)
}

fn is_earlier(left: &Stat, earlier: Option<&PublishedFile>) -> bool {
    earlier.is_some_and(|earlier| matches_record(left, earlier))
}
