//! The `.env` file in the working directory, if it may be trusted. It can name another admin address and the file with
//! the token for it, so one that somebody else could have written does not count.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::overlay::{self, Variable};
use super::problem::{Place, Problems};
use crate::owner::{self, Want, explain, user};

const NAME: &str = ".env";

/// What it says.
#[derive(Debug, Default)]
pub(super) struct Dotenv {
    pub(super) variables: Vec<Variable>,
    pub(super) problems: Problems,
    /// Why it does not count.
    pub(super) ignored: Option<String>,
}

/// Reads it in this directory. `beside_config`: a configuration was named by `--config`, and then it does not count.
pub(super) fn read(directory: &Path, beside_config: bool) -> Dotenv {
    let path = Path::new(NAME);
    let file = match open(&directory.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Dotenv::default(),
        Err(error) if beside_config => return ignored(&format!("--config is given, and {error}")),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return ignored("it is a symbolic link");
        }
        Err(error) => {
            let whose = directory.join(NAME).symlink_metadata().ok().map(|metadata| metadata.uid());
            if let Some(uid) = whose.filter(|uid| ![0, geteuid().as_raw()].contains(uid)) {
                return ignored(&format!("it belongs to {}", user(uid)));
            }
            let why = format!("cannot be read: {}", explain(&error, path, Want::Read));
            return Dotenv {
                problems: Problems::one(Place::File(path.to_owned()), why),
                ..Dotenv::default()
            };
        }
    };
    if beside_config {
        return ignored("--config is given");
    }
    let (of_file, of_directory) = (file.metadata(), directory.metadata());
    match of_file.and_then(|of_file| Ok(distrust(&of_file, &of_directory?, geteuid().as_raw()))) {
        Ok(None) => {}
        Ok(Some(why)) => return ignored(&why),
        Err(error) => return ignored(&error.to_string()),
    }
    let mut text = String::new();
    match { file }.read_to_string(&mut text) {
        Ok(_) => {
            let (variables, problems) = overlay::dotenv(&text, path);
            Dotenv { variables, problems, ignored: None }
        }
        Err(error) => ignored(&error.to_string()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    File::options().read(true).custom_flags(flags).open(path)
}

fn ignored(why: &str) -> Dotenv {
    Dotenv {
        ignored: Some(format!("{NAME} in the working directory is ignored: {why}")),
        ..Dotenv::default()
    }
}

/// Why a file of this owner and mode, in a directory of that, is not to be trusted by this user.
fn distrust(file: &Metadata, directory: &Metadata, us: u32) -> Option<String> {
    let mode = |metadata: &Metadata| metadata.permissions().mode() & 0o7777;
    let is_ours = |metadata: &Metadata| [0, us].contains(&metadata.uid());
    let is_sticky = mode(directory) & 0o1000 != 0;
    if !file.is_file() {
        Some("it is not a file".to_owned())
    } else if !is_ours(file) {
        Some(format!("it belongs to {}", user(file.uid())))
    } else if mode(file) & 0o022 != 0 {
        Some(format!("other users can write to it (mode {:04o}); chmod go-w {NAME}", mode(file)))
    } else if !is_ours(directory) && !is_sticky {
        Some(format!("its directory belongs to {}", user(directory.uid())))
    } else if mode(directory) & 0o022 != 0 && !is_sticky {
        Some(format!("other users can write to its directory (mode {:04o}); chmod go-w .", mode(directory)))
    } else {
        None
    }
}

/// The same for a configuration that nobody has named, which could have root send its token to an address of somebody
/// else's. That a group may write it is how some systems share files, but not root's.
pub(super) fn distrust_found(path: &Path) -> Option<String> {
    let us = geteuid().as_raw();
    let others = if us == 0 { 0o022 } else { 0o002 };
    let (file, directory) = (path.symlink_metadata().ok()?, owner::parent(path).metadata().ok()?);
    distrust_config(&file, &directory, us, others)
}

fn distrust_config(file: &Metadata, directory: &Metadata, us: u32, others: u32) -> Option<String> {
    let mode = |metadata: &Metadata| metadata.permissions().mode() & 0o7777;
    let is_ours = |metadata: &Metadata| [0, us].contains(&metadata.uid());
    let is_sticky = mode(directory) & 0o1000 != 0;
    if file.is_symlink() {
        Some("it is a symbolic link".to_owned())
    } else if !is_ours(file) {
        Some(format!("it belongs to {}", user(file.uid())))
    } else if mode(file) & others != 0 {
        Some(format!("other users can write to it (mode {:04o})", mode(file)))
    } else if !is_ours(directory) && !is_sticky {
        Some(format!("its directory belongs to {}", user(directory.uid())))
    } else if mode(directory) & others != 0 && !is_sticky {
        Some(format!("other users can write to its directory (mode {:04o})", mode(directory)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn one_that_others_could_have_written_does_not_count() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(NAME);
        assert_eq!(read(home.path(), true).ignored, None, "none is there");
        fs::write(&path, "GDRIVE_WEBHOOK__LOG__LEVEL=debug\n").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (file, directory, beside_config, expected) in [
            (0o644, 0o755, false, None),
            (0o600, 0o1777, false, None),
            (0o664, 0o755, false, Some("other users can write to it (mode 0664)")),
            (0o602, 0o755, false, Some("other users can write to it")),
            (0o600, 0o777, false, Some("other users can write to its directory (mode 0777)")),
            (0o600, 0o755, true, Some("--config is given")),
        ] {
            set(&path, file);
            set(home.path(), directory);
            let dotenv = read(home.path(), beside_config);
            assert_eq!(dotenv.variables.len(), usize::from(expected.is_none()), "{file:o} {directory:o}");
            let said = dotenv.ignored.unwrap_or_default();
            assert!(said.contains(expected.unwrap_or_default()), "{said}");
        }
        set(home.path(), 0o755);
        let strangers = |us| distrust(&path.metadata().unwrap(), &home.path().metadata().unwrap(), us);
        let us = geteuid().as_raw();
        if us != 0 {
            assert!(strangers(us + 1).unwrap().contains("belongs to"));
        }
        fs::rename(&path, home.path().join("other")).unwrap();
        std::os::unix::fs::symlink(home.path().join("other"), &path).unwrap();
        assert!(read(home.path(), false).ignored.unwrap().contains("symbolic link"));
    }
}
