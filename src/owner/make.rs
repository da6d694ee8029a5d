//! Directories, made with their mode from the beginning, and by root for the owner of the directory that they lie in.
//! Whoever owns that one can put something else in their place at any moment: it is opened once, nothing in it is reached
//! by its path, and only what can be nothing else than the new directory is given away.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

use rustix::fs::{self as sys, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{geteuid, umask};
use tracing::info;

use super::{Owner, SERVICE, SYSTEM_STATE, give, parent, user_id};

/// Of a directory of the program's own.
const PRIVATE: u32 = 0o700;
/// Of what is missing above one that is to be made. The program owns nothing in it but that one.
const ABOVE: u32 = 0o755;

/// Makes a directory that only its owner can enter: the owner of the directory above if root makes it.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let (above, name) = above(path)?;
    Ok(make_in(&above, name, PRIVATE, None)?)
}

/// Makes a directory that only this user can enter, wherever it is.
pub fn make_private(path: &Path) -> io::Result<()> {
    let (above, name) = above(path)?;
    Ok(make(&above, name, PRIVATE)?)
}

/// Makes a directory of its own with what is missing above it, if it is not there. Where the service is installed, root
/// makes the service's state directory for it.
pub fn make_room(directory: &Path) -> io::Result<()> {
    let service = (directory == Path::new(SYSTEM_STATE)).then(|| user_id(SERVICE)).flatten();
    make_directories(directory, PRIVATE, service)
}

/// Makes a directory and what is missing above it, each durable in the one above before anything is put into it. What is
/// missing above can be entered by everybody, whatever the umask is. Where root owns the directory above, `owner` gets the
/// last one.
pub fn make_directories(path: &Path, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.file_name().is_none() {
        return Err(Errno::NOENT.into());
    }
    make_directories(parent(path), ABOVE, None)?;
    let (here, name) = above(path)?;
    match make_in(&here, name, mode, owner) {
        // Somebody else was faster, or it is no directory.
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        outcome => Ok(outcome.and_then(|()| durable(sys::fsync(&here)))?),
    }
}

/// Makes a directory in an open one. Root gives it to the owner of that, else to `owner`.
pub fn make_in(here: &OwnedFd, name: &OsStr, mode: u32, owner: Option<Owner>) -> Result<(), Errno> {
    make(here, name, mode)?;
    if !geteuid().is_root() {
        return Ok(());
    }
    match heir_of(&sys::fstat(here)?).or(owner) {
        Some(owner) => give_made(here, name, owner),
        None => Ok(()),
    }
}

/// The outcome of an fsync of a directory. Some file systems in user space and some servers have none for directories: they
/// make names durable as they like, and are no worse without a program that asks them to.
pub fn durable(synced: Result<(), Errno>) -> Result<(), Errno> {
    static SAID: Once = Once::new();
    match synced {
        Err(errno @ (Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)) => {
            SAID.call_once(|| {
                info!("a file system has no fsync for directories ({errno}): after a power failure the last files may be missing there");
            });
            Ok(())
        }
        synced => synced,
    }
}

fn heir_of(above: &Stat) -> Option<Owner> {
    (above.st_uid != 0).then_some(Owner { uid: above.st_uid, gid: above.st_gid })
}

/// With this mode, whatever the umask is: a mode that is set afterwards would take the setgid bit away that it has
/// inherited, and under `RestrictSUIDSGID=` nobody may set that again. Everything else that the program makes has its mode
/// from the beginning, so that it does not matter if it is made meanwhile.
fn make(here: &OwnedFd, name: &OsStr, mode: u32) -> Result<(), Errno> {
    let _unmasked = Unmasked::new();
    sys::mkdirat(here, name, Mode::from_raw_mode(mode))
}

/// How many ask for no umask at the moment, and the umask that there was before.
static ASKING: Mutex<(usize, Mode)> = Mutex::new((0, Mode::empty()));

/// No umask while it lives. Nothing is locked meanwhile: on a disk that does not answer, a directory may never be made, and
/// the other disks are not to wait for that.
struct Unmasked;

impl Unmasked {
    fn new() -> Self {
        let mut asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.0 == 0 {
            asking.1 = umask(Mode::empty());
        }
        asking.0 += 1;
        Self
    }
}

impl Drop for Unmasked {
    fn drop(&mut self) {
        let mut asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
        asking.0 -= 1;
        if asking.0 == 0 {
            umask(asking.1);
        }
    }
}

/// Gives away what was made a moment ago, if that is what lies there still: an empty directory of root's.
fn give_made(here: &OwnedFd, name: &OsStr, owner: Owner) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = sys::openat(here, name, flags, Mode::empty())?;
    let stat = sys::fstat(&made)?;
    let is_entry = |entry: &sys::DirEntry| !matches!(entry.file_name().to_bytes(), b"." | b"..");
    let is_empty = !Dir::read_from(&made)?.flatten().any(|entry| is_entry(&entry));
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || stat.st_uid != 0 || !is_empty {
        return Err(Errno::EXIST);
    }
    give(&made, owner).map(drop)
}

/// The directory that a path lies in, opened, and the name in it.
fn above(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let name = path.file_name().ok_or(Errno::NOENT)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((sys::openat(CWD, parent(path), flags, Mode::empty())?, name))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_directory_is_made_with_everything_above_it_and_a_file_is_none() {
        let home = tempfile::tempdir().unwrap();
        let wanted = home.path().join("srv/new/videos");
        for _ in 0..2 {
            make_directories(&wanted, 0o750, None).unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&wanted), mode(parent(&wanted))), (0o750, 0o755));
        make_directories(Path::new("."), 0o750, None).unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [&file, &file.join("videos"), Path::new("")] {
            assert!(make_directories(path, 0o750, None).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_directory_is_made_while_another_one_is_never_finished() {
        let home = tempfile::tempdir().unwrap();
        // As on a disk that does not answer.
        let unfinished = Unmasked::new();
        let (sender, made) = std::sync::mpsc::channel();
        let path = home.path().join("videos");
        std::thread::spawn(move || sender.send(make_private(&path).is_ok()));
        assert!(made.recv_timeout(std::time::Duration::from_secs(30)).unwrap());
        drop(unfinished);
    }

    #[test]
    fn root_gives_away_all_that_it_makes_below_somebody_elses_directory() {
        if !geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(12_345), Some(12_346)).unwrap();
        let wanted = home.path().join("a/b/c");
        make_directories(&wanted, 0o700, Some(Owner { uid: 1, gid: 1 })).unwrap();
        for path in [wanted.as_path(), parent(&wanted), parent(parent(&wanted))] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (12_345, 12_346), "{}", path.display());
        }
    }

    #[test]
    fn nothing_is_given_away_that_was_put_in_the_place_of_a_new_directory() {
        if !geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink(at("file"), at("link to a file")).unwrap();
        fs::create_dir(at("full")).unwrap();
        fs::write(at("full/file"), "").unwrap();
        fs::create_dir(at("outside")).unwrap();
        symlink(at("outside"), at("link to a directory")).unwrap();
        fs::create_dir(at("theirs")).unwrap();
        chown(at("theirs"), Some(12_345), None).unwrap();
        let (here, _) = above(&at("any")).unwrap();
        for name in ["file", "link to a file", "full", "link to a directory", "theirs"] {
            let given = give_made(&here, OsStr::new(name), Owner { uid: 12_347, gid: 12_347 });
            assert!(given.is_err(), "{name}");
            assert_ne!(fs::metadata(at(name)).unwrap().uid(), 12_347, "{name}");
        }
        fs::set_permissions(at("outside"), Permissions::from_mode(0o700)).unwrap();
        give_made(&here, OsStr::new("outside"), Owner { uid: 12_347, gid: 12_347 }).unwrap();
        assert_eq!(fs::metadata(at("outside")).unwrap().uid(), 12_347);
    }
}
