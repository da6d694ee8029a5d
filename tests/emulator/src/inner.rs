//! What every task of one emulator shares.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disturbance::NotificationRecord;
use crate::drive::clock::Clock;
use crate::serve::line::Lines;
use crate::serve::record::Records;
use crate::uploads::Uploads;
use crate::world::World;

pub(crate) struct Inner {
    pub(crate) state: Mutex<World>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) records: Records,
    pub(crate) lines: Lines,
    pub(crate) uploads: Uploads,
    pub(crate) notifications: Mutex<VecDeque<NotificationRecord>>,
    pub(crate) http: reqwest::Client,
    pub(crate) notification_retry: Duration,
    pub(crate) allow_http_loopback: bool,
    pub(crate) host: IpAddr,
    pub(crate) port: OnceLock<u16>,
    pub(crate) tls_name: Option<String>,
    pub(crate) tls_port: OnceLock<u16>,
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

const NOTIFICATIONS_KEPT: usize = 100_000;

impl Inner {
    /// A panic of another thread leaves the state usable: every action changes it in full or not at all.
    pub(crate) fn state(&self) -> MutexGuard<'_, World> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task until it ends or the emulator stops; callable from any thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        };
        // Its end is awaited by way of the tracker.
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    /// What Drive does to a file by itself after new content: it processes it, and fiddles with its metadata.
    pub(crate) fn follow_up(self: &Arc<Self>, id: &str) {
        const BETWEEN: Duration = Duration::from_millis(100);
        let (noise, processing) = {
            let state = self.state();
            let is_blob = state.find(id).is_some_and(|node| node.blob().is_some());
            (state.settings.noise, Some(state.settings.processing_delay).filter(|d| is_blob && !d.is_zero()))
        };
        let touches = (1..=noise).map(|n| BETWEEN * n).chain(processing);
        for after in touches {
            let (inner, id) = (self.clone(), id.to_owned());
            self.spawn(async move {
                tokio::time::sleep(after).await;
                // The file may be gone by then.
                let _ = inner.state().touch(&id);
            });
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", SocketAddr::from((self.host, self.port.get().copied().unwrap_or_default())))
    }

    pub(crate) fn tls_url(&self) -> Option<String> {
        let port = *self.tls_port.get()?;
        Some(match &self.tls_name {
            Some(name) if name.contains(':') => format!("https://[{name}]:{port}"),
            Some(name) => format!("https://{name}:{port}"),
            None => format!("https://{}", SocketAddr::from((self.host, port))),
        })
    }

    /// What credentials name: https if clients come by a name of their own.
    pub(crate) fn clients_url(&self) -> String {
        self.tls_name.as_ref().and_then(|_| self.tls_url()).unwrap_or_else(|| self.url())
    }

    pub(crate) fn record_notification(&self, record: NotificationRecord) {
        let mut kept = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == NOTIFICATIONS_KEPT {
            kept.pop_front();
        }
        kept.push_back(record);
    }
}
