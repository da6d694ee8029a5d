//! One part: which of its bytes are there, by what an earlier run has left, and what is written down of them.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tracing::debug;

use super::Spool;
use super::durable::Durability;
use super::folder::HiddenFolder;
use super::output::Output;
use super::progress::{self, Known, Progress};
use super::ranges::Ranges;
use super::saver::Saving;

use crate::model::DeliveryId;
use crate::model::file::Checksum;
use crate::owner::{self, Want};

/// What the whole file must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Bytes.
    pub size: u64,
    /// The checksum that Drive gave, by the algorithm that serves best here.
    pub checksum: Checksum,
    /// The modification time to give it.
    pub modified: Option<Timestamp>,
}

/// An open part.
#[derive(Debug)]
pub struct Part {
    pub(super) folder: HiddenFolder,
    pub(super) name: String,
    pub(super) output: Output,
    pub(super) durability: Durability,
    pub(super) there: Ranges,
    pub(super) expected: Expected,
    progress: Progress,
    /// That it gets when it is verified.
    pub(super) mode: u32,
    /// Whether an earlier run has left bytes.
    pub(super) is_resumed: bool,
}

impl Part {
    /// Opens the part of a delivery: a new one, or one that an earlier run has left. Bytes beyond the expected size
    /// cannot belong to this content, so such a part begins again.
    pub async fn open(spool: &Spool, id: &DeliveryId, expected: Expected) -> io::Result<Self> {
        let (spool, name) = (spool.clone(), Spool::name(id));
        blocking(move || {
            let (folder, path, mode) = (spool.folder().clone(), spool.folder().path(&name), spool.mode());
            let file = spool.open_part(&name).map_err(|error| owner::explained(error, &path, Want::Write))?;
            lock(&file)?;
            let length = file.metadata()?.len();
            let mut progress = Progress::of(&folder, &name, expected.size, expected.checksum.tagged())?;
            let known = match progress.load()? {
                _ if length > expected.size => Ranges::default(),
                Known::Nothing => Ranges::up_to(length),
                Known::Ranges(ranges) => ranges,
                Known::Unclear => Ranges::default(),
            };
            let output = Output::new(file, &folder, &name, expected.size);
            let there = known.whole_granules(output.granule() as u64, length, expected.size);
            if there == Ranges::default() && length > 0 {
                debug!(path = %path.display(), length, "a part begins again");
                output.file().set_len(0)?;
            }
            if there.is_contiguous() && length == there.front() {
                // After the length is right: it says it all again.
                progress.remove()?;
            } else if progress.exists() && there != known {
                // What it said beyond the file's end must not come true by bytes that are written beyond that.
                progress.save(&there)?;
            }
            let durability = Durability::of(output.file().try_clone()?);
            let is_resumed = there != Ranges::default();
            Ok(Self { folder, name, output, durability, there, expected, progress, mode, is_resumed })
        })
        .await
    }

    /// What is there.
    pub fn there(&self) -> &Ranges {
        &self.there
    }

    /// How many bytes are expected in all.
    pub fn size(&self) -> u64 {
        self.expected.size
    }

    pub(super) fn expected(&self) -> &Expected {
        &self.expected
    }

    pub(super) fn granule(&self) -> usize {
        self.output.granule()
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    pub(super) fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }

    pub(super) fn insert(&mut self, written: Range<u64>) {
        self.there.insert(written);
    }

    pub(super) fn has_progress(&self) -> bool {
        self.progress.exists()
    }

    /// For a thread that does the same beside the one that writes.
    pub(super) fn saving(&self) -> Saving {
        Saving { durability: self.durability.clone(), progress: self.progress.clone() }
    }

    /// Makes durable what is there, and then writes down that it is.
    pub(super) fn save_progress(&mut self) -> io::Result<()> {
        self.durability.sync_data()?;
        self.progress.save(&self.there)
    }

    /// At the end of an attempt: what is there is written down, or is plain from the length again.
    pub(super) fn settle_progress(&mut self) -> io::Result<()> {
        if !self.progress.exists() {
            return Ok(());
        }
        if self.there.is_contiguous() {
            self.output.file().set_len(self.there.front())?;
            self.durability.sync_all()?;
            return self.progress.remove();
        }
        self.save_progress()
    }

    /// At the end of an attempt without a verified part. The room that was taken and not used is given back. A part whose
    /// fsync has failed goes: nobody knows which of its bytes are on the disk, so the next attempt begins with a new file.
    pub(super) fn leave(&self) {
        if !self.durability.has_failed() {
            self.output.give_back();
        } else if let Err(error) = self.discard() {
            // As good as a new one: nothing of what it had counts any more.
            let emptied = self.output.file().set_len(0);
            debug!(name = self.name, %error, ?emptied, "a part that the disk has not taken cannot be removed");
        }
    }

    /// Removes it.
    pub(super) fn discard(&self) -> io::Result<()> {
        self.folder.remove(&self.name)?;
        // Last: without it the part's length would count.
        progress::discard(&self.folder, &self.name)
    }
}

/// Two that write one part would mix their bytes: a disk that does not answer can hold an attempt for longer than another
/// one waits.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(owner::told(io::ErrorKind::ResourceBusy, "it is being written by another attempt".to_owned()))
        }
        // Not every file system has locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::super::checksum::Hasher;
    use super::super::{Buffers, Sink, Suspect, Verification};
    use super::*;

    /// SHA-256 of "hello world".
    const HELLO: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

    fn expected() -> Expected {
        Expected {
            size: 11,
            checksum: Checksum::Sha256(HELLO.into()),
            modified: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
        }
    }

    async fn part(directory: &Path) -> Part {
        let spool = Spool::open(directory, 0o640).unwrap();
        Part::open(&spool, &DeliveryId::new("d1"), expected()).await.unwrap()
    }

    /// One lane writes these bytes at this position.
    async fn put(sink: &Sink, at: u64, bytes: &[u8]) -> u64 {
        let mut lane = sink.lane(at);
        assert!(lane.write(bytes).await);
        lane.close().await
    }

    #[tokio::test]
    async fn a_part_goes_on_where_it_was() {
        let home = tempfile::tempdir().unwrap();
        let sink = Sink::new(part(home.path()).await, 1, &Buffers::default());
        assert_eq!(put(&sink, 0, b"hello ").await, 6);
        sink.pause().await.unwrap();

        let again = part(home.path()).await;
        assert_eq!(*again.there(), Ranges::up_to(6));
        let sink = Sink::new(again, 1, &Buffers::default());
        put(&sink, 6, b"world").await;
        let Verification::Verified(verified) = sink.finish().await.unwrap() else {
            panic!("the bytes are right")
        };
        assert_eq!(verified.modified_ns(), 1_767_323_045_678_000_000);
        assert_eq!(verified.inode(), std::fs::metadata(verified.path()).unwrap().ino());
        assert_eq!(std::fs::read(verified.path()).unwrap(), b"hello world");
    }

    #[tokio::test]
    async fn two_never_write_one_part() {
        let home = tempfile::tempdir().unwrap();
        let first = part(home.path()).await;
        let spool = Spool::open(home.path(), 0o640).unwrap();
        let error = Part::open(&spool, &DeliveryId::new("d1"), expected()).await.unwrap_err();
        assert!(error.to_string().contains("written by another attempt"), "{error}");
        drop(first);
        part(home.path()).await;
    }

    #[tokio::test]
    async fn wrong_bytes_are_never_verified_and_leave_nothing() {
        for (bytes, word) in [(&b"hello worlD"[..], "sha256"), (b"hello", "5 bytes")] {
            let home = tempfile::tempdir().unwrap();
            let sink = Sink::new(part(home.path()).await, 1, &Buffers::default());
            put(&sink, 0, bytes).await;
            let verdict = sink.finish().await.unwrap();
            let Verification::Wrong { why, suspect: Suspect::Drive } = verdict else { panic!("{verdict:?}") };
            assert!(why.contains(word), "{why}");
            assert_eq!(Spool::open(home.path(), 0o640).unwrap().parts().unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_part_that_is_too_long_begins_again() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(home.path(), 0o640).unwrap();
        std::fs::write(spool.path(&DeliveryId::new("d1")), b"something longer than eleven bytes").unwrap();
        let part = part(home.path()).await;
        assert_eq!((part.there(), part.output().file().metadata().unwrap().len()), (&Ranges::default(), 0));
    }

    #[tokio::test]
    async fn ranges_without_a_gap_are_not_written_down_any_more() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(home.path(), 0o640).unwrap();
        let name = Spool::name(&DeliveryId::new("d1"));
        std::fs::write(spool.folder().path(&name), b"hello ").unwrap();
        let mut progress = Progress::of(spool.folder(), &name, 11, expected().checksum.tagged()).unwrap();
        progress.save(&Ranges::up_to(6)).unwrap();
        let part = part(home.path()).await;
        assert_eq!((part.there(), part.has_progress()), (&Ranges::up_to(6), false));
        assert_eq!(spool.folder().names().unwrap(), [name]);
    }

    const MIB: usize = 1 << 20;

    /// Bytes that are nowhere the same.
    fn film() -> Vec<u8> {
        (0..5 * MIB as u64 + 1234)
            .filter_map(|n| {
                (n / 8).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes().into_iter().nth((n % 8) as usize)
            })
            .collect()
    }

    async fn film_part(directory: &Path, film: &[u8]) -> Part {
        let mut hasher = Hasher::like(&Checksum::Sha256(String::new()));
        hasher.update(film);
        let expected = Expected { size: film.len() as u64, checksum: hasher.finish(), modified: None };
        Part::open(&Spool::open(directory, 0o640).unwrap(), &DeliveryId::new("d1"), expected).await.unwrap()
    }

    async fn assert_film(sink: Sink, film: &[u8], directory: &Path) {
        let Verification::Verified(verified) = sink.finish().await.unwrap() else {
            panic!("the bytes are right")
        };
        assert!(std::fs::read(verified.path()).unwrap() == film);
        let left = std::fs::read_dir(directory.join(super::super::HIDDEN)).unwrap().count();
        assert_eq!(left, 1, "only the part");
    }

    #[tokio::test]
    async fn ranges_come_in_any_order_and_survive_an_interruption() {
        let (home, film) = (tempfile::tempdir().unwrap(), film());
        let sink = Sink::new(film_part(home.path(), &film).await, 4, &Buffers::default());
        put(&sink, 3 * MIB as u64, &film[3 * MIB..4 * MIB]).await;
        put(&sink, 0, &film[..MIB]).await;
        // What is less than the disk takes at once is not kept.
        let kept = put(&sink, 2 * MIB as u64, &film[2 * MIB..2 * MIB + 10_000]).await;
        sink.pause().await.unwrap();

        let again = film_part(home.path(), &film).await;
        let known =
            Ranges::from(vec![[0, MIB as u64], [2 * MIB as u64, kept], [3 * MIB as u64, 4 * MIB as u64]]);
        assert_eq!(*again.there(), known);
        let sink = Sink::new(again, 4, &Buffers::default());
        for gap in known.gaps(film.len() as u64).collect::<Vec<_>>().into_iter().rev() {
            put(&sink, gap.start, &film[gap.start as usize..gap.end as usize]).await;
        }
        assert_film(sink, &film, home.path()).await;
    }

    #[tokio::test]
    async fn room_that_was_taken_beforehand_is_given_back_at_the_end_of_an_attempt() {
        let (home, film) = (tempfile::tempdir().unwrap(), film());
        let spool = Spool::open(home.path(), 0o640).unwrap();
        let sink = Sink::new(film_part(home.path(), &film).await, 1, &Buffers::default());
        put(&sink, 0, &film[..MIB]).await;
        sink.pause().await.unwrap();
        let taken = spool.taken(&DeliveryId::new("d1"));
        assert!((MIB as u64..2 * MIB as u64).contains(&taken), "{taken} bytes of the disk");
    }

    #[tokio::test]
    async fn the_ranges_of_another_content_are_thrown_away() {
        let (home, film) = (tempfile::tempdir().unwrap(), film());
        let sink = Sink::new(film_part(home.path(), &film).await, 2, &Buffers::default());
        put(&sink, 2 * MIB as u64, &film[2 * MIB..3 * MIB]).await;
        sink.pause().await.unwrap();
        let mut other = film.clone();
        other[0] += 1;
        let part = film_part(home.path(), &other).await;
        assert_eq!(*part.there(), Ranges::default());
        let sink = Sink::new(part, 1, &Buffers::default());
        put(&sink, 0, &other).await;
        assert_film(sink, &other, home.path()).await;
    }

    #[tokio::test]
    async fn ranges_beyond_the_end_of_the_file_are_forgotten_at_once() {
        let (home, film) = (tempfile::tempdir().unwrap(), film());
        let sink = Sink::new(film_part(home.path(), &film).await, 2, &Buffers::default());
        put(&sink, 0, &film[..MIB]).await;
        put(&sink, 2 * MIB as u64, &film[2 * MIB..4 * MIB]).await;
        sink.pause().await.unwrap();
        let path = home.path().join(super::super::HIDDEN).join("d1.part");
        File::options().write(true).open(&path).unwrap().set_len(3 * MIB as u64).unwrap();
        let part = film_part(home.path(), &film).await;
        let left = Ranges::from(vec![[0, MIB as u64], [2 * MIB as u64, 3 * MIB as u64]]);
        assert_eq!(*part.there(), left);
        assert_eq!(
            part.progress.load().unwrap(),
            Known::Ranges(left),
            "bytes beyond cannot make it true again"
        );
    }

    #[tokio::test]
    async fn one_wrong_byte_in_a_late_range_is_noticed() {
        let (home, film) = (tempfile::tempdir().unwrap(), film());
        let sink = Sink::new(film_part(home.path(), &film).await, 2, &Buffers::default());
        let mut late = film[2 * MIB..].to_vec();
        late[777] ^= 1;
        put(&sink, 2 * MIB as u64, &late).await;
        put(&sink, 0, &film[..2 * MIB]).await;
        assert!(matches!(sink.finish().await.unwrap(), Verification::Wrong { suspect: Suspect::Drive, .. }));
        assert_eq!(std::fs::read_dir(home.path().join(super::super::HIDDEN)).unwrap().count(), 0);
    }
}
