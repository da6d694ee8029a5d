//! Threads beside the one that writes a part. The system may refuse one: then the attempt ends with an error.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Starts a thread.
pub(super) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    #[cfg(test)]
    let started =
        refusals::next().and_then(|()| Builder::new().name(name.to_owned()).spawn_scoped(scope, work));
    #[cfg(not(test))]
    let started = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    started.map_err(|error| {
        let said = format!(
            "the system starts no more threads ({error}); raise the limit (TasksMax= of a systemd unit)"
        );
        io::Error::new(error.kind(), said)
    })
}

/// A system that refuses threads, as none does when a test asks for it.
#[cfg(test)]
pub(super) mod refusals {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// This thread may start so many more.
    pub(in crate::spool) fn after(count: usize) {
        LEFT.set(count);
    }

    pub(super) fn next() -> io::Result<()> {
        let left = LEFT.get().checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        LEFT.set(if left == usize::MAX - 1 { usize::MAX } else { left });
        Ok(())
    }
}
