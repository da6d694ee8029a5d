//! How bytes get into a part. Large files go to the disk directly, past the page cache: its write-back is what slows
//! everything else down, and nobody reads the bytes soon. Where that is not possible they leave the cache as soon as they
//! are written, if the system knows how.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::buffer::GRANULE;
use super::folder::HiddenFolder;
use crate::owner;

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
    pub(super) fn new(file: File, folder: &HiddenFolder, name: &str, size: u64) -> Self {
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

    /// Writes bytes at a position.
    pub(super) fn write(&mut self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
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
        if self.drop_behind {
            let write = |bytes: &[u8], at| pwritev2(&self.file, &[IoSlice::new(bytes)], at, DONT_CACHE);
            match write_whole(&mut bytes, &mut at, write) {
                Ok(()) => return Ok(()),
                Err(error) if is_unsupported(&error) => self.drop_behind = false,
                Err(error) => return Err(error),
            }
        }
        self.file.write_all_at(bytes, at)
    }

    /// Takes the room for the whole file now: a disk that is too small says so before the first byte, and the file
    /// lies in one piece.
    pub(super) fn reserve(&self, size: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(Errno::FBIG) => {
                let said = format!("the file system of the destination takes no file of {size} bytes");
                Err(owner::told(io::ErrorKind::FileTooLarge, said))
            }
            Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => Err(errno.into()),
            // Not every file system can.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&self) {
        if let Ok(metadata) = self.file.metadata() {
            // It costs nothing but room.
            let _ = self.file.set_len(metadata.len());
        }
    }
}

/// Writes until nothing is left: the system may take less at once than it is given.
fn write_whole(
    bytes: &mut &[u8],
    at: &mut u64,
    mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(bytes, *at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                *bytes = &bytes[written..];
                *at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn is_distant(file: &File) -> bool {
    // Without an answer the slower way is the safer one.
    fstatfs(file).map_or(true, |system| DISTANT.contains(&(system.f_type as u64 & 0xFFFF_FFFF)))
}

fn is_unsupported(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;
    use crate::owner::Absent;

    fn output(home: &Path, size: u64) -> Output {
        let folder = HiddenFolder::make(home).unwrap();
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
        let mut large = large;
        large.write(&vec![0; GRANULE], 1).unwrap();
        assert_eq!(large.direct.is_some(), is_possible, "what is not aligned is not written directly");
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

    #[test]
    fn what_the_system_takes_in_pieces_is_written_whole() {
        let mut disk = vec![0_u8; 12];
        let mut answers = [Ok(3), Err(Errno::INTR), Ok(1), Ok(4)].into_iter();
        let (mut bytes, mut at) = (&b"abcdefgh"[..], 2);
        write_whole(&mut bytes, &mut at, |bytes, at| {
            let count = answers.next().unwrap()?;
            disk[at as usize..at as usize + count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
        .unwrap();
        assert_eq!((disk.as_slice(), at, bytes), (&b"\0\0abcdefgh\0\0"[..], 10, &b""[..]));
        for (answer, kind) in
            [(Ok(0), io::ErrorKind::WriteZero), (Err(Errno::NOSPC), io::ErrorKind::StorageFull)]
        {
            let (mut bytes, mut at) = (&b"ab"[..], 0);
            assert_eq!(write_whole(&mut bytes, &mut at, |_, _| answer).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn what_is_in_memory_is_written_in_the_ordinary_way() {
        // There, a newer kernel would take direct writes.
        let Ok(home) = tempfile::tempdir_in("/dev/shm") else { return };
        assert!(output(home.path(), LARGE).direct.is_none());
    }
}
