//! Why the system says no, in words: whose the thing is and who we are, or what keeps a service from it; and the command
//! that helps.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::{SERVICE, SYSTEM_STATE, group, process, user};

/// What was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To read a file.
    Read,
    /// To write a file, or into a directory.
    Write,
    /// To use a directory, and to make it if it is not there.
    Make,
}

/// Where `ProtectHome=` of a unit hides what there is.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const MOUNTS: &str = "/proc/self/mountinfo";
const DROP_IN: &str = "`gdrive-webhook config systemd` prints the drop-in for the unit that allows it";

/// Whether systemd has started the program.
pub fn is_service() -> bool {
    ["INVOCATION_ID", "NOTIFY_SOCKET"].iter().any(|name| std::env::var_os(name).is_some())
}

/// What happened at a path; where the system says no, why, and what helps.
pub fn explain(error: &io::Error, path: &Path, want: Want) -> String {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Explained>) {
        return error.to_string();
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_home = HOMES.iter().any(|home| whole.starts_with(home));
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
            if is_home && is_service() && is_hidden(&whole) =>
        {
            format!("ProtectHome= of the systemd unit hides it; {DROP_IN}")
        }
        io::ErrorKind::PermissionDenied => denied(&whole, want),
        io::ErrorKind::ReadOnlyFilesystem => read_only(&whole),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
            && super::heir(super::parent(path)).is_some() =>
        {
            "it is a symbolic link, and root follows none in a directory of another user's".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The same as an error of the same kind.
pub fn explained(error: io::Error, path: &Path, want: Want) -> io::Error {
    let said = explain(&error, path, want);
    if said == error.to_string() { error } else { told(error.kind(), said) }
}

/// An error that says it all by itself.
pub fn told(kind: io::ErrorKind, said: String) -> io::Error {
    io::Error::new(kind, Explained(said))
}

#[derive(Debug)]
struct Explained(String);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Explained {}

/// A home directory that nobody can look into, or an empty file system in its place.
fn is_hidden(path: &Path) -> bool {
    let Some(home) = HOMES.iter().map(Path::new).find(|home| path.starts_with(home)) else { return false };
    let is_closed = fs::metadata(home).is_ok_and(|metadata| rights(&metadata) == 0);
    let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
    is_closed || mount_of(&mounts, home).is_some_and(|mount| mount.point == home && mount.is_temporary)
}

fn rights(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

/// What is missing where the system says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// The right to enter a directory on the way.
    Entry,
    Reading,
    Writing,
    /// The directory itself, and the right to make it.
    Directory,
}

fn denied(path: &Path, want: Want) -> String {
    let (us, our_group) = process();
    let Some((culprit, metadata, lack)) = culprit(path, want) else {
        return format!("Permission denied to {us}");
    };
    let (owner, owning_group) = (user(metadata.uid()), group(metadata.gid()));
    let mode = metadata.permissions().mode() & 0o7777;
    let whose = if culprit == path { "it".to_owned() } else { culprit.display().to_string() };
    let what = match lack {
        Lack::Entry => "enter",
        Lack::Reading => "read",
        Lack::Writing | Lack::Directory => "write",
    };
    let remedy = match lack {
        Lack::Directory => format!("sudo install -d -m 0750 -o {us} -g {our_group} {}", shell(path)),
        _ => remedy(&culprit, &metadata, lack, &us, &our_group),
    };
    format!(
        "Permission denied: {whose} belongs to {owner}:{owning_group} with mode {mode:04o}, and {us} cannot {what} it; {remedy}"
    )
}

/// The command that helps. What belongs to root is shared with our group, or given to us if we write it; what belongs to
/// another user is a matter of that user's.
fn remedy(path: &Path, metadata: &Metadata, lack: Lack, us: &str, our_group: &str) -> String {
    let (shown, owner) = (shell(path), user(metadata.uid()));
    let share = |mode: &str| format!("sudo chgrp {our_group} {shown} && sudo chmod {mode} {shown}");
    let take = format!("sudo chown {us}: {shown}");
    let run = format!("run this as {owner} (sudo -u {owner} gdrive-webhook …)");
    let is_private = rights(metadata).trailing_zeros() >= 6;
    match (metadata.uid() == 0, lack) {
        (true, Lack::Entry | Lack::Reading) if path.starts_with(SYSTEM_STATE) => {
            format!("if {us} is the user that the daemon runs as, {take}; otherwise run this as root")
        }
        (true, Lack::Entry | Lack::Reading) if is_systems(path) => {
            "name something that is meant for this program".to_owned()
        }
        (true, Lack::Entry) if HOMES.iter().any(|home| path == Path::new(home)) => {
            "move what is needed somewhere else".to_owned()
        }
        (true, Lack::Reading) if !metadata.is_dir() => share("0640"),
        (true, Lack::Entry | Lack::Reading) => share("0750"),
        (true, Lack::Writing | Lack::Directory) => take,
        (false, Lack::Entry) if is_private => format!("{run}, or let others through: sudo chmod o+x {shown}"),
        (false, Lack::Entry) => format!("sudo chmod o+x {shown}, or {run}"),
        (false, Lack::Reading) if is_private => run,
        (false, Lack::Reading) => format!("sudo chmod g+r {shown}, or {run}"),
        (false, _) if metadata.is_dir() && !is_private => format!("{}, or {run}", share("2770")),
        (false, _) => format!("{run}, or give it to {us}: {take}"),
    }
}

/// Whether it is the system's, or another program's: to open it for this one could give all its secrets away.
fn is_systems(path: &Path) -> bool {
    const SYSTEMS: [&str; 5] = ["/boot", "/etc", "/usr", "/var/lib", "/var/log"];
    let is_ours = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(SERVICE));
    SYSTEMS.iter().any(|place| path.starts_with(place)) && !is_ours
}

/// A path as a shell takes it.
pub fn shell(path: &Path) -> String {
    let text: String = path.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// What the system says no to: the first directory on the way that cannot be entered, the thing itself, or where it is not
/// there the directory that it would be made in.
fn culprit(path: &Path, want: Want) -> Option<(PathBuf, Metadata, Lack)> {
    let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS).is_ok();
    let ways: Vec<&Path> = path.ancestors().skip(1).collect();
    for directory in ways.iter().rev() {
        let Ok(metadata) = fs::metadata(directory) else { break };
        if !may(directory, Access::EXEC_OK) {
            return Some((directory.to_path_buf(), metadata, Lack::Entry));
        }
    }
    match (fs::metadata(path), want) {
        (Ok(metadata), Want::Read) => Some((path.to_owned(), metadata, Lack::Reading)),
        (Ok(metadata), _) if !may(path, Access::WRITE_OK) => Some((path.to_owned(), metadata, Lack::Writing)),
        // What may be written itself lies in a directory in which nothing may be made beside it.
        (found, _) => {
            let directory = ways.into_iter().find(|directory| directory.exists())?;
            let lack = if want == Want::Make && found.is_err() { Lack::Directory } else { Lack::Writing };
            Some((directory.to_owned(), fs::metadata(directory).ok()?, lack))
        }
    }
}

/// A unit's `ProtectSystem=` mounts read-only what is writable elsewhere.
fn read_only(path: &Path) -> String {
    let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
    match mount_of(&mounts, path) {
        Some(mount) if mount.is_disk_writable && is_service() => {
            format!(
                "the systemd unit may not write there: ReadWritePaths={} is missing; {DROP_IN}",
                path.display()
            )
        }
        Some(mount) if mount.is_disk_writable => {
            format!("it is mounted read-only here (at {}); mount it for writing", mount.point.display())
        }
        _ => "the disk is read-only; mount it for writing".to_owned(),
    }
}

/// Where a unit with `PrivateTmp=` has directories of its own, which are emptied when it stops.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Whether a path lies where a unit with `PrivateTmp=` has directories of its own.
pub fn is_temporary(path: &Path) -> bool {
    TEMPORARY.iter().any(|place| path.starts_with(place))
}

/// Whether what is put there is gone when the unit stops.
pub fn is_lost_at_a_stop(path: &Path) -> bool {
    is_temporary(path) && is_in_private(&fs::read_to_string(MOUNTS).unwrap_or_default(), path)
}

fn is_in_private(mounts: &str, path: &Path) -> bool {
    let is_temporary = |mount: &Mount| TEMPORARY.iter().any(|place| mount.point == Path::new(place));
    mount_of(mounts, path)
        .is_some_and(|mount| is_temporary(&mount) && mount.root.contains("/systemd-private-"))
}

/// What kind of file system a path lies on, as the system calls it.
pub fn file_system(path: &Path) -> Option<String> {
    mount_of(&fs::read_to_string(MOUNTS).ok()?, path).map(|mount| mount.kind)
}

struct Mount {
    kind: String,
    point: PathBuf,
    /// What of its disk is mounted there.
    root: String,
    /// Elsewhere, if not here.
    is_disk_writable: bool,
    is_temporary: bool,
}

/// The mount that a path lies on: the last one of those that are nearest.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let mut nearest: Option<Mount> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(options)) = (before.split(' ').nth(4), after.split(' ').nth(2)) else {
            continue;
        };
        let root = before.split(' ').nth(3).unwrap_or_default().to_owned();
        let point = PathBuf::from(point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"));
        let depth = |path: &Path| path.components().count();
        if path.starts_with(&point) && nearest.as_ref().is_none_or(|best| depth(&best.point) <= depth(&point))
        {
            let is_disk_writable = options.split(',').any(|option| option == "rw");
            let kind = after.split(' ').next().unwrap_or_default().to_owned();
            let is_temporary = kind == "tmpfs";
            nearest = Some(Mount { kind, point, root, is_disk_writable, is_temporary });
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_the_nearest_one_and_the_last_of_several() {
        let mounts = "1 0 8:1 / / ro - ext4 /dev/a rw,errors=remount-ro\n\
                      2 1 8:2 / /srv/my\\040videos ro - ext4 /dev/b ro\n\
                      3 1 8:3 / /srv rw - ext4 /dev/c ro\n4 1 8:3 / /srv rw - ext4 /dev/c rw\nbroken\n";
        for (path, point, writable) in
            [("/var", "/", true), ("/srv/my videos/x", "/srv/my videos", false), ("/srv/x", "/srv", true)]
        {
            let mount = mount_of(mounts, Path::new(path)).unwrap();
            assert_eq!(
                (mount.point.as_path(), mount.is_disk_writable),
                (Path::new(point), writable),
                "{path}"
            );
        }
    }

    #[test]
    fn no_advice_opens_what_belongs_to_the_system_or_is_private() {
        let (Ok(file), Ok(directory)) = (fs::metadata("/etc/passwd"), fs::metadata("/etc")) else { return };
        for (path, metadata, lack, opens) in [
            ("/etc/shadow", &file, Lack::Reading, false),
            ("/etc/ssl/private", &directory, Lack::Entry, false),
            ("/var/lib/gdrive-webhook", &directory, Lack::Entry, false),
            ("/etc/gdrive-webhook/key.json", &file, Lack::Reading, true),
            ("/etc/gdrive-webhook", &directory, Lack::Entry, true),
            ("/srv/key.json", &file, Lack::Reading, true),
        ] {
            let said = remedy(Path::new(path), metadata, lack, "me", "us");
            assert_eq!(said.contains("chmod"), opens, "{path}: {said}");
        }
    }

    #[test]
    fn a_private_tmp_is_told_from_the_machines() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
                      2 1 8:1 /tmp/systemd-private-1f-gdrive-webhook.service-x/tmp /tmp rw - ext4 /dev/a rw\n\
                      3 2 8:1 /tmp/kept /tmp/kept rw - ext4 /dev/a rw\n";
        for (path, expected) in [("/tmp/videos", true), ("/tmp/kept", false), ("/var/tmp/videos", false)] {
            assert_eq!(is_in_private(mounts, Path::new(path)), expected, "{path}");
        }
        assert!(is_temporary(Path::new("/var/tmp/v")) && !is_temporary(Path::new("/tmpfiles")));
    }

    #[test]
    fn what_is_not_a_refusal_stays_as_it_is() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(explained(error, Path::new("/nowhere"), Want::Read).raw_os_error(), Some(2));
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let said = explained(error, Path::new("/"), Want::Read);
        assert_eq!(said.kind(), io::ErrorKind::PermissionDenied);
        assert!(said.to_string().contains("it belongs to root:root with mode"), "{said}");
        assert_eq!(shell(Path::new("/srv/it's mine\n")), "'/srv/it'\\''s mine?'");
        assert_eq!(explain(&said, Path::new("/"), Want::Read), said.to_string(), "explained once");
    }
}
