//! The witness of a part: an empty file that says that the part was moved to its place. A part that is missing proves
//! nothing: a cleaner may have removed it. Made after the move and removed when the database knows of it, so that only a
//! crash leaves one.

use std::io;
use std::path::Path;

use super::durable::remove;
use crate::owner::{self, Absent};

pub(super) const WITNESS: &str = "published";

/// The part was moved.
pub(super) fn make(part: &Path) -> io::Result<()> {
    owner::open(&part.with_extension(WITNESS), Absent::Make).map(drop)
}

/// Whether the part was moved.
pub(super) fn is_there(part: &Path) -> io::Result<bool> {
    part.with_extension(WITNESS).try_exists()
}

/// It was not moved, or nobody has to know.
pub(super) fn forget(part: &Path) -> io::Result<()> {
    remove(&part.with_extension(WITNESS))
}
