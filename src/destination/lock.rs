//! A destination belongs to one database at a time: two daemons would take each other's parts for leavings. A locked file in
//! the hidden folder keeps the second one out as long as the first one has something to do there, since a disk of which
//! nothing is open can be unmounted. The system drops the lock with the process.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use tracing::info;

/// The name of the file.
pub(super) const NAME: &str = "lock";
/// Nobody's name is longer.
const NAME_LIMIT: u64 = 8192;

/// A database that uses a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// Its own id.
    pub id: String,
    /// Where it lies; for messages.
    pub path: PathBuf,
}

/// A destination is this database's as long as a clone lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    id: String,
}

/// The locks of this process, by disk and inode of their files.
type Held = HashMap<(u64, u64), Weak<Lock>>;

/// What came of it.
#[derive(Debug)]
pub(super) enum Taken {
    Ours(Arc<Lock>),
    /// The file system knows no locks.
    Unlocked,
    /// Somebody else has it; how it is called, as far as that is known.
    Theirs(String),
}

/// Takes a lock by its open file. A process opens a destination many times, and has its lock once.
pub(super) fn take(mut file: File, by: &Claimant, shown: &Path) -> io::Result<Taken> {
    static HELD: Mutex<Option<Held>> = Mutex::new(None);
    let metadata = file.metadata()?;
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let held = held.get_or_insert_default();
    held.retain(|_, lock| lock.strong_count() > 0);
    if let Some(lock) = held.get(&(metadata.dev(), metadata.ino())).and_then(Weak::upgrade) {
        return Ok(if lock.id == by.id { Taken::Ours(lock) } else { Taken::Theirs(name(&mut file)) });
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Taken::Theirs(name(&mut file))),
        Err(TryLockError::Error(error)) => {
            unsupported(shown, &error);
            return Ok(Taken::Unlocked);
        }
    }
    // Only for the message of the other one; it need not be durable.
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "the daemon with the database {} (process {})", by.path.display(), std::process::id())?;
    let lock = Arc::new(Lock { _file: file, id: by.id.clone() });
    held.insert((metadata.dev(), metadata.ino()), Arc::downgrade(&lock));
    Ok(Taken::Ours(lock))
}

/// Who has written his name into a lock.
fn name(file: &mut File) -> String {
    let mut name = String::new();
    let read = file.rewind().and_then(|()| file.take(NAME_LIMIT).read_to_string(&mut name));
    match read {
        Ok(length) if length > 0 => name,
        Ok(_) | Err(_) => "another daemon".to_owned(),
    }
}

fn unsupported(shown: &Path, error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let path = shown.display();
        info!(%path, %error, "this file system has no locks: make sure that no second daemon delivers to this destination");
    });
}
