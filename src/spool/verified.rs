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
use super::durable::Durability;
use super::folder::HiddenFolder;
use super::front::Reader;
use super::own;
use super::part::Part;
use super::witness;
use crate::model::file::Checksum;

/// The result of looking at a finished part.
#[derive(Debug)]
pub enum Verification {
    /// It is what Drive said.
    Verified(VerifiedPart),
    /// It is not. The part is gone.
    Wrong {
        /// In what.
        why: String,
        /// Who is to blame.
        suspect: Suspect,
    },
}

/// Where wrong bytes can have come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// All of them were fetched in this run: from Drive.
    Drive,
    /// Some have lain on the disk since an earlier run, or the disk has not what was written.
    Disk,
}

/// A part that is complete, has the right checksum, and whose bytes are durable; its name becomes so when it is planned
/// where it goes. Nothing else can be published.
#[derive(Debug)]
pub struct VerifiedPart {
    folder: HiddenFolder,
    name: String,
    /// Of the file, which is open for reading as long as somebody wants to publish it: its inode number cannot become
    /// another file's.
    durability: Durability,
    inode: u64,
    size: u64,
    modified_ns: i64,
    checksum: Checksum,
}

/// Length, checksum, modification time and mode, fsync, in that order: these are part of what the fsync makes durable.
pub(super) fn verify(part: &mut Part, hasher: Option<Hasher>) -> io::Result<Verification> {
    let length = part.there.front();
    let hasher = match hasher {
        Some(hasher) => hasher,
        None => read_back(part, length)?,
    };
    let (checksum, expected) = (hasher.finish(), &part.expected);
    let suspect = if part.is_resumed { Suspect::Disk } else { Suspect::Drive };
    if length != expected.size {
        return wrong(part, suspect, format!("{length} bytes came where Drive says {}", expected.size));
    }
    if checksum != expected.checksum {
        let (has, wanted) = (checksum.tagged(), expected.checksum.tagged());
        return wrong(part, suspect, format!("the bytes have {has}, Drive says {wanted}"));
    }
    part.settle_progress()?;
    // What was written is not all there is to a file: it may have had a tail before.
    let on_disk = part.output.file().metadata()?.len();
    if on_disk != length {
        return wrong(part, Suspect::Disk, format!("the file has {on_disk} bytes on the disk, not {length}"));
    }
    make_public(part)
}

fn wrong(part: &Part, suspect: Suspect, why: String) -> io::Result<Verification> {
    part.discard()?;
    Ok(Verification::Wrong { why, suspect })
}

/// Gives a whole part the time and the mode of a delivered file, and makes it durable.
fn make_public(part: &Part) -> io::Result<Verification> {
    let Part { folder, name, output, expected, mode, .. } = part;
    let file = output.file();
    // Not for writing: whoever waits for somebody to close a file in the destination would see this one twice.
    let held = folder.open_again(name, file, OFlags::RDONLY)?;
    if let Some(modified) = expected.modified {
        // Times before 1970 are not worth an error; the file keeps the time of its arrival.
        let since_epoch = Duration::try_from(modified.duration_since(Timestamp::UNIX_EPOCH)).ok();
        if let Some(time) = since_epoch.and_then(|since| UNIX_EPOCH.checked_add(since)) {
            file.set_modified(time)?;
        }
    }
    set_mode(file, &folder.path(name), *mode)?;
    part.durability.sync_all()?;
    let metadata = file.metadata()?;
    Ok(Verification::Verified(VerifiedPart {
        folder: folder.clone(),
        name: name.clone(),
        durability: Durability::of(held),
        inode: metadata.ino(),
        size: metadata.len(),
        modified_ns: modified_ns(&metadata),
        checksum: expected.checksum.clone(),
    }))
}

fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Sets the mode independent of the umask. A file system without modes has one mode for all files.
pub(crate) fn set_mode(file: &File, path: &Path, mode: u32) -> io::Result<()> {
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
    pub fn folder(&self) -> &HiddenFolder {
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
        self.durability.file()
    }

    /// Makes what was changed of its owner or its access durable. If that fails the part goes: nobody knows what of it is
    /// on the disk.
    pub fn sync(&self) -> io::Result<()> {
        let synced = self.durability.sync_all();
        if synced.is_err() {
            self.folder.remove(&self.name)?;
        }
        synced
    }

    /// Whether it still waits there, as it was verified, and with no other name. Nothing else may be published: somebody can
    /// have taken it away since, or have put something else in its place.
    pub fn is_there(&self) -> io::Result<bool> {
        let Some(named) = self.folder.stat(&self.name)? else { return Ok(false) };
        let metadata = self.file().metadata()?;
        let is_unchanged = metadata.len() == self.size && modified_ns(&metadata) == self.modified_ns;
        Ok(is_unchanged && metadata.nlink() <= 1 && own::is_same(&named, self.file())?)
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
    use super::super::durable::faults;
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
    async fn fill(part: Part, meanwhile: impl FnOnce()) -> io::Result<Verification> {
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
        let Verification::Verified(verified) = verdict else { panic!("the bytes are right") };
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
        let modified = verified.file().metadata().unwrap().modified().unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for (length, later) in [(12, 0), (11, 1)] {
            file.set_len(length).unwrap();
            file.set_modified(modified + Duration::from_secs(later)).unwrap();
            assert!(!verified.is_there().unwrap(), "it was changed: {length} {later}");
        }
    }

    #[tokio::test]
    async fn it_gets_the_time_and_the_mode_of_a_delivered_file() {
        let home = tempfile::tempdir().unwrap();
        let mut part = part(home.path()).await;
        part.expected.modified = Some("2026-01-02T03:04:05.678Z".parse().unwrap());
        let verdict = fill(part, || {}).await.unwrap();
        let Verification::Verified(verified) = verdict else { panic!("{verdict:?}") };
        let metadata = std::fs::metadata(verified.path()).unwrap();
        assert_eq!((metadata.mode() & 0o7777, verified.modified_ns()), (0o640, 1_767_323_045_678_000_000));
    }

    #[tokio::test]
    async fn what_lies_on_the_disk_is_what_is_verified() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(HIDDEN).join("d1.part");
        let grow = || File::options().write(true).open(&path).unwrap().set_len(20).unwrap();
        let verdict = fill(part(home.path()).await, grow).await.unwrap();
        let Verification::Wrong { why, suspect: Suspect::Disk } = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("20 bytes on the disk, not 11") && !path.exists(), "{why}");
    }

    #[tokio::test]
    async fn wrong_bytes_of_an_earlier_run_are_the_disks() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(HIDDEN).join("d1.part");
        let sink = Sink::new(part(home.path()).await, 1, &Buffers::default());
        let mut lane = sink.lane(0);
        assert!(lane.write(&WORLD[..6]).await);
        lane.close().await;
        sink.pause().await.unwrap();
        std::fs::write(&path, b"hellO ").unwrap();
        let sink = Sink::new(part(home.path()).await, 1, &Buffers::default());
        let mut lane = sink.lane(6);
        assert!(lane.write(&WORLD[6..]).await);
        lane.close().await;
        let verdict = sink.finish().await.unwrap();
        assert!(matches!(verdict, Verification::Wrong { suspect: Suspect::Disk, .. }), "{verdict:?}");
    }

    #[tokio::test]
    async fn a_part_that_the_disk_has_not_taken_begins_again_in_a_new_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(HIDDEN).join("d1.part");
        let before = part(home.path()).await;
        let old = File::open(&path).unwrap();
        let error = fill(before, || faults::fail_next_sync(&path)).await.unwrap_err();
        assert!(error.to_string().contains("downloaded again"), "{error}");
        assert!(!path.exists(), "its bytes are not trusted");
        let verdict = fill(part(home.path()).await, || {}).await.unwrap();
        let Verification::Verified(verified) = verdict else { panic!("{verdict:?}") };
        assert_ne!(verified.inode(), old.metadata().unwrap().ino());

        faults::fail_next_sync(&path);
        assert!(verified.sync().is_err() && !path.exists(), "nor is what was verified");
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
