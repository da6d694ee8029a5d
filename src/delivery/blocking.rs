//! File work of attempts. It may wait for a disk, and a thread of the runtime must not.

use std::io;
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use crate::destination;

/// Runs file work off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, destination::Error> + Send + 'static,
) -> Result<T, destination::Error> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(destination::Error::Io {
            doing: "work on",
            path: PathBuf::new(),
            source: io::Error::other(error),
        }),
    }
}
