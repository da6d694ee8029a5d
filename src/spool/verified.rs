//! A part that is what Drive said, and can be published: made only here, only when length and checksum are right and the
//! bytes are durable.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use rustix::fs::OFlags;
use tracing::debug;

use super::checksum::Hasher;
use super::folder::Folder;
use super::front::Reader;
use super::own;
use super::part::Part;
use super::witness;
use crate::model::file::Checksum;

/// The result of looking at a finished part.
#[derive(Debug)]
pub enum Verdict {
    /// It is what Drive said.
    Verified(VerifiedPart),
    /// It is not; the text says in what. The part is gone.
    Wrong(String),
}

/// A part that is complete, has the right checksum, and whose bytes are durable; its name becomes so when it is planned
/// where it goes. Nothing else can be published.
#[derive(Debug)]
pub struct VerifiedPart {
    folder: Folder,
    name: String,
    /// Open for reading as long as somebody wants to publish it: its inode number cannot become another file's.
    file: File,
    inode: u64,
    size: u64,
    modified_ns: i64,
    checksum: Checksum,
}

/// Length, checksum, modification time and mode, fsync, in that order: these are part of what the fsync makes durable.
pub(super) fn verify(mut part: Part, hasher: Option<Hasher>) -> io::Result<Verdict> {
    let length = part.there.front();
    let hasher = match hasher {
        Some(hasher) => hasher,
        None => read_back(&part, length)?,
    };
    let checksum = hasher.finish();
    let wrong = if length != part.expected.size {
        Some(format!("{length} bytes came where Drive says {}", part.expected.size))
    } else if checksum != part.expected.checksum {
        Some(format!("the bytes have {}, Drive says {}", checksum.tagged(), part.expected.checksum.tagged()))
    } else {
        None
    };
    part.settle_progress()?;
    let Part { folder, name, output, expected, mode, .. } = part;
    if let Some(wrong) = wrong {
        folder.remove(&name)?;
        return Ok(Verdict::Wrong(wrong));
    }
    let file = output.file();
    // Not for writing: whoever waits for somebody to close a file in the destination would see this one twice.
    let held = folder.open_again(&name, file, OFlags::RDONLY)?;
    if let Some(modified) = expected.modified {
        // Times before 1970 are not worth an error; the file keeps the time of its arrival.
        let since_epoch = Duration::try_from(modified.duration_since(Timestamp::UNIX_EPOCH)).ok();
        if let Some(time) = since_epoch.and_then(|since| UNIX_EPOCH.checked_add(since)) {
            file.set_modified(time)?;
        }
    }
    set_mode(file, &folder.path(&name), mode)?;
    file.sync_all()?;
    let metadata = file.metadata()?;
    Ok(Verdict::Verified(VerifiedPart {
        folder,
        name,
        file: held,
        inode: metadata.ino(),
        size: metadata.len(),
        modified_ns: modified_ns(&metadata),
        checksum,
    }))
}

fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Sets the mode independent of the umask. A file system without modes has one mode for all files.
fn set_mode(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    match file.set_permissions(Permissions::from_mode(mode)) {
        Err(error)
            if [io::ErrorKind::PermissionDenied, io::ErrorKind::Unsupported].contains(&error.kind()) =>
        {
            debug!(path = %path.display(), %error, "a file keeps its mode");
            Ok(())
        }
        set => set,
    }
}

impl VerifiedPart {
    /// The folder that it waits in.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it waits; for messages.
    pub fn path(&self) -> PathBuf {
        self.folder.path(&self.name)
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether it still waits there, as it was verified, and with no other name. Nothing else may be published: somebody can
    /// have taken it away since, or have put something else in its place.
    pub fn is_there(&self) -> io::Result<bool> {
        let Some(named) = self.folder.stat(&self.name)? else { return Ok(false) };
        let metadata = self.file.metadata()?;
        let is_unchanged = metadata.len() == self.size && modified_ns(&metadata) == self.modified_ns;
        Ok(is_unchanged && metadata.nlink() <= 1 && own::is_same(&named, &self.file)?)
    }

    /// It is about to be moved: nothing may say that it was.
    pub fn is_not_moved(&self) -> io::Result<()> {
        witness::forget(&self.folder, &self.name)
    }

    /// It was moved to its place: from now on its absence is no loss.
    pub fn is_moved(&self) -> io::Result<()> {
        witness::make(&self.folder, &self.name)
    }

    /// Its inode number, which it keeps when it is published.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Modification time, nanoseconds since 1970.
    pub fn modified_ns(&self) -> i64 {
        self.modified_ns
    }

    /// The checksum it was verified by.
    pub fn checksum(&self) -> &Checksum {
        &self.checksum
    }
}

/// Hashes what is there.
fn read_back(part: &Part, length: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::like(&part.expected.checksum);
    Reader::new(part.output.file()).read(0, length, length, &mut hasher)?;
    Ok(hasher)
}

#[cfg(test)]
mod tests {
    use super::super::{Buffers, Expected, HIDDEN, Sink, Spool};
    use super::*;
    use crate::model::DeliveryId;

    const WORLD: &[u8] = b"hello world";

    async fn part(directory: &Path) -> Part {
        let mut hasher = Hasher::like(&Checksum::Sha256(String::new()));
        hasher.update(WORLD);
        let expected = Expected { size: WORLD.len() as u64, checksum: hasher.finish(), modified: None };
        Part::open(&Spool::open(directory, 0o640).unwrap(), &DeliveryId::new("d1"), expected).await.unwrap()
    }

    /// Writes the bytes; `meanwhile` is done before the last ones come.
    async fn fill(part: Part, meanwhile: impl FnOnce()) -> io::Result<Verdict> {
        let sink = Sink::new(part, 1, &Buffers::default());
        let mut lane = sink.lane(0);
        assert!(lane.write(&WORLD[..6]).await && lane.flush().await);
        meanwhile();
        assert!(lane.write(&WORLD[6..]).await);
        lane.close().await;
        sink.finish().await
    }

    #[tokio::test]
    async fn a_verified_part_is_what_bears_its_name_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let verdict = fill(part(home.path()).await, || {}).await.unwrap();
        let Verdict::Verified(verified) = verdict else { panic!("the bytes are right") };
        assert!(verified.is_there().unwrap());
        let (path, aside) = (verified.path(), home.path().join("aside"));
        std::fs::hard_link(&path, &aside).unwrap();
        assert!(!verified.is_there().unwrap(), "somebody can reach it by another name");
        std::fs::remove_file(&path).unwrap();
        assert!(!verified.is_there().unwrap());
        std::fs::write(&path, "hello world").unwrap();
        assert!(!verified.is_there().unwrap());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        assert!(!verified.is_there().unwrap());
        std::fs::rename(&aside, &path).unwrap();
        assert!(verified.is_there().unwrap());
    }

    #[tokio::test]
    async fn a_part_that_is_taken_away_while_it_is_written_is_not_verified() {
        for by_another in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join(HIDDEN).join("d1.part");
            let take = || {
                std::fs::remove_file(&path).unwrap();
                if by_another {
                    std::fs::write(&path, WORLD).unwrap();
                }
            };
            assert!(fill(part(home.path()).await, take).await.is_err());
        }
    }
}
