//! A directory on this machine. A file appears under its final name by one rename that refuses to overwrite; every
//! directory on the way is entered without following symbolic links, so that nothing leads out of the destination.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::Error;
use super::marker::{self, Marker, Seen};
use crate::checkpoint::{Point, reached};
use crate::model::delivery::PublishedFile;
use crate::model::{DeliveryId, RelativePath};
use crate::spool::{Spool, VerifiedPart, make_directories};

/// A destination directory.
#[derive(Clone, Debug)]
pub struct Local {
    root: PathBuf,
    pub(super) spool: Spool,
    marker: Marker,
    /// It has just begun, or begun anew: then the absence of a part proves nothing.
    pub(super) fresh: bool,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Destinations on one disk share its room.
    pub device: u64,
}

/// A directory and a name in it.
pub(super) struct Place {
    directory: OwnedFd,
    name: String,
}

/// Nobody has this many files of one name from one Drive file; the limit only ends the search.
const MARK_LIMIT: u32 = 10_000;
const DIRECTORY_MODE: u32 = 0o777;

impl Local {
    /// Opens a destination, `known` by the marker that the ledger has for it. One that the ledger does not know is
    /// made if need be, and keeps the marker that it has. A known one must have its marker: an empty mount point is not
    /// the destination. An empty marker says that it is meant to begin anew; then it has another one from here on,
    /// which is written by `mark` when the ledger knows it.
    pub fn open(root: &Path, known: Option<&Marker>) -> Result<Self, Error> {
        let fail = |source| Error::Io { doing: "use the destination", path: root.to_owned(), source };
        let other = |why| Error::NotMounted { path: root.to_owned(), why };
        let (marker, fresh) = match (known, marker::read(root).map_err(fail)?) {
            (None, Seen::Marker(marker)) => (marker, false),
            (None, Seen::Nothing | Seen::Empty) => {
                make_directories(root).map_err(fail)?;
                let local = Self::anew(root)?;
                local.mark()?;
                return Ok(local);
            }
            (Some(known), Seen::Marker(marker)) if marker == *known => (marker, false),
            (Some(_), Seen::Marker(_)) => return Err(other("its marker is another one's")),
            (Some(_), Seen::Nothing) => return Err(other("its marker is missing")),
            (Some(_), Seen::Empty) => return Self::anew(root),
        };
        let spool = Spool::open(root).map_err(fail)?;
        Ok(Self { root: root.to_owned(), spool, marker, fresh })
    }

    /// A destination that begins anew, with a marker that is not written yet.
    pub fn anew(root: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Io { doing: "use the destination", path: root.to_owned(), source };
        let spool = Spool::open(root).map_err(fail)?;
        Ok(Self { root: root.to_owned(), spool, marker: Marker::random(), fresh: true })
    }

    /// Writes its marker, if it is not there yet.
    pub fn mark(&self) -> Result<(), Error> {
        let fail = |source| Error::Io { doing: "mark", path: self.root.clone(), source };
        match marker::read(&self.root).map_err(fail)? {
            Seen::Marker(marker) if marker == self.marker => Ok(()),
            Seen::Marker(_) | Seen::Nothing | Seen::Empty => {
                marker::write(&self.root, &self.marker).map_err(fail)
            }
        }
    }

    /// What it is known by.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Whether it has just begun, or begun anew.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Looks whether it is still there: its disk may have been unmounted since it was opened.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |source| Error::Io { doing: "use the destination", path: self.root.clone(), source };
        match marker::read(&self.root).map_err(fail)? {
            Seen::Marker(marker) if marker == self.marker => Ok(()),
            Seen::Marker(_) | Seen::Nothing | Seen::Empty => {
                Err(Error::NotMounted { path: self.root.clone(), why: "its marker is not there any more" })
            }
        }
    }

    /// Looks whether it can be written: a megabyte goes to its disk and is taken away again.
    pub fn try_out(&self) -> Result<(), Error> {
        self.spool.try_out().map_err(|source| Error::Io {
            doing: "write to",
            path: self.root.clone(),
            source,
        })
    }

    /// Bytes that may still be written to its disk, and the disk's name.
    pub fn space(&self) -> Result<Space, Error> {
        let fail = |errno: Errno| Error::Io {
            doing: "see how full the disk is at",
            path: self.root.clone(),
            source: errno.into(),
        };
        let disk = sys::statvfs(&self.root).map_err(fail)?;
        let device = sys::stat(&self.root).map_err(fail)?.st_dev;
        Ok(Space { free: disk.f_bavail.saturating_mul(disk.f_frsize), device })
    }

    /// How much of the disk the part of a delivery has taken.
    pub fn taken(&self, id: &DeliveryId) -> u64 {
        self.spool.taken(id)
    }

    /// Where its parts wait.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The deliveries that have a part here.
    pub fn parts(&self) -> Result<Vec<DeliveryId>, Error> {
        self.spool.parts().map_err(|source| Error::Io {
            doing: "list the parts in",
            path: self.root.clone(),
            source,
        })
    }

    /// Removes the part of a delivery that will not be finished.
    pub fn discard(&self, id: &DeliveryId) -> Result<(), Error> {
        self.spool.discard(id).map_err(|source| Error::Io {
            doing: "remove",
            path: self.spool.path(id),
            source,
        })
    }

    /// The whole path of a delivered file.
    pub fn absolute(&self, path: &RelativePath) -> PathBuf {
        path.under(&self.root)
    }

    /// The wanted path if nobody has it, else the same name with a mark that nobody has.
    pub fn free_place(&self, wanted: &RelativePath, mark: &str) -> Result<RelativePath, Error> {
        let wanted = self.walkable(wanted)?;
        for round in 0..MARK_LIMIT {
            let path = if round == 0 { wanted.clone() } else { wanted.marked(mark, round) };
            if self.stat(&path)?.is_none() {
                return Ok(path);
            }
        }
        Err(Error::Taken { path: wanted })
    }

    /// Whether the file is there as it was delivered.
    pub fn is_untouched(&self, file: &PublishedFile) -> Result<bool, Error> {
        Ok(self.stat(&file.path)?.is_some_and(|stat| matches_record(&stat, file)))
    }

    /// Puts a verified part in its place, and makes that durable. The place must be free.
    pub fn publish(&self, part: &VerifiedPart, path: &RelativePath) -> Result<(), Error> {
        let place = self.enter(path)?;
        move_without_overwriting(part.path(), &place).map_err(|errno| match errno {
            Errno::EXIST => Error::Taken { path: path.clone() },
            other => self.io("publish", path, other),
        })?;
        self.sync(&place, path)
    }

    /// Puts a verified part in the place of the file that was delivered there before, if that is still untouched.
    pub fn replace(&self, part: &VerifiedPart, earlier: &PublishedFile) -> Result<(), Error> {
        let path = &earlier.path;
        let changed = || Error::Changed { path: path.clone() };
        if !self.is_untouched(earlier)? {
            return Err(changed());
        }
        let place = self.enter(path)?;
        match sys::renameat_with(sys::CWD, part.path(), &place.directory, &place.name, RenameFlags::EXCHANGE)
        {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                // No exchange on this file system: a plain rename, a moment after the check.
                sys::renameat(sys::CWD, part.path(), &place.directory, &place.name)
                    .map_err(|errno| self.io("replace", path, errno))?;
                return self.sync(&place, path);
            }
            Err(Errno::NOENT) => return Err(changed()),
            Err(errno) => return Err(self.io("replace", path, errno)),
        }
        reached(Point::Exchanged);
        // What was at the place now bears the part's name. Had it been touched between the look and the exchange, it
        // goes back.
        let swapped_out = sys::lstat(part.path()).map_err(|errno| self.io("look at", path, errno))?;
        if !matches_record(&swapped_out, earlier) {
            sys::renameat_with(sys::CWD, part.path(), &place.directory, &place.name, RenameFlags::EXCHANGE)
                .map_err(|errno| self.io("restore", path, errno))?;
            return Err(changed());
        }
        self.sync(&place, path)?;
        sys::unlink(part.path()).map_err(|errno| self.io("remove the earlier content of", path, errno))
    }

    /// The path with every directory on it usable: where something that is no directory bears the name of one, the
    /// directory gets another name.
    fn walkable(&self, wanted: &RelativePath) -> Result<RelativePath, Error> {
        let mut path = wanted.clone();
        for _ in 0..MARK_LIMIT {
            match self.walk(&path, Walk::Make) {
                Ok(_) => return Ok(path),
                Err(Blocked::At(index)) => {
                    path = path.with_directory(index, &format!("{}_", path.directories()[index]));
                }
                Err(Blocked::By(errno)) => return Err(self.io("make the folders of", &path, errno)),
            }
        }
        Err(Error::Taken { path })
    }

    pub(super) fn enter(&self, path: &RelativePath) -> Result<Place, Error> {
        match self.walk(path, Walk::Enter) {
            Ok(Some(directory)) => Ok(Place { directory, name: path.file_name().to_owned() }),
            Ok(None) | Err(Blocked::At(_)) => Err(Error::Taken { path: path.clone() }),
            Err(Blocked::By(errno)) => Err(self.io("make the folders of", path, errno)),
        }
    }

    pub(super) fn stat(&self, path: &RelativePath) -> Result<Option<Stat>, Error> {
        let directory = match self.walk(path, Walk::Look) {
            Ok(Some(directory)) => directory,
            Ok(None) | Err(Blocked::At(_)) => return Ok(None),
            Err(Blocked::By(errno)) => return Err(self.io("look at", path, errno)),
        };
        match sys::statat(&directory, path.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.io("look at", path, errno)),
        }
    }

    /// Opens the directory of a path, step by step.
    fn walk(&self, path: &RelativePath, walk: Walk) -> Result<Option<OwnedFd>, Blocked> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here = sys::open(&self.root, flags, Mode::empty()).map_err(Blocked::By)?;
        for (index, name) in path.directories().iter().enumerate() {
            let step = |here: &OwnedFd| sys::openat(here, name, flags | OFlags::NOFOLLOW, Mode::empty());
            let next = match (step(&here), walk) {
                (Ok(next), _) => next,
                (Err(Errno::NOENT), Walk::Look) => return Ok(None),
                (Err(Errno::NOENT), Walk::Make | Walk::Enter) => {
                    make_directory(&here, name).map_err(Blocked::By)?;
                    step(&here).map_err(Blocked::By)?
                }
                (Err(Errno::NOTDIR | Errno::LOOP), _) => return Err(Blocked::At(index)),
                (Err(errno), _) => return Err(Blocked::By(errno)),
            };
            if walk == Walk::Enter {
                sys::fsync(&here).map_err(Blocked::By)?;
            }
            here = next;
        }
        Ok(Some(here))
    }

    pub(super) fn sync(&self, place: &Place, path: &RelativePath) -> Result<(), Error> {
        sys::fsync(&place.directory).map_err(|errno| self.io("make durable the folder of", path, errno))
    }

    pub(super) fn io(&self, doing: &'static str, path: &RelativePath, errno: Errno) -> Error {
        Error::Io { doing, path: self.absolute(path), source: errno.into() }
    }
}

/// What a walk to a directory is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// To look: it ends where nothing is.
    Look,
    /// To see whether it can be gone: what is missing is made.
    Make,
    /// To put something there: whoever has made a directory on the way, now or before, it is made durable in its
    /// parent. Another delivery may have made it a moment ago, or an earlier run just before it was killed.
    Enter,
}

enum Blocked {
    /// By something at this directory's name that is none.
    At(usize),
    By(Errno),
}

fn make_directory(here: &OwnedFd, name: &str) -> Result<(), Errno> {
    match sys::mkdirat(here, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// One rename that refuses to overwrite. Where the file system has no such rename, a second link does the same in two
/// steps; where it has no links either, a look before the rename has to do.
pub(super) fn move_without_overwriting(from: &Path, to: &Place) -> Result<(), Errno> {
    match sys::renameat_with(sys::CWD, from, &to.directory, &to.name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        done => return done,
    }
    match sys::linkat(sys::CWD, from, &to.directory, &to.name, AtFlags::empty()) {
        Ok(()) => return sys::unlink(from),
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {}
        Err(errno) => return Err(errno),
    }
    match sys::statat(&to.directory, &to.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => sys::renameat(sys::CWD, from, &to.directory, &to.name),
        Err(errno) => Err(errno),
    }
}

pub(super) fn stat_path(path: &Path) -> Result<Option<Stat>, Errno> {
    match sys::lstat(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(super) fn matches_record(stat: &Stat, file: &PublishedFile) -> bool {
    let modified_ns = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64);
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_ino == file.inode
        && stat.st_size as u64 == file.size
        && modified_ns == file.modified_ns
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::destination::Settled;
    use crate::model::file::Checksum;
    use crate::spool::checksum::Hasher;
    use crate::spool::{Buffers, Expected, Part, Verdict};

    fn path(text: &str) -> RelativePath {
        RelativePath::from_stored(text)
    }

    fn id(text: &str) -> DeliveryId {
        DeliveryId::new(text)
    }

    async fn part(place: &Local, name: &str, content: &'static [u8]) -> VerifiedPart {
        let mut hasher = Hasher::like(&Checksum::Md5(String::new()));
        hasher.update(content);
        let expected = Expected { size: content.len() as u64, checksum: hasher.finish(), modified: None };
        let sink =
            Part::open(place.spool(), &id(name), expected).await.unwrap().into_sink(1, &Buffers::default());
        let mut lane = sink.lane(0);
        assert!(lane.write(content).await);
        lane.close().await;
        match sink.finish().await.unwrap() {
            Verdict::Verified(part) => part,
            Verdict::Wrong(why) => panic!("{why}"),
        }
    }

    fn record(part: &VerifiedPart, at: &str, replaces: bool) -> PublishedFile {
        PublishedFile {
            path: path(at),
            inode: part.inode(),
            size: part.size(),
            modified_ns: part.modified_ns(),
            checksum: None,
            replaces,
        }
    }

    fn read(place: &Local, at: &str) -> String {
        fs::read_to_string(place.absolute(&path(at))).unwrap()
    }

    #[tokio::test]
    async fn nothing_is_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None).unwrap();
        let new = part(&place, "d1", b"new").await;
        fs::write(home.path().join("film.mp4"), "mine").unwrap();
        assert!(matches!(place.publish(&new, &path("film.mp4")), Err(Error::Taken { .. })));
        assert_eq!(read(&place, "film.mp4"), "mine");
        assert_eq!(place.free_place(&path("film.mp4"), "1AbC").unwrap(), path("film [1AbC].mp4"));
        place.publish(&new, &path("film [1AbC].mp4")).unwrap();
        assert_eq!(place.free_place(&path("film.mp4"), "1AbC").unwrap(), path("film [1AbC-2].mp4"));
        assert_eq!(place.parts().unwrap(), []);
    }

    #[tokio::test]
    async fn only_an_untouched_file_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None).unwrap();
        let first = part(&place, "d1", b"first").await;
        let earlier = record(&first, "a/film.mp4", false);
        place.publish(&first, &earlier.path).unwrap();
        let second = part(&place, "d2", b"second").await;
        place.replace(&second, &earlier).unwrap();
        assert_eq!(read(&place, "a/film.mp4"), "second");
        assert_eq!(place.parts().unwrap(), [], "the earlier content is gone");

        let third = part(&place, "d3", b"third").await;
        assert!(
            matches!(place.replace(&third, &earlier), Err(Error::Changed { .. })),
            "it is another file by now"
        );
        let earlier = record(&second, "a/film.mp4", true);
        fs::write(home.path().join("a/film.mp4"), "edited").unwrap();
        assert!(matches!(place.replace(&third, &earlier), Err(Error::Changed { .. })));
        assert_eq!(read(&place, "a/film.mp4"), "edited");
    }

    #[tokio::test]
    async fn the_disk_tells_what_a_crash_interrupted() {
        let home = tempfile::tempdir().unwrap();
        Local::open(home.path(), None).unwrap();
        let place = Local::open(home.path(), None).unwrap();
        let new = part(&place, "d1", b"new").await;
        let planned = record(&new, "film.mp4", false);
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::NotYet, "before the rename");
        place.publish(&new, &planned.path).unwrap();
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Published, "after it");
        fs::remove_file(home.path().join("film.mp4")).unwrap();
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Published, "and taken away");
        fs::remove_dir_all(home.path().join(crate::spool::HIDDEN)).unwrap();
        let anew = Local::open(home.path(), None).unwrap();
        assert_eq!(anew.settle(&id("d1"), &planned, None).unwrap(), Settled::NotYet, "the evidence is gone");
    }

    #[tokio::test]
    async fn an_interrupted_replacement_is_finished_and_keeps_what_was_edited() {
        for (edited, left) in [(false, vec!["film.mp4"]), (true, vec!["film [kept].mp4", "film.mp4"])] {
            let home = tempfile::tempdir().unwrap();
            Local::open(home.path(), None).unwrap();
            let place = Local::open(home.path(), None).unwrap();
            let first = part(&place, "d1", b"first").await;
            let earlier = record(&first, "film.mp4", false);
            place.publish(&first, &earlier.path).unwrap();
            let second = part(&place, "d2", b"second").await;
            let planned = record(&second, "film.mp4", true);
            if edited {
                fs::write(home.path().join("film.mp4"), "edited").unwrap();
            }
            // The exchange happened, and then the power went.
            let film = home.path().join("film.mp4");
            sys::renameat_with(sys::CWD, second.path(), sys::CWD, &film, RenameFlags::EXCHANGE).unwrap();
            assert_eq!(place.settle(&id("d2"), &planned, Some(&earlier)).unwrap(), Settled::Published);
            let mut names: Vec<String> = fs::read_dir(home.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.starts_with('.'))
                .collect();
            names.sort();
            assert_eq!(names, left);
            assert_eq!(read(&place, "film.mp4"), "second");
        }
    }

    #[tokio::test]
    async fn no_symbolic_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None).unwrap();
        std::os::unix::fs::symlink(outside.path(), home.path().join("link")).unwrap();
        let new = part(&place, "d1", b"new").await;
        assert!(place.publish(&new, &path("link/film.mp4")).is_err());
        assert_eq!(place.free_place(&path("link/film.mp4"), "x").unwrap(), path("link_/film.mp4"));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
