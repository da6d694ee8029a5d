//! Which ranges of a part are on disk, in a file beside it. A part without that file was written from its beginning
//! on: its length says it all. It says no more than what was durable when it was written, so that neither a crash nor
//! a power cut can make it promise what is not there.

use std::io;

use serde::{Deserialize, Serialize};

use super::EXTENSION;
use super::folder::{HiddenFolder, beside};
use super::ranges::Ranges;
use super::witness::WITNESS;

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
    folder: HiddenFolder,
    part: String,
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
    pub(super) fn of(folder: &HiddenFolder, part: &str, size: u64, checksum: String) -> io::Result<Self> {
        let exists = folder.stat(&beside(part, SAVED))?.is_some();
        Ok(Self { folder: folder.clone(), part: part.to_owned(), size, checksum, exists })
    }

    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    pub(super) fn load(&self) -> io::Result<Known> {
        let Some(text) = self.folder.read(&beside(&self.part, SAVED))? else { return Ok(Known::Nothing) };
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
        let (name, meanwhile) = (beside(&self.part, SAVED), beside(&self.part, SAVING));
        self.folder.write(&name, &meanwhile, &serde_json::to_vec(&saved)?)?;
        if !self.exists {
            // Before the first byte with a gap before it is written: from then on the part's length says nothing.
            self.folder.sync()?;
            self.exists = true;
        }
        Ok(())
    }

    /// The part's length says it all again.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        if self.exists {
            self.folder.remove(&beside(&self.part, SAVED))?;
            self.exists = false;
        }
        Ok(())
    }
}

/// Removes the files that belong to an unneeded part.
pub(super) fn discard(folder: &HiddenFolder, part: &str) -> io::Result<()> {
    folder.remove(&beside(part, SAVED))?;
    folder.remove(&beside(part, SAVING))
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
        let folder = HiddenFolder::make(home.path()).unwrap();
        let of = |size, checksum: &str| Progress::of(&folder, "d1.part", size, checksum.into()).unwrap();
        let ranges = Ranges::from(vec![[0, 10], [20, 30]]);
        let mut progress = of(100, "md5:1");
        assert_eq!(progress.load().unwrap(), Known::Nothing);
        progress.save(&ranges).unwrap();
        assert_eq!(of(100, "md5:1").load().unwrap(), Known::Ranges(ranges));
        assert_eq!(of(100, "md5:2").load().unwrap(), Known::Unclear);
        assert_eq!(of(99, "md5:1").load().unwrap(), Known::Unclear);
        std::fs::write(folder.path("d1.ranges"), "{\"size\":").unwrap();
        assert_eq!(progress.load().unwrap(), Known::Unclear);
        progress.remove().unwrap();
        assert_eq!(folder.names().unwrap(), [""; 0]);
    }
}
