//! The folders of a destination. Each is entered from the one above it without following symbolic links, so that nothing
//! leads out of the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{self as sys, Mode, OFlags};
use rustix::io::Errno;

use super::calls::{self, Call};
use super::place::Place;
use crate::model::{Refusal, RelativePath};
use crate::owner;

/// Why a folder cannot be entered.
#[derive(Debug)]
pub(super) enum Blocked {
    /// A file has the name of this directory of the path.
    At(usize),
    /// The file system does not accept the name of this directory.
    Refused {
        index: usize,
        why: Refusal,
        /// The disk of the directory above.
        device: u64,
        errno: Errno,
    },
    /// By an error.
    By(Errno),
}

/// The folders below a destination.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Of folders that are made.
    pub(super) mode: u32,
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Tree {
    pub(super) fn open_root(&self) -> Result<OwnedFd, Errno> {
        sys::open(&self.root, FLAGS, Mode::empty())
    }

    /// The folder of a path, if it is there.
    pub(super) fn look(&self, path: &RelativePath) -> Result<Option<OwnedFd>, Errno> {
        let mut here = self.open_root()?;
        for name in path.directories() {
            here = match step(&here, name) {
                Ok(next) => next,
                // A name that the file system does not accept is not there.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(errno) if refusal(errno).is_some() => return Ok(None),
                Err(errno) => return Err(errno),
            };
        }
        Ok(Some(here))
    }

    /// The folder of a path. What is missing is made; it is not durable yet.
    pub(super) fn make(&self, path: &RelativePath) -> Result<OwnedFd, Blocked> {
        let mut here = self.open_root().map_err(Blocked::By)?;
        for (index, name) in path.directories().iter().enumerate() {
            here = self.step_or_make(&here, name, index)?.0;
        }
        Ok(here)
    }

    fn step_or_make(&self, here: &OwnedFd, name: &str, index: usize) -> Result<(OwnedFd, Was), Blocked> {
        let error = match step(here, name) {
            Ok(next) => return Ok((next, Was::There)),
            Err(errno) => errno,
        };
        let errno = match error {
            Errno::NOTDIR | Errno::LOOP => return Err(Blocked::At(index)),
            Errno::NOENT => match make_directory(here, name, self.mode) {
                Ok(()) => return step(here, name).map(|next| (next, Was::Made)).map_err(Blocked::By),
                Err(errno) => errno,
            },
            errno => errno,
        };
        let above = sys::fstat(here).map_err(Blocked::By)?;
        match refusal(errno) {
            // A folder that was removed takes no name.
            Some(why) if above.st_nlink > 0 => {
                Err(Blocked::Refused { index, why, device: above.st_dev, errno })
            }
            Some(_) | None => Err(Blocked::By(errno)),
        }
    }
}

/// Makes a folder on the way to a file. One that root makes in somebody else's belongs to that one.
fn make_directory(here: &OwnedFd, name: &str, mode: u32) -> Result<(), Errno> {
    calls::before(Call::MakeFolder, "", name)?;
    match owner::make_in(here, OsStr::new(name), mode, None) {
        Err(Errno::EXIST) => Ok(()),
        outcome => outcome,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    There,
    Made,
}

fn step(here: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    sys::openat(here, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())
}

/// Whether an error may mean that the file system does not accept a name. A share of Windows says that there is no such
/// file.
pub(super) fn refusal(errno: Errno) -> Option<Refusal> {
    match errno {
        Errno::NAMETOOLONG => Some(Refusal::Length),
        Errno::INVAL | Errno::ILSEQ | Errno::NOENT => Some(Refusal::Character),
        _ => None,
    }
}

/// The folders of one batch. Each is opened once. Whoever has made one, now or before, it is made durable in the one above:
/// another delivery may have made it a moment ago, or an earlier run just before it was killed. An fsync costs the same for
/// one name as for twenty, so each folder gets one.
pub(super) struct OpenFolders<'a> {
    tree: &'a Tree,
    open: BTreeMap<Vec<String>, Arc<OwnedFd>>,
    durable: BTreeSet<Vec<String>>,
}

impl<'a> OpenFolders<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree, open: BTreeMap::new(), durable: BTreeSet::new() }
    }

    /// The folder of a path, durable in those above it, and the name in it.
    pub(super) fn enter(&mut self, path: &RelativePath) -> Result<Place, Blocked> {
        Ok(Place { directory: self.folder(path.directories())?, name: path.file_name().to_owned() })
    }

    fn folder(&mut self, directories: &[String]) -> Result<Arc<OwnedFd>, Blocked> {
        if let Some(folder) = self.open.get(directories) {
            return Ok(Arc::clone(folder));
        }
        let folder = match directories.split_last() {
            None => self.tree.open_root().map_err(Blocked::By)?,
            Some((name, directories_above)) => {
                let above = self.folder(directories_above)?;
                let (folder, was) = self.tree.step_or_make(&above, name, directories_above.len())?;
                if self.durable.insert(directories_above.to_vec()) || was == Was::Made {
                    calls::sync_folder(&above).map_err(Blocked::By)?;
                }
                folder
            }
        };
        let folder = Arc::new(folder);
        self.open.insert(directories.to_vec(), Arc::clone(&folder));
        Ok(folder)
    }
}
