//! What survives a power cut: the bytes of a file after its fsync, the names in a directory after that of the directory.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::owner;

/// Makes the bytes of one file durable, until that fails once. Then nobody knows which of them are on the disk, and of a
/// second fsync the system says that all is well.
#[derive(Clone, Debug)]
pub(super) struct Durability {
    file: Arc<File>,
    has_failed: Arc<AtomicBool>,
}

impl Durability {
    pub(super) fn of(file: File) -> Self {
        Self { file: Arc::new(file), has_failed: Arc::default() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The bytes that were written, and the length.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.sync(File::sync_data)
    }

    /// The same with mode, owner and times.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.sync(File::sync_all)
    }

    /// Whether the bytes are not to be trusted any more.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    fn sync(&self, sync: fn(&File) -> io::Result<()>) -> io::Result<()> {
        if self.has_failed() {
            return Err(io::Error::other("the disk has not taken its bytes before"));
        }
        #[cfg(test)]
        let sync = faults::instead_of(sync, &self.file);
        sync(&self.file).map_err(|error| {
            self.has_failed.store(true, Ordering::Release);
            let said = format!(
                "the disk has not taken its bytes ({error}); it is downloaded again from the beginning"
            );
            owner::told(error.kind(), said)
        })
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    Ok(owner::durable(rustix::fs::fsync(directory))?)
}

/// Disks that fail, as no file system does when a test asks for it.
#[cfg(test)]
pub(super) mod faults {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::Mutex;

    use rustix::io::Errno;

    static FAILING: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

    /// The next fsync of this file fails, and only that: so does the system.
    pub(in crate::spool) fn fail_next_sync(path: &Path) {
        let metadata = std::fs::metadata(path).unwrap();
        FAILING.lock().unwrap().insert((metadata.dev(), metadata.ino()));
    }

    pub(super) fn instead_of(sync: fn(&File) -> io::Result<()>, file: &File) -> fn(&File) -> io::Result<()> {
        let metadata = file.metadata().unwrap();
        let fails = FAILING.lock().unwrap().remove(&(metadata.dev(), metadata.ino()));
        if fails { |_| Err(Errno::IO.into()) } else { sync }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fsync_is_final() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for sync in [Durability::sync_data, Durability::sync_all] {
            let durability = Durability::of(file.reopen().unwrap());
            let other = durability.clone();
            sync(&durability).unwrap();
            faults::fail_next_sync(file.path());
            assert!(sync(&durability).unwrap_err().to_string().contains("downloaded again"));
            assert!(durability.has_failed() && other.has_failed());
            assert!(
                other.sync_data().is_err() && other.sync_all().is_err(),
                "the system would say that all is well"
            );
        }
    }
}
