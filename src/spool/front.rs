//! The checksum, following the front of the file: the bytes that are there from the first one on. What comes at the
//! front is hashed from memory while it is written; what came with a gap before it, or in an earlier run, is read back
//! from the disk when the front gets there.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, fadvise};

use super::buffer::Block;
use super::checksum::Hasher;

/// Blocks that wait to be hashed. More would only take memory: the hash is as fast on average as it is.
const AHEAD: usize = 2;
/// What is read back comes in pieces of this size, while the next ones are on their way.
const PIECE: u64 = 1 << 20;
const PIECES_AHEAD: u64 = 4;

/// What the writer and the follower know of each other.
#[derive(Debug)]
pub(super) struct Front {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    blocks: VecDeque<Arc<Block>>,
    /// Up to here the follower has taken bytes.
    taken: u64,
    /// Up to here they are on disk.
    written: u64,
    closing: Option<Closing>,
    /// The follower has ended.
    gone: bool,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// All bytes are to be hashed.
    Finish,
    /// Nobody needs the checksum now.
    GiveUp,
}

/// What to hash next.
enum Next {
    Block(Arc<Block>),
    /// From here to there, and so far it can be read ahead.
    Read(u64, u64, u64),
    Done,
    GivenUp,
}

impl Front {
    /// `written` bytes are on disk from the first one on.
    pub(super) fn new(written: u64) -> Self {
        let state = State { blocks: VecDeque::new(), taken: 0, written, closing: None, gone: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A block that is about to be written. If it comes at the front it is hashed from memory, and waited for if the
    /// follower is behind.
    pub(super) fn offer(&self, block: &Arc<Block>) {
        let mut state = self.lock();
        loop {
            let expected = state.blocks.back().map_or(state.taken, |last| last.end());
            if block.at() != expected || state.gone {
                return;
            }
            if state.blocks.len() < AHEAD {
                state.blocks.push_back(Arc::clone(block));
                self.changed.notify_all();
                return;
            }
            state = self.wait(state);
        }
    }

    /// Up to here everything is on disk now.
    pub(super) fn advance(&self, written: u64) {
        self.lock().written = written;
        self.changed.notify_all();
    }

    /// Gives it up when it is dropped, however that comes about: the follower would wait for ever.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Nothing more comes.
    pub(super) fn close(&self, closing: Closing) {
        self.lock().closing = Some(closing);
        self.changed.notify_all();
    }

    /// Hashes until the end. The result has everything up to the front in it; `None`: it was given up.
    pub(super) fn follow(&self, file: &File, mut hasher: Hasher) -> io::Result<Option<Hasher>> {
        let _gone = Gone(self);
        let mut reader = Reader::new(file);
        loop {
            match self.next() {
                Next::Block(block) => hasher.update(block.bytes()),
                Next::Read(from, to, written) => reader.read(from, to, written, &mut hasher)?,
                Next::Done => return Ok(Some(hasher)),
                Next::GivenUp => return Ok(None),
            }
        }
    }

    fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if state.closing == Some(Closing::GiveUp) {
                return Next::GivenUp;
            }
            if let Some(block) = state.blocks.pop_front() {
                state.taken = block.end();
                self.changed.notify_all();
                return Next::Block(block);
            }
            if state.written > state.taken {
                let from = state.taken;
                state.taken = state.written.min(from + PIECE);
                return Next::Read(from, state.taken, state.written);
            }
            if state.closing == Some(Closing::Finish) {
                return Next::Done;
            }
            state = self.wait(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole when the lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the thread that writes.
pub(super) struct Guard<'a>(&'a Front);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.close(Closing::GiveUp);
    }
}

/// For the follower, however it ends: nobody waits for it any more.
struct Gone<'a>(&'a Front);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.changed.notify_all();
    }
}

/// Reads a part back without filling the page cache with it.
pub(super) struct Reader<'a> {
    file: &'a File,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self { file, buffer: Vec::new() }
    }

    /// Hashes the bytes from one position to another; more may be wanted next, up to a third.
    pub(super) fn read(&mut self, from: u64, to: u64, written: u64, hasher: &mut Hasher) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let length = (to - at).min(PIECE);
            let next = at + length;
            let ahead = written.saturating_sub(next).min(PIECES_AHEAD * PIECE);
            if let Some(ahead) = NonZeroU64::new(ahead) {
                // Advice: what does not know it ignores it.
                let _ = fadvise(self.file, next, Some(ahead), Advice::WillNeed);
            }
            self.buffer.resize(length as usize, 0);
            self.file.read_exact_at(&mut self.buffer, at)?;
            hasher.update(&self.buffer);
            let _ = fadvise(self.file, at, NonZeroU64::new(length), Advice::DontNeed);
            at += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::super::Buffers;
    use super::*;
    use crate::model::file::Checksum;

    const SIZE: usize = 1000;

    fn hasher() -> Hasher {
        Hasher::like(&Checksum::Md5(String::new()))
    }

    fn hash(bytes: &[u8]) -> Checksum {
        let mut hasher = hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Blocks of these bytes, one after the other.
    async fn blocks(bytes: &[u8]) -> Vec<Arc<Block>> {
        let pool = Buffers::default().pool(bytes.len() / SIZE, bytes.len() as u64);
        let mut blocks = Vec::new();
        for (number, piece) in bytes.chunks(SIZE).enumerate() {
            let mut buffer = pool.take().await.unwrap();
            buffer.bytes_mut()[..SIZE].copy_from_slice(piece);
            blocks.push(Arc::new(Block::new(buffer, SIZE, (number * SIZE) as u64)));
        }
        blocks
    }

    /// What comes of work that must not take for ever.
    fn soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, done) = mpsc::channel();
        std::thread::spawn(move || sender.send(work()));
        done.recv_timeout(Duration::from_secs(30)).expect("it hangs")
    }

    #[tokio::test]
    async fn bytes_are_hashed_in_order_wherever_they_come_from() {
        let bytes: Vec<u8> = (0..8 * SIZE).map(|n| (n / 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let blocks = blocks(&bytes).await;
        let expected = hash(&bytes);
        let found = soon(move || {
            // The first two were there before; of the others one comes late, with a gap before it.
            let front = Front::new(2 * SIZE as u64);
            std::thread::scope(|scope| {
                let follower = scope.spawn(|| front.follow(&file, hasher()));
                for index in [2, 3, 5, 4, 6, 7] {
                    front.offer(&blocks[index]);
                    let written = if index == 5 { 4 } else { index.max(5) + 1 };
                    front.advance((written.min(8) * SIZE) as u64);
                }
                front.close(Closing::Finish);
                follower.join().unwrap().unwrap().unwrap().finish()
            })
        });
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn neither_of_the_two_waits_for_the_other_for_ever() {
        let given_up = soon(|| {
            let (front, file) = (Front::new(0), tempfile::tempfile().unwrap());
            std::thread::scope(|scope| {
                let follower = scope.spawn(|| front.follow(&file, hasher()));
                drop(front.guard());
                follower.join().unwrap().unwrap().is_none()
            })
        });
        assert!(given_up, "the writer is gone");
        let blocks = blocks(&[0; 8 * SIZE]).await;
        soon(move || {
            let front = Front::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| blocks.iter().for_each(|block| front.offer(block)));
                drop(Gone(&front));
            });
        });
        let failed = soon(|| {
            // The file is shorter than what is said to be there.
            Front::new(1).follow(&tempfile::tempfile().unwrap(), hasher()).is_err()
        });
        assert!(failed, "what cannot be read is no checksum");
    }

    #[tokio::test]
    async fn what_comes_at_the_front_is_hashed_from_memory() {
        let bytes: Vec<u8> = (0..4 * SIZE).map(|n| (n / 7) as u8).collect();
        let (blocks, expected) = (blocks(&bytes).await, hash(&bytes));
        let found = soon(move || {
            // Nothing can be read back from it.
            let (front, file) = (Front::new(0), tempfile::tempfile().unwrap());
            std::thread::scope(|scope| {
                let follower = scope.spawn(|| front.follow(&file, hasher()));
                for block in &blocks {
                    front.offer(block);
                }
                front.close(Closing::Finish);
                follower.join().unwrap().unwrap().unwrap().finish()
            })
        });
        assert_eq!(found, expected);
    }
}
