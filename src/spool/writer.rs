//! The thread that writes a part, with two more for a large one: for its checksum, and for what is written down of its
//! ranges.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use tokio::sync::mpsc;

use super::buffer::{Block, SMALL};
use super::checksum::Hasher;
use super::front::{End, Front, Reader};
use super::part::Part;
use super::saver::Saver;
use super::verified::{Verdict, verify};
use crate::checkpoint::{Point, reached};

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
