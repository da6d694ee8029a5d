//! Resumable uploads under way: what was asked for, and the bytes that have arrived so far.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use serde_json::Value;

use crate::drive::ids;
use crate::params::Params;

/// Drive keeps whole blocks of an upload that was cut.
const BLOCK: usize = 256 << 10;

/// One upload, from the request that began it on.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Of the request that began it.
    pub(crate) params: Params,
    /// Of the request that began it.
    pub(crate) headers: HeaderMap,
    /// The file that gets the content; `None`: a new one.
    pub(crate) file: Option<String>,
    pub(crate) resource: Value,
    pub(crate) mime_type: Option<String>,
    /// As far as the client has said it.
    pub(crate) total: Option<u64>,
    /// By the emulator's clock.
    pub(crate) expires: i64,
    /// The file that came of it.
    pub(crate) finished: Option<String>,
    received: BytesMut,
}

impl Session {
    pub(crate) fn new(params: Params, headers: HeaderMap, resource: Value, expires: i64) -> Self {
        Self {
            params,
            headers,
            file: None,
            resource,
            mime_type: None,
            total: None,
            expires,
            finished: None,
            received: BytesMut::new(),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.received.len() as u64
    }

    /// Takes the part of `bytes`, which begin at `start`, that is not there yet; what would leave a gap is lost.
    pub(crate) fn append(&mut self, start: u64, bytes: &[u8]) {
        let known = self.length().checked_sub(start).and_then(|known| usize::try_from(known).ok());
        if let Some(new) = known.and_then(|known| bytes.get(known..)).filter(|_| self.finished.is_none()) {
            self.received.extend_from_slice(new);
        }
    }

    /// What counts as received of an upload that is not complete.
    pub(crate) fn settle(&mut self) -> u64 {
        self.received.truncate(self.received.len() / BLOCK * BLOCK);
        self.length()
    }

    /// All bytes of a complete upload, which it gives away.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.received).freeze()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Session>>);

impl Uploads {
    pub(crate) fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a session under an unguessable id, which is all that its requests need to carry.
    pub(crate) fn begin(&self, session: Session) -> String {
        let id = ids::random(120);
        self.sessions().insert(id.clone(), session);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_any_pieces_and_whole_blocks_stay() {
        let mut session = Session::new(Params::default(), HeaderMap::new(), Value::Null, 0);
        let bytes: Vec<u8> = (0..BLOCK + 1000).map(|n| (n % 251) as u8).collect();
        session.append(5, &bytes[5..9]);
        assert_eq!(session.length(), 0, "a gap");
        session.append(0, &bytes[..1000]);
        session.append(500, &bytes[500..1500]);
        session.append(100, &bytes[100..200]);
        assert_eq!(session.length(), 1500);
        session.append(1500, &bytes[1500..]);
        assert_eq!(session.settle(), BLOCK as u64);
        session.append(BLOCK as u64, &bytes[BLOCK..]);
        assert_eq!(session.take(), bytes);
    }
}
