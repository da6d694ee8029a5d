//! Whose files are. What the program writes for itself can be read by its owner only. What it makes as root belongs to
//! the owner of the directory that it lies in, so that no command that root runs keeps the service out.

mod denied;
mod make;
mod names;
mod replace;

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Once;

use rustix::fs::{Gid, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use denied::{
    Want, explain, explained, file_system, is_lost_at_a_stop, is_service, is_temporary, shell, told,
};
pub use make::{durable, make_directories, make_directory, make_in, make_private, make_room};
pub use names::{group, groups, process, user, user_id};
pub use replace::{Meanwhile, NewName, replace};

/// The user that the service runs as, where it is installed as one.
pub const SERVICE: &str = "gdrive-webhook";
/// Its state directory, as the unit has it.
pub const SYSTEM_STATE: &str = "/var/lib/gdrive-webhook";

/// Of a file of the program's own.
const FILE_MODE: u32 = 0o600;

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// What is done where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is made.
    Make,
    /// The caller is told.
    Fail,
}

/// Whom root's files in a directory are given to: its owner. `None` for everybody but root, and in root's own
/// directories.
pub fn heir(directory: &Path) -> Option<Owner> {
    if !geteuid().is_root() {
        return None;
    }
    let metadata = fs::metadata(directory).ok().filter(|metadata| metadata.uid() != 0)?;
    Some(Owner { uid: metadata.uid(), gid: metadata.gid() })
}

/// The directory that a path lies in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file of the program's own for reading and writing. Its content stays; its mode becomes 0600.
pub fn open(path: &Path, absent: Absent) -> io::Result<File> {
    let heir = heir(parent(path));
    let mut options = File::options();
    options.read(true).write(true).truncate(false).create(absent == Absent::Make).mode(FILE_MODE);
    if heir.is_some() {
        // Whoever owns the directory could have root write somewhere else.
        options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
    }
    let file = options.open(path)?;
    keep_private(&file, path, heir)?;
    Ok(file)
}

/// Keeps an open file of the program's own from everybody else: its mode becomes 0600, and root gives it to its heir.
pub fn keep_private(file: &File, path: &Path, heir: Option<Owner>) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.permissions().mode() & 0o177 != 0
        && let Err(error) = file.set_permissions(Permissions::from_mode(FILE_MODE))
    {
        // A file system without modes, or another owner: not worth stopping for.
        tracing::debug!(path = %path.display(), %error, "a file keeps its mode");
    }
    if let Some(owner) = heir.filter(|_| is_roots(&metadata)) {
        give(file, owner)?;
    }
    Ok(())
}

/// Gives an open file or directory to its heir. `false`: root may not do that here. It has lost the right in many
/// containers, and has none on some network disks; what it makes is of use to itself then, and it says so once.
pub fn give(file: impl AsFd, owner: Owner) -> Result<bool, Errno> {
    static SAID: Once = Once::new();
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    match rustix::fs::fchown(file, Some(uid), Some(gid)) {
        Ok(()) => Ok(true),
        Err(errno) if may_not(errno) => {
            SAID.call_once(|| {
                let (user, group) = (user(owner.uid), group(owner.gid));
                tracing::warn!(
                    "root may not change the owner of files here ({errno}): they stay root's, and {user}:{group}, who owns their \
                     directory, cannot use them; run this as {user}"
                );
            });
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

/// Whether it is no more than the right, or the place, to give something away that is missing.
pub fn may_not(errno: Errno) -> bool {
    [Errno::PERM, Errno::INVAL, Errno::OPNOTSUPP].contains(&errno)
}

/// Gives something of root's in a directory of somebody else's to the owner of that directory, if it is there. `true`: it
/// had another owner before.
pub fn heal(path: &Path) -> io::Result<bool> {
    let Some(owner) = heir(parent(path)) else { return Ok(false) };
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    hand_over(&file, owner)
}

/// Gives an open file or directory of root's to its heir. `true`: it had another owner before.
pub fn hand_over(file: &File, heir: Owner) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !(is_roots(&metadata) || metadata.is_dir() && metadata.uid() == 0) {
        return Ok(false);
    }
    Ok(give(file, heir)?)
}

/// Another name may lead to a file of root's from somewhere else.
fn is_roots(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.uid() == 0 && metadata.nlink() == 1
}

/// Who can read a secret besides its owner, if that is more than should; with the command that helps.
pub fn exposure(path: &Path) -> Option<String> {
    /// What a container's runtime and systemd put there is for this program alone, whatever its mode is.
    const HANDED: [&str; 2] = ["/run/secrets", "/run/credentials"];
    /// Here the group is how a service reads what belongs to root.
    const CONFIGURATIONS: &str = "/etc";
    let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if HANDED.iter().any(|directory| whole.starts_with(directory)) {
        return None;
    }
    let (group, is_shared) = (group(metadata.gid()), whole.starts_with(CONFIGURATIONS));
    let who = match mode {
        _ if mode & 0o006 != 0 => "every user of this machine".to_owned(),
        _ if mode & 0o060 != 0 && !is_shared => format!("everybody in the group {group}"),
        _ => return None,
    };
    let right = mode & if is_shared { 0o7740 } else { 0o7700 };
    let path = path.display();
    Some(format!(
        "{path} is a secret, and {who} can read or change it (mode {mode:04o}); chmod {right:04o} {}",
        shell(Path::new(&whole))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_and_directories_of_its_own_are_private() {
        let home = tempfile::tempdir().unwrap();
        let (path, directory) = (home.path().join("state.db"), home.path().join("state"));
        assert_eq!(open(&path, Absent::Fail).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open(&path, Absent::Make).unwrap();
        make_directory(&directory).unwrap();
        assert_eq!((mode(&path), mode(&directory)), (0o600, 0o700));
        assert_eq!(fs::read_to_string(&path).unwrap(), "content");
    }

    #[test]
    fn secrets_that_others_can_read_are_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        fs::write(&path, "{}").unwrap();
        for (mode, expected) in [
            (0o600, None),
            (0o400, None),
            (0o640, Some("chmod 0600")),
            (0o644, Some("every user of this machine can read or change it (mode 0644); chmod 0600")),
            (0o602, Some("chmod 0600")),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match (exposure(&path), expected) {
                (Some(said), Some(expected)) => assert!(said.contains(expected), "{mode:o}: {said}"),
                (said, expected) => assert_eq!(said.is_some(), expected.is_some(), "{mode:o}: {said:?}"),
            }
        }
        assert_eq!(exposure(&home.path().join("none")), None);
    }

    #[test]
    fn root_gives_what_it_makes_to_the_owner_of_the_directory_and_follows_no_link() {
        if !geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let mine = home.path().join("mine");
        fs::write(home.path().join("outside"), "").unwrap();
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("old"), "").unwrap();
        fs::hard_link(home.path().join("outside"), mine.join("hard")).unwrap();
        std::os::unix::fs::symlink(home.path().join("outside"), mine.join("soft")).unwrap();
        std::os::unix::fs::chown(&mine, Some(12_345), Some(12_346)).unwrap();
        open(&mine.join("new"), Absent::Make).unwrap();
        assert!(heal(&mine.join("old")).unwrap() && !heal(&mine.join("old")).unwrap());
        for name in ["new", "old"] {
            let metadata = fs::metadata(mine.join(name)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (12_345, 12_346), "{name}");
        }
        assert!(open(&mine.join("soft"), Absent::Make).is_err());
        assert!(heal(&mine.join("soft")).is_err() && !heal(&mine.join("hard")).unwrap());
        assert_eq!(fs::metadata(home.path().join("outside")).unwrap().uid(), 0);
    }
}
