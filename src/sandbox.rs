//! What the program may write, held by the kernel itself (Landlock): whatever a fault or an attacker makes it do, it
//! changes nothing outside its own directories and starts no other program. Reading is left to the unit and to the
//! image, which have better means for it.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use tracing::{debug, info};

/// The directories that may be written to; all of them where there is no Landlock.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    writable: Option<Vec<PathBuf>>,
}

/// The kernel's third version knows all ways to write that there are; an older one holds those that it knows.
const KNOWN: ABI = ABI::V3;

impl Sandbox {
    /// From now on this thread, and every one that it starts, writes below `directories` only. To be called before there
    /// is a second thread.
    ///
    /// A destination is named with the directory that it lies in: a disk that is mounted over it later is another
    /// directory than the one that was there.
    pub fn confine(directories: &[PathBuf]) -> Self {
        let mut writable: Vec<PathBuf> = directories.iter().filter_map(|path| existing(path)).collect();
        writable.sort();
        writable.dedup();
        if writable.iter().any(|path| path.parent().is_none()) {
            info!("writes are not confined: a destination lies in a directory that does not exist");
            return Self::default();
        }
        match restrict(&writable) {
            Ok(RulesetStatus::NotEnforced) => Self::default(),
            Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced) => {
                debug!(?writable, "writes are confined");
                Self { writable: Some(writable) }
            }
            Err(error) => {
                debug!(%error, "writes are not confined: this kernel's Landlock is too old, or is switched off");
                Self::default()
            }
        }
    }

    /// Whether something may be written there.
    pub fn permits(&self, path: &Path) -> bool {
        let Some(writable) = &self.writable else { return true };
        existing(path).is_some_and(|path| writable.iter().any(|root| path.starts_with(root)))
    }
}

fn restrict(writable: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let handled: BitFlags<AccessFs> = AccessFs::from_write(KNOWN) | AccessFs::Execute;
    let status = Ruleset::default()
        // A kernel that cannot permit a move between directories forbids all of them.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)?
        .create()?
        .add_rules(path_beneath_rules(writable, AccessFs::from_write(KNOWN)))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// The path without links and detours, or of what is not there the nearest directory that is.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// In a thread of its own: what is confined stays confined.
    fn confined(test: impl FnOnce(&Path, &Path) + Send + 'static) {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::thread::spawn(move || test(inside.path(), outside.path())).join().unwrap();
    }

    #[test]
    fn nothing_is_written_outside_and_nothing_is_started() {
        confined(|inside, outside| {
            fs::write(outside.join("theirs"), "x").unwrap();
            let sandbox = Sandbox::confine(&[inside.join("videos")]);
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
            assert!(sandbox.permits(&inside.join("videos/x/y")) && !sandbox.permits(&outside.join("x")));
        });
    }

    #[test]
    fn what_lies_in_no_directory_is_no_reason_not_to_start() {
        confined(|_, outside| {
            let sandbox = Sandbox::confine(&[PathBuf::from("/no-such-directory/videos")]);
            assert!(sandbox.permits(outside));
            fs::write(outside.join("new"), "y").unwrap();
        });
    }
}
