//! Restricts writing with Landlock: a bug or an attacker cannot make the program change anything outside its own
//! directories or start another program. The unit and the image restrict reading; they have better means for it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use rustix::fs::{Access, Mode, OFlags, access};
use rustix::io::Errno;
use tracing::{debug, warn};

/// The directories that may be written to; without Landlock, all directories.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    writable: Option<Vec<PathBuf>>,
}

/// The third version of Landlock covers all kinds of writing; an older version restricts the kinds that it covers.
const KNOWN: ABI = ABI::V3;
/// How long to wait for a disk.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sandbox {
    /// From now on this thread, and every thread that it starts, can only write below these directories. Call it before
    /// there is a second thread that writes.
    ///
    /// `own` are the program's own directories. `destinations` may be links, may not exist yet, and may be mounted later.
    /// A disk that is mounted later is another directory for Landlock, so the parent directory of the mount point is
    /// permitted as well.
    pub fn confine(own: &[PathBuf], destinations: &[PathBuf]) -> Self {
        let (sender, found) = mpsc::channel();
        let (own, destinations) = (own.to_vec(), destinations.to_vec());
        // In a thread: a disk that does not answer must not block the start.
        std::thread::spawn(move || {
            // The receiver is dropped if the answer took too long.
            let _ = sender.send(opened(&own, &destinations));
        });
        match found.recv_timeout(PATIENCE) {
            Err(_) => {
                warn!("writes are not confined: a destination does not answer");
                Self::default()
            }
            Ok(None) => {
                warn!("writes are not confined: a destination lies in a directory that does not exist");
                Self::default()
            }
            Ok(Some(roots)) => Self::confine_to(roots),
        }
    }

    fn confine_to(roots: Vec<(PathBuf, PathFd)>) -> Self {
        let (writable, handles): (Vec<PathBuf>, Vec<PathFd>) = roots.into_iter().unzip();
        match restrict(handles) {
            Ok(RulesetStatus::NotEnforced) => Self::default(),
            Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced) => {
                debug!(?writable, "writes are confined");
                Self { writable: Some(writable) }
            }
            Err(error) => {
                debug!(%error, "writes are not confined: this kernel's Landlock is too old or is disabled");
                Self::default()
            }
        }
    }

    /// Whether there are restrictions.
    pub fn is_there(&self) -> bool {
        self.writable.is_some()
    }

    /// Whether the restrictions permit writing to this path. Accesses the disk.
    pub fn permits(&self, path: &Path) -> bool {
        let Some(writable) = &self.writable else { return true };
        existing(path).is_some_and(|path| writable.iter().any(|root| path.starts_with(root)))
    }

    /// Whether the directory was mounted or created again since the start, so that it is forbidden although its mode
    /// permits writing. Accesses the disk.
    pub fn forbids(&self, directory: &Path) -> bool {
        if self.writable.is_none() || access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            return false;
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        matches!(rustix::fs::open(directory, flags, Mode::RUSR), Err(Errno::ACCESS))
    }
}

/// `None`: one of them would be the root directory.
fn opened(own: &[PathBuf], destinations: &[PathBuf]) -> Option<Vec<(PathBuf, PathFd)>> {
    let mut roots: Vec<PathBuf> = own.iter().filter_map(|path| existing(path)).collect();
    for destination in destinations {
        let Some(path) = existing(destination) else { continue };
        if destination.exists() {
            roots.extend(around(&path));
        }
        roots.push(path);
    }
    roots.sort();
    roots.dedup();
    if roots.iter().any(|path| path.parent().is_none()) {
        return None;
    }
    // A directory that has disappeared since needs no rule.
    Some(roots.into_iter().filter_map(|path| PathFd::new(&path).ok().map(|handle| (path, handle))).collect())
}

/// The parent directory of the path's mount point, or of the path, unless that is the root directory.
fn around(path: &Path) -> Option<PathBuf> {
    let device = |path: &Path| path.metadata().as_ref().map(Metadata::dev).ok();
    let here = device(path);
    let outside = path.ancestors().find(|above| device(above) != here);
    let parent = || path.parent().filter(|parent| parent.parent().is_some());
    outside.filter(|outside| outside.parent().is_some()).or_else(parent).map(Path::to_owned)
}

fn restrict(writable: Vec<PathFd>) -> Result<RulesetStatus, RulesetError> {
    let handled: BitFlags<AccessFs> = AccessFs::from_write(KNOWN) | AccessFs::Execute;
    let rules = writable.into_iter().map(|handle| {
        // The error type of the rules.
        Ok::<_, RulesetError>(PathBeneath::new(handle, AccessFs::from_write(KNOWN)))
    });
    let status = Ruleset::default()
        // A kernel without this right forbids all moves between directories.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)?
        .create()?
        .add_rules(rules)?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// The canonical path, or that of the nearest existing parent.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// In a separate thread, because Landlock cannot be undone.
    fn confined(test: impl FnOnce(&Path, &Path) + Send + 'static) {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tested = std::thread::spawn(move || test(inside.path(), outside.path())).join();
        tested.unwrap();
    }

    #[test]
    fn nothing_is_written_outside_and_nothing_is_started() {
        confined(|inside, outside| {
            fs::write(outside.join("theirs"), "x").unwrap();
            // A destination may be reached by a link, and need not be there yet.
            std::os::unix::fs::symlink(inside, inside.join("link")).unwrap();
            let sandbox = Sandbox::confine(&[], &[inside.join("link/videos")]);
            if sandbox.writable.is_none() {
                println!("this kernel has no Landlock, so there is nothing to see");
                return;
            }
            fs::create_dir_all(inside.join("videos/a")).unwrap();
            fs::write(inside.join("videos/part"), "x").unwrap();
            fs::rename(inside.join("videos/part"), inside.join("videos/a/film")).unwrap();
            fs::remove_file(inside.join("videos/a/film")).unwrap();
            assert_eq!(fs::read(outside.join("theirs")).unwrap(), b"x", "reading is not its business");
            for refused in [
                fs::write(outside.join("theirs"), "y").map(drop),
                fs::write(outside.join("new"), "y").map(drop),
                fs::remove_file(outside.join("theirs")),
                fs::create_dir(outside.join("d")),
                fs::rename(outside.join("theirs"), inside.join("mine")),
                Command::new("/bin/true").status().map(drop),
            ] {
                assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
            }
            assert!(sandbox.forbids(outside) && !sandbox.forbids(&inside.join("videos")));
            assert!(sandbox.permits(&inside.join("videos/x/y")) && !sandbox.permits(&outside.join("x")));
        });
    }

    #[test]
    fn what_lies_in_no_directory_is_no_reason_not_to_start() {
        confined(|_, outside| {
            let sandbox = Sandbox::confine(&[], &[PathBuf::from("/no-such-directory/videos")]);
            assert!(sandbox.permits(outside));
            fs::write(outside.join("new"), "y").unwrap();
        });
    }
}
