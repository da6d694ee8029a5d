//! The database, as far as it can be looked at without a change: who has it, and whether it can be read.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::config::Settings;
use crate::store::{Error, Store};

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Database {
    /// A process that has its lock.
    pub(super) holder: Option<u32>,
    /// Why it cannot be used.
    pub(super) error: Option<Error>,
}

impl Database {
    pub(super) async fn look(settings: &Settings) -> Self {
        let holder = holder(settings);
        let error =
            if settings.store.path().exists() { Store::look(&settings.store).await.err() } else { None };
        Self { holder, error }
    }
}

/// The process that holds its lock, as the system lists it. To try the lock could keep a daemon from starting.
fn holder(settings: &Settings) -> Option<u32> {
    let lock = settings.store.target().with_added_extension("lock");
    let inode = fs::metadata(lock).ok()?.ino();
    holder_in(&fs::read_to_string("/proc/locks").ok()?, inode)
}

fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    // 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
    let inode = inode.to_string();
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let file = words.get(5).and_then(|file| file.rsplit(':').next());
        let is_it = words.get(1) == Some(&"FLOCK") && file == Some(inode.as_str());
        if is_it { words.get(4)?.parse().ok() } else { None }
    };
    locks.lines().find_map(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:5678 0 EOF\n2: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF\n\
                     2: -> FLOCK ADVISORY WRITE 9 08:01:5678 0 EOF\nbroken\n";
        assert_eq!(holder_in(locks, 5678), Some(1234));
        assert_eq!(holder_in(locks, 678), None);
    }
}
