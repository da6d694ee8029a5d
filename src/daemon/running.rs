//! Everything at work, until one engine ends by itself or all are told to end.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::store::Store;

/// How often the engines are looked at for one that has ended by itself.
const LOOK: Duration = Duration::from_millis(500);
/// A connection that is being answered ends within moments.
const MOMENT: Duration = Duration::from_millis(2);
/// Whoever is being answered when the end comes is answered as always; engines that had ended would make a notification
/// one that could not be handed over.
const ANSWERS: Duration = Duration::from_secs(1);
/// The database is closed when all who use it have ended; whoever has not by then is not waited for.
const CLOSE: Duration = Duration::from_secs(2);

/// What runs.
pub(super) struct Running {
    pub(super) engines: Vec<(&'static str, JoinHandle<()>)>,
    pub(super) doors: Vec<JoinHandle<()>>,
    /// Ends when the program has to be started again to be allowed to write to a destination.
    pub(super) outdated: JoinHandle<PathBuf>,
    pub(super) store: Store,
}

impl Running {
    /// Until `stop`, or until an engine ends by itself.
    pub(super) async fn until_end(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            if let Some((name, _)) = self.engines.iter().find(|(_, engine)| engine.is_finished()) {
                error!(engine = name, "an engine has ended by itself; the program ends with it");
                anyhow::bail!("the engine `{name}` has ended by itself");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
                Ok(destination) = &mut self.outdated => anyhow::bail!(
                    "the destination {} was mounted or made anew since the start; the program ends so that it is started \
                     again and may write there",
                    destination.display()
                ),
            }
        }
    }

    /// Waits for all of it, but no longer than `grace`. The database is closed in any case: then its file holds what its
    /// journal held.
    pub(super) async fn finish(self, engines_stop: &CancellationToken, grace: Duration) {
        let answered = async {
            for door in &self.doors {
                // What went wrong is told below.
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
                    error!(engine = name, %error, "an engine ended in a fault of the program");
                }
            }
        });
        if ended.await.is_err() {
            warn!("not everything ended within shutdown_grace; what is cut off goes on at the next start");
            for (_, handle) in &all {
                handle.abort();
            }
        }
        if tokio::time::timeout(CLOSE, self.store.close()).await.is_err() {
            warn!("the database could not be closed in time; its journal is read at the next start");
        }
    }
}
