//! A directory on this machine. Every directory on the way to a file is entered without following symbolic links, so
//! that nothing leads out of the destination.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Error;
use super::marker::{self, Marker, Seen};
use super::rights::{Rights, make_directory};
use crate::model::delivery::PublishedFile;
use crate::model::{DeliveryId, Naming, RelativePath};
use crate::owner::{self, Want};
use crate::spool::Spool;

/// A destination directory.
#[derive(Clone, Debug)]
pub struct Local {
    pub(super) root: PathBuf,
    pub(super) spool: Spool,
    marker: Marker,
    /// Its marker is new: then the absence of a part proves nothing.
    pub(super) fresh: bool,
    rights: Rights,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// The disk: destinations on one disk share its space.
    pub device: u64,
}

/// A directory and a name in it.
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: String,
}

/// The most names that are tried for one file; the limit only ends the search.
const MARK_LIMIT: u32 = 10_000;

impl Local {
    /// Opens a destination; `known` is its marker in the ledger. A destination that the ledger does not know is created if
    /// it is missing, and keeps an existing marker. A known destination must have its marker: an empty mount point is not
    /// the destination. An empty marker file means that the user accepts a new destination; it then gets a new marker,
    /// which `mark` writes after the ledger has it.
    pub fn open(root: &Path, known: Option<&Marker>, rights: Rights) -> Result<Self, Error> {
        let fail = |source| unusable(root, source);
        let other = |why| Error::NotMounted { path: root.to_owned(), why };
        let (marker, fresh) = match (known, marker::read(root).map_err(fail)?) {
            (None, Seen::Marker(marker)) => (marker, false),
            (None, Seen::Nothing | Seen::Empty) => {
                owner::make_directories(root, rights.dir_mode, rights.owner).map_err(fail)?;
                let local = Self::anew(root, rights)?;
                local.mark()?;
                return Ok(local);
            }
            (Some(known), Seen::Marker(marker)) if marker == *known => (marker, false),
            (Some(_), Seen::Marker(_)) => return Err(other("it has the marker of another destination")),
            (Some(_), Seen::Nothing) => return Err(other("its marker is missing")),
            (Some(_), Seen::Empty) => return Self::anew(root, rights),
        };
        let spool = Spool::open(root, rights.file_mode).map_err(fail)?;
        Ok(Self { root: root.to_owned(), spool, marker, fresh, rights })
    }

    /// A destination with a new marker that is not written yet.
    pub fn anew(root: &Path, rights: Rights) -> Result<Self, Error> {
        let fail = |source| unusable(root, source);
        let spool = Spool::open(root, rights.file_mode).map_err(fail)?;
        Ok(Self { root: root.to_owned(), spool, marker: Marker::random(), fresh: true, rights })
    }

    /// Writes its marker, if it is not there yet.
    pub fn mark(&self) -> Result<(), Error> {
        let fail = |source| Error::io("mark", self.root.clone(), source);
        match marker::read(&self.root).map_err(fail)? {
            Seen::Marker(marker) if marker == self.marker => Ok(()),
            Seen::Marker(_) | Seen::Nothing | Seen::Empty => {
                marker::write(&self.root, &self.marker).map_err(fail)
            }
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its marker.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Whether its marker is new.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Checks that it is still there: its disk may have been unmounted since it was opened.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |source| unusable(&self.root, source);
        match marker::read(&self.root).map_err(fail)? {
            Seen::Marker(marker) if marker == self.marker => Ok(()),
            Seen::Marker(_) | Seen::Nothing | Seen::Empty => {
                Err(Error::NotMounted { path: self.root.clone(), why: "its marker has disappeared" })
            }
        }
    }

    /// Checks that it can be written to: writes a megabyte to its disk and removes it.
    pub fn try_out(&self) -> Result<(), Error> {
        self.spool.try_out().map_err(|source| Error::io("write to", self.root.clone(), source))
    }

    /// Bytes that may still be written to its disk, and the disk's name.
    pub fn space(&self) -> Result<Space, Error> {
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
    pub fn taken(&self, id: &DeliveryId) -> u64 {
        self.spool.taken(id)
    }

    /// Where its parts wait.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The deliveries that have a part here.
    pub fn parts(&self) -> Result<Vec<DeliveryId>, Error> {
        self.spool.parts().map_err(|source| Error::Io {
            doing: "list the parts in",
            path: self.root.clone(),
            source,
        })
    }

    /// Removes the part of a delivery that will not be finished.
    pub fn discard(&self, id: &DeliveryId) -> Result<(), Error> {
        self.spool.discard(id).map_err(|source| Error::Io {
            doing: "remove",
            path: self.spool.path(id),
            source,
        })
    }

    /// The whole path of a delivered file.
    pub fn absolute(&self, path: &RelativePath) -> PathBuf {
        path.under(&self.root)
    }

    /// The wanted path if it is free, else the same name with a mark. Paths in `given` count as taken.
    pub fn free_place(
        &self,
        wanted: &RelativePath,
        mark: &str,
        given: &HashSet<RelativePath>,
    ) -> Result<RelativePath, Error> {
        let wanted = self.walkable(wanted)?;
        for round in 0..MARK_LIMIT {
            let path = if round == 0 { wanted.clone() } else { wanted.marked(mark, round) };
            if !given.contains(&path) && self.stat(&path)?.is_none() {
                return Ok(path);
            }
        }
        Err(Error::Taken { path: wanted })
    }

    /// Whether the file is there as it was delivered.
    pub fn is_untouched(&self, file: &PublishedFile) -> Result<bool, Error> {
        Ok(self.stat(&file.path)?.is_some_and(|stat| matches_record(&stat, file)))
    }

    /// The path with usable directories: where a file has the name of a directory, the directory gets another name.
    fn walkable(&self, wanted: &RelativePath) -> Result<RelativePath, Error> {
        let mut path = wanted.clone();
        for round in 1..MARK_LIMIT {
            match self.walk(&path, Walk::Make) {
                Ok(_) => return Ok(path),
                Err(Blocked::At(index)) => {
                    path = path.with_other_directory(index, Naming::ANY, round);
                }
                Err(Blocked::By(errno)) => return Err(self.io("make the folders of", &path, errno)),
            }
        }
        Err(Error::Taken { path })
    }

    pub(super) fn enter(&self, path: &RelativePath) -> Result<Place, Error> {
        match self.walk(path, Walk::Enter) {
            Ok(Some(directory)) => Ok(Place { directory, name: path.file_name().to_owned() }),
            Ok(None) | Err(Blocked::At(_)) => Err(Error::Taken { path: path.clone() }),
            Err(Blocked::By(errno)) => Err(self.io("make the folders of", path, errno)),
        }
    }

    pub(super) fn stat(&self, path: &RelativePath) -> Result<Option<Stat>, Error> {
        let directory = match self.walk(path, Walk::Look) {
            Ok(Some(directory)) => directory,
            Ok(None) | Err(Blocked::At(_)) => return Ok(None),
            Err(Blocked::By(errno)) => return Err(self.io("look at", path, errno)),
        };
        match sys::statat(&directory, path.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.io("look at", path, errno)),
        }
    }

    /// Opens the directory of a path, step by step.
    fn walk(&self, path: &RelativePath, walk: Walk) -> Result<Option<OwnedFd>, Blocked> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here = sys::open(&self.root, flags, Mode::empty()).map_err(Blocked::By)?;
        for (index, name) in path.directories().iter().enumerate() {
            let step = |here: &OwnedFd| sys::openat(here, name, flags | OFlags::NOFOLLOW, Mode::empty());
            let next = match (step(&here), walk) {
                (Ok(next), _) => next,
                (Err(Errno::NOENT), Walk::Look) => return Ok(None),
                (Err(Errno::NOENT), Walk::Make | Walk::Enter) => {
                    make_directory(&here, name, self.rights.dir_mode).map_err(Blocked::By)?;
                    step(&here).map_err(Blocked::By)?
                }
                (Err(Errno::NOTDIR | Errno::LOOP), _) => return Err(Blocked::At(index)),
                (Err(errno), _) => return Err(Blocked::By(errno)),
            };
            if walk == Walk::Enter {
                sys::fsync(&here).map_err(Blocked::By)?;
            }
            here = next;
        }
        Ok(Some(here))
    }

    pub(super) fn sync(&self, place: &Place, path: &RelativePath) -> Result<(), Error> {
        sys::fsync(&place.directory).map_err(|errno| self.not_durable(path, errno))
    }

    pub(super) fn not_durable(&self, path: &RelativePath, errno: Errno) -> Error {
        self.io("make durable the folder of", path, errno)
    }

    pub(super) fn io(&self, doing: &'static str, path: &RelativePath, errno: Errno) -> Error {
        Error::io(doing, self.absolute(path), errno.into())
    }
}

/// What a walk to a directory is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// To look: it ends where nothing is.
    Look,
    /// To see whether it can be gone: what is missing is made.
    Make,
    /// To put something there: whoever has made a directory on the way, now or before, it is made durable in its
    /// parent. Another delivery may have made it a moment ago, or an earlier run just before it was killed.
    Enter,
}

enum Blocked {
    /// By a file with this directory's name.
    At(usize),
    By(Errno),
}

fn unusable(root: &Path, source: io::Error) -> Error {
    Error::io("use the destination", root.to_owned(), owner::explained(source, root, Want::Make))
}

pub(super) fn stat_path(path: &Path) -> Result<Option<Stat>, Errno> {
    match sys::lstat(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(super) fn matches_record(stat: &Stat, file: &PublishedFile) -> bool {
    let modified_ns = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64);
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_ino == file.inode
        && stat.st_size as u64 == file.size
        && modified_ns == file.modified_ns
}
