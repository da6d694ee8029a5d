//! The directory that everything happens in. It goes away with the bench, however that ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A directory of the bench's own.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    pub(crate) is_memory: bool,
}

impl Place {
    pub(crate) fn new(wanted: Option<&Path>, room: u64) -> anyhow::Result<Self> {
        const TMPFS: u64 = 0x0102_1994;
        let above = wanted.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")));
        fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
        clear(above)?;
        let path = above.canonicalize()?.join(format!("bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let is_memory = rustix::fs::statfs(&path)?.f_type as u64 == TMPFS;
        let place = Self { path, is_memory };
        let disk = rustix::fs::statvfs(&place.path)?;
        let free = disk.f_bavail * disk.f_frsize;
        if free < room {
            let (free, room) = (free >> 20, room >> 20);
            bail!("{} has {free} MiB left, and {room} MiB are needed; name another --dir", above.display());
        }
        Ok(place)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file or directory directly in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes everything whose name begins like this.
    pub(crate) fn remove_all(&self, prefix: &str) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// An empty directory, whatever was there before, with the disk at rest.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        remove(&path)?;
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        rustix::fs::sync();
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = remove(&self.path);
    }
}

/// Removes what killed benches left behind.
fn clear(above: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(Ok(pid)) = name.strip_prefix("bench-").map(str::parse::<u32>) else { continue };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Takes the bytes of the files in a directory away, and leaves the files.
pub(crate) fn empty(directory: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::OpenOptions::new().write(true).open(entry.path())?.set_len(0)?;
        }
    }
    Ok(())
}

/// Removes a directory with everything in it, if it is there.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
