//! A directory on this machine: what identifies it, how much room it has, and which place a file gets.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self as sys, Stat};
use rustix::io::Errno;
use tracing::info;

use super::Error;
use super::learned::Learned;
use super::lock::Lock;
use super::marker::{self, Marker, Seen};
use super::place::Place;
use super::published::is_as_published;
use super::rights::Rights;
use super::tree::{Blocked, OpenFolders, Tree, refusal};
use crate::model::delivery::PublishedFile;
use crate::model::{DeliveryId, Refusal, RelativePath};
use crate::owner::{self, Want};
use crate::spool::Spool;

/// A destination directory.
#[derive(Clone, Debug)]
pub struct Local {
    pub(super) root: PathBuf,
    pub(super) spool: Spool,
    marker: Marker,
    pub(super) rights: Rights,
    pub(super) tree: Tree,
    pub(super) learned: Arc<Learned>,
    /// The database that it is taken for, and what keeps others out.
    pub(super) claimed_by: Option<String>,
    pub(super) lock: Option<Arc<Lock>>,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// The disk: destinations on one disk share its space.
    pub device: u64,
}

/// The most names that are tried for one file; the limit only ends the search.
const MARK_LIMIT: u32 = 10_000;

impl Local {
    /// Opens a destination; `known` is its marker in the ledger. A destination that the ledger does not know is created if
    /// it is missing, and keeps an existing marker. A known destination must have its marker: an empty mount point is not
    /// the destination. An empty marker file means that the user accepts a new destination; it then gets a new marker,
    /// which `mark` writes after the ledger has it.
    pub(super) fn open(root: &Path, known: Option<&Marker>, rights: Rights) -> Result<Self, Error> {
        let fail = |source| unusable(root, source);
        let other = |why| Error::NotMounted { path: root.to_owned(), why };
        let found = Spool::find(root, rights.file_mode).map_err(fail)?;
        let seen = match &found {
            Some(spool) => marker::read(spool.folder()).map_err(fail)?,
            None => Seen::Nothing,
        };
        match (known, seen, found) {
            (None, Seen::Marker(marker, _), Some(spool)) => Ok(Self::new(root, spool, marker, rights)),
            (Some(known), Seen::Marker(marker, _), Some(spool)) if marker == *known => {
                Ok(Self::new(root, spool, marker, rights))
            }
            (None, _, _) => {
                make(root, rights)?;
                let local = Self::anew(root, rights)?;
                local.mark()?;
                Ok(local)
            }
            (Some(_), Seen::Marker(..), _) => Err(other("it has the marker of another destination")),
            (Some(_), Seen::Nothing, _) => Err(other("its marker is missing")),
            (Some(_), Seen::Empty, _) => Self::anew(root, rights),
        }
    }

    fn new(root: &Path, spool: Spool, marker: Marker, rights: Rights) -> Self {
        let tree = Tree { root: root.to_owned(), mode: rights.dir_mode };
        let learned = Learned::of(root);
        let root = root.to_owned();
        Self { root, spool, marker, rights, tree, learned, claimed_by: None, lock: None }
    }

    /// Whether a file that was delivered to this directory lies there as it was. Nothing of the program's own need be there.
    pub(super) fn is_witness(root: &Path, file: &PublishedFile) -> bool {
        let tree = Tree { root: root.to_owned(), mode: Rights::default().dir_mode };
        let Ok(Some(folder)) = tree.look(&file.path) else { return false };
        let place = Place::new(&Arc::new(folder), file.path.file_name());
        let stat = place.stat().ok().flatten();
        stat.is_some_and(|stat| is_as_published(&place, &stat, file).unwrap_or(false))
    }

    /// A destination with a new marker that is not written yet.
    pub(super) fn anew(root: &Path, rights: Rights) -> Result<Self, Error> {
        let fail = |source| unusable(root, source);
        let spool = Spool::open(root, rights.file_mode).map_err(fail)?;
        Ok(Self::new(root, spool, Marker::random(), rights))
    }

    /// Writes its marker, if it is not there yet.
    pub(super) fn mark(&self) -> Result<(), Error> {
        let fail = |source| Error::io("mark", self.root.clone(), source);
        match marker::read(self.spool.folder()).map_err(fail)? {
            Seen::Marker(marker, _) if marker == self.marker => Ok(()),
            Seen::Marker(..) | Seen::Nothing | Seen::Empty => self.write_marker(),
        }
    }

    pub(super) fn write_marker(&self) -> Result<(), Error> {
        let written = marker::write(self.spool.folder(), &self.marker, self.claimed_by.as_deref());
        written.map_err(|source| Error::io("mark", self.root.clone(), source))
    }

    /// The directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Its marker.
    pub(super) fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Checks that it is still there: its disk may have been unmounted since it was opened.
    pub(super) fn check(&self) -> Result<(), Error> {
        let fail = |source| unusable(&self.root, source);
        // The handle leads to the folder that was opened, wherever that is by now.
        let is_in_place = self.spool.is_in_place().map_err(fail)?;
        match marker::read(self.spool.folder()).map_err(fail)? {
            Seen::Marker(marker, _) if is_in_place && marker == self.marker => Ok(()),
            Seen::Marker(..) | Seen::Nothing | Seen::Empty => {
                Err(Error::NotMounted { path: self.root.clone(), why: "its marker has disappeared" })
            }
        }
    }

    /// Checks that it can be written to: writes a megabyte to its disk and removes it.
    pub(super) fn try_out(&self) -> Result<(), Error> {
        self.spool.try_out().map_err(|source| Error::io("write to", self.root.clone(), source))
    }

    /// Bytes that may still be written to its disk, and the disk's name.
    pub(super) fn space(&self) -> Result<Space, Error> {
        let fail = |errno: Errno| Error::Io {
            doing: "see how full the disk is at",
            path: self.root.clone(),
            source: errno.into(),
        };
        let disk = sys::statvfs(&self.root).map_err(fail)?;
        let device = sys::stat(&self.root).map_err(fail)?.st_dev;
        Ok(Space { free: disk.f_bavail.saturating_mul(disk.f_frsize), device })
    }

    /// How much of the disk the part of a delivery has taken.
    pub(super) fn taken(&self, id: &DeliveryId) -> u64 {
        self.spool.taken(id)
    }

    /// Where its parts wait.
    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The deliveries that have a part here, or a copy of one.
    pub(super) fn parts(&self) -> Result<Vec<DeliveryId>, Error> {
        let both = self.spool.parts().and_then(|parts| Ok([parts, self.copies()?].concat()));
        let mut parts =
            both.map_err(|source| Error::Io { doing: "list the parts in", path: self.root.clone(), source })?;
        parts.sort();
        parts.dedup();
        Ok(parts)
    }

    /// Removes the part of a delivery that will not be finished.
    pub(super) fn discard(&self, id: &DeliveryId) -> Result<(), Error> {
        self.remove_copy(id)?;
        self.spool.discard(id).map_err(|source| Error::Io {
            doing: "remove",
            path: self.spool.path(id),
            source,
        })
    }

    /// The whole path of a delivered file.
    pub(super) fn absolute(&self, path: &RelativePath) -> PathBuf {
        path.under(&self.root)
    }

    /// The wanted path if it is free, else the same name with a mark. Paths in `given` count as taken.
    pub(super) fn free_place(
        &self,
        wanted: &RelativePath,
        mark: &str,
        given: &HashSet<RelativePath>,
    ) -> Result<RelativePath, Error> {
        let (wanted, folder) = self.walkable(wanted)?;
        self.free_name(&wanted, &folder, mark, given)
    }

    /// A name in this folder that is free, and that its file system accepts as far as that is known.
    pub(super) fn free_name(
        &self,
        wanted: &RelativePath,
        folder: &Arc<OwnedFd>,
        mark: &str,
        given: &HashSet<RelativePath>,
    ) -> Result<RelativePath, Error> {
        let device =
            sys::fstat(folder).map_err(|errno| self.io("look at the folder of", wanted, errno))?.st_dev;
        for round in 0..MARK_LIMIT {
            let naming = self.learned.naming(device);
            let path =
                if round == 0 { wanted.named_as(naming) } else { wanted.marked_as(naming, mark, round) };
            match Place::new(folder, path.file_name()).stat() {
                Ok(None) if !given.contains(&path) => return Ok(path),
                Ok(_) => {}
                Err(errno) => {
                    if !self.learns_name(&path, device, refusal(errno)) {
                        return Err(self.io("look at", &path, errno));
                    }
                }
            }
        }
        Err(Error::Taken { path: wanted.clone() })
    }

    /// A file's name was refused. Whether there is another one to try.
    pub(super) fn learns_name(&self, path: &RelativePath, device: u64, why: Option<Refusal>) -> bool {
        let shown = self.absolute(path);
        why.is_some_and(|why| self.learned.refused(&shown, device, why, path.file_name()))
    }

    /// The path with usable directories, and the last one of them, opened. Where a file has the name of a directory, or the
    /// file system does not accept that, the directory gets another name.
    pub(super) fn walkable(&self, wanted: &RelativePath) -> Result<(RelativePath, Arc<OwnedFd>), Error> {
        let (mut path, mut round) = (wanted.clone(), 0);
        for _ in 0..MARK_LIMIT {
            match self.tree.make(&path) {
                Ok(folder) => return Ok((path, Arc::new(folder))),
                Err(Blocked::At(index)) => {
                    round += 1;
                    let device = sys::stat(&self.root).map_or(0, |stat| stat.st_dev);
                    path = path.with_other_directory(index, self.learned.naming(device), round);
                }
                Err(Blocked::Refused { index, why, device, errno }) => {
                    let name = &path.directories()[index];
                    if !self.learned.refused(&self.absolute(&path), device, why, name)
                        && self.learned.naming(device).apply(name) == *name
                    {
                        return Err(self.io("make the folders of", &path, errno));
                    }
                    path = path.directory_named_as(index, self.learned.naming(device));
                }
                Err(Blocked::By(errno)) => return Err(self.io("make the folders of", &path, errno)),
            }
        }
        Err(Error::Taken { path })
    }

    /// Where the part of a delivery is, or would be.
    pub(super) fn part(&self, id: &DeliveryId) -> Place {
        Place::new(self.spool.folder().handle(), &Spool::name(id))
    }

    /// The folder of a path in a batch, and the name in it.
    pub(super) fn enter(&self, folders: &mut OpenFolders<'_>, path: &RelativePath) -> Result<Place, Error> {
        folders.enter(path).map_err(|blocked| match blocked {
            Blocked::At(_) => Error::Taken { path: path.clone() },
            Blocked::By(errno) | Blocked::Refused { errno, .. } => {
                self.io("make the folders of", path, errno)
            }
        })
    }

    /// The place of a path, if its folder is there.
    pub(super) fn find(&self, path: &RelativePath) -> Result<Option<Place>, Error> {
        let folder = self.tree.look(path).map_err(|errno| self.io("look at", path, errno))?;
        Ok(folder.map(|folder| Place::new(&Arc::new(folder), path.file_name())))
    }

    pub(super) fn stat(&self, path: &RelativePath) -> Result<Option<Stat>, Error> {
        let Some(place) = self.find(path)? else { return Ok(None) };
        match place.stat() {
            // A name that the file system does not accept is not there.
            Err(errno) if refusal(errno).is_some() => Ok(None),
            stat => stat.map_err(|errno| self.io("look at", path, errno)),
        }
    }

    pub(super) fn not_durable(&self, path: &RelativePath, errno: Errno) -> Error {
        self.io("fsync the folder of", path, errno)
    }

    pub(super) fn io(&self, doing: &'static str, path: &RelativePath, errno: Errno) -> Error {
        Error::io(doing, self.absolute(path), errno.into())
    }
}

/// Makes a destination that is not there. Only its last part: with more missing, the path has a slip, or a disk is not
/// mounted.
fn make(root: &Path, rights: Rights) -> Result<(), Error> {
    let is_absent = |path: &Path| path.try_exists().is_ok_and(|exists| !exists);
    let (is_new, above) = (is_absent(root), owner::parent(root));
    if is_new && is_absent(above) {
        let said = format!(
            "it does not exist, and neither does {}; correct folder.destination, mount the disk, or make it: mkdir -p {}",
            above.display(),
            owner::shell(above)
        );
        return Err(unusable(root, owner::told(io::ErrorKind::NotFound, said)));
    }
    owner::make_directories(root, rights.dir_mode, rights.owner).map_err(|source| unusable(root, source))?;
    if is_new {
        info!(path = %root.display(), "the destination did not exist and was created");
    }
    Ok(())
}

fn unusable(root: &Path, source: io::Error) -> Error {
    Error::io("use the destination", root.to_owned(), owner::explained(source, root, Want::Make))
}
