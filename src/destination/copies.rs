//! Copies of verified parts, for folders into which nothing can be moved: those on another file system, and those with a
//! quota of their own. A copy lies under a hidden name in the folder that it is for, and is renamed there like a part. A note
//! in the hidden folder of the destination says beforehand where it lies, so that no crash leaves one that nobody knows.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self as sys, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::place::Place;
use super::{Error, Local};
use crate::model::{DeliveryId, RelativePath};
use crate::owner::{self, Absent};
use crate::spool::checksum::Hasher;
use crate::spool::{VerifiedPart, set_mode};

/// Begins the name of a copy.
const HIDDEN_COPY: &str = ".gdrive-webhook-";
/// Ends the name of a note.
const NOTE: &str = "copy";
const AT_ONCE: usize = 1 << 20;
const SETGID: u32 = 0o2000;

impl Local {
    /// Copies a part to the folder of its place. What is there afterwards is verified and durable; its name is not.
    pub(super) fn copy(
        &self,
        part: &VerifiedPart,
        path: &RelativePath,
        folder: &Arc<OwnedFd>,
    ) -> Result<Stat, Error> {
        let id = id_of(part);
        let fail =
            |error: io::Error| Error::io("copy a verified file to", self.absolute(path), of_that_disk(error));
        self.remove_copy(&id)?;
        self.note(&id, path).map_err(fail)?;
        let copy = copy_in(folder, &id);
        let copied = make(&copy).and_then(|file| fill(file, &copy, part, self.rights.file_mode));
        copied.map_err(|error| {
            // It is found by its note, if it cannot be removed now.
            let _ = copy.remove();
            fail(error)
        })
    }

    /// Where the part of a delivery has a copy, if it may have one.
    pub(super) fn copied_to(&self, id: &DeliveryId) -> Result<Option<RelativePath>, Error> {
        let name = note_name(id);
        let read = self.spool.folder().read(&name);
        let content = read.map_err(|error| Error::io("read", self.spool.folder().path(&name), error))?;
        let text = content.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        Ok((!text.is_empty()).then(|| RelativePath::from_stored(&text)))
    }

    /// The copy itself, if its folder is there.
    pub(super) fn find_copy(&self, id: &DeliveryId, path: &RelativePath) -> Result<Option<Place>, Error> {
        Ok(self.find(path)?.map(|place| copy_in(&place.directory, id)))
    }

    /// Removes the copy of a part, if there is one, and what is known of it.
    pub(super) fn remove_copy(&self, id: &DeliveryId) -> Result<(), Error> {
        let Some(path) = self.copied_to(id)? else { return Ok(()) };
        if let Some(copy) = self.find_copy(id, &path)? {
            copy.remove().map_err(|errno| self.io("remove the copy for", &path, errno))?;
        }
        let name = note_name(id);
        let removed = self.spool.folder().remove(&name);
        removed.map_err(|error| Error::io("remove", self.spool.folder().path(&name), error))
    }

    /// The copy is in its place, and that is durable: the part is not needed any more.
    pub(super) fn copy_is_published(&self, id: &DeliveryId) -> Result<(), Error> {
        let part = self.part(id);
        part.remove().map_err(|errno| Error::io("remove", self.spool.path(id), errno.into()))?;
        self.remove_copy(id)
    }

    /// The deliveries that have a copy somewhere.
    pub(super) fn copies(&self) -> io::Result<Vec<DeliveryId>> {
        let names = self.spool.folder().names()?;
        let notes = names.iter().filter_map(|name| name.rsplit_once('.')).filter(|(_, kind)| *kind == NOTE);
        Ok(notes.map(|(id, _)| DeliveryId::new(id)).collect())
    }

    fn note(&self, id: &DeliveryId, path: &RelativePath) -> io::Result<()> {
        let mut note = self.spool.folder().open(&note_name(id), Absent::Make)?;
        note.set_len(0)?;
        note.write_all(path.to_string().as_bytes())?;
        note.sync_all()?;
        self.spool.sync()
    }
}

fn note_name(id: &DeliveryId) -> String {
    format!("{id}.{NOTE}")
}

/// Whose part it is.
pub(super) fn id_of(part: &VerifiedPart) -> DeliveryId {
    let name = part.name();
    DeliveryId::new(name.rsplit_once('.').map_or(name, |(id, _)| id))
}

/// The copy of a part in this folder.
pub(super) fn copy_in(folder: &Arc<OwnedFd>, id: &DeliveryId) -> Place {
    Place::new(folder, &format!("{HIDDEN_COPY}{id}"))
}

/// A new file, whatever an earlier attempt has left.
fn make(copy: &Place) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || sys::openat(&copy.directory, &copy.name, flags, Mode::RUSR | Mode::WUSR);
    let made = match open() {
        Err(Errno::EXIST) => copy.remove().and_then(|()| open()),
        made => made,
    };
    Ok(File::from(made?))
}

/// The bytes are hashed on their way, so that what was read is what was verified.
fn fill(mut file: File, copy: &Place, part: &VerifiedPart, mode: u32) -> io::Result<Stat> {
    let source = part.file();
    let original = sys::fstat(source)?;
    let mut hasher = Hasher::like(part.checksum());
    let (mut buffer, mut length) = (vec![0; AT_ONCE], 0);
    loop {
        let read = source.read_at(&mut buffer, length)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read])?;
        length += read as u64;
    }
    if length != part.size() || hasher.finish() != *part.checksum() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the verified bytes have changed on the disk",
        ));
    }
    give_like(&file, copy, &original)?;
    set_mode(&file, Path::new(&copy.name), mode)?;
    let modified = Timespec { tv_sec: original.st_mtime, tv_nsec: original.st_mtime_nsec as _ };
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    sys::futimens(&file, &Timestamps { last_access: unchanged, last_modification: modified })?;
    file.sync_all()?;
    let stat = sys::fstat(&file)?;
    if stat.st_size as u64 != length {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the copy has another length than was written",
        ));
    }
    Ok(stat)
}

/// What root copies belongs to the owner of the part. The group of the folder stays, where that passes it on.
fn give_like(file: &File, copy: &Place, original: &Stat) -> Result<(), Errno> {
    let made = sys::fstat(file)?;
    if made.st_uid == original.st_uid {
        return Ok(());
    }
    let passes_on = sys::fstat(&copy.directory)?.st_mode & SETGID != 0;
    let group = (!passes_on).then(|| Gid::from_raw(original.st_gid));
    match sys::fchown(file, Some(Uid::from_raw(original.st_uid)), group) {
        Err(errno) if owner::may_not(errno) => Ok(()),
        outcome => outcome,
    }
}

/// The disk of one folder is full or read-only: that does not concern the destination.
fn of_that_disk(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            io::Error::other("the disk of its folder is full; free some space, or raise the quota")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            io::Error::other("the disk of its folder is read-only; mount it for writing")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_folders_disk_refuses_does_not_concern_the_destination() {
        for (kind, words) in [
            (io::ErrorKind::StorageFull, "is full"),
            (io::ErrorKind::QuotaExceeded, "raise the quota"),
            (io::ErrorKind::ReadOnlyFilesystem, "is read-only"),
        ] {
            let error = of_that_disk(kind.into());
            assert!(error.kind() == io::ErrorKind::Other && error.to_string().contains(words), "{error}");
        }
        assert_eq!(of_that_disk(io::ErrorKind::TimedOut.into()).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_root_copies_gets_the_owner_of_the_part_and_the_group_that_a_folder_passes_on() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        const STRANGER: u32 = 12_345;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        chown(at("folder"), None, Some(STRANGER + 2)).unwrap();
        std::fs::write(at("part"), "part").unwrap();
        for (mode, owner, expected) in [
            (0o755, STRANGER, (STRANGER, STRANGER + 1)),
            (0o2755, STRANGER, (STRANGER, STRANGER + 2)),
            (0o755, 0, (0, 0)),
        ] {
            std::fs::set_permissions(at("folder"), std::fs::Permissions::from_mode(mode)).unwrap();
            chown(at("part"), Some(owner), Some(STRANGER + 1)).unwrap();
            let folder = sys::openat(sys::CWD, at("folder"), OFlags::DIRECTORY, Mode::empty()).unwrap();
            let copy = Place::new(&Arc::new(folder), "copy");
            let file = make(&copy).unwrap();
            give_like(&file, &copy, &sys::stat(at("part")).unwrap()).unwrap();
            let given = file.metadata().unwrap();
            assert_eq!((given.uid(), given.gid()), expected, "{mode:o}");
        }
    }
}
