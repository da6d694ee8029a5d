//! The running engines, until one ends unexpectedly or all are stopped.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::store::Store;

/// How often to check for an engine that has ended unexpectedly.
const LOOK: Duration = Duration::from_millis(500);
/// How often to check for open connections: an answer takes milliseconds.
const MOMENT: Duration = Duration::from_millis(2);
/// How long requests in progress may take at a stop. The engines stop after that: otherwise such a notification could not
/// wake them.
const ANSWERS: Duration = Duration::from_secs(1);
/// How long to wait for the users of the database before it is closed.
const CLOSE: Duration = Duration::from_secs(2);

/// The tasks of the program.
pub(super) struct Tasks {
    pub(super) engines: Vec<(&'static str, JoinHandle<()>)>,
    pub(super) doors: Vec<JoinHandle<()>>,
    /// Ends when a restart is needed to write to a destination.
    pub(super) outdated: JoinHandle<PathBuf>,
    pub(super) store: Store,
}

impl Tasks {
    /// Waits for `stop`, or for an engine that ends unexpectedly.
    pub(super) async fn until_end(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            if let Some((name, _)) = self.engines.iter().find(|(_, engine)| engine.is_finished()) {
                error!(engine = name, "a part of the daemon has ended unexpectedly; the daemon stops");
                anyhow::bail!("a part of the daemon (`{name}`) has ended unexpectedly");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
                Ok(destination) = &mut self.outdated => anyhow::bail!(
                    "the destination {} was mounted or created again since the start; the daemon stops, because it may write \
                     there only after a restart",
                    destination.display()
                ),
            }
        }
    }

    /// Waits for all tasks, but no longer than `grace`. The database is closed in any case: this moves its journal into its
    /// file.
    pub(super) async fn finish(self, engines_stop: &CancellationToken, grace: Duration) {
        let answered = async {
            for door in &self.doors {
                // Errors are logged below.
                while !door.is_finished() {
                    tokio::time::sleep(MOMENT).await;
                }
            }
        };
        let _ = tokio::time::timeout(ANSWERS.min(grace), answered).await;
        engines_stop.cancel();
        self.outdated.abort();
        let doors = self.doors.into_iter().map(|door| ("connections", door));
        let mut all: Vec<(&str, JoinHandle<()>)> = self.engines.into_iter().chain(doors).collect();
        let ended = tokio::time::timeout(grace, async {
            for (name, handle) in &mut all {
                if let Err(error) = handle.await {
                    error!(engine = name, %error, "a part of the daemon has failed; this is a bug");
                }
            }
        });
        if ended.await.is_err() {
            warn!("the stop took longer than shutdown_grace; interrupted downloads resume at the next start");
            for (_, handle) in &all {
                handle.abort();
            }
        }
        let closed = tokio::time::timeout(CLOSE, self.store.close()).await;
        info!("stopped");
        if closed.is_err() {
            warn!("the database could not be closed in time; its journal is read at the next start");
        }
    }
}
