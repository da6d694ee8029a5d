//! The log of requests that tests read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// One request as it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// When it came, in milliseconds since 1970 by the emulator's clock.
    pub time: i64,
    /// `GET`, `POST`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The raw query; empty if there is none.
    pub query: String,
    /// `changes.list`, `files.media`, `token`, …; `unknown` for what is not modelled.
    pub operation: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `X-Goog-Drive-Resource-Keys` header: `id/key,id/key`.
    pub resource_keys: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: String,
    /// The number of the connection that carried it, counted from one.
    pub connection: u64,
    /// 0 while it is not answered yet.
    pub status: u16,
    /// Bytes of the body handed to the connection so far.
    pub bytes_sent: u64,
}

/// A record that its request still writes to.
#[derive(Debug, Default)]
pub(crate) struct Live {
    record: RequestRecord,
    status: AtomicU16,
    bytes_sent: AtomicU64,
}

impl Live {
    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn snapshot(&self) -> RequestRecord {
        let mut record = self.record.clone();
        record.status = self.status.load(Ordering::Relaxed);
        record.bytes_sent = self.bytes_sent.load(Ordering::Relaxed);
        record
    }
}

#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<VecDeque<Arc<Live>>>);

const KEPT: usize = 100_000;

impl Records {
    pub(crate) fn begin(&self, record: RequestRecord) -> Arc<Live> {
        let live = Arc::new(Live { record, status: AtomicU16::new(0), bytes_sent: AtomicU64::new(0) });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(live.clone());
        live
    }

    pub(crate) fn all(&self) -> Vec<RequestRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|live| live.snapshot()).collect()
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|live| live.record.operation == operation).count()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
