//! A disk that refuses to be written to for a while: a folder without the permission, or, for root, a file system that is
//! read-only.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use super::plain::look;
use super::play::Play;

/// The disk of the destination.
#[derive(Debug, Default)]
pub(super) struct Disk {
    mounted: Option<PathBuf>,
    refused: Option<Refused>,
}

/// What cannot be written to now.
#[derive(Debug)]
enum Refused {
    /// A folder, which had this mode.
    Folder(PathBuf, u32),
    /// All.
    Mounted,
}

impl Disk {
    /// A file system of its own for a folder, or none: this takes root.
    pub(super) fn over(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let mounted = mount_bind(folder, folder).is_ok().then(|| folder.to_owned());
        Self { mounted, refused: None }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(folder) = &self.mounted {
            let _ = unmount(folder, UnmountFlags::DETACH);
        }
    }
}

impl Play {
    /// The disk refuses to be written to, or is as it was. Now and then somebody wants to have a file again meanwhile.
    pub(super) fn refuse(&mut self) {
        if self.disk.is_refused() {
            return self.heal();
        }
        let there = look(&self.world.videos(), &self.world.delivered());
        let wanted = if self.luck.once_in(2) { self.one_delivered(&there) } else { None };
        let wanted = wanted.filter(|(path, _)| self.take_away(path)).map(|(_, video)| video);
        let is_refused = match &self.disk.mounted {
            Some(folder) if self.luck.once_in(2) => {
                // Whoever writes at this moment keeps it from becoming read-only.
                let is_refused = mount_remount(folder, MountFlags::BIND | MountFlags::RDONLY, "").is_ok();
                self.disk.refused = is_refused.then_some(Refused::Mounted);
                self.tell(format!("the disk becomes read-only: {is_refused}"));
                is_refused
            }
            Some(_) | None => self.forbid(),
        };
        if is_refused {
            let is_mounted = matches!(self.disk.refused, Some(Refused::Mounted));
            self.count(if is_mounted { "a disk that is read-only" } else { "a folder without permission" });
        }
        if let Some(video) = wanted {
            let is_to_come = self.redeliver(video);
            self.plain.videos[video].tampered |= !is_to_come;
        }
    }

    /// The daemon may not write to one of the folders.
    fn forbid(&mut self) -> bool {
        let videos = self.world.videos();
        let folders =
            [videos.clone(), videos.join("Trip"), videos.join("2026"), videos.join(".gdrive-webhook")];
        let folder = self.luck.pick(&folders).clone();
        let Some(found) = fs::symlink_metadata(&folder).ok().filter(fs::Metadata::is_dir) else {
            return false;
        };
        let mode = found.permissions().mode() & 0o7777;
        fs::set_permissions(&folder, Permissions::from_mode(mode & !0o222)).unwrap();
        self.tell(format!("nothing can be written to {}", folder.display()));
        self.disk.refused = Some(Refused::Folder(folder, mode));
        true
    }

    /// The disk is as it was.
    pub(super) fn heal(&mut self) {
        match self.disk.refused.take() {
            // It may be away by now.
            Some(Refused::Folder(folder, mode)) => {
                let healed = fs::set_permissions(folder, Permissions::from_mode(mode)).is_ok();
                self.tell(format!("the folder can be written to: {healed}"));
            }
            Some(Refused::Mounted) => {
                let folder = self.disk.mounted.as_ref().unwrap();
                mount_remount(folder, MountFlags::BIND, "").unwrap();
                self.tell("the disk can be written to");
            }
            None => {}
        }
    }
}
