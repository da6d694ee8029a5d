//! A name in an open folder. Files are reached like this only, so that whoever moves a folder meanwhile moves nothing else.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

/// A folder and a name in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: String,
}

impl Place {
    pub(super) fn new(directory: &Arc<OwnedFd>, name: &str) -> Self {
        Self { directory: Arc::clone(directory), name: name.to_owned() }
    }

    /// What bears the name; a symbolic link is one.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match sys::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens a file for reading. No link is followed, and a pipe is not waited for.
    pub(super) fn open(&self) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        sys::openat(&self.directory, &self.name, flags, Mode::empty()).map(File::from)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        match sys::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            outcome => outcome,
        }
    }
}
