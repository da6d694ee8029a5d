//! Writes down which ranges of a part are durable, in a thread of its own: the fsync before it takes as long as the
//! disk likes, and whatever comes meanwhile is not to wait for it.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::durable::Durability;
use super::progress::Progress;
use super::ranges::Ranges;
use super::threads;

/// So long after it was written down what there is, it is again: a disk that is slow has other things to do. A crash
/// costs so much at most, and what comes during one fsync.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The way to that thread.
#[derive(Debug)]
pub(super) struct Saver<'scope> {
    /// Taken only by a thread that has nothing to do: what waited would be old.
    ranges: SyncSender<Ranges>,
    thread: ScopedJoinHandle<'scope, io::Result<()>>,
    saved: Arc<Saved>,
}

/// When it was last written down, or the thread began.
#[derive(Debug)]
struct Saved(Mutex<Instant>);

impl Saved {
    fn at(&self) -> MutexGuard<'_, Instant> {
        // A time is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it takes to write down how far a part is.
#[derive(Debug)]
pub(super) struct Saving {
    pub(super) durability: Durability,
    pub(super) progress: Progress,
}

impl Saving {
    /// Makes durable what is there, and then writes down that it is. More may be written meanwhile, and is not meant.
    fn save(&mut self, there: &Ranges) -> io::Result<()> {
        self.durability.sync_data()?;
        self.progress.save(there)
    }
}

impl<'scope> Saver<'scope> {
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, mut saving: Saving) -> io::Result<Self> {
        let (ranges, asked) = sync_channel::<Ranges>(0);
        let saved = Arc::new(Saved(Mutex::new(Instant::now())));
        let says = Arc::clone(&saved);
        let thread = threads::start(scope, "progress", move || {
            asked.iter().try_for_each(|there| {
                saving.save(&there)?;
                *says.at() = Instant::now();
                Ok(())
            })
        })?;
        Ok(Self { ranges, thread, saved })
    }

    /// These are on the disk, durable or not.
    pub(super) fn offer(&self, there: &Ranges) -> io::Result<()> {
        if self.saved.at().elapsed() < SAVE_EVERY {
            return Ok(());
        }
        match self.ranges.try_send(there.clone()) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            // Why, its end says.
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits for what it is doing.
    pub(super) fn end(self) -> io::Result<()> {
        drop(self.ranges);
        self.thread.join().map_err(|_| io::Error::other("the thread that saves progress failed"))?
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::folder::HiddenFolder;
    use super::super::progress::Known;
    use super::*;

    fn progress(directory: &std::path::Path) -> Progress {
        let folder = HiddenFolder::make(directory).unwrap();
        Progress::of(&folder, "d1.part", 100, "md5:1".into()).unwrap()
    }

    /// Offers it until it is written down.
    fn insist(saver: &Saver<'_>, ranges: &Ranges) -> io::Result<()> {
        let long_ago = saver.saved.at().checked_sub(SAVE_EVERY).unwrap();
        *saver.saved.at() = long_ago;
        while *saver.saved.at() == long_ago {
            saver.offer(ranges)?;
        }
        Ok(())
    }

    #[test]
    fn what_is_offered_is_written_down_once_in_a_while() {
        let home = tempfile::tempdir().unwrap();
        let durability = Durability::of(File::create(home.path().join("d1.part")).unwrap());
        let [first, second] = [[20, 30], [40, 50]].map(|range| Ranges::from(vec![[0, 10], range]));
        std::thread::scope(|scope| {
            let saver = Saver::start(scope, Saving { durability, progress: progress(home.path()) }).unwrap();
            insist(&saver, &first).unwrap();
            for _ in 0..100 {
                saver.offer(&second).unwrap();
                std::thread::sleep(Duration::from_micros(100));
            }
            saver.end().unwrap();
        });
        let known = progress(home.path()).load().unwrap();
        assert_eq!(known, Known::Ranges(first), "the second came too early");
    }

    #[test]
    fn its_failure_is_told() {
        let home = tempfile::tempdir().unwrap();
        let durability = Durability::of(File::create(home.path().join("d1.part")).unwrap());
        let progress = progress(home.path());
        std::fs::remove_dir_all(home.path().join(super::super::HIDDEN)).unwrap();
        std::thread::scope(|scope| {
            let saver = Saver::start(scope, Saving { durability, progress }).unwrap();
            assert!(insist(&saver, &Ranges::default()).is_err());
            assert_eq!(saver.end().unwrap_err().kind(), io::ErrorKind::NotFound);
        });
    }
}
