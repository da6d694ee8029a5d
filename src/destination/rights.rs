//! Whose delivered files are, and who may read them. The group comes from the directory that a file is put into, as far as
//! that has the setgid bit.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{self as sys, Gid};
use rustix::io::Errno;
use tracing::warn;

use super::place::Place;
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

/// Before a part is moved into a directory: it gets the group that it would have if it had been made there. It was made in
/// the hidden folder, which may be older than the setgid bit.
/// `sync` makes a change durable like the rest of it.
pub(super) fn pass_on(
    part: &Place,
    directory: &OwnedFd,
    shown: &Path,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let file = part.open()?;
    if pass_on_group(&file, directory, shown)? == Changed::Yes { sync(&file) } else { Ok(()) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

fn pass_on_group(file: &File, directory: &OwnedFd, shown: &Path) -> Result<Changed, Errno> {
    let (stat, old) = (sys::fstat(directory)?, sys::fstat(file)?);
    if stat.st_mode & SETGID == 0 || stat.st_gid == old.st_gid {
        return Ok(Changed::No);
    }
    match sys::fchown(file, None, Some(Gid::from_raw(stat.st_gid))) {
        Ok(()) => Ok(Changed::Yes),
        Err(errno) if owner::may_not(errno) => {
            refused(shown, stat.st_gid);
            Ok(Changed::No)
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
