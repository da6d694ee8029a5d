//! Whose delivered files are, and who may read them. The group and the access list come from the directory that a file is
//! put into, as far as that has the setgid bit and a default list.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::fs::{self as sys, Gid, Mode, XattrFlags};
use rustix::io::Errno;
use tracing::{debug, warn};

use super::acl;
use super::place::Place;
use crate::owner::{self, Owner, group, process};

const SETGID: u32 = 0o2000;
/// The access list that a directory gives to what is made in it.
const DEFAULT_LIST: &str = "system.posix_acl_default";
/// A file's own access list.
const LIST: &str = "system.posix_acl_access";
/// Linux keeps no longer ones.
const ATTRIBUTE_LIMIT: usize = 1 << 16;

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

/// Before a part is moved into a directory: it gets the group and the access list that it would have if it had been made
/// there. It was made in the hidden folder, which may be older than the setgid bit and the default list, or have others.
/// `sync` makes a change durable like the rest of it.
pub(super) fn pass_on(
    part: &Place,
    directory: &OwnedFd,
    mode: u32,
    shown: &Path,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let file = part.open()?;
    let group = pass_on_group(&file, directory, shown)?;
    let list = pass_on_list(&file, directory, mode, shown)?;
    if group == Changed::Yes || list == Changed::Yes { sync(&file) } else { Ok(()) }
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

fn pass_on_list(file: &File, directory: &OwnedFd, mode: u32, shown: &Path) -> Result<Changed, Errno> {
    let default = attribute(directory, DEFAULT_LIST)?;
    let (wanted, own) = (default.and_then(|list| acl::inherited(&list, mode)), attribute(file, LIST)?);
    let changed = match (&wanted, &own) {
        (None, None) => return Ok(Changed::No),
        (wanted, own) if wanted == own => return Ok(Changed::No),
        (Some(list), _) => sys::fsetxattr(file, LIST, list, XattrFlags::empty()),
        (None, Some(_)) => {
            sys::fremovexattr(file, LIST).and_then(|()| sys::fchmod(file, Mode::from_raw_mode(mode)))
        }
    };
    match changed {
        Ok(()) => Ok(Changed::Yes),
        Err(errno) if owner::may_not(errno) => {
            debug!(path = %shown.display(), %errno, "a file keeps its access list");
            Ok(Changed::No)
        }
        Err(errno) => Err(errno),
    }
}

/// An extended attribute, if there is one, and if the file system has such things.
fn attribute(file: impl AsFd, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = Vec::with_capacity(ATTRIBUTE_LIMIT);
    match sys::fgetxattr(file, name, spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => Ok(None),
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::sync::Arc;

    use rustix::fs::{CWD, OFlags};

    use super::*;

    const GROUP: u32 = 12_345;

    /// Passes a directory's group and list on to a part. The part's group, and whether something was made durable.
    fn passed_on(part: &Place, directory: &OwnedFd) -> (u32, bool) {
        let synced = Cell::new(false);
        let sync = |_: &File| {
            synced.set(true);
            Ok(())
        };
        pass_on(part, directory, 0o640, Path::new("directory"), sync).unwrap();
        (part.open().unwrap().metadata().unwrap().gid(), synced.get())
    }

    #[test]
    fn the_group_and_the_list_of_a_directory_are_passed_on_and_made_durable_once() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            fs::create_dir(home.path().join(name)).unwrap();
            sys::openat(CWD, home.path().join(name), OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        let (hidden, directory) = (Arc::new(open("hidden")), open("directory"));
        fs::write(home.path().join("hidden/part"), "part").unwrap();
        let part = Place::new(&hidden, "part");
        let before = part.open().unwrap().metadata().unwrap().gid();
        let path = home.path().join("directory");
        chown(&path, None, Some(GROUP)).unwrap();
        assert_eq!(passed_on(&part, &directory), (before, false), "without the setgid bit");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2770)).unwrap();
        assert_eq!(passed_on(&part, &directory), (GROUP, true));
        assert_eq!(passed_on(&part, &directory), (GROUP, false), "it has the group");

        // The owner, user 1000, the group, the mask, and others; the mask limits what user 1000 may do.
        let mut list = vec![2, 0, 0, 0];
        for (tag, rights, id) in [(1, 7, !0), (2, 7, 1000), (4, 5, !0), (16, 7, !0), (32, 5, !0_u32)] {
            list.extend([tag, 0, rights, 0]);
            list.extend(id.to_le_bytes());
        }
        match sys::fsetxattr(&directory, DEFAULT_LIST, &list, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => return,
            set => set.unwrap(),
        }
        assert_eq!(passed_on(&part, &directory), (GROUP, true));
        assert_eq!(attribute(part.open().unwrap(), LIST).unwrap(), acl::inherited(&list, 0o640));
        assert_eq!(passed_on(&part, &directory), (GROUP, false), "it has the list");
        sys::fremovexattr(&directory, DEFAULT_LIST).unwrap();
        assert_eq!(passed_on(&part, &directory), (GROUP, true));
        assert_eq!(attribute(part.open().unwrap(), LIST).unwrap(), None);
    }
}
