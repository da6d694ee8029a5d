//! Directories whose names survive a power cut. The fsync of a file makes its bytes durable and promises nothing of its
//! name; that takes an fsync of the directory.

use std::io;
use std::os::fd::AsFd;

use crate::owner;

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    Ok(owner::durable(rustix::fs::fsync(directory))?)
}
