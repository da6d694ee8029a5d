//! Publishing: verified parts get paths, and are moved there, each with one rename that refuses to overwrite. Many at once,
//! because an fsync of a folder costs the same for one name as for twenty.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, RenameFlags};
use rustix::io::Errno;
use tracing::{debug, info};

use super::local::{Place, matches_record};
use super::rights::inherit_group;
use super::{Error, Local};
use crate::checkpoint::{Point, fails, reached};
use crate::model::RelativePath;
use crate::model::delivery::PublishedFile;
use crate::owner;
use crate::spool::{HIDDEN, VerifiedPart};

/// A verified part without a path.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The part.
    pub part: Arc<VerifiedPart>,
    /// Its path if that is free.
    pub wanted: RelativePath,
    /// The mark that distinguishes it from other files with the same name.
    pub mark: String,
    /// The earlier content of the same file, whose place it takes as long as that is untouched.
    pub earlier: Option<PublishedFile>,
}

/// A verified part with a place that was free a moment ago.
#[derive(Clone, Debug)]
pub struct Planned {
    part: Arc<VerifiedPart>,
    /// What will be there.
    pub file: PublishedFile,
    earlier: Option<PublishedFile>,
}

impl Local {
    /// Finds a place for each of the parts, whose names are durable from here on.
    pub fn plan(&self, wishes: &[Wish]) -> Result<Vec<Result<Planned, Error>>, Error> {
        self.check()?;
        self.spool.sync().map_err(|source| Error::Io {
            doing: "make durable the parts in",
            path: self.root.clone(),
            source,
        })?;
        let mut given = HashSet::new();
        let planned = wishes.iter().map(|wish| {
            let planned = self.plan_one(wish, &given)?;
            given.insert(planned.file.path.clone());
            Ok(planned)
        });
        Ok(planned.collect())
    }

    fn plan_one(&self, wish: &Wish, given: &HashSet<RelativePath>) -> Result<Planned, Error> {
        let part = &wish.part;
        self.expect_part(part)?;
        part.is_not_moved().map_err(|source| Self::unreadable(part, source))?;
        let mut earlier = wish.earlier.clone();
        if let Some(file) = &earlier
            && !self.is_untouched(file)?
        {
            info!(path = %file.path, "the earlier file was changed since it was delivered; it stays, and the new one gets another name");
            earlier = None;
        }
        let path = match &earlier {
            Some(earlier) => earlier.path.clone(),
            None => self.free_place(&wish.wanted, &wish.mark, given)?,
        };
        let file = PublishedFile {
            path,
            inode: part.inode(),
            size: part.size(),
            modified_ns: part.modified_ns(),
            checksum: Some(part.checksum().clone()),
            replaces: earlier.is_some(),
        };
        Ok(Planned { part: Arc::clone(part), file, earlier })
    }

    /// Moves the parts to their places, and makes that durable.
    pub fn publish(&self, parts: &[Planned]) -> Vec<Result<(), Error>> {
        let mut folders: BTreeMap<&[String], (Place, Vec<usize>)> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(parts.len());
        for (index, planned) in parts.iter().enumerate() {
            let path = &planned.file.path;
            let moved = match &planned.earlier {
                Some(earlier) => self.replace(&planned.part, earlier),
                None => self.put(&planned.part, path).map(|place| {
                    folders.entry(path.directories()).or_insert((place, Vec::new())).1.push(index);
                }),
            };
            outcomes.push(moved);
        }
        for (place, indices) in folders.into_values() {
            let synced = if fails(Point::Moved) { Err(Errno::IO) } else { sys::fsync(&place.directory) };
            let Err(errno) = synced else { continue };
            for index in indices {
                outcomes[index] = Err(self.not_durable(&parts[index].file.path, errno));
            }
        }
        outcomes
    }

    /// Looks at the part: a cleaner may have removed it, and another file may have its name.
    fn expect_part(&self, part: &VerifiedPart) -> Result<(), Error> {
        match part.is_there() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::PartGone { hidden: self.root.join(HIDDEN) }),
            Err(source) => Err(Self::unreadable(part, source)),
        }
    }

    fn unreadable(part: &VerifiedPart, source: io::Error) -> Error {
        Error::Io { doing: "look at", path: part.path().to_owned(), source }
    }

    fn inherit(&self, part: &VerifiedPart, place: &Place, path: &RelativePath) -> Result<(), Error> {
        let shown = self.absolute(path);
        inherit_group(part.path(), &place.directory, owner::parent(&shown))
            .map_err(|errno| self.io("set the group of", path, errno))
    }

    /// Moves a verified part to its path, which must be free. The name is not durable yet.
    fn put(&self, part: &VerifiedPart, path: &RelativePath) -> Result<Place, Error> {
        let place = self.enter(path)?;
        self.expect_part(part)?;
        self.inherit(part, &place, path)?;
        match move_without_overwriting(part.path(), &place) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::Taken { path: path.clone() }),
            Err(errno) => {
                return Err(self.expect_part(part).err().unwrap_or_else(|| self.io("publish", path, errno)));
            }
        }
        reached(Point::Moved);
        note_move(part);
        Ok(place)
    }

    /// Puts a verified part in the place of the file that was delivered there before, if that is still untouched.
    /// Durable before that goes.
    fn replace(&self, part: &VerifiedPart, earlier: &PublishedFile) -> Result<(), Error> {
        let path = &earlier.path;
        let changed = || Error::Changed { path: path.clone() };
        if !self.is_untouched(earlier)? {
            return Err(changed());
        }
        let place = self.enter(path)?;
        self.expect_part(part)?;
        self.inherit(part, &place, path)?;
        match sys::renameat_with(sys::CWD, part.path(), &place.directory, &place.name, RenameFlags::EXCHANGE)
        {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                // No exchange on this file system: a plain rename, a moment after the check.
                sys::renameat(sys::CWD, part.path(), &place.directory, &place.name)
                    .map_err(|errno| self.io("replace", path, errno))?;
                note_move(part);
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
        // Until now the earlier content under the part's name says that it was moved.
        note_move(part);
        self.sync(&place, path)?;
        sys::unlink(part.path()).map_err(|errno| self.io("remove the earlier content of", path, errno))
    }
}

/// Without this note a crash costs another download of a file that was taken away at once; it is not worth an error.
fn note_move(part: &VerifiedPart) {
    if let Err(error) = part.is_moved() {
        debug!(path = %part.path().display(), %error, "that a file was put in its place cannot be noted");
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::destination::{Rights, Settled};
    use crate::model::DeliveryId;
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

    /// What is left in the hidden folder once the moves are known.
    fn parts(place: &Local) -> Vec<DeliveryId> {
        place.forget_moves(&place.parts().unwrap());
        place.parts().unwrap()
    }

    fn read(place: &Local, at: &str) -> String {
        fs::read_to_string(place.absolute(&path(at))).unwrap()
    }

    #[tokio::test]
    async fn nothing_is_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let new = part(&place, "d1", b"new").await;
        fs::write(home.path().join("film.mp4"), "mine").unwrap();
        assert!(matches!(place.put(&new, &path("film.mp4")), Err(Error::Taken { .. })));
        assert_eq!(read(&place, "film.mp4"), "mine");
        assert_eq!(
            place.free_place(&path("film.mp4"), "1AbC", &HashSet::new()).unwrap(),
            path("film [1AbC].mp4")
        );
        place.put(&new, &path("film [1AbC].mp4")).unwrap();
        assert_eq!(
            place.free_place(&path("film.mp4"), "1AbC", &HashSet::new()).unwrap(),
            path("film [1AbC-2].mp4")
        );
        assert_eq!(parts(&place), []);
    }

    #[tokio::test]
    async fn many_at_once_get_places_of_their_own_and_outcomes_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let mut wishes = Vec::new();
        for (name, wanted) in
            [("d1", "film.mp4"), ("d2", "film.mp4"), ("d3", "a/film.mp4"), ("d4", "film.mp4")]
        {
            let part = Arc::new(part(&place, name, b"new").await);
            wishes.push(Wish { part, wanted: path(wanted), mark: name.to_owned(), earlier: None });
        }
        let planned: Vec<Planned> = place.plan(&wishes).unwrap().into_iter().map(Result::unwrap).collect();
        let paths: Vec<String> = planned.iter().map(|planned| planned.file.path.to_string()).collect();
        assert_eq!(paths, ["film.mp4", "film [d2].mp4", "a/film.mp4", "film [d4].mp4"]);
        fs::write(home.path().join("film [d2].mp4"), "mine").unwrap();
        let outcomes = place.publish(&planned);
        assert!(matches!(outcomes[..], [Ok(()), Err(Error::Taken { .. }), Ok(()), Ok(())]), "{outcomes:?}");
        assert_eq!(read(&place, "film [d2].mp4"), "mine");
        assert_eq!(parts(&place), [id("d2")]);

        let earlier = Some(planned[0].file.clone());
        fs::write(home.path().join("a/film.mp4"), "edited").unwrap();
        let mut newer = Vec::new();
        for (name, earlier) in [("d5", earlier), ("d6", Some(planned[2].file.clone()))] {
            let wanted = earlier.as_ref().unwrap().path.clone();
            let part = Arc::new(part(&place, name, b"newer").await);
            newer.push(Wish { part, wanted, mark: name.to_owned(), earlier });
        }
        let planned: Vec<Planned> = place.plan(&newer).unwrap().into_iter().map(Result::unwrap).collect();
        assert!(place.publish(&planned).into_iter().all(|outcome| outcome.is_ok()));
        let found = ["film.mp4", "a/film.mp4", "a/film [d6].mp4"].map(|at| read(&place, at));
        assert_eq!(found, ["newer", "edited", "newer"]);
    }

    #[tokio::test]
    async fn only_an_untouched_file_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let first = part(&place, "d1", b"first").await;
        let earlier = record(&first, "a/film.mp4", false);
        place.put(&first, &earlier.path).unwrap();
        let second = part(&place, "d2", b"second").await;
        place.replace(&second, &earlier).unwrap();
        assert_eq!(read(&place, "a/film.mp4"), "second");
        assert_eq!(parts(&place), [], "the earlier content is gone");

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
        Local::open(home.path(), None, Rights::default()).unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let new = part(&place, "d1", b"new").await;
        let planned = record(&new, "film.mp4", false);
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::NotYet, "before the rename");
        place.put(&new, &planned.path).unwrap();
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Published, "after it");
        fs::remove_file(home.path().join("film.mp4")).unwrap();
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Published, "and taken away");
        place.forget_moves(&[id("d1")]);
        assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Lost, "the evidence is gone");
        assert_eq!(parts(&place), [], "and nothing else is left");
    }

    #[tokio::test]
    async fn a_part_that_is_gone_or_replaced_is_never_taken_for_published() {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let wish = |part| Wish { part, wanted: path("film.mp4"), mark: "d".to_owned(), earlier: None };
        let gone = |outcome: &Result<_, Error>| matches!(outcome, Err(Error::PartGone { .. }));
        let hands: [fn(&Path); 3] = [
            |part| fs::remove_file(part).unwrap(),
            |part| {
                fs::remove_file(part).unwrap();
                fs::write(part, "another").unwrap();
            },
            |part| fs::hard_link(part, part.with_extension("link")).unwrap(),
        ];
        for (number, hand) in hands.into_iter().enumerate() {
            for is_planned in [false, true] {
                let part = Arc::new(part(&place, &format!("d{number}{is_planned}"), b"new").await);
                let file = record(&part, "film.mp4", false);
                if is_planned {
                    let planned = Planned { part: part.clone(), file: file.clone(), earlier: None };
                    hand(part.path());
                    assert!(gone(&place.publish(&[planned]).remove(0)), "{number}");
                } else {
                    hand(part.path());
                    assert!(gone(&place.plan(&[wish(part)]).unwrap().remove(0).map(drop)), "{number}");
                }
            }
        }
        assert!(!home.path().join("film.mp4").exists());

        // A note of an earlier move proves nothing.
        let part = Arc::new(part(&place, "d9", b"new").await);
        part.is_moved().unwrap();
        let planned = place.plan(&[wish(part.clone())]).unwrap().remove(0).unwrap();
        fs::remove_file(part.path()).unwrap();
        assert_eq!(place.settle(&id("d9"), &planned.file, None).unwrap(), Settled::Lost);
    }

    #[tokio::test]
    async fn an_interrupted_replacement_is_finished_and_keeps_what_was_edited() {
        for (edited, taken, left) in [
            (false, false, vec!["film.mp4"]),
            (true, false, vec!["film [kept].mp4", "film.mp4"]),
            (false, true, vec![]),
            (true, true, vec!["film.mp4"]),
        ] {
            let home = tempfile::tempdir().unwrap();
            Local::open(home.path(), None, Rights::default()).unwrap();
            let place = Local::open(home.path(), None, Rights::default()).unwrap();
            let first = part(&place, "d1", b"first").await;
            let earlier = record(&first, "film.mp4", false);
            place.put(&first, &earlier.path).unwrap();
            let second = part(&place, "d2", b"second").await;
            let planned = record(&second, "film.mp4", true);
            if edited {
                fs::write(home.path().join("film.mp4"), "edited by hand").unwrap();
            }
            // The exchange happened, and then the power went.
            let film = home.path().join("film.mp4");
            sys::renameat_with(sys::CWD, second.path(), sys::CWD, &film, RenameFlags::EXCHANGE).unwrap();
            if taken {
                fs::remove_file(&film).unwrap();
            }
            assert_eq!(place.settle(&id("d2"), &planned, Some(&earlier)).unwrap(), Settled::Published);
            assert_eq!(parts(&place), []);
            let mut names: Vec<String> = fs::read_dir(home.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.starts_with('.'))
                .collect();
            names.sort();
            assert_eq!(names, left);
            match (edited, taken) {
                (_, false) => assert_eq!(read(&place, "film.mp4"), "second"),
                (true, true) => {
                    assert_eq!(read(&place, "film.mp4"), "edited by hand", "it is kept in the free place");
                }
                (false, true) => {}
            }
        }
    }

    #[tokio::test]
    async fn no_symbolic_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        std::os::unix::fs::symlink(outside.path(), home.path().join("link")).unwrap();
        let new = part(&place, "d1", b"new").await;
        assert!(place.put(&new, &path("link/film.mp4")).is_err());
        assert_eq!(
            place.free_place(&path("link/film.mp4"), "x", &HashSet::new()).unwrap(),
            path("link_/film.mp4")
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
