//! One part: bytes appended in order and hashed on the way by a thread of their own, continued after a crash, and
//! turned into a `VerifiedPart` only here, only when length and checksum are what Drive said.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::checksum::Hasher;
use super::{Spool, sync_directory};
use crate::checkpoint::{Point, reached};
use crate::model::DeliveryId;
use crate::model::file::Checksum;

/// Chunks between the network and the disk. reqwest hands out up to about 16 KiB of TLS record or a few hundred
/// KiB of plain socket at once, so a transfer holds a few MiB at most.
const QUEUE: usize = 16;
/// What was on disk before is read back in pieces of this size.
const READ_SIZE: usize = 1 << 20;

/// What the whole file must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Bytes.
    pub size: u64,
    /// The strongest checksum that Drive gave.
    pub checksum: Checksum,
    /// The modification time to give it.
    pub modified: Option<Timestamp>,
}

/// An open part.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    expected: Expected,
}

/// The result of looking at a finished part.
#[derive(Debug)]
pub enum Verdict {
    /// It is what Drive said.
    Verified(VerifiedPart),
    /// It is not; the text says in what. The part is gone.
    Wrong(String),
}

/// A part that is complete, has the right checksum, and is durable. Nothing else can be published.
#[derive(Debug)]
pub struct VerifiedPart {
    path: PathBuf,
    inode: u64,
    size: u64,
    modified_ns: i64,
    checksum: Checksum,
}

impl Part {
    /// Opens the part of a delivery: a new one, or one that an earlier run has left. Bytes beyond the expected size
    /// cannot belong to this content, so such a part begins again.
    pub async fn open(spool: &Spool, id: &DeliveryId, expected: Expected) -> io::Result<Self> {
        let path = spool.path(id);
        blocking(move || {
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
            let mut length = file.metadata()?.len();
            if length > expected.size {
                file.set_len(0)?;
                length = 0;
            }
            Ok(Self { path, file, length, expected })
        })
        .await
    }

    /// Bytes that are there.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Starts the thread that writes and hashes what comes. What is there already is read back when the first byte
    /// comes, and not before: an attempt that brings none costs the disk nothing.
    pub fn into_sink(self) -> Sink {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let position = self.length;
        let size = self.expected.size;
        Sink { sender, position, size, writer: spawn_blocking(move || write_all(self, receiver)) }
    }
}

/// Takes bytes in order.
#[derive(Debug)]
pub struct Sink {
    sender: mpsc::Sender<Bytes>,
    position: u64,
    size: u64,
    writer: JoinHandle<io::Result<(Part, Option<Hasher>)>>,
}

impl Sink {
    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes are expected in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hands bytes to the writer; waits while it is behind. `false`: the writer has failed, and `finish` says why.
    pub async fn write(&mut self, bytes: Bytes) -> bool {
        self.position += bytes.len() as u64;
        self.sender.send(bytes).await.is_ok()
    }

    /// Waits until everything is written, without a verdict: the part stays for the next run.
    pub async fn pause(self) -> io::Result<()> {
        drop(self.sender);
        join(self.writer).await.map(|_| ())
    }

    /// Waits until everything is written, and looks whether it is what was expected.
    pub async fn finish(self) -> io::Result<Verdict> {
        drop(self.sender);
        let (part, hasher) = join(self.writer).await?;
        blocking(move || verify(part, hasher)).await
    }
}

fn write_all(mut part: Part, mut receiver: mpsc::Receiver<Bytes>) -> io::Result<(Part, Option<Hasher>)> {
    let mut hasher = None;
    while let Some(bytes) = receiver.blocking_recv() {
        let hasher = match &mut hasher {
            Some(hasher) => hasher,
            None => hasher.insert(read_back(&mut part)?),
        };
        part.file.write_all(&bytes)?;
        hasher.update(&bytes);
        let before = part.length;
        part.length += bytes.len() as u64;
        if before == 0 {
            reached(Point::FirstByte);
        }
        let half = part.expected.size / 2;
        if before <= half && part.length > half {
            reached(Point::Half);
        }
    }
    Ok((part, hasher))
}

/// Hashes what is there, and leaves the file at its end.
fn read_back(part: &mut Part) -> io::Result<Hasher> {
    let mut hasher = Hasher::like(&part.expected.checksum);
    part.file.seek(SeekFrom::Start(0))?;
    let mut left = part.length;
    let mut buffer = vec![0; READ_SIZE.min(left as usize)];
    while left > 0 {
        let most = buffer.len().min(left as usize);
        let read = part.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the part became shorter while it was read",
            ));
        }
        hasher.update(&buffer[..read]);
        left -= read as u64;
    }
    Ok(hasher)
}

/// Length, checksum, modification time, fsync, in that order: the time is part of what the fsync makes durable. The
/// name becomes durable too: a part that is missing while the ledger says "publishing" counts as published.
fn verify(mut part: Part, hasher: Option<Hasher>) -> io::Result<Verdict> {
    let hasher = match hasher {
        Some(hasher) => hasher,
        None => read_back(&mut part)?,
    };
    let Part { path, file, length, expected } = part;
    let checksum = hasher.finish();
    let wrong = if length != expected.size {
        Some(format!("{length} bytes came where Drive says {}", expected.size))
    } else if checksum != expected.checksum {
        Some(format!("the bytes have {}, Drive says {}", checksum.tagged(), expected.checksum.tagged()))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        drop(file);
        std::fs::remove_file(&path)?;
        return Ok(Verdict::Wrong(wrong));
    }
    if let Some(modified) = expected.modified {
        // Times before 1970 are not worth an error; the file keeps the time of its arrival.
        let since_epoch = Duration::try_from(modified.duration_since(Timestamp::UNIX_EPOCH)).ok();
        if let Some(time) = since_epoch.and_then(|since| UNIX_EPOCH.checked_add(since)) {
            file.set_modified(time)?;
        }
    }
    file.sync_all()?;
    if let Some(directory) = path.parent() {
        sync_directory(directory)?;
    }
    let metadata = file.metadata()?;
    Ok(Verdict::Verified(VerifiedPart {
        path,
        inode: metadata.ino(),
        size: metadata.len(),
        modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
        checksum,
    }))
}

impl VerifiedPart {
    /// Where it waits.
    pub fn path(&self) -> &Path {
        &self.path
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    join(spawn_blocking(work)).await
}

async fn join<T>(task: JoinHandle<io::Result<T>>) -> io::Result<T> {
    task.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
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
        let spool = Spool::open(directory).unwrap();
        Part::open(&spool, &DeliveryId::new("d1"), expected()).await.unwrap()
    }

    #[tokio::test]
    async fn a_part_goes_on_where_it_was() {
        let home = tempfile::tempdir().unwrap();
        let mut sink = part(home.path()).await.into_sink();
        assert!(sink.write(Bytes::from_static(b"hello ")).await);
        sink.pause().await.unwrap();

        let again = part(home.path()).await;
        assert_eq!(again.length(), 6);
        let mut sink = again.into_sink();
        assert!(sink.write(Bytes::from_static(b"world")).await);
        let Verdict::Verified(verified) = sink.finish().await.unwrap() else { panic!("the bytes are right") };
        assert_eq!(verified.modified_ns(), 1_767_323_045_678_000_000);
        assert_eq!(std::fs::read(verified.path()).unwrap(), b"hello world");
    }

    #[tokio::test]
    async fn wrong_bytes_are_never_verified_and_leave_nothing() {
        for (bytes, word) in [(&b"hello worlD"[..], "sha256"), (b"hello", "5 bytes")] {
            let home = tempfile::tempdir().unwrap();
            let mut sink = part(home.path()).await.into_sink();
            assert!(sink.write(Bytes::from_static(bytes)).await);
            let Verdict::Wrong(why) = sink.finish().await.unwrap() else { panic!("the bytes are wrong") };
            assert!(why.contains(word), "{why}");
            assert_eq!(Spool::open(home.path()).unwrap().parts().unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_part_that_is_too_long_begins_again() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(home.path()).unwrap();
        std::fs::write(spool.path(&DeliveryId::new("d1")), b"something longer than eleven bytes").unwrap();
        assert_eq!(part(home.path()).await.length(), 0);
    }
}
