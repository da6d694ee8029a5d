//! Buffers between the network and the disk: aligned for direct writes, a fixed number to a transfer, and given back
//! to the system with it. Whoever wants one waits until one is free: that is what keeps memory flat.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Advice, MmapMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of direct writes. Devices ask for their logical block, which is this or less; file systems for their page.
pub(super) const GRANULE: usize = 4096;

/// Bytes of a buffer of a small file, which has it all.
pub const SMALL: usize = 1 << 20;
/// Bytes of a buffer of any other: a huge page, where the system has them. Each byte is copied, hashed and fetched by the
/// disk there; over pages of 4 KiB a file over plain HTTP took a quarter longer.
const LARGE: usize = 2 << 20;
/// Bytes of a buffer where there are very many: what a slow connection brings in a second or so.
const LEAST: usize = 128 << 10;
/// Bytes of all buffers of large files together: with the default settings each buffer is a huge page.
const ALL: usize = 56 << 20;
/// Buffers that nobody uses are kept up to so many bytes.
const KEPT: usize = 28 << 20;

/// All buffers of the program. Those of transfers that have ended serve the next ones, until there is nothing to fetch
/// for now: a page that was touched before costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    free: Mutex<Vec<MmapMut>>,
    /// Bytes of the buffers that transfers of large files may use now.
    promised: AtomicUsize,
}

/// Those of one transfer.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    promise: Arc<Promise>,
    size: usize,
    permits: Arc<Semaphore>,
}

/// So many bytes are promised to a transfer until it ends.
#[derive(Debug)]
struct Promise {
    shared: Arc<Shared>,
    bytes: usize,
}

/// One buffer, which goes back to where it came from.
#[derive(Debug)]
pub(super) struct Buffer {
    // Taken out only when it is dropped.
    bytes: Option<MmapMut>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

/// Bytes on their way to the disk.
#[derive(Debug)]
pub(super) struct Block {
    buffer: Buffer,
    length: usize,
    at: u64,
}

impl Block {
    /// The first bytes of a buffer, for this position in the file.
    pub(super) fn new(buffer: Buffer, length: usize, at: u64) -> Self {
        Self { buffer, length, at }
    }

    /// Where it goes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Where the next one goes.
    pub(super) fn end(&self) -> u64 {
        self.at + self.length as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[..self.length]
    }
}

impl Buffers {
    /// `count` of them for a file, none of which takes memory before it is used.
    pub(super) fn pool(&self, count: usize, file_size: u64) -> Pool {
        let is_small = file_size <= SMALL as u64;
        let size = if is_small { SMALL } else { size(count, self.shared.promised.load(Ordering::Relaxed)) };
        let bytes = if is_small { 0 } else { size * count };
        self.shared.promised.fetch_add(bytes, Ordering::Relaxed);
        let promise = Arc::new(Promise { shared: Arc::clone(&self.shared), bytes });
        Pool { promise, size, permits: Arc::new(Semaphore::new(count)) }
    }

    /// Gives those that nobody has back to the system.
    pub fn release(&self) {
        *self.shared.lock() = Vec::new();
    }
}

impl Pool {
    /// The next free buffer.
    pub(super) async fn take(&self) -> io::Result<Buffer> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let shared = &self.promise.shared;
        let bytes = match shared.take(self.size) {
            Some(bytes) => bytes,
            None => map(self.size)?,
        };
        Ok(Buffer { bytes: Some(bytes), shared: Arc::clone(shared), _permit: permit })
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.shared.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of each of `count` buffers of a large file, where so many bytes are promised to other files: a quarter of all, or
/// half of what is left, so that something is left for those that come later.
fn size(count: usize, promised: usize) -> usize {
    let share = (ALL / 4).min(ALL.saturating_sub(promised) / 2);
    let each = share / count.max(1);
    each.checked_ilog2().map_or(LEAST, |power| 1 << power).clamp(LEAST, LARGE)
}

/// A mapping begins at a page, so it is aligned, and it leaves no hole in the heap when it goes.
fn map(size: usize) -> io::Result<MmapMut> {
    let bytes = MmapMut::map_anon(size)?;
    // Not every kernel has huge pages. Smaller buffers are for slow connections, which fill them in part only: a huge page
    // would take memory for all of it.
    let _ = bytes.advise(if size == LARGE { Advice::HugePage } else { Advice::NoHugePage });
    Ok(bytes)
}

impl Shared {
    /// The one of this size that was used last.
    fn take(&self, size: usize) -> Option<MmapMut> {
        let mut free = self.lock();
        let index = free.iter().rposition(|bytes| bytes.len() == size)?;
        Some(free.remove(index))
    }

    /// Keeps it for the next transfer; the oldest ones go.
    fn give_back(&self, bytes: MmapMut) {
        let mut free = self.lock();
        free.push(bytes);
        let mut kept: usize = free.iter().map(|bytes| bytes.len()).sum();
        free.retain(|bytes| {
            let goes = kept > KEPT;
            kept -= if goes { bytes.len() } else { 0 };
            !goes
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<MmapMut>> {
        // A list, whole at any time.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// The same, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            self.shared.give_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_are_aligned_and_no_more_than_wanted() {
        let buffers = Buffers::default();
        let pool = buffers.pool(2, SMALL as u64);
        let mut first = pool.take().await.unwrap();
        let second = pool.take().await.unwrap();
        assert_eq!(first.bytes().as_ptr().align_offset(GRANULE), 0);
        first.bytes_mut()[0] = 7;
        let mut third = tokio_test_pending(pool.take());
        assert!(third.as_mut().now().is_none(), "both are taken");
        drop(second);
        let got = third.as_mut().now();
        assert!(got.is_some());
        drop((got, third, first));
        assert_eq!(buffers.shared.lock().len(), 2, "for the next transfer");
        let large = buffers.pool(1, SMALL as u64 + 1).take().await.unwrap();
        assert_eq!((large.bytes().len(), large.bytes()[0]), (LARGE, 0), "none of those");
        assert_eq!(large.bytes().as_ptr().align_offset(GRANULE), 0);
        let next = buffers.pool(1, 1).take().await.unwrap();
        assert_eq!((next.bytes().len(), next.bytes()[0]), (SMALL, 7), "one that was used before");
        buffers.release();
        assert_eq!(buffers.shared.lock().len(), 0, "there is none");
    }

    #[test]
    fn many_connections_share_what_there_is() {
        const MIB: usize = 1 << 20;
        let buffers = Buffers::default();
        let pools =
            |files, count| -> Vec<Pool> { (0..files).map(|_| buffers.pool(count, u64::MAX)).collect() };
        // By default four files with four connections each.
        let default = pools(4, 7);
        assert_eq!(default.iter().map(|pool| pool.size).collect::<Vec<_>>(), [LARGE, LARGE, LARGE, MIB]);
        drop(default);
        assert_eq!(buffers.shared.promised.load(Ordering::Relaxed), 0);
        let many = pools(8, 19);
        assert!(many.iter().all(|pool| pool.size >= LEAST && pool.size < LARGE), "{many:?}");
        let promised = buffers.shared.promised.load(Ordering::Relaxed);
        assert!(promised <= ALL, "{promised}");
        drop(pools(1000, 19));
        assert_eq!(buffers.shared.promised.load(Ordering::Relaxed), promised);
        drop(many);
        let (last, small) = (buffers.pool(19, u64::MAX), buffers.pool(2, 1));
        assert_eq!((last.size, small.size), (512 << 10, SMALL));
    }

    #[tokio::test]
    async fn what_nobody_uses_is_kept_up_to_a_limit() {
        let buffers = Buffers::default();
        let pool = buffers.pool(40, 1);
        let mut taken = Vec::new();
        for _ in 0..40 {
            taken.push(pool.take().await.unwrap());
        }
        drop(taken);
        assert_eq!(buffers.shared.lock().len(), KEPT / SMALL);
    }

    struct Pending<F>(std::pin::Pin<Box<F>>);

    fn tokio_test_pending<F: Future>(future: F) -> Pending<F> {
        Pending(Box::pin(future))
    }

    impl<F: Future> Pending<F> {
        fn as_mut(&mut self) -> &mut Self {
            self
        }

        fn now(&mut self) -> Option<F::Output> {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match self.0.as_mut().poll(&mut context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            }
        }
    }
}
