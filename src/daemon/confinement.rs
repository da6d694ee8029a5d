//! A disk that is mounted while the program runs is another directory than the one that the kernel was told of. The
//! program cannot loosen its own confinement: it ends, and whoever watches it starts it again.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::delivery::Wanted;
use crate::sandbox::Sandbox;

/// How often the destinations are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Ends with a destination that is forbidden only because it was not there at the start.
pub(super) async fn until_outdated(sandbox: Sandbox, wanted: watch::Receiver<Wanted>) -> PathBuf {
    if !sandbox.is_there() {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let destinations: Vec<PathBuf> = wanted.borrow().destinations.keys().cloned().collect();
        for destination in destinations {
            let (sandbox, path) = (sandbox.clone(), destination.clone());
            // A disk that does not answer is waited for; nothing else is to be found out about it.
            let forbids = tokio::task::spawn_blocking(move || sandbox.forbids(&path)).await;
            if forbids.is_ok_and(|forbids| forbids) {
                return destination;
            }
        }
    }
}
