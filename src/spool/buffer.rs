//! Buffers between the network and the disk: aligned for direct writes, a fixed number to a transfer, and given back
//! to the system with it. Whoever wants one waits until one is free: that is what keeps memory flat.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of direct writes. Devices ask for their logical block, which is this or less; file systems for their page.
pub(super) const GRANULE: usize = 4096;

/// The buffers of one transfer.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    size: usize,
}

#[derive(Debug, Default)]
struct Shared {
    free: Mutex<Vec<MmapMut>>,
}

/// One buffer, which goes back to its pool.
#[derive(Debug)]
pub(super) struct Buffer {
    // Taken out only when it is dropped.
    bytes: Option<MmapMut>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// `count` buffers of `size` bytes, none of which takes memory before it is used.
    pub(super) fn new(count: usize, size: usize) -> Self {
        Self { shared: Arc::default(), permits: Arc::new(Semaphore::new(count)), size }
    }

    /// Bytes that fit into each.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The next free buffer.
    pub(super) async fn take(&self) -> io::Result<Buffer> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let free = self.shared.lock().pop();
        let bytes = match free {
            Some(bytes) => bytes,
            // A mapping begins at a page, so it is aligned, and it leaves no hole in the heap when it goes.
            None => MmapMut::map_anon(self.size)?,
        };
        Ok(Buffer { bytes: Some(bytes), shared: Arc::clone(&self.shared), _permit: permit })
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<MmapMut>> {
        // A list of buffers is whole at any time.
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
            self.shared.lock().push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_are_aligned_and_no_more_than_wanted() {
        let pool = Pool::new(2, 1 << 20);
        let mut first = pool.take().await.unwrap();
        let second = pool.take().await.unwrap();
        assert_eq!(first.bytes().as_ptr().align_offset(GRANULE), 0);
        first.bytes_mut()[0] = 7;
        let mut third = tokio_test_pending(pool.take());
        assert!(third.as_mut().now().is_none(), "both are taken");
        drop(second);
        assert!(third.as_mut().now().is_some());
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
