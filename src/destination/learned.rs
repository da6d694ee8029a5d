//! What the file systems of a destination have refused. Nobody says beforehand which names they accept, and into which
//! folders a file can be moved: the first refusal tells, as long as the program runs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;
use tracing::info;

use crate::model::{Naming, Refusal};

/// What was learnt of one destination.
#[derive(Debug, Default)]
pub(super) struct Learned(Mutex<Lessons>);

#[derive(Debug, Default)]
struct Lessons {
    /// By disk.
    namings: HashMap<u64, Naming>,
    /// Folders by disk and inode.
    elsewhere: HashSet<(u64, u64)>,
}

impl Learned {
    /// What is known of this destination, however often it was opened.
    pub(super) fn of(root: &Path) -> Arc<Self> {
        static ALL: Mutex<Option<HashMap<PathBuf, Arc<Learned>>>> = Mutex::new(None);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.get_or_insert_default().entry(root.to_owned()).or_default())
    }

    /// Which names a disk accepts.
    pub(super) fn naming(&self, device: u64) -> Naming {
        self.lock().namings.get(&device).copied().unwrap_or(Naming::ANY)
    }

    /// A disk has refused a name. `false`: there is no other name to try.
    pub(super) fn refused(&self, shown: &Path, device: u64, why: Refusal, name: &str) -> bool {
        let mut lessons = self.lock();
        let naming = lessons.namings.get(&device).copied().unwrap_or(Naming::ANY);
        let Some(next) = naming.after(why, name) else { return false };
        lessons.namings.insert(device, next);
        drop(lessons);
        let (path, becomes) = (shown.display(), next.apply(name));
        info!(%path, name, becomes, "the file system does not accept a name; similar names are used there");
        true
    }

    /// Whether nothing can be moved from the hidden folder into this folder.
    pub(super) fn is_elsewhere(&self, folder: &Stat) -> bool {
        self.lock().elsewhere.contains(&(folder.st_dev, folder.st_ino))
    }

    /// Nothing can. `false`: that was known.
    pub(super) fn learn_elsewhere(&self, shown: &Path, folder: &Stat) -> bool {
        let is_news = self.lock().elsewhere.insert((folder.st_dev, folder.st_ino));
        if is_news {
            info!(path = %shown.display(), "a folder is on another file system, or has a quota of its own; files are copied into it");
        }
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Lessons> {
        // Maps and sets of finished values, whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
