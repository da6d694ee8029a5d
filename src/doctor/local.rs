//! What lies on this machine: the configuration, the files that it names, the state directory and the database.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::finding::{Outcome, Told};
use super::ports::named;
use super::running::Daemon;
use crate::config::{self, former, secrets};
use crate::owner;
use crate::store::Error;

const DROP_INS: &str = "/etc/systemd/system/gdrive-webhook.service.d";

pub(super) fn configuration(facts: &Facts<'_>) -> Vec<Told> {
    if let Some(problems) = facts.problems {
        return problems.to_string().lines().map(|line| Told::said(Outcome::Failed, line)).collect();
    }
    let settings = facts.settings;
    if let Some(why) = config::homeless(&settings.state_dir, &settings.source) {
        return vec![Told::said(Outcome::Failed, &why)];
    }
    let folders = match settings.folders.len() {
        1 => "1 folder".to_owned(),
        count => format!("{count} folders"),
    };
    let mut told = vec![Told::ok(format!("{}: no mistakes, {folders}", settings.source.display()))];
    told.extend(settings.ignored.iter().map(|ignored| Told::said(Outcome::Warning, ignored)));
    told
}

pub(super) fn files(facts: &Facts<'_>) -> Vec<Told> {
    let settings = facts.settings;
    let unreadable = secrets::unreadable(settings);
    let is_unreadable = |said: &String| unreadable.iter().any(|(_, other)| other == said);
    let mut told: Vec<Told> = unreadable
        .iter()
        .filter(|(path, _)| !is_loaded(path))
        .map(|(_, said)| Told::said(Outcome::Failed, said))
        .collect();
    let other = |said: &String| !is_unreadable(said) && Some(said) != settings.ignored.as_ref();
    let warnings = secrets::warnings(settings);
    told.extend(warnings.iter().filter(|said| other(said)).map(|said| Told::said(Outcome::Warning, said)));
    if told.is_empty() {
        let name = facts.service.name();
        told.push(Told::ok(format!("no secret is open to other users, and nothing is closed to {name}")));
    }
    told
}

/// Whether systemd hands a file to the unit.
fn is_loaded(path: &Path) -> bool {
    let entries = fs::read_dir(DROP_INS).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect::<String>();
    let name = path.display().to_string();
    texts.lines().any(|line| line.starts_with("LoadCredential=") && line.ends_with(&name))
}

pub(super) fn state(facts: &Facts<'_>) -> Vec<Told> {
    let place = &facts.settings.state_dir;
    let shown = place.display();
    vec![if place.is_dir() {
        match facts.service.may_write(place) {
            Ok(()) => Told::ok(format!("{shown}, used by {}", facts.service.name())),
            Err(why) => Told::said(Outcome::Failed, &why),
        }
    } else if place.exists() {
        Told::failed(format!("{shown} is not a directory"), "name another directory in state.dir")
    } else {
        let above = place.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
        // Where the service is installed, systemd makes its directory.
        let is_made = place == Path::new(owner::SYSTEM_STATE);
        match facts.service.may_write(above) {
            Err(why) if !is_made => Told::said(Outcome::Failed, &why),
            Ok(()) | Err(_) => Told::ok(format!("{shown} does not exist yet; the first run makes it")),
        }
    }]
}

pub(super) fn database(facts: &Facts<'_>) -> Vec<Told> {
    let path = facts.settings.store.path();
    let shown = path.display();
    let listen = facts.settings.admin.listen;
    if let Some(report) = facts.daemon.report() {
        let pid = facts.daemon.pid().unwrap_or_default();
        return vec![if is_same(&path, &report.database) {
            Told::ok(format!("{shown}, in use by the running daemon (process {pid})"))
        } else {
            Told::failed(
                format!(
                    "the daemon at {listen} (process {pid}) has its database at {}, and the configuration says {shown}",
                    report.database.display()
                ),
                format!(
                    "set state.dir = {:?}, or if these are two daemons, give each an admin.listen of its own",
                    owner::parent(&report.database)
                ),
            )
        }];
    }
    if !path.exists() {
        return vec![match former::left_behind(facts.settings) {
            Some(said) => Told::said(Outcome::Failed, &said),
            None => Told::ok(format!("{shown} does not exist yet; `run` and `sync` make it")),
        }];
    }
    if let Some(told) = foreign(facts) {
        return vec![told];
    }
    if let Some(pid) = facts.database.holder {
        let said = match &facts.daemon {
            Daemon::Unclear(why) => {
                format!("what answers at {listen} (admin.listen) does not show that it is the daemon: {why}")
            }
            Daemon::Silent | Daemon::Running(_) => format!("nobody answers at {listen} (admin.listen)"),
        };
        return vec![Told::failed(
            format!("{shown} is in use by process {pid}{}, and {said}", named(pid)),
            "stop that process, or if it is the daemon, restart it: it runs with another admin.listen or token",
        )];
    }
    vec![match &facts.database.error {
        None => Told::ok(format!("{shown}; no daemon runs")),
        Some(error @ Error::Older { .. }) => Told::said(Outcome::Warning, &error.to_string()),
        Some(error @ (Error::Denied { .. } | Error::Newer { .. })) => {
            Told::said(Outcome::Failed, &error.to_string())
        }
        Some(error) => Told::failed(
            format!("{shown} cannot be read: {}", crate::telemetry::log::with_causes(error)),
            "restore it from a backup, or move it away: what is at the destinations is recognised and not downloaded again",
        ),
    }]
}

/// Files of another user's. Root can use them, and the daemon cannot.
fn foreign(facts: &Facts<'_>) -> Option<Told> {
    let us = facts.service.uid();
    let path = facts.settings.store.path();
    let beside = ["", "-wal", "-shm", ".lock"].map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    });
    let (culprit, metadata) = beside
        .into_iter()
        .filter_map(|path| fs::metadata(&path).ok().map(|metadata| (path, metadata)))
        .find(|(_, metadata)| us != 0 && metadata.uid() != us)?;
    let (theirs, ours) = (owner::user(metadata.uid()), facts.service.name());
    Some(Told::failed(
        format!("{} belongs to {theirs}, and the daemon runs as {ours}", culprit.display()),
        format!("sudo chown {ours}: {}", owner::shell(&culprit)),
    ))
}

fn is_same(left: &Path, right: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole(left) == whole(right)
}
