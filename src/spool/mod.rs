//! Parts: files that are not whole yet. They wait in a hidden folder at their destination, on the same file system as
//! their place, so that publishing them is one rename. The only writer of parts; it knows no network.

mod buffer;
pub mod checksum;
mod durable;
mod front;
pub mod part;
mod progress;
pub mod ranges;
mod saver;
mod sink;
mod waits;
mod witness;
mod writer;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use buffer::{Buffers, SMALL};
pub(crate) use durable::sync_directory;
pub use part::{Expected, Part, Verdict, VerifiedPart};
pub use ranges::Ranges;
pub use sink::{Lane, Sink};

use crate::model::DeliveryId;
use crate::owner::{self, Absent};

/// The hidden folder at each destination.
pub const HIDDEN: &str = ".gdrive-webhook";
const EXTENSION: &str = "part";
/// A file that is written to see whether that is possible.
const TRIAL: &str = "trial";
const TRIAL_SIZE: usize = 1 << 20;

/// The hidden folder of one destination.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    /// Of the files that leave it.
    mode: u32,
}

impl Spool {
    /// Opens the spool at a destination; creates its folder if it is missing. Only its owner can read it: other users can
    /// read a file only after it is published. `mode` is the mode of published files.
    pub fn open(destination: &Path, mode: u32) -> io::Result<Self> {
        let directory = destination.join(HIDDEN);
        match owner::make_directory(&directory) {
            Ok(()) => sync_directory(destination)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => take_over(&directory)?,
            Err(error) => return Err(error),
        }
        Ok(Self { directory, mode })
    }

    /// Where the part of a delivery is, or would be.
    pub fn path(&self, id: &DeliveryId) -> PathBuf {
        self.directory.join(id.as_str()).with_extension(EXTENSION)
    }

    /// Makes the names of the parts durable.
    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    /// Removes the part of a delivery that will not be finished.
    pub fn discard(&self, id: &DeliveryId) -> io::Result<()> {
        let path = self.path(id);
        durable::remove(&path)?;
        // Last: without it the part's length would count.
        progress::discard(&path)?;
        witness::forget(&path)
    }

    /// Whether the part of a delivery was moved to its place, and the database has not said so since.
    pub fn was_moved(&self, id: &DeliveryId) -> io::Result<bool> {
        witness::is_there(&self.path(id))
    }

    /// It was moved, and something else that says so goes away.
    pub fn note_move(&self, id: &DeliveryId) -> io::Result<()> {
        witness::make(&self.path(id))
    }

    /// The database knows that it was moved.
    pub fn forget_move(&self, id: &DeliveryId) -> io::Result<()> {
        witness::forget(&self.path(id))
    }

    /// How much of the disk a part has taken. It may be more than has come: large files take their room beforehand.
    pub fn taken(&self, id: &DeliveryId) -> u64 {
        fs::metadata(self.path(id)).map_or(0, |metadata| metadata.blocks() * 512)
    }

    /// Looks whether its disk takes a megabyte.
    pub fn try_out(&self) -> io::Result<()> {
        let path = self.directory.join(TRIAL);
        let written = owner::open(&path, Absent::Make).and_then(|mut file| {
            file.write_all(&vec![0; TRIAL_SIZE])?;
            file.sync_all()
        });
        let removed = durable::remove(&path);
        written.and(removed)
    }

    /// The mode of the files that leave it.
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    /// The deliveries that have a part here.
    pub fn parts(&self) -> io::Result<Vec<DeliveryId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().and_then(|extension| extension.to_str()).is_some_and(progress::is_beside)
                && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
            {
                found.push(DeliveryId::new(stem));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Opens the file of a part; creates it if it is missing. If the destination got its setgid bit or another group after the
/// hidden folder was created, the new file is created next to that folder and moved into it, so that the kernel sets the
/// group. Under systemd the program may not set the group itself.
fn open_part(path: &Path) -> io::Result<fs::File> {
    let directory = owner::parent(path);
    let destination = owner::parent(directory);
    if let Some(name) = path.file_name().and_then(|name| name.to_str())
        && is_older(directory, destination)?
        && !path.try_exists()?
    {
        // One name per part: a file that a crash leaves is reused when the part is opened again.
        let beside = destination.join(format!("{HIDDEN}-{name}"));
        let file = owner::open(&beside, Absent::Make)?;
        fs::rename(&beside, path)?;
        return Ok(file);
    }
    owner::open(path, Absent::Make)
}

/// Whether files in the hidden folder get another group than files next to it.
fn is_older(directory: &Path, destination: &Path) -> io::Result<bool> {
    const SETGID: u32 = 0o2000;
    let (hidden, destination) = (fs::metadata(directory)?, fs::metadata(destination)?);
    let has_bit = |metadata: &fs::Metadata| metadata.permissions().mode() & SETGID != 0;
    Ok(has_bit(&destination) && !(has_bit(&hidden) && hidden.gid() == destination.gid()))
}

/// Gives root's files in it to the owner of the destination, and removes the access of other users.
fn take_over(directory: &Path) -> io::Result<()> {
    if owner::heir(owner::parent(directory)).is_some() {
        owner::heal(directory)?;
        for entry in fs::read_dir(directory)? {
            owner::heal(&entry?.path())?;
        }
    }
    let metadata = fs::metadata(directory)?;
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 && metadata.uid() == rustix::process::geteuid().as_raw() {
        // A setgid bit stays. Under systemd it must not be set explicitly: then the mode does not change.
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(mode & !0o077));
    }
    Ok(())
}
