//! The destinations, looked at one by one. A disk that does not answer keeps nobody waiting.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use tokio::time::timeout;

use super::finding::{Outcome, Told};
use super::service::Service;
use crate::config::{Settings, follow, there};
use crate::owner;
use crate::spool::HIDDEN;

/// A disk that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at each destination once.
pub(super) async fn look(settings: &Settings, service: &Service) -> Vec<(PathBuf, Told)> {
    let mut seen = Vec::new();
    for path in follow::destinations(settings).into_keys() {
        let (place, service, reserve) = (path.clone(), service.clone(), settings.delivery.reserve);
        let asked = tokio::task::spawn_blocking(move || destination(&place, &service, reserve));
        let told = match timeout(PATIENCE, asked).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) => Told::failed(
                format!("{} does not answer", path.display()),
                "check its disk, or the server that it is mounted from",
            ),
        };
        seen.push((path, told));
    }
    seen
}

fn destination(path: &Path, service: &Service, reserve: u64) -> Told {
    let is_new = match there::destination(path) {
        Ok(is_new) => is_new,
        Err(why) => return Told::said(Outcome::Failed, &why),
    };
    let place = if is_new { owner::parent(path) } else { path };
    let disk = match statvfs(place) {
        Ok(disk) => disk,
        Err(errno) => {
            let why = owner::explain(&errno.into(), place, owner::Want::Write);
            return Told::said(Outcome::Failed, &format!("{}: {why}", place.display()));
        }
    };
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let shown = owner::shell(place);
        return Told::failed(
            "its file system is read-only",
            format!("mount it for writing: sudo mount -o remount,rw on the mount of {shown}"),
        );
    }
    if let Err(why) = service.may_write(place) {
        return Told::said(Outcome::Failed, &why);
    }
    if let Some(told) = hidden(path, service) {
        return told;
    }
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let kind = owner::file_system(place).unwrap_or_else(|| "unknown file system".to_owned());
    if free <= reserve {
        return Told::failed(
            format!(
                "{} free, and download.reserve keeps {} free: downloads wait",
                bytes(free),
                bytes(reserve)
            ),
            "make room on the disk, or lower download.reserve",
        );
    }
    let made = if is_new { ", does not exist yet; the first run makes it" } else { "" };
    Told::ok(format!("{} can write there, {} free ({kind}){made}", service.name(), bytes(free)))
}

/// What is wrong with the hidden folder, if anything is.
fn hidden(path: &Path, service: &Service) -> Option<Told> {
    let hidden = path.join(HIDDEN);
    let metadata = fs::symlink_metadata(&hidden).ok()?;
    let (shown, us) = (owner::shell(&hidden), service.name());
    if !metadata.is_dir() {
        let what = format!(
            "{} is a symbolic link or a file, where the program needs a directory of its own",
            hidden.display()
        );
        return Some(Told::failed(what, format!("rm {shown}")));
    }
    // On some disks everything has one owner, whoever writes.
    let is_common = fs::metadata(path).is_ok_and(|above| above.uid() == metadata.uid());
    if metadata.uid() != service.uid() && metadata.uid() != 0 && !is_common {
        let theirs = owner::user(metadata.uid());
        let what = format!("{} belongs to {theirs}, and the daemon runs as {us}", hidden.display());
        return Some(Told::failed(what, format!("sudo chown -R {us}: {shown}")));
    }
    None
}

fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.into_iter().find(|(_, shift)| count >> shift > 0);
    unit.map_or_else(
        || format!("{count} bytes"),
        |(unit, shift)| format!("{:.1} {unit}", count as f64 / (1_u64 << shift) as f64),
    )
}
