//! The thread that writes a part, with two more for a large one: for its checksum, and for what is written down of its
//! ranges.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use tokio::sync::mpsc;

use super::buffer::{Block, SMALL};
use super::checksum::Hasher;
use super::front::{Closing, Front, Reader};
use super::part::Part;
use super::saver::Saver;
use super::threads;
use super::verified::{Verification, verify};
use crate::checkpoint::{Point, reached};

/// Writes what comes, with the checksum close behind, and verifies the part at the end if it is to be `whole` then.
pub(super) fn write_all(
    mut part: Part,
    mut blocks: mpsc::Receiver<Block>,
    whole: &AtomicBool,
) -> io::Result<Option<Verification>> {
    let written = write_blocks(&mut part, &mut blocks, whole);
    let outcome = written.and_then(|hasher| {
        if whole.load(Ordering::Acquire) {
            return verify(&mut part, hasher).map(Some);
        }
        part.settle_progress().map(|()| None)
    });
    if !matches!(outcome, Ok(Some(_))) {
        part.leave();
    }
    outcome
}

fn write_blocks(
    part: &mut Part,
    blocks: &mut mpsc::Receiver<Block>,
    whole: &AtomicBool,
) -> io::Result<Option<Hasher>> {
    match blocks.blocking_recv() {
        None => Ok(None),
        Some(first) if part.expected().size <= SMALL as u64 => write_small(part, first, blocks),
        Some(first) => write_large(part, first, blocks, whole),
    }
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
        let _guard = front.guard();
        let follower = threads::start(scope, "checksum", || front.follow(&reader, hasher))?;
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
        front.close(if is_wanted { Closing::Finish } else { Closing::GiveUp });
        let hasher =
            follower.join().map_err(|_| io::Error::other("the thread that computes the checksum failed"))?;
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
        None => saver.insert(Saver::start(scope, part.saving())?),
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use rustix::fs::{FallocateFlags, fallocate};
    use tokio::runtime::{Builder, Runtime};

    use super::super::durable::faults;
    use super::super::threads::refusals;
    use super::super::{Buffers, Expected, HIDDEN, Spool};
    use super::*;
    use crate::model::DeliveryId;
    use crate::model::file::Checksum;

    const MIB: u64 = 1 << 20;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn part(home: &Path, size: u64) -> Part {
        let expected = Expected { size, checksum: Checksum::Md5("0".repeat(32)), modified: None };
        let spool = Spool::open(home, 0o640).unwrap();
        runtime().block_on(Part::open(&spool, &DeliveryId::new("d1"), expected)).unwrap()
    }

    /// A mebibyte for this position.
    fn block(at: u64) -> Block {
        let buffer = runtime().block_on(Buffers::default().pool(1, 3 * MIB).take()).unwrap();
        Block::new(buffer, MIB as usize, at)
    }

    /// Writes these blocks in a thread that must not hang. `before` is done in it, `meanwhile` when they have been given to it.
    fn write(
        part: Part,
        given: Vec<Block>,
        before: impl FnOnce() + Send + 'static,
        meanwhile: impl FnOnce(),
    ) -> io::Result<Option<Verification>> {
        let (sender, blocks) = mpsc::channel(8);
        let (answer, answered) = channel();
        std::thread::spawn(move || {
            before();
            answer.send(write_all(part, blocks, &AtomicBool::new(false))).is_ok()
        });
        for block in given {
            // An attempt that has failed takes no more.
            let _ = sender.blocking_send(block);
        }
        meanwhile();
        drop(sender);
        answered.recv_timeout(Duration::from_secs(30)).expect("it hangs")
    }

    fn left(home: &Path) -> Vec<String> {
        let mut names = Spool::open(home, 0o640).unwrap().folder().names().unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_thread_that_cannot_be_started_ends_the_attempt() {
        for threads in [0, 1] {
            let home = tempfile::tempdir().unwrap();
            let part = part(home.path(), 3 * MIB);
            // The second thread writes down what is there beyond a gap.
            let outcome = write(part, vec![block(MIB), block(0)], move || refusals::after(threads), || {});
            let said = outcome.unwrap_err().to_string();
            assert!(said.contains("starts no more threads"), "{said}");
        }
    }

    #[test]
    fn room_is_given_back_at_once_when_an_attempt_fails() {
        let home = tempfile::tempdir().unwrap();
        let part = part(home.path(), 1 << 62);
        // What the file system had before it found that there is not enough.
        fallocate(part.output().file(), FallocateFlags::KEEP_SIZE, 0, 3 * MIB).unwrap();
        let taken = || Spool::open(home.path(), 0o640).unwrap().taken(&DeliveryId::new("d1"));
        assert!(taken() >= 3 * MIB);
        let error = write(part, vec![block(0)], || {}, || {}).unwrap_err();
        assert!([io::ErrorKind::FileTooLarge, io::ErrorKind::StorageFull].contains(&error.kind()), "{error}");
        assert_eq!(taken(), 0);
    }

    #[test]
    fn a_part_whose_fsync_has_failed_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let (path, ranges) =
            (home.path().join(HIDDEN).join("d1.part"), home.path().join(HIDDEN).join("d1.ranges"));
        let fails_at_the_first_gap = part(home.path(), 3 * MIB);
        faults::fail_next_sync(&path);
        assert!(write(fails_at_the_first_gap, vec![block(MIB)], || {}, || {}).is_err());
        assert_eq!(left(home.path()), [""; 0]);

        let is_saved = || {
            while !ranges.exists() {
                std::thread::yield_now();
            }
        };
        let paused = part(home.path(), 3 * MIB);
        assert!(write(paused, vec![block(MIB)], || {}, is_saved).unwrap().is_none());
        assert_eq!(left(home.path()), ["d1.part", "d1.ranges"]);
        let fails_at_the_end = part(home.path(), 3 * MIB);
        assert!(fails_at_the_end.is_resumed);
        faults::fail_next_sync(&path);
        assert!(write(fails_at_the_end, vec![block(0)], || {}, || {}).is_err());
        assert_eq!(left(home.path()), [""; 0]);
    }
}
