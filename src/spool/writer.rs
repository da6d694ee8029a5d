//! The thread that writes a part. Large files go to the disk directly, past the page cache: its write-back is what
//! slows everything else down, and nobody reads the bytes soon. Where that is not possible they leave the cache as
//! soon as they are written, if the system knows how.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use tokio::sync::mpsc;

use super::buffer::{GRANULE, SMALL};
use super::checksum::Hasher;
use super::folder::Folder;
use super::front::{End, Front, Reader};
use super::part::Part;
use super::saver::Saver;
use super::sink::Block;
use super::verified::{Verdict, verify};
use crate::checkpoint::{Point, reached};

/// Files from this size on go past the page cache. The end of a smaller one would be a large part of it, and whatever is
/// no whole granule is fetched again after a crash.
const LARGE: u64 = 256 << 10;
/// The kernel drops what is written from its cache (Linux 6.14 and later, on file systems that know it).
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// File systems behind a network or a process, where direct writes are missing, or slower, or promise less.
const DISTANT: [u64; 8] = [
    0x6969,      // NFS
    0x517B,      // SMB
    0xFE53_4D42, // SMB 2
    0xFF53_4D42, // CIFS
    0x6573_5546, // FUSE
    0x0102_1997, // 9P
    0x00C3_6400, // Ceph
    0x0102_1994, // tmpfs: it is the page cache
];

/// How bytes get into a file.
#[derive(Debug)]
pub(super) struct Output {
    /// For everything that is no whole granule, and for all of it where there is no direct way.
    file: File,
    direct: Option<File>,
    drop_behind: bool,
}

impl Output {
    /// For a file of a folder that will have so many bytes.
    pub(super) fn new(file: File, folder: &Folder, name: &str, size: u64) -> Self {
        let is_large = size >= LARGE;
        // Whatever it is that fails, it means that there is no such way.
        let open = || folder.open_again(name, &file, OFlags::WRONLY | OFlags::DIRECT).ok();
        let direct = if is_large && !is_distant(&file) { open() } else { None };
        Self { file, direct, drop_behind: is_large }
    }

    /// What has to be written at once.
    pub(super) fn granule(&self) -> usize {
        if self.direct.is_some() { GRANULE } else { 1 }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn write(&mut self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && at.is_multiple_of(GRANULE as u64)
        {
            let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % GRANULE);
            match direct.write_all_at(whole, at) {
                Ok(()) => (bytes, at) = (rest, at + whole.len() as u64),
                // A disk with other blocks, or a file system that says so only now.
                Err(error) if is_unsupported(&error) => self.direct = None,
                Err(error) => return Err(error),
            }
        }
        self.write_cached(bytes, at)
    }

    fn write_cached(&mut self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while self.drop_behind && !bytes.is_empty() {
            match pwritev2(&self.file, &[IoSlice::new(bytes)], at, DONT_CACHE) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => (bytes, at) = (&bytes[written..], at + written as u64),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.drop_behind = false,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.file.write_all_at(bytes, at)
    }

    /// Takes the room for the whole file now: a disk that is too small says so before the first byte, and the file
    /// lies in one piece.
    fn reserve(&self, size: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(Errno::NOSPC) => Err(Errno::NOSPC.into()),
            // Not every file system can.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives back what was taken and not used.
    fn give_back(&self) {
        if let Ok(metadata) = self.file.metadata() {
            // It costs nothing but room.
            let _ = self.file.set_len(metadata.len());
        }
    }
}

/// Writes what comes, with the checksum close behind, and verifies the part at the end if it is to be `whole` then.
pub(super) fn write_all(
    mut part: Part,
    mut blocks: mpsc::Receiver<Block>,
    whole: &AtomicBool,
) -> io::Result<Option<Verdict>> {
    let first = blocks.blocking_recv();
    let hasher = match first {
        None => None,
        Some(first) if part.expected().size <= SMALL as u64 => write_small(&mut part, first, &mut blocks)?,
        Some(first) => write_large(&mut part, first, &mut blocks, whole)?,
    };
    if whole.load(Ordering::Acquire) {
        return verify(part, hasher).map(Some);
    }
    part.settle_progress()?;
    part.output().give_back();
    Ok(None)
}

/// A file that fits into one buffer: no thread for its checksum, and nothing that could be out of order.
fn write_small(
    part: &mut Part,
    first: Block,
    blocks: &mut mpsc::Receiver<Block>,
) -> io::Result<Option<Hasher>> {
    let mut hasher = Hasher::like(&part.expected().checksum);
    Reader::new(part.output().file()).read(0, first.at(), first.at(), &mut hasher)?;
    let mut next = Some(first);
    while let Some(block) = next {
        hasher.update(block.bytes());
        write(part, &block)?;
        drop(block);
        next = blocks.blocking_recv();
    }
    Ok(Some(hasher))
}

fn write_large(
    part: &mut Part,
    first: Block,
    blocks: &mut mpsc::Receiver<Block>,
    whole: &AtomicBool,
) -> io::Result<Option<Hasher>> {
    part.output().reserve(part.expected().size)?;
    let reader = part.output().file().try_clone()?;
    let hasher = Hasher::like(&part.expected().checksum);
    let front = Front::new(part.there().front());
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| front.follow(&reader, hasher));
        let mut saver = None;
        let mut next = Some(first);
        let written = loop {
            let Some(block) = next else { break Ok(()) };
            if let Err(error) =
                write_ahead(part, block, &front).and_then(|()| save_progress(part, &mut saver, scope))
            {
                break Err(error);
            }
            next = blocks.blocking_recv();
        };
        // Its own failure explains what followed from it.
        let written = saver.map_or(Ok(()), Saver::end).and(written);
        let is_wanted = written.is_ok() && whole.load(Ordering::Acquire);
        front.close(if is_wanted { End::Finish } else { End::GiveUp });
        let hasher = follower.join().map_err(|_| io::Error::other("the checksum's thread failed"))?;
        written.and(hasher)
    })
}

/// Writes a block that may have a gap before it.
fn write_ahead(part: &mut Part, block: Block, front: &Front) -> io::Result<()> {
    let block = Arc::new(block);
    let leaves_gap = block.at() > part.there().front();
    if leaves_gap && !part.has_progress() {
        // From now on the length says nothing, and that has to be known first.
        part.save_progress()?;
    }
    front.offer(&block);
    write(part, &block)?;
    front.advance(part.there().front());
    Ok(())
}

/// Once in a while, as long as there are or were gaps.
fn save_progress<'scope>(
    part: &Part,
    saver: &mut Option<Saver<'scope>>,
    scope: &'scope Scope<'scope, '_>,
) -> io::Result<()> {
    if !part.has_progress() {
        return Ok(());
    }
    let saver = match saver {
        Some(saver) => saver,
        None => saver.insert(Saver::start(scope, part.saving()?)),
    };
    saver.offer(part.there())
}

fn write(part: &mut Part, block: &Block) -> io::Result<()> {
    let before = part.there().total();
    part.output_mut().write(block.bytes(), block.at())?;
    part.insert(block.at()..block.end());
    if before == 0 {
        reached(Point::FirstByte);
    }
    let half = part.expected().size / 2;
    if before <= half && part.there().total() > half {
        reached(Point::Half);
    }
    Ok(())
}

fn is_distant(file: &File) -> bool {
    // Without an answer the slower way is the safer one.
    fstatfs(file).map_or(true, |system| DISTANT.contains(&(system.f_type as u64 & 0xFFFF_FFFF)))
}

fn is_unsupported(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;
    use crate::owner::Absent;

    fn output(home: &Path, size: u64) -> Output {
        let folder = Folder::make(home).unwrap();
        let file = folder.open("part", Absent::Make).unwrap();
        Output::new(file, &folder, "part", size)
    }

    #[test]
    fn large_files_go_past_the_page_cache_where_there_is_a_way() {
        let home = tempfile::tempdir().unwrap();
        let large = output(home.path(), LARGE);
        let path = home.path().join(".gdrive-webhook/part");
        // Asked without the program's own help: ext4, XFS, Btrfs and overlays are on this machine.
        let system = fstatfs(&large.file).unwrap().f_type as u64 & 0xFFFF_FFFF;
        let is_near = [0xEF53, 0x5846_5342, 0x9123_683E, 0x794C_7630].contains(&system);
        let flags = OFlags::DIRECT.bits() as i32;
        let is_possible = is_near && File::options().write(true).custom_flags(flags).open(&path).is_ok();
        assert_eq!(large.direct.is_some(), is_possible, "{system:x}");
        assert_eq!(large.granule(), if is_possible { GRANULE } else { 1 });
        let small = output(home.path(), LARGE - 1);
        assert!(small.direct.is_none() && small.granule() == 1);
    }

    #[test]
    fn a_disk_that_refuses_direct_writes_gets_others() {
        let home = tempfile::tempdir().unwrap();
        let mut output = output(home.path(), LARGE);
        let path = home.path().join(".gdrive-webhook/part");
        // It refuses what is no number with EINVAL, as file systems refuse direct writes.
        output.direct = Some(File::options().write(true).open("/proc/self/oom_score_adj").unwrap());
        let bytes = vec![b'x'; 2 * GRANULE + 5];
        output.write(&bytes, 0).unwrap();
        assert!(output.direct.is_none(), "it is not tried again");
        assert_eq!(output.granule(), 1);
        output.write(b"end", bytes.len() as u64).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [bytes.as_slice(), b"end"].concat());
    }
}
