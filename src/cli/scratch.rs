//! The private directory of a dry run, with its copy of the database. Killed, a dry run leaves it behind; whoever writes to
//! the state directory next removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tracing::{info, warn};

use crate::owner;

/// Begins the name of each such directory.
const PREFIX: &str = "dry-run-";

/// A private directory that goes when it is no longer needed.
pub(super) struct Scratch {
    path: PathBuf,
    /// Locked as long as it is needed. A file system without locks has nothing tidied.
    lock: Option<File>,
}

impl Scratch {
    /// In the state directory, since a container may have no other that can be written to; else where the system keeps
    /// temporary files.
    pub(super) fn create(state_dir: &Path) -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        let here = state_dir.join(&name);
        if let Ok(scratch) = Self::make(here.clone()) {
            return Ok(scratch);
        }
        let elsewhere = std::env::temp_dir().join(format!("gdrive-webhook-{name}"));
        Self::make(elsewhere.clone())
            .with_context(|| format!("cannot create {} or {}", here.display(), elsewhere.display()))
    }

    fn make(path: PathBuf) -> io::Result<Self> {
        owner::make_private(&path)?;
        let lock = File::open(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock: Some(lock) }),
            // Another command takes it for left over, and removes it.
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(_)) => Ok(Self { path, lock: None }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot delete the copy of the database");
        }
        // Only now: nobody else deletes it meanwhile.
        drop(self.lock.take());
    }
}

/// Removes what dry runs have left that were killed.
pub(super) fn tidy(state_dir: &Path) {
    let Ok(entries) = fs::read_dir(state_dir) else { return };
    for entry in entries.flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_one = is_directory && id.is_some_and(|id| uuid::Uuid::try_parse(id).is_ok());
        if !is_one {
            continue;
        }
        let path = entry.path();
        let Ok(lock) = File::open(&path) else { continue };
        // One that is in use is locked, and so is none on a file system without locks.
        if lock.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => {
                info!(path = %path.display(), "deleted the copy of the database of a dry run that was killed");
            }
            Err(error) => {
                warn!(path = %path.display(), %error, "cannot delete the copy of the database of a dry run that was killed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let [used, left] = [(); 2].map(|()| Scratch::create(home.path()).unwrap());
        for name in ["dry-run-", "dry-run-notes", "other"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        let file = home.path().join(format!("{PREFIX}{}", uuid::Uuid::nil().simple()));
        fs::write(&file, "").unwrap();
        fs::write(left.path().join("state.db"), "").unwrap();
        let (used, left) = (used, left.abandon());
        tidy(home.path());
        assert!(used.path().is_dir() && !left.exists() && file.exists());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 5);
        drop(used);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 4);
    }

    impl Scratch {
        /// As by SIGKILL.
        fn abandon(mut self) -> PathBuf {
            drop(self.lock.take());
            let path = self.path.clone();
            std::mem::forget(self);
            path
        }
    }
}
