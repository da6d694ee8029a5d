//! Who else can read the secrets that the configuration names, and whether the service can.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Settings;
use crate::{auth, owner};

/// What should be mended, and does not keep anything from working here and now; each with the command that helps.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings: Vec<String> = settings.ignored.iter().cloned().collect();
    let credentials = auth::locate(&settings.google).ok();
    let secrets =
        [credentials.as_deref(), Some(&settings.google.token), settings.admin.token_file.as_deref()];
    warnings.extend(secrets.into_iter().flatten().filter_map(owner::exposure));
    warnings.extend(open_to_others(settings));
    warnings.extend(unreadable(settings).into_iter().map(|(_, said)| said));
    if settings.source.starts_with("/etc") || owner::is_service() {
        let destinations = settings.folders.iter().map(|folder| folder.destination.as_path());
        warnings.extend(destinations.filter(|path| owner::is_temporary(path)).map(lost));
    }
    warnings
}

/// Whoever can write the state directory can put another database or login in place. Where it is the directory of the
/// configuration, a group may share that.
fn open_to_others(settings: &Settings) -> Option<String> {
    let place = &settings.state_dir;
    let is_beside = settings.source.parent().is_some_and(|parent| parent == place);
    let mode = place.metadata().ok().filter(Metadata::is_dir)?.permissions().mode() & 0o7777;
    let others = if is_beside { 0o002 } else { 0o022 };
    (mode & others != 0).then(|| {
        let (shown, command) = (place.display(), owner::shell(place));
        format!(
            "{shown} is the state directory, and other users can write to it (mode {mode:04o}); chmod go-w {command}"
        )
    })
}

fn lost(destination: &Path) -> String {
    format!(
        "files that are delivered to {} are lost when the systemd unit stops, because the unit has temporary directories of its \
         own (PrivateTmp=yes); use another destination, or install the drop-in that `gdrive-webhook config systemd` prints",
        destination.display()
    )
}

/// What the service cannot read. Root reads everything; the service that root looks after does not.
pub fn unreadable(settings: &Settings) -> Vec<(PathBuf, String)> {
    let Some(service) = owner::heir(&settings.state_dir) else { return Vec::new() };
    let credentials = auth::locate(&settings.google).ok();
    let read =
        [Some(settings.source.as_path()), credentials.as_deref(), settings.admin.token_file.as_deref()];
    let said = |path: &Path| closed_to(path, service).map(|said| (path.to_owned(), said));
    read.into_iter().flatten().filter_map(said).collect()
}

fn closed_to(path: &Path, service: owner::Owner) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let directory = owner::parent(path).metadata().ok()?;
    let culprit = match (may(&directory, service, 1), may(&metadata, service, 4)) {
        (true, true) => return None,
        (true, false) => path,
        (false, _) => owner::parent(path),
    };
    let (user, group) = (owner::user(service.uid), owner::group(service.gid));
    let (shown, right) = (owner::shell(culprit), if culprit == path { "0640" } else { "0750" });
    let name = path.display();
    Some(format!(
        "{name} cannot be read by {user}, who owns {place}; chgrp {group} {shown} && chmod {right} {shown}, unless the \
         unit loads it (LoadCredential=)",
        place = "state.dir",
    ))
}

/// Whether a user may read (4) or enter (1). Further groups of that user are not known here: a group that is not the user's
/// own counts, if it is not root's.
fn may(metadata: &Metadata, service: owner::Owner, wanted: u32) -> bool {
    let mode = metadata.permissions().mode();
    let class = match (metadata.uid() == service.uid, metadata.gid() == service.gid || metadata.gid() != 0) {
        (true, _) => 6,
        (false, true) if mode & (wanted << 3) != 0 => 3,
        (false, _) => 0,
    };
    mode & (wanted << class) != 0
}
