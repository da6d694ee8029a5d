//! The user that the daemon runs as, and what it may do. Root looks on behalf of whoever owns the state directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, getxattr};
use rustix::process::geteuid;

use crate::config::Settings;
use crate::owner::{self, Owner, Want};

/// Whoever the daemon runs as.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// `None`: the same user as this process.
    other: Option<Owner>,
    groups: Vec<u32>,
}

impl Service {
    pub(super) fn of(settings: &Settings) -> Self {
        let is_installed = geteuid().is_root()
            && settings.state_dir == Path::new(owner::SYSTEM_STATE)
            && !settings.state_dir.exists();
        let installed = || is_installed.then(|| owner::user_id(owner::SERVICE)).flatten();
        let other = owner::heir(&settings.state_dir).or_else(installed);
        Self { other, groups: other.map(|owner| owner::groups(owner.uid)).unwrap_or_default() }
    }

    pub(super) fn uid(&self) -> u32 {
        self.other.map_or(geteuid().as_raw(), |owner| owner.uid)
    }

    pub(super) fn name(&self) -> String {
        owner::user(self.uid())
    }

    /// Whether it can write into a directory.
    pub(super) fn may_write(&self, path: &Path) -> Result<(), String> {
        let Some(owner) = self.other else {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            let refused = |errno: rustix::io::Errno| owner::explain(&errno.into(), path, Want::Write);
            return accessat(CWD, path, access, AtFlags::EACCESS).map_err(refused);
        };
        let ways: Vec<&Path> = path.ancestors().skip(1).collect();
        for way in ways.into_iter().rev() {
            self.has(owner, way, 1, "enter", "o+x")?;
        }
        self.has(owner, path, 3, "write to", "")
    }

    /// By the mode. A directory with an access list says more than its mode does, and is not judged.
    fn has(&self, service: Owner, path: &Path, wanted: u32, doing: &str, opens: &str) -> Result<(), String> {
        let metadata = fs::metadata(path).map_err(|error| owner::explain(&error, path, Want::Write))?;
        let mode = metadata.permissions().mode();
        let class = if metadata.uid() == service.uid {
            6
        } else if metadata.gid() == service.gid || self.groups.contains(&metadata.gid()) {
            3
        } else {
            0
        };
        let listed = getxattr(path, c"system.posix_acl_access", &mut [0_u8; 0][..]).is_ok();
        if listed || service.uid == 0 || (mode >> class) & wanted == wanted {
            return Ok(());
        }
        let (user, shown) = (owner::user(service.uid), owner::shell(path));
        let remedy = if opens.is_empty() {
            format!("sudo chown {user}: {shown}")
        } else {
            format!("sudo chmod {opens} {shown}")
        };
        Err(format!(
            "{} belongs to {}:{} with mode {:04o}, and the daemon's user {user} cannot {doing} it; {remedy}",
            path.display(),
            owner::user(metadata.uid()),
            owner::group(metadata.gid()),
            mode & 0o7777
        ))
    }
}
