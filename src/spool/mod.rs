//! Parts: files that are not whole yet. They wait in a hidden folder at their destination, on the same file system as
//! their place, so that publishing them is one rename. The only writer of parts; it knows no network.

mod buffer;
pub mod checksum;
mod durable;
mod folder;
mod front;
mod output;
mod own;
pub mod part;
mod progress;
pub mod ranges;
mod saver;
mod sink;
mod threads;
mod verified;
mod waits;
mod witness;
mod writer;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, CWD, Mode, OFlags, Stat};

pub use buffer::{Buffers, SMALL};
pub use folder::{HIDDEN, HiddenFolder};
pub use part::{Expected, Part};
pub use ranges::Ranges;
pub use sink::{Lane, Sink};
pub(crate) use verified::set_mode;
pub use verified::{Suspect, Verification, VerifiedPart};

use crate::model::DeliveryId;
use crate::owner::Absent;

const EXTENSION: &str = "part";
/// A file that is written to see whether that is possible.
const TRIAL: &str = "trial";
const TRIAL_SIZE: usize = 1 << 20;

/// The parts of one destination.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: HiddenFolder,
    destination: PathBuf,
    /// Of the files that leave it.
    mode: u32,
}

impl Spool {
    /// Opens the spool at a destination; creates its folder if it is missing. Only its owner can read it: other users can
    /// read a file only after it is published. `mode` is the mode of published files.
    pub fn open(destination: &Path, mode: u32) -> io::Result<Self> {
        let folder = HiddenFolder::make(destination)?;
        Ok(Self { folder, destination: destination.to_owned(), mode })
    }

    /// The same, but makes nothing. `None`: there is no folder.
    pub fn find(destination: &Path, mode: u32) -> io::Result<Option<Self>> {
        let found = HiddenFolder::find(destination)?;
        Ok(found.map(|folder| Self { folder, destination: destination.to_owned(), mode }))
    }

    /// Where it is.
    pub fn folder(&self) -> &HiddenFolder {
        &self.folder
    }

    /// Whether its folder is the one at the destination still.
    pub fn is_in_place(&self) -> io::Result<bool> {
        self.folder.is_at(&self.destination)
    }

    /// What the part of a delivery is called in the folder.
    pub fn name(id: &DeliveryId) -> String {
        format!("{id}.{EXTENSION}")
    }

    /// Where the part of a delivery is, or would be; for messages.
    pub fn path(&self, id: &DeliveryId) -> PathBuf {
        self.folder.path(&Self::name(id))
    }

    /// Makes the names of the parts durable.
    pub fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }

    /// Removes the part of a delivery that will not be finished.
    pub fn discard(&self, id: &DeliveryId) -> io::Result<()> {
        let name = Self::name(id);
        self.folder.remove(&name)?;
        // Last: without it the part's length would count.
        progress::discard(&self.folder, &name)?;
        witness::forget(&self.folder, &name)
    }

    /// Whether the part of a delivery was moved to its place, and the database has not said so since.
    pub fn was_moved(&self, id: &DeliveryId) -> io::Result<bool> {
        witness::is_there(&self.folder, &Self::name(id))
    }

    /// It was moved, and something else that says so goes away.
    pub fn note_move(&self, id: &DeliveryId) -> io::Result<()> {
        witness::make(&self.folder, &Self::name(id))
    }

    /// The database knows that it was moved.
    pub fn forget_move(&self, id: &DeliveryId) -> io::Result<()> {
        witness::forget(&self.folder, &Self::name(id))
    }

    /// How much of the disk a part has taken. It may be more than has come: large files take their room beforehand.
    pub fn taken(&self, id: &DeliveryId) -> u64 {
        let part = self.folder.stat(&Self::name(id)).ok().flatten();
        part.map_or(0, |part| part.st_blocks as u64 * 512)
    }

    /// Looks whether its disk takes a megabyte.
    pub fn try_out(&self) -> io::Result<()> {
        let written = self.folder.open(TRIAL, Absent::Make).and_then(|mut file| {
            file.write_all(&vec![0; TRIAL_SIZE])?;
            file.sync_all()
        });
        let removed = self.folder.remove(TRIAL);
        written.and(removed)
    }

    /// The mode of the files that leave it.
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    /// The deliveries that have a part here.
    pub fn parts(&self) -> io::Result<Vec<DeliveryId>> {
        let names = self.folder.names()?;
        let belonging = names.iter().filter_map(|name| name.rsplit_once('.'));
        let mut found: Vec<DeliveryId> = belonging
            .filter(|(_, extension)| progress::is_beside(extension))
            .map(|(stem, _)| DeliveryId::new(stem))
            .collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Opens the file of a part; creates it if it is missing. If the destination got its setgid bit or another group after
    /// the hidden folder was created, the new file is created next to that folder and moved into it, so that the kernel sets
    /// the group. Under systemd the program may not set the group itself.
    fn open_part(&self, name: &str) -> io::Result<File> {
        if !self.is_older()? || self.folder.stat(name)?.is_some() {
            return self.folder.open(name, Absent::Make);
        }
        // One name per part: a file that a crash leaves is reused when the part is opened again.
        let beside = format!("{HIDDEN}-{name}");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let destination = sys::openat(CWD, &self.destination, flags, Mode::empty())?;
        let made = self.folder.open_in(&destination, &beside, Absent::Make)?;
        sys::renameat(&destination, &beside, &self.folder, name)?;
        // Others can write there: what was moved may be something else by now.
        let file = self.folder.open(name, Absent::Fail)?;
        if own::is_same(&sys::fstat(&made)?, &file)? { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Whether files in the hidden folder get another group than files next to it.
    fn is_older(&self) -> io::Result<bool> {
        const SETGID: u32 = 0o2000;
        let (hidden, destination) = (self.folder.stat_itself()?, sys::stat(&self.destination)?);
        let has_bit = |stat: &Stat| stat.st_mode & SETGID != 0;
        Ok(has_bit(&destination) && !(has_bit(&hidden) && hidden.st_gid == destination.st_gid))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    use super::*;

    const GROUP: u32 = 12_346;

    #[test]
    fn a_part_gets_the_group_of_the_destination_even_if_that_was_given_later() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(home.path(), 0o640).unwrap();
        assert!(!spool.is_older().unwrap());
        let set =
            |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o2700)).unwrap();
        set(home.path());
        assert!(spool.is_older().unwrap(), "the bit came later");
        set(&home.path().join(HIDDEN));
        assert!(!spool.is_older().unwrap(), "it is passed on");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        chown(home.path(), None, Some(GROUP)).unwrap();
        set(home.path());
        assert!(spool.is_older().unwrap(), "the group came later");
        assert_eq!(spool.open_part("d1.part").unwrap().metadata().unwrap().gid(), GROUP);
        let names = std::fs::read_dir(home.path()).unwrap().count();
        assert_eq!((names, spool.folder().names().unwrap()), (1, vec!["d1.part".to_owned()]));
        // What is there already stays.
        let inode = |spool: &Spool| spool.open_part("d1.part").unwrap().metadata().unwrap().ino();
        assert_eq!(inode(&spool), inode(&spool));
    }

    #[test]
    fn a_part_is_discarded_with_all_that_belongs_to_it() {
        let home = tempfile::tempdir().unwrap();
        let (spool, id) = (Spool::open(home.path(), 0o640).unwrap(), DeliveryId::new("d1"));
        for name in ["d1.part", "d1.ranges", "d1.ranges-new", "d1.published", "d2.part", "marker"] {
            spool.folder().open(name, Absent::Make).unwrap();
        }
        assert_eq!(spool.parts().unwrap(), ["d1", "d2"].map(DeliveryId::new));
        spool.discard(&id).unwrap();
        let mut left = spool.folder().names().unwrap();
        left.sort();
        assert_eq!(left, ["d2.part", "marker"]);
        spool.try_out().unwrap();
        assert_eq!(spool.folder().names().unwrap().len(), 2);
    }
}
