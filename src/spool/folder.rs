//! The hidden folder of a destination, by its handle. Whoever can write to the destination can put something else in the
//! place of the folder, or can have made it before the program did. So it is opened once, without following a link, and
//! accepted only if it belongs to the program's user; it is closed to all others; and nothing in it is reached by a path.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, CWD, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use tracing::debug;

use super::durable::sync_directory;
use super::own;
use crate::owner::{self, Absent, Meanwhile, NewName, Owner, process, shell, user};

/// The hidden folder at each destination.
pub const HIDDEN: &str = ".gdrive-webhook";
const PRIVATE: u32 = 0o700;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A file that shows to whom new files belong.
const PROBE: &str = "owner";
/// More than any file but a part has.
const SMALL_FILE: u64 = 16 << 20;

/// The name of a file that belongs to a part.
pub(super) fn beside(part: &str, extension: &str) -> String {
    let stem = part.rsplit_once('.').map_or(part, |(stem, _)| stem);
    format!("{stem}.{extension}")
}

/// An open hidden folder.
#[derive(Clone, Debug)]
pub struct HiddenFolder {
    handle: Arc<OwnedFd>,
    /// Where it was opened; for messages only.
    path: PathBuf,
    uid: u32,
}

impl HiddenFolder {
    /// Opens the folder of a destination, if it is there.
    pub(super) fn find(destination: &Path) -> io::Result<Option<Self>> {
        match sys::openat(CWD, destination, DIRECTORY, Mode::empty()) {
            Ok(above) => Self::find_in(&above, destination.join(HIDDEN)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, and makes it if it is missing.
    pub(super) fn make(destination: &Path) -> io::Result<Self> {
        let above = sys::openat(CWD, destination, DIRECTORY, Mode::empty())?;
        match owner::make_in(&above, HIDDEN.as_ref(), PRIVATE, None) {
            Ok(()) => sync_directory(&above)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let found = Self::find_in(&above, destination.join(HIDDEN))?;
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find_in(above: &OwnedFd, path: PathBuf) -> io::Result<Option<Self>> {
        let handle = match sys::openat(above, HIDDEN, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let said = format!(
                    "{} is a symbolic link or a file, where the program needs a directory of its own; remove it",
                    path.display()
                );
                return Err(owner::told(io::ErrorKind::NotADirectory, said));
            }
            Err(Errno::ACCESS) => {
                let stat = sys::statat(above, HIDDEN, AtFlags::SYMLINK_NOFOLLOW)?;
                return Err(if stat.st_uid == geteuid().as_raw() {
                    Errno::ACCESS.into()
                } else {
                    foreign(&path, stat.st_uid)
                });
            }
            Err(errno) => return Err(errno.into()),
        };
        let uid = sys::fstat(&handle)?.st_uid;
        let folder = Self { handle: Arc::new(handle), path, uid };
        folder.accept(above).map(Some)
    }

    /// Only if it belongs to this user, or to the one whom root works for here.
    fn accept(mut self, above: &OwnedFd) -> io::Result<Self> {
        let us = geteuid().as_raw();
        let heir = sys::fstat(above).map(|above| Owner { uid: above.st_uid, gid: above.st_gid })?;
        let heir = Some(heir).filter(|heir| us == 0 && heir.uid != 0);
        let is_ours = self.uid == us || heir.is_some_and(|heir| heir.uid == self.uid);
        if !(is_ours || self.belongs_to_whoever_writes(above)?) {
            return Err(foreign(&self.path, self.uid));
        }
        if let Some(heir) = heir {
            self.hand_over(heir)?;
            self.uid = self.stat_itself()?.st_uid;
        }
        self.close();
        Ok(self)
    }

    /// On some disks everything has the owner that it was mounted with, or that the server gives to strangers. There a
    /// folder of the program's own shows another owner than the program, and so does a new file.
    fn belongs_to_whoever_writes(&self, above: &OwnedFd) -> io::Result<bool> {
        if self.stat_itself()?.st_dev != sys::fstat(above)?.st_dev {
            return Ok(false);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let probe = || sys::openat(&self.handle, PROBE, flags, Mode::RUSR | Mode::WUSR);
        let made = match probe() {
            Err(Errno::EXIST) => self.remove(PROBE).is_ok().then(probe).unwrap_or(Err(Errno::EXIST)),
            made => made,
        };
        let Ok(made) = made else { return Ok(false) };
        let uid = sys::fstat(&made)?.st_uid;
        self.remove(PROBE)?;
        Ok(uid == self.uid)
    }

    /// Gives root's files in it, and itself, to the owner of the destination.
    fn hand_over(&self, heir: Owner) -> io::Result<()> {
        owner::hand_over(&File::from(self.handle.try_clone()?), heir)?;
        for name in self.names()? {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            // What cannot be opened like this is no file of the program's; whoever wants to use it says so.
            if let Ok(file) = sys::openat(&self.handle, name, flags, Mode::empty()) {
                owner::hand_over(&File::from(file), heir)?;
            }
        }
        Ok(())
    }

    /// Takes everybody else's access away. Where there are no modes it stays as it was mounted.
    fn close(&self) {
        let Ok(mode) = self.stat_itself().map(|stat| stat.st_mode & 0o7777) else {
            return;
        };
        if mode & !0o7700 == 0 {
            return;
        }
        // A setgid bit stays, if it may: under systemd nobody may set it.
        let close = |mode| sys::fchmod(&self.handle, Mode::from_raw_mode(mode));
        if let Err(error) = close(mode & !0o077).or_else(|_| close(PRIVATE)) {
            debug!(path = %self.path.display(), %error, "the hidden folder keeps its mode");
        }
    }

    /// Where a file in it was when it was opened; for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether it is still the folder of this destination: another disk may have been mounted over it, or it may have been
    /// removed.
    pub fn is_at(&self, destination: &Path) -> io::Result<bool> {
        let there = match sys::lstat(destination.join(HIDDEN)) {
            Ok(there) => there,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        own::is_same(&there, self)
    }

    /// Opens a file of the program's own for reading and writing. Its content stays.
    pub fn open(&self, name: &str, absent: Absent) -> io::Result<File> {
        self.open_in(&self.handle, name, absent)
    }

    /// The same in another directory.
    pub(super) fn open_in(&self, directory: impl AsFd, name: &str, absent: Absent) -> io::Result<File> {
        let made = if absent == Absent::Make { OFlags::CREATE } else { OFlags::empty() };
        let shown = self.path(name);
        let file = own::open(directory, name, OFlags::RDWR | made, self.uid, &shown)?;
        owner::keep_private(&file, &shown, self.heir()?)?;
        Ok(file)
    }

    /// Whom root's files in it are given to.
    fn heir(&self) -> io::Result<Option<Owner>> {
        if self.uid == 0 || !geteuid().is_root() {
            return Ok(None);
        }
        Ok(Some(Owner { uid: self.uid, gid: self.stat_itself()?.st_gid }))
    }

    /// Opens an open file once more by its name, in another way.
    pub(super) fn open_again(&self, name: &str, file: &File, flags: OFlags) -> io::Result<File> {
        let again = match own::open(&self.handle, name, flags, self.uid, &self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.taken_away(name)),
            again => again?,
        };
        if own::is_same(&sys::fstat(&again)?, file)? { Ok(again) } else { Err(self.taken_away(name)) }
    }

    fn taken_away(&self, name: &str) -> io::Error {
        let (path, folder) = (self.path(name), self.path.display());
        let said = format!(
            "{} is no longer there: something has removed, moved or replaced it; it is downloaded again. Keep whatever cleans \
             or empties this folder away from {folder}",
            path.display()
        );
        owner::told(io::ErrorKind::NotFound, said)
    }

    /// The content of a small file; `None` if there is none.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match own::open(&self.handle, name, OFlags::RDONLY, self.uid, &self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut content = Vec::new();
        file.take(SMALL_FILE).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// Gives a small file a new content, at once and durably; its name is durable after `sync`. A file is there under the
    /// other name meanwhile.
    pub fn write(&self, name: &str, meanwhile: &str, content: &[u8]) -> io::Result<()> {
        let file = self.open(meanwhile, Absent::Make)?;
        let meanwhile = Meanwhile { name: meanwhile.as_ref(), file };
        owner::replace(&self.handle, name.as_ref(), meanwhile, content, NewName::Later)
    }

    /// What bears this name, without following a link.
    pub fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match sys::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match sys::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The names of its files.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            // The program's own names are plain text.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes the names in it durable.
    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.handle)
    }

    /// The open folder.
    pub fn handle(&self) -> &Arc<OwnedFd> {
        &self.handle
    }

    /// The folder itself.
    pub(super) fn stat_itself(&self) -> io::Result<Stat> {
        Ok(sys::fstat(&self.handle)?)
    }
}

impl AsFd for HiddenFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn foreign(path: &Path, uid: u32) -> io::Error {
    let (owner, (us, _), path) = (user(uid), process(), shell(path));
    let said = format!(
        "{path} belongs to {owner}, who could change what {us} downloads into it; if you or this program made it as {owner}, \
         sudo chown -Rh {us} {path}; if not, remove it"
    );
    owner::told(io::ErrorKind::PermissionDenied, said)
}

#[cfg(test)]
mod tests;
