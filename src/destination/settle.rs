//! What a crash between "about to publish" and "published" has left: the disk tells which of the two came last.

use std::collections::HashSet;
use std::io;

use rustix::fs::Stat;
use tracing::debug;

use super::moves::move_new;
use super::place::Place;
use super::published::{is_alike, is_as_published, is_inode_of};
use super::tree::OpenFolders;
use super::{Error, Local, calls};
use crate::model::delivery::PublishedFile;
use crate::model::{DeliveryId, RelativePath};

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
    pub(super) fn settle(
        &self,
        id: &DeliveryId,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
    ) -> Result<Settled, Error> {
        // The inode alone proves nothing: one that is free is soon given to another file. Where inodes change, the bytes
        // tell, which takes long for a large file; with the witness its size and time are enough.
        let in_place =
            if self.was_moved(id)? { self.is_still_alike(file)? } else { self.is_untouched(file)? };
        if in_place {
            self.make_durable(&file.path)?;
        }
        if let Some(path) = self.copied_to(id)? {
            return self.settle_copy(id, &path, file, earlier, in_place);
        }
        let part = self.part(id);
        let left = part.stat().map_err(|errno| self.io("look at", &file.path, errno))?;
        match left {
            Some(left) if in_place || self.was_exchanged(&part, &left, file, earlier)? => {
                self.note_move(id)?;
                self.put_away(&part, &left, file, earlier).map(|()| Settled::Published)
            }
            Some(_) => Ok(Settled::NotYet),
            None if in_place || self.was_moved(id)? => Ok(Settled::Published),
            None => Ok(Settled::Lost),
        }
    }

    /// Its part still waits, since a copy of it was to be published. As long as that was not, the part is there to begin
    /// with.
    fn settle_copy(
        &self,
        id: &DeliveryId,
        path: &RelativePath,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
        in_place: bool,
    ) -> Result<Settled, Error> {
        let copy = self.find_copy(id, path)?;
        let look = |copy: &Place| copy.stat().map_err(|errno| self.io("look at", path, errno));
        let left = copy.as_ref().map(look).transpose()?.flatten();
        let was_exchanged = match (&copy, &left) {
            (Some(copy), Some(left)) => self.was_exchanged(copy, left, file, earlier)?,
            _ => false,
        };
        if !(in_place || was_exchanged || left.is_none() && self.was_moved(id)?) {
            return Ok(Settled::NotYet);
        }
        self.note_move(id)?;
        if let (Some(copy), Some(left)) = (&copy, &left) {
            self.put_away(copy, left, file, earlier)?;
        }
        self.copy_is_published(id).map(|()| Settled::Published)
    }

    /// Whether what bears the name of the part, or of its copy, is what was in its place before: the part has its inode, or
    /// at least its size and time where inodes change.
    fn was_exchanged(
        &self,
        place: &Place,
        left: &Stat,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
    ) -> Result<bool, Error> {
        if !file.replaces {
            return Ok(false);
        }
        let is_part = is_inode_of(left, file) || is_alike(left, file);
        let fail = |error| Error::io("look at", self.absolute(&file.path), error);
        Ok(!is_part || is_earlier(place, left, earlier).map_err(fail)?)
    }

    /// Whether the file in its place has the size and the time that it was put there with.
    fn is_still_alike(&self, file: &PublishedFile) -> Result<bool, Error> {
        Ok(self.stat(&file.path)?.is_some_and(|stat| is_alike(&stat, file)))
    }

    fn note_move(&self, id: &DeliveryId) -> Result<(), Error> {
        self.spool.note_move(id).map_err(|source| Error::io("note the move of", self.spool.path(id), source))
    }

    fn was_moved(&self, id: &DeliveryId) -> Result<bool, Error> {
        self.spool.was_moved(id).map_err(|source| Error::Io {
            doing: "look at",
            path: self.spool.path(id),
            source,
        })
    }

    /// The database knows that these were moved: nothing else has to tell.
    pub(super) fn forget_moves(&self, ids: &[DeliveryId]) {
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
        part: &Place,
        left: &Stat,
        file: &PublishedFile,
        earlier: Option<&PublishedFile>,
    ) -> Result<(), Error> {
        let own_link = is_inode_of(left, file);
        let fail = |error| Error::io("look at", self.absolute(&file.path), error);
        if own_link || is_earlier(part, left, earlier).map_err(fail)? {
            let removed = part.remove();
            return removed.map_err(|errno| self.io("remove the earlier content of", &file.path, errno));
        }
        let kept = self.free_place(&file.path, "kept", &HashSet::new())?;
        let place = self.enter(&mut OpenFolders::new(&self.tree), &kept)?;
        move_new(part, &place).map_err(|errno| self.io("keep the changed", &kept, errno))?;
        calls::sync_folder(&place.directory).map_err(|errno| self.not_durable(&kept, errno))
    }

    fn make_durable(&self, path: &RelativePath) -> Result<(), Error> {
        let place = self.enter(&mut OpenFolders::new(&self.tree), path)?;
        calls::sync_folder(&place.directory).map_err(|errno| self.not_durable(path, errno))
    }
}

/// Whether what bears a name is the earlier content.
fn is_earlier(place: &Place, left: &Stat, earlier: Option<&PublishedFile>) -> io::Result<bool> {
    earlier.map_or(Ok(false), |earlier| is_as_published(place, left, earlier))
}
