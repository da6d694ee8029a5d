//! A name in an open folder. Files are reached like this only, so that whoever moves a folder meanwhile moves nothing else.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

/// A folder and a name in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: String,
}

impl Place {
    pub(super) fn new(directory: &Arc<OwnedFd>, name: &str) -> Self {
        Self { directory: Arc::clone(directory), name: name.to_owned() }
    }

    /// What bears the name; a symbolic link is one.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match sys::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens a file for reading. No link is followed, and a pipe is not waited for.
    pub(super) fn open(&self) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        sys::openat(&self.directory, &self.name, flags, Mode::empty()).map(File::from)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        match sys::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn no_link_is_followed_and_no_pipe_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("film"), "film").unwrap();
        std::os::unix::fs::symlink("film", home.path().join("link")).unwrap();
        let pipe = home.path().join("pipe");
        sys::mknodat(CWD, pipe, sys::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let directory = sys::openat(CWD, home.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        let open = {
            let directory = Arc::new(directory);
            move |name: &str| Place::new(&directory, name).open().map(drop)
        };
        assert_eq!((open("film"), open("link")), (Ok(()), Err(Errno::LOOP)));
        let (sender, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(open("pipe")));
        done.recv_timeout(std::time::Duration::from_secs(30)).expect("it hangs").unwrap();
    }
}
