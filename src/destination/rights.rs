//! Whose delivered files are, and who may read them. The group comes from the directory that a file is put into, as far as
//! that has the setgid bit.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{self as sys, AtFlags, Gid, Mode};
use rustix::io::Errno;
use tracing::warn;

use crate::owner::{self, Owner, group, process};

const SETGID: u32 = 0o2000;

/// What delivered files and the directories that are made for them get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The mode of files.
    pub file_mode: u32,
    /// The mode of directories.
    pub dir_mode: u32,
    /// Whom the destination itself is given to if root makes it.
    pub owner: Option<Owner>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { file_mode: 0o640, dir_mode: 0o750, owner: None }
    }
}

/// Makes a directory on the way to a file. One that root makes in somebody else's belongs to that one.
pub(super) fn make_directory(here: &OwnedFd, name: &str, mode: u32) -> Result<(), Errno> {
    match owner::make_in(here, OsStr::new(name), mode, None) {
        Err(Errno::EXIST) => Ok(()),
        outcome => outcome,
    }
}

/// Before a part is moved into a directory: if that has the setgid bit, the part gets its group, as if it had been made
/// there. It was made in the hidden folder, which may be older than the bit.
pub(super) fn inherit_group(part: &Path, directory: &OwnedFd, shown: &Path) -> Result<(), Errno> {
    let (stat, old) = (sys::fstat(directory)?, sys::lstat(part)?);
    if stat.st_mode & SETGID == 0 || stat.st_gid == old.st_gid {
        return Ok(());
    }
    let changed =
        sys::chownat(sys::CWD, part, None, Some(Gid::from_raw(stat.st_gid)), AtFlags::SYMLINK_NOFOLLOW);
    match changed {
        // Durable like the rest of it.
        Ok(()) => sys::fsync(sys::open(part, sys::OFlags::RDONLY | sys::OFlags::NOFOLLOW, Mode::empty())?),
        Err(errno) if owner::may_not(errno) => {
            refused(shown, stat.st_gid);
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

/// Once for each directory: the files are complete and in their places, and somebody cannot read them.
fn refused(directory: &Path, gid: u32) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned()) {
        let (group, (us, _)) = (group(gid), process());
        warn!(
            path = %directory.display(),
            "delivered files do not get the group {group} of their directory, since {us} is not in it; \
             sudo usermod -aG {group} {us}, or SupplementaryGroups={group} in the systemd unit, and restart"
        );
    }
}
