//! Files that can be nothing else than the program's own. Whatever bears the name of one was perhaps put there by somebody
//! else: a link that leads to another file, a pipe that blocks whoever opens it, a file that its owner can still change.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::owner::{self, user};

/// Of a file that the program makes.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// No link is followed, and nothing is waited for. On a regular file the second has no effect but with leases.
const CAREFUL: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens a file in a directory that belongs to `keeper`. `shown` is its path, for messages.
pub(super) fn open(
    directory: impl AsFd,
    name: &str,
    flags: OFlags,
    keeper: u32,
    shown: &Path,
) -> io::Result<File> {
    let opened = match sys::openat(&directory, name, flags | CAREFUL, MODE) {
        // Somebody has a lease on it, an NFS server for instance: the system asks for it back meanwhile.
        Err(Errno::AGAIN) if is_regular(&directory, name) => {
            sys::openat(&directory, name, flags | CAREFUL.difference(OFlags::NONBLOCK), MODE)
        }
        opened => opened,
    };
    let file = match opened {
        Ok(handle) => File::from(handle),
        Err(Errno::LOOP) => return Err(refused(shown, "is a symbolic link")),
        Err(Errno::ISDIR) => return Err(refused(shown, "is a directory")),
        // A socket, or a pipe that nobody reads.
        Err(Errno::NXIO) => return Err(refused(shown, "is no regular file")),
        Err(errno) => return Err(errno.into()),
    };
    match strange(&file.metadata()?, keeper) {
        Some(why) => Err(refused(shown, &why)),
        None => Ok(file),
    }
}

/// Why an open file is not the program's own. What belongs to root is nobody's trap.
fn strange(metadata: &Metadata, keeper: u32) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let kind = metadata.file_type();
    if kind.is_fifo() {
        Some("is a named pipe".to_owned())
    } else if !kind.is_file() {
        Some("is no regular file".to_owned())
    } else if ![us, keeper, 0].contains(&metadata.uid()) {
        Some(format!("belongs to {}", user(metadata.uid())))
    } else if metadata.nlink() > 1 {
        Some("has another name as well (a hard link)".to_owned())
    } else {
        None
    }
}

fn refused(shown: &Path, why: &str) -> io::Error {
    let path = shown.display();
    owner::told(
        io::ErrorKind::Other,
        format!("{path} {why}; this program has not made it and does not use it: remove it"),
    )
}

fn is_regular(directory: impl AsFd, name: &str) -> bool {
    sys::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Whether what bears a name is this open file.
pub(super) fn is_same(named: &Stat, file: impl AsFd) -> io::Result<bool> {
    let open = sys::fstat(file)?;
    Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
}
