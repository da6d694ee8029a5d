//! A Drive with something in it: the folders and files of a directory; and one with nothing in it any more.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::sync::PoisonError;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use serde::Serialize;

use crate::drive::content::Content;
use crate::drive::node::Upload;
use crate::emulator::Emulator;

/// What came out of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seeded {
    /// Folders that were made, the directory itself not among them.
    pub folders: usize,
    /// Files that were put in.
    pub files: usize,
    /// Symbolic links and the like, which have no counterpart in Drive.
    pub left_out: usize,
}

impl Emulator {
    /// Puts what is in a directory into a folder, with names, bytes and times; in the order of the names.
    ///
    /// # Errors
    /// A directory or file that cannot be read, by its path. What was put in before stays.
    pub fn seed(&self, directory: &Path, into: &str) -> io::Result<Seeded> {
        let mut seeded = Seeded::default();
        self.seed_folder(directory, into, &mut seeded)?;
        Ok(seeded)
    }

    fn seed_folder(&self, directory: &Path, into: &str, seeded: &mut Seeded) -> io::Result<()> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
        let mut entries: Vec<DirEntry> =
            fs::read_dir(directory).and_then(Iterator::collect).map_err(named)?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let kind = entry.file_type().map_err(named)?;
            if kind.is_dir() {
                let folder = self.with_state(|state| state.folder(into, &name)).map_err(io::Error::other)?;
                seeded.folders += 1;
                self.seed_folder(&path, &folder, seeded)?;
            } else if kind.is_file() {
                let content = Content::from(fs::read(&path).map_err(named)?);
                let modified = entry.metadata().and_then(|about| about.modified()).map_err(named)?;
                let mut upload = Upload::new(into, &name, content);
                upload.modified_time = modified
                    .duration_since(UNIX_EPOCH)
                    .ok()
                    .and_then(|since| {
                        Timestamp::from_millisecond(i64::try_from(since.as_millis()).ok()?).ok()
                    })
                    .map(|time| time.to_string());
                self.try_upload(upload).map_err(io::Error::other)?;
                seeded.files += 1;
            } else {
                seeded.left_out += 1;
            }
        }
        Ok(())
    }

    /// As it was when it started with nothing: no files, drives, channels, logins, faults and records, and every
    /// setting and the clock as they usually are. My Drive is another one then. Ready-made credential files hold.
    pub fn reset(&self) {
        self.with_state(crate::world::World::reset);
        self.inner.clock.reset();
        self.inner.uploads.sessions().clear();
        self.inner.records.clear();
        self.inner.notifications.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
