//! Which ranges of a part are on disk, in a file beside it. A part without that file was written from its beginning
//! on: its length says it all. It says no more than what was durable when it was written, so that neither a crash nor
//! a power cut can make it promise what is not there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable::remove;
use super::ranges::Ranges;
use super::witness::WITNESS;
use super::{EXTENSION, sync_directory};
use crate::owner::{self, Absent};

const SAVING: &str = "ranges-new";
pub(super) const SAVED: &str = "ranges";

#[derive(Serialize, Deserialize)]
struct Saved {
    /// Of the whole file: another content is another file.
    size: u64,
    checksum: String,
    ranges: Ranges,
}

/// The file beside one part.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    path: PathBuf,
    size: u64,
    checksum: String,
    exists: bool,
}

/// What the file beside a part says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: there is none.
    Nothing,
    /// These bytes were written.
    Ranges(Ranges),
    /// It is of another content, or cannot be read: nothing is known of the part.
    Unclear,
}

impl Progress {
    /// Of a part of a file with this size and checksum.
    pub(super) fn of(part: &Path, size: u64, checksum: String) -> Self {
        let path = part.with_extension(SAVED);
        let exists = path.exists();
        Self { path, size, checksum, exists }
    }

    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    pub(super) fn load(&self) -> io::Result<Known> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::Nothing),
            Err(error) => return Err(error),
        };
        Ok(match serde_json::from_slice::<Saved>(&text) {
            Ok(saved) if saved.size == self.size && saved.checksum == self.checksum => {
                Known::Ranges(saved.ranges)
            }
            Ok(_) | Err(_) => Known::Unclear,
        })
    }

    /// Writes down what is durable by now.
    pub(super) fn save(&mut self, ranges: &Ranges) -> io::Result<()> {
        let saved = Saved { size: self.size, checksum: self.checksum.clone(), ranges: ranges.clone() };
        let new = self.path.with_extension(SAVING);
        let mut file = owner::open(&new, Absent::Make)?;
        file.set_len(0)?;
        file.write_all(&serde_json::to_vec(&saved)?)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        if !self.exists {
            // Before the first byte with a gap before it is written: from then on the part's length says nothing.
            if let Some(directory) = self.path.parent() {
                sync_directory(directory)?;
            }
            self.exists = true;
        }
        Ok(())
    }

    /// The part's length says it all again.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        if self.exists {
            remove(&self.path)?;
            self.exists = false;
        }
        Ok(())
    }
}

/// Removes the files that belong to an unneeded part.
pub(super) fn discard(part: &Path) -> io::Result<()> {
    remove(&part.with_extension(SAVED))?;
    remove(&part.with_extension(SAVING))
}

/// Whether a file in the hidden folder belongs to a part.
pub(super) fn is_beside(extension: &str) -> bool {
    [EXTENSION, SAVED, SAVING, WITNESS].contains(&extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_belongs_to_one_content() {
        let home = tempfile::tempdir().unwrap();
        let part = home.path().join("d1.part");
        let ranges = Ranges::from(vec![[0, 10], [20, 30]]);
        let mut progress = Progress::of(&part, 100, "md5:1".into());
        assert_eq!(progress.load().unwrap(), Known::Nothing);
        progress.save(&ranges).unwrap();
        assert_eq!(Progress::of(&part, 100, "md5:1".into()).load().unwrap(), Known::Ranges(ranges));
        assert_eq!(Progress::of(&part, 100, "md5:2".into()).load().unwrap(), Known::Unclear);
        assert_eq!(Progress::of(&part, 99, "md5:1".into()).load().unwrap(), Known::Unclear);
        fs::write(home.path().join("d1.ranges"), "{\"size\":").unwrap();
        assert_eq!(progress.load().unwrap(), Known::Unclear);
        progress.remove().unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
