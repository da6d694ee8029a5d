//! Publishing: verified parts get paths, and are moved there, each with one rename that refuses to overwrite. Many at once,
//! because an fsync of a folder costs the same for one name as for twenty.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs as sys;
use rustix::io::Errno;
use tracing::{debug, info};

use super::copies::{copy_in, id_of};
use super::moves::move_new;
use super::place::Place;
use super::published::{identity, is_as_published};
use super::rights::pass_on;
use super::tree::{OpenFolders, refusal};
use super::{Error, Local, calls};
use crate::checkpoint::{Point, fails, reached};
use crate::model::RelativePath;
use crate::model::delivery::{Identity, PublishedFile};
use crate::owner;
use crate::spool::{HIDDEN, VerifiedPart};

/// A verified part without a path.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The part.
    pub part: Arc<VerifiedPart>,
    /// Its path if that is free.
    pub wanted: RelativePath,
    /// The mark that distinguishes it from other files with the same name.
    pub mark: String,
    /// The earlier content of the same file, whose place it takes as long as that is untouched.
    pub earlier: Option<PublishedFile>,
}

/// A verified part with a place that was free a moment ago.
#[derive(Clone, Debug)]
pub struct Planned {
    part: Arc<VerifiedPart>,
    /// What will be there.
    pub file: PublishedFile,
    earlier: Option<PublishedFile>,
    waits: Waits,
}

/// Where the verified bytes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// In the hidden folder of the destination.
    AsPart,
    /// In the folder of their place.
    AsCopy,
}

impl Local {
    /// Finds a place for each of the parts, whose names are durable from here on.
    pub(super) fn plan(&self, wishes: &[Wish]) -> Result<Vec<Result<Planned, Error>>, Error> {
        self.check()?;
        self.spool.sync().map_err(|source| Error::Io {
            doing: "fsync the downloads in",
            path: self.root.clone(),
            source,
        })?;
        let mut given = HashSet::new();
        let planned = wishes.iter().map(|wish| {
            let planned = self.plan_one(wish, &given)?;
            given.insert(planned.file.path.clone());
            Ok(planned)
        });
        Ok(planned.collect())
    }

    fn plan_one(&self, wish: &Wish, given: &HashSet<RelativePath>) -> Result<Planned, Error> {
        let part = &wish.part;
        self.expect_part(part)?;
        part.is_not_moved().map_err(|source| unreadable(part, source))?;
        let mut earlier = wish.earlier.clone();
        if let Some(file) = &earlier {
            if file.adopted {
                info!(path = %file.path, "the earlier file was there before this program; it stays, and the new one gets another name");
                earlier = None;
            } else if !self.is_untouched(file)? {
                info!(path = %file.path, "the earlier file was changed since it was delivered; it stays, and the new one gets another name");
                earlier = None;
            }
        }
        let (path, folder) = if let Some(earlier) = &earlier {
            let place = self.find(&earlier.path)?;
            let changed = || Error::Changed { path: earlier.path.clone() };
            (earlier.path.clone(), place.ok_or_else(changed)?.directory)
        } else {
            let (wanted, folder) = self.walkable(&wish.wanted)?;
            (self.free_name(&wanted, &folder, &wish.mark, given)?, folder)
        };
        let mut file = PublishedFile {
            path,
            identity: Identity::File { inode: part.inode(), modified_ns: part.modified_ns() },
            size: part.size(),
            checksum: Some(part.checksum().clone()),
            replaces: earlier.is_some(),
            adopted: false,
        };
        let stat =
            sys::fstat(&folder).map_err(|errno| self.io("look at the folder of", &file.path, errno))?;
        let waits = if self.learned.is_elsewhere(&stat) {
            let copy = self.copy(part, &file.path, &folder)?;
            file.identity = identity(&copy);
            Waits::AsCopy
        } else {
            Waits::AsPart
        };
        Ok(Planned { part: Arc::clone(part), file, earlier, waits })
    }

    /// Moves the parts to their places, and makes that durable: with one fsync for each folder, however many files go there.
    pub(super) fn publish(&self, parts: &[Planned]) -> Vec<Result<(), Error>> {
        let mut folders = OpenFolders::new(&self.tree);
        let moved: Vec<_> = parts.iter().map(|planned| self.move_one(planned, &mut folders)).collect();
        let mut durable: BTreeMap<&[String], Result<(), Errno>> = BTreeMap::new();
        let outcomes = parts.iter().zip(moved).map(|(planned, moved)| {
            let (moved, path) = (moved?, &planned.file.path);
            let sync =
                || if fails(Point::Moved) { Err(Errno::IO) } else { calls::sync_folder(&moved.to.directory) };
            durable
                .entry(path.directories())
                .or_insert_with(sync)
                .map_err(|errno| self.not_durable(path, errno))?;
            if let Some(left) = moved.left {
                left.remove().map_err(|errno| self.io("remove the earlier content of", path, errno))?;
            }
            match planned.waits {
                Waits::AsPart => Ok(()),
                Waits::AsCopy => self.copy_is_published(&id_of(&planned.part)),
            }
        });
        outcomes.collect()
    }

    fn move_one(&self, planned: &Planned, folders: &mut OpenFolders<'_>) -> Result<Moved, Error> {
        let path = &planned.file.path;
        let to = self.enter(folders, path)?;
        self.expect_part(&planned.part)?;
        let from = match planned.waits {
            Waits::AsPart => Place::new(planned.part.folder().handle(), planned.part.name()),
            Waits::AsCopy => copy_in(&to.directory, &id_of(&planned.part)),
        };
        let shown = self.absolute(path);
        let sync = |file: &File| match planned.waits {
            Waits::AsPart => planned.part.sync(),
            Waits::AsCopy => file.sync_all(),
        };
        pass_on(&from, &to.directory, self.rights.file_mode, owner::parent(&shown), sync)
            .map_err(|source| Error::io("set the group of", shown.clone(), source))?;
        match &planned.earlier {
            Some(earlier) => self.replace(planned, from, to, earlier),
            None => self.put(planned, &from, to),
        }
    }

    /// Looks at the part: a cleaner may have removed it, and another file may have its name.
    fn expect_part(&self, part: &VerifiedPart) -> Result<(), Error> {
        match part.is_there() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::PartGone { hidden: self.root.join(HIDDEN) }),
            Err(source) => Err(unreadable(part, source)),
        }
    }

    /// Moves a verified part to its path, which must be free. The name is not durable yet.
    fn put(&self, planned: &Planned, from: &Place, to: Place) -> Result<Moved, Error> {
        match move_new(from, &to) {
            Ok(()) => {}
            Err(errno) => return Err(self.not_moved(planned, from, &to, errno)),
        }
        reached(Point::Moved);
        note_move(&planned.part);
        Ok(Moved { to, left: None })
    }

    /// Why a file could not be moved. Where another plan is possible, its place counts as taken.
    fn not_moved(&self, planned: &Planned, from: &Place, to: &Place, errno: Errno) -> Error {
        let path = &planned.file.path;
        let taken = || Error::Taken { path: path.clone() };
        if errno == Errno::EXIST {
            return taken();
        }
        if let Err(gone) = self.expect_part(&planned.part) {
            return gone;
        }
        match sys::fstat(&to.directory) {
            Ok(folder) if errno == Errno::XDEV && planned.waits == Waits::AsPart => {
                self.learned.learn_elsewhere(owner::parent(&self.absolute(path)), &folder);
                taken()
            }
            // What is gone says nothing of names.
            Ok(folder) if folder.st_nlink > 0 && matches!(from.stat(), Ok(Some(_))) => {
                let learns = self.learns_name(path, folder.st_dev, refusal(errno));
                if learns { taken() } else { self.io("publish", path, errno) }
            }
            Ok(_) | Err(_) => self.io("publish", path, errno),
        }
    }

    /// Puts a verified part in the place of the file that was delivered there before, if that is still untouched.
    fn replace(
        &self,
        planned: &Planned,
        from: Place,
        to: Place,
        earlier: &PublishedFile,
    ) -> Result<Moved, Error> {
        let path = &earlier.path;
        let changed = || Error::Changed { path: path.clone() };
        if !self.is_there_untouched(&to, earlier)? {
            return Err(changed());
        }
        match calls::exchange(&from, &to) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                // No exchange on this file system: a plain rename, a moment after the check.
                calls::rename(&from, &to).map_err(|errno| self.not_moved(planned, &from, &to, errno))?;
                note_move(&planned.part);
                return Ok(Moved { to, left: None });
            }
            Err(Errno::NOENT) => return Err(changed()),
            Err(errno) => return Err(self.not_moved(planned, &from, &to, errno)),
        }
        reached(Point::Exchanged);
        // What was at the place now bears the part's name. Had it been touched between the look and the exchange, it
        // goes back.
        if !self.is_there_untouched(&from, earlier)? {
            calls::exchange(&from, &to).map_err(|errno| self.io("restore", path, errno))?;
            return Err(changed());
        }
        // Until now the earlier content under the part's name says that it was moved.
        note_move(&planned.part);
        Ok(Moved { to, left: Some(from) })
    }

    /// Whether a delivered file is there as it was published.
    fn is_there_untouched(&self, place: &Place, file: &PublishedFile) -> Result<bool, Error> {
        let fail = |error| Error::io("look at", self.absolute(&file.path), error);
        match place.stat().map_err(|errno| fail(errno.into()))? {
            Some(stat) => is_as_published(place, &stat, file).map_err(fail),
            None => Ok(false),
        }
    }

    /// Whether the file is there as it was delivered.
    pub(super) fn is_untouched(&self, file: &PublishedFile) -> Result<bool, Error> {
        let Some(place) = self.find(&file.path)? else { return Ok(false) };
        self.is_there_untouched(&place, file)
    }
}

/// A part in its place.
struct Moved {
    to: Place,
    /// The earlier content, under the part's name. It goes when the new one is durable.
    left: Option<Place>,
}

fn unreadable(part: &VerifiedPart, source: io::Error) -> Error {
    Error::Io { doing: "look at", path: part.path(), source }
}

/// Without this note a crash costs another download of a file that was taken away at once; it is not worth an error.
fn note_move(part: &VerifiedPart) {
    if let Err(error) = part.is_moved() {
        debug!(path = %part.path().display(), %error, "that a file was put in its place cannot be noted");
    }
}

#[cfg(test)]
mod disks;
#[cfg(test)]
pub(super) mod tests;
