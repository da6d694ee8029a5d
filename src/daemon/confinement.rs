//! A disk that is mounted while the program runs is a new directory for Landlock, and the program cannot extend its own
//! permissions. It stops, and its supervisor restarts it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::delivery::Wanted;
use crate::sandbox::Sandbox;

/// How often the destinations are checked.
const LOOK: Duration = Duration::from_secs(10);

/// Returns a destination that is forbidden only because it did not exist at the start.
pub(super) async fn until_outdated(sandbox: Sandbox, wanted: watch::Receiver<Wanted>) -> PathBuf {
    if !sandbox.is_there() {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let destinations: Vec<PathBuf> = wanted.borrow().destinations.keys().cloned().collect();
        for destination in destinations {
            let (sandbox, path) = (sandbox.clone(), destination.clone());
            // Wait for a disk that does not answer: nothing else can be found out about it.
            let forbids = tokio::task::spawn_blocking(move || sandbox.forbids(&path)).await;
            if forbids.is_ok_and(|forbids| forbids) {
                return destination;
            }
        }
    }
}
