//! Where a transfer puts its bytes: one lane a connection, each gathering what comes into a buffer and handing full
//! buffers to the thread that writes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::buffer::{Block, Buffer, Buffers, Pool, SMALL};
use super::part::Part;
use super::ranges::Ranges;
use super::verified::Verification;
use super::waits::Waits;
use super::writer;

/// Buffers of a transfer besides those that its lanes fill: two being hashed, one being written.
const SPARE: usize = 3;
/// What has come on a slow connection does not wait longer for its buffer to be full.
const LINGER: Duration = Duration::from_secs(1);

/// Takes the bytes of one part.
#[derive(Debug)]
pub struct Sink {
    blocks: mpsc::Sender<Block>,
    pool: Pool,
    waits: Arc<Waits>,
    granule: usize,
    there: Ranges,
    size: u64,
    /// Whether the part is to be verified at the end.
    whole: Arc<AtomicBool>,
    writer: Arc<Writer>,
}

/// The thread that writes. It begins with the first block: until then a transfer holds none.
#[derive(Debug)]
struct Writer(Mutex<State>);

#[derive(Debug)]
enum State {
    Idle(Box<Work>),
    Running(JoinHandle<io::Result<Option<Verification>>>),
    /// Somebody waits for its end.
    Ending,
}

/// What the thread works on.
#[derive(Debug)]
struct Work {
    part: Part,
    blocks: mpsc::Receiver<Block>,
    whole: Arc<AtomicBool>,
}

impl State {
    fn running(self) -> Self {
        match self {
            Self::Idle(work) => {
                let Work { part, blocks, whole } = *work;
                Self::Running(spawn_blocking(move || writer::write_all(part, blocks, &whole)))
            }
            other => other,
        }
    }
}

impl Writer {
    /// Begins, if it has not.
    fn start(&self) {
        // No step in between can fail: the state is whole when the lock is given back.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = std::mem::replace(&mut *state, State::Ending).running();
    }

    /// Waits for its end, which has to have been brought about.
    async fn end(&self) -> io::Result<Option<Verification>> {
        self.start();
        let state = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Ending)
        };
        match state {
            State::Running(thread) => thread.await.map_err(io::Error::other)?,
            State::Idle(_) | State::Ending => {
                Err(io::Error::other("the thread that writes the file has ended"))
            }
        }
    }
}

impl Sink {
    /// For up to `lanes` connections at once. The thread that writes and hashes begins with the first bytes, and what is
    /// there already is read back then: an attempt that brings none costs the disk nothing.
    pub fn new(part: Part, lanes: usize, buffers: &Buffers) -> Self {
        let size = part.expected().size;
        let granule = part.granule();
        let count = if size <= SMALL as u64 { 2 } else { lanes + SPARE };
        let (blocks, receiver) = mpsc::channel(1);
        let there = part.there().clone();
        let whole = Arc::new(AtomicBool::new(false));
        let work = Work { part, blocks: receiver, whole: Arc::clone(&whole) };
        let writer = Arc::new(Writer(Mutex::new(State::Idle(Box::new(work)))));
        let (pool, waits) = (buffers.pool(count, size), Arc::new(Waits::new()));
        Self { blocks, pool, waits, granule, there, size, whole, writer }
    }

    /// What was there at the beginning.
    pub fn there(&self) -> &Ranges {
        &self.there
    }

    /// How many bytes are expected in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How long its lanes have waited for the disk, or for the checksum, all together.
    pub fn waited(&self) -> Duration {
        self.waits.total()
    }

    /// A lane for the bytes from a position on. Every lane has to be closed.
    pub fn lane(&self, at: u64) -> Lane {
        Lane {
            blocks: self.blocks.clone(),
            pool: self.pool.clone(),
            waits: Arc::clone(&self.waits),
            writer: Arc::clone(&self.writer),
            granule: self.granule,
            size: self.size,
            at,
            buffer: None,
            filled: 0,
            since: Instant::now(),
        }
    }

    /// Waits until everything is written, without a verdict: the part stays for the next run.
    pub async fn pause(self) -> io::Result<()> {
        drop(self.blocks);
        self.writer.end().await.map(|_| ())
    }

    /// Waits until everything is written, and looks whether it is what was expected.
    pub async fn finish(self) -> io::Result<Verification> {
        self.whole.store(true, Ordering::Release);
        drop(self.blocks);
        self.writer
            .end()
            .await?
            .ok_or_else(|| io::Error::other("the thread that writes the file ended without a result"))
    }
}

/// Takes the bytes of one connection in order.
#[derive(Debug)]
pub struct Lane {
    blocks: mpsc::Sender<Block>,
    pool: Pool,
    waits: Arc<Waits>,
    writer: Arc<Writer>,
    granule: usize,
    size: u64,
    /// Where the first byte of the buffer goes.
    at: u64,
    buffer: Option<Buffer>,
    filled: usize,
    /// When the first byte of the buffer came.
    since: Instant,
}

impl Lane {
    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.at + self.filled as u64
    }

    /// Room for the next bytes, one at least; waits while the writer is behind. `None`: the writer has ended, and the
    /// sink's end says why.
    pub async fn room(&mut self) -> Option<&mut [u8]> {
        if self.buffer.is_none() {
            let _wait = self.waits.begin();
            self.buffer = Some(self.pool.take().await.ok()?);
        }
        let filled = self.filled;
        self.buffer.as_mut().map(|buffer| &mut buffer.bytes_mut()[filled..])
    }

    /// So many bytes have been put there. `false`: the writer has ended.
    pub async fn filled(&mut self, count: usize) -> bool {
        if self.filled == 0 {
            self.since = Instant::now();
        }
        self.filled += count;
        let is_full = self.buffer.as_ref().is_some_and(|buffer| self.filled == buffer.bytes().len());
        let is_due = is_full || self.position() == self.size;
        !(is_due || self.since.elapsed() >= LINGER) || self.flush().await
    }

    /// Both at once, for tests that have the bytes.
    #[cfg(test)]
    pub async fn write(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Some(room) = self.room().await else { return false };
            let (fits, rest) = bytes.split_at(room.len().min(bytes.len()));
            room[..fits.len()].copy_from_slice(fits);
            bytes = rest;
            if !self.filled(fits.len()).await {
                return false;
            }
        }
        true
    }

    /// Hands over what there is, but for what is less than the disk takes.
    pub async fn flush(&mut self) -> bool {
        let length =
            if self.position() == self.size { self.filled } else { self.filled - self.filled % self.granule };
        let Some(buffer) = self.buffer.take_if(|_| length > 0) else { return true };
        let rest = self.filled - length;
        let mut kept = Vec::new();
        kept.extend_from_slice(&buffer.bytes()[length..self.filled]);
        let block = Block::new(buffer, length, self.at);
        (self.at, self.filled) = (block.end(), 0);
        self.writer.start();
        let sent = {
            let _wait = self.waits.begin();
            self.blocks.send(block).await
        };
        if sent.is_err() {
            return false;
        }
        if rest > 0 {
            let Some(room) = self.room().await else { return false };
            room[..rest].copy_from_slice(&kept);
            self.filled = rest;
            self.since = Instant::now();
        }
        true
    }

    /// Hands over what there is and says where the next lane has to go on.
    pub async fn close(mut self) -> u64 {
        self.flush().await;
        self.at
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn what_lanes_wait_for_is_counted() {
        // A disk that takes nothing by itself.
        let (blocks, mut disk) = mpsc::channel(1);
        let sink = Sink {
            blocks,
            pool: Buffers::default().pool(2, SMALL as u64),
            waits: Arc::new(Waits::new()),
            granule: 1,
            there: Ranges::default(),
            size: 1 << 30,
            whole: Arc::default(),
            writer: Arc::new(Writer(Mutex::new(State::Running(spawn_blocking(|| Ok(None)))))),
        };
        let mut lane = sink.lane(0);
        let bytes = vec![1; SMALL];
        assert!(lane.write(&bytes).await);
        tokio::time::sleep(SOON).await;
        assert!(sink.waited() < SOON, "for the network, not for the disk: {:?}", sink.waited());
        let take_late = async {
            tokio::time::sleep(SOON).await;
            (sink.waited(), disk.recv().await)
        };
        let (written, (waited, first)) = tokio::join!(lane.write(&bytes), take_late);
        assert!(written && waited >= SOON / 2, "{waited:?} until the disk took the first");
        assert!(timeout(SOON, lane.room()).await.is_err(), "it still has its buffer");
        assert!(sink.waited() >= waited + SOON / 2, "{:?}", sink.waited());
        drop(first);
        assert!(lane.room().await.is_some());
    }

    #[tokio::test]
    async fn a_buffer_is_handed_over_when_it_is_full_or_has_the_last_byte() {
        let (blocks, mut disk) = mpsc::channel(4);
        let sink = Sink {
            blocks,
            pool: Buffers::default().pool(4, SMALL as u64),
            waits: Arc::new(Waits::new()),
            granule: 1,
            there: Ranges::default(),
            size: SMALL as u64 + 2,
            whole: Arc::default(),
            writer: Arc::new(Writer(Mutex::new(State::Running(spawn_blocking(|| Ok(None)))))),
        };
        let mut lane = sink.lane(0);
        for (bytes, handed_over) in [(1, None), (SMALL - 1, Some(SMALL)), (1, None), (1, Some(2))] {
            assert!(lane.write(&vec![1; bytes]).await);
            let block = disk.try_recv().ok();
            assert_eq!(block.map(|block| block.bytes().len()), handed_over);
        }
    }
}
