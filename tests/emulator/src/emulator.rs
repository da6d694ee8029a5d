//! The handle on one emulator: addressing it and stopping it.

use std::sync::Arc;

use crate::inner::Inner;

/// A running emulator. Clones are handles on the same one; it runs until [`stop`](Self::stop).
#[derive(Clone)]
pub struct Emulator {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Emulator {
    /// `http://127.0.0.1:PORT`, the root that takes the place of `https://www.googleapis.com`.
    pub fn url(&self) -> String {
        self.inner.url()
    }

    /// The same over https, if it was started with TLS files.
    pub fn tls_url(&self) -> Option<String> {
        self.inner.tls_url()
    }

    /// The http port.
    pub fn port(&self) -> u16 {
        self.inner.port.get().copied().unwrap_or_default()
    }

    /// The https port, if it was started with TLS files.
    pub fn tls_port(&self) -> Option<u16> {
        self.inner.tls_port.get().copied()
    }

    /// Closes the listeners and every connection.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}
