//! Directories whose names survive a power cut. The fsync of a file makes its bytes durable and promises nothing of its
//! name; that takes an fsync of the directory.

use std::fs::{File, remove_file};
use std::io;
use std::path::Path;

use crate::owner;

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    Ok(owner::durable(rustix::fs::fsync(File::open(path)?))?)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
