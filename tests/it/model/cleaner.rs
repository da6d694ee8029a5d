//! A cleaner in the hidden folder. It takes nothing for the program's own but the files that say what the folder is.

use std::ffi::OsStr;
use std::fs;

use super::play::Play;

/// The ends of the names that files of a delivery have there.
const ENDS: [&str; 4] = ["part", "ranges", "ranges-new", "published"];

impl Play {
    /// Removes what it finds of deliveries.
    pub(super) fn clean(&mut self) {
        let entries = fs::read_dir(self.world.videos().join(".gdrive-webhook"));
        for path in entries.into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|end| ENDS.map(OsStr::new).contains(&end)) {
                // The daemon may have been quicker.
                let removed = fs::remove_file(&path).is_ok();
                self.tell(format!("a cleaner removes {}: {removed}", path.display()));
            }
        }
    }
}
