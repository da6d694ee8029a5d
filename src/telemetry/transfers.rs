//! The transfers that run now and how far they are, for whoever wants to show them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// All running transfers.
#[derive(Debug, Default)]
pub struct Transfers {
    running: Mutex<BTreeMap<String, Arc<Transfer>>>,
    /// Deliveries that the ledger has as downloading, and that wait for their turn still.
    pub next: AtomicUsize,
}

/// One running transfer.
#[derive(Debug)]
pub struct Transfer {
    /// The file's name in Drive.
    pub name: String,
    /// Bytes in all.
    pub size: u64,
    /// When it began.
    pub began: Timestamp,
    /// Bytes that are there, those of earlier runs included.
    pub received: AtomicU64,
}

impl Transfer {
    /// Bytes that are there.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Transfers {
    /// Shows a transfer as long as the guard lives.
    pub fn begin(self: &Arc<Self>, id: &str, name: &str, size: u64) -> Shown {
        let transfer = Arc::new(Transfer {
            name: name.to_owned(),
            size,
            began: Timestamp::now(),
            received: AtomicU64::new(0),
        });
        self.lock().insert(id.to_owned(), transfer.clone());
        Shown { board: self.clone(), id: id.to_owned(), transfer }
    }

    /// What runs now, by delivery id.
    pub fn snapshot(&self) -> Vec<(String, Arc<Transfer>)> {
        self.lock().iter().map(|(id, transfer)| (id.clone(), transfer.clone())).collect()
    }

    /// Bytes of a running transfer that are there.
    pub fn received(&self, id: &str) -> Option<u64> {
        self.lock().get(id).map(|transfer| transfer.received())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Transfer>>> {
        // A map of finished values, whole at any time.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a transfer on the board.
#[derive(Debug)]
pub struct Shown {
    board: Arc<Transfers>,
    id: String,
    /// The transfer.
    pub transfer: Arc<Transfer>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.board.lock().remove(&self.id);
    }
}
