//! Work at a destination may wait for its disk, and a thread of the runtime must not.

use std::io;
use std::path::Path;

use tokio::task::spawn_blocking;

use super::{Error, Local};

/// Runs work off the runtime's threads. If whoever waits for it goes away, it is done all the same.
pub(super) async fn off_thread<T: Send + 'static>(
    at: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            Err(Error::Io { doing: "work on", path: at.to_owned(), source: io::Error::other(error) })
        }
    }
}

impl Local {
    /// The same with the destination.
    pub(super) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let local = self.clone();
        off_thread(&self.root, move || work(&local)).await
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn work_is_done_in_another_thread_and_its_fault_is_an_error() {
        let at = Path::new("/srv/videos");
        let other = off_thread(at, || Ok(thread::current().id())).await.unwrap();
        assert_ne!(other, thread::current().id());
        let fault = off_thread(at, || -> Result<(), Error> { panic!("a fault of the program") }).await;
        let said = fault.unwrap_err().to_string();
        assert!(said.contains("cannot work on /srv/videos"), "{said}");
    }
}
