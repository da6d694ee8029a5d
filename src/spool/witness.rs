//! The witness of a part: an empty file that says that the part was moved to its place. A part that is missing proves
//! nothing: a cleaner may have removed it. Made after the move and removed when the database knows of it, so that only a
//! crash leaves one.

use std::io;

use super::folder::{HiddenFolder, beside};
use crate::owner::Absent;

pub(super) const WITNESS: &str = "published";

/// The part was moved.
pub(super) fn make(folder: &HiddenFolder, part: &str) -> io::Result<()> {
    folder.open(&beside(part, WITNESS), Absent::Make).map(drop)
}

/// Whether the part was moved.
pub(super) fn is_there(folder: &HiddenFolder, part: &str) -> io::Result<bool> {
    Ok(folder.stat(&beside(part, WITNESS))?.is_some())
}

/// It was not moved, or nobody has to know.
pub(super) fn forget(folder: &HiddenFolder, part: &str) -> io::Result<()> {
    folder.remove(&beside(part, WITNESS))
}
