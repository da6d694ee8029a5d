//! A file as it lies there, compared with what the ledger has of it. The inode number is the cheap answer. On exFAT, mergerfs
//! and other file systems in user space it changes though nobody has touched the file; then the bytes answer.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::calls;
use super::place::Place;
use crate::model::delivery::{Identity, PublishedFile};
use crate::model::file::Checksum;
use crate::spool::checksum::Hasher;

/// Some file systems round a modification time when the file leaves the cache: VFAT to two seconds.
const ROUNDED: u64 = 2_000_000_000;
const AT_ONCE: usize = 1 << 18;

/// Whether what bears this name is the published file, and nobody has changed it.
pub(super) fn is_as_published(place: &Place, stat: &Stat, file: &PublishedFile) -> io::Result<bool> {
    if !is_regular(stat) || stat.st_size as u64 != file.size {
        return Ok(false);
    }
    let Identity::File { inode, modified_ns: delivered_ns } = file.identity;
    let moved_by = modified_ns(stat).abs_diff(delivered_ns);
    if stat.st_ino == inode && moved_by == 0 {
        return Ok(true);
    }
    match &file.checksum {
        Some(checksum) if moved_by < ROUNDED => Ok(read_as(place, stat, checksum, &|| true)?.is_some()),
        Some(_) | None => Ok(false),
    }
}

/// Whether size and modification time are those of the published file.
pub(super) fn is_alike(stat: &Stat, file: &PublishedFile) -> bool {
    let Identity::File { modified_ns: delivered_ns, .. } = file.identity;
    is_regular(stat) && stat.st_size as u64 == file.size && modified_ns(stat) == delivered_ns
}

/// Whether it has the inode of the published file.
pub(super) fn is_inode_of(stat: &Stat, file: &PublishedFile) -> bool {
    let Identity::File { inode, .. } = file.identity;
    stat.st_ino == inode
}

/// What a file is known by from now on.
pub(super) fn identity(stat: &Stat) -> Identity {
    Identity::File { inode: stat.st_ino, modified_ns: modified_ns(stat) }
}

/// Reads a file while `goes_on`. If its bytes have this checksum, and it was not changed meanwhile, it is given back.
pub(super) fn read_as(
    place: &Place,
    stat: &Stat,
    checksum: &Checksum,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Option<File>> {
    let mut file = match calls::read(place) {
        // Somebody has taken the right to read it, or has put something else there: it was changed.
        Err(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::LOOP) => return Ok(None),
        file => file?,
    };
    let mut hasher = Hasher::like(checksum);
    let mut buffer = vec![0; AT_ONCE];
    loop {
        if !goes_on() {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let after = rustix::fs::fstat(&file)?;
    let same = |a: &Stat, b: &Stat| a.st_size == b.st_size && modified_ns(a) == modified_ns(b);
    Ok((is_regular(&after) && same(&after, stat) && hasher.finish() == *checksum).then_some(file))
}

pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Modification time, nanoseconds since 1970.
fn modified_ns(stat: &Stat) -> i64 {
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
}
