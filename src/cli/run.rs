//! `run`: the steps that must precede a second thread, and the daemon from its start to its end.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, warn};

use super::{Exit, begin, exit_of, interrupted};
use crate::config::{self, Settings, follow};
use crate::daemon::{Daemon, Surroundings};
use crate::sandbox::Sandbox;
use crate::store::{Access, Store};
use crate::telemetry::log::Format;
use crate::telemetry::systemd;

/// What the daemon is built from.
pub(super) type Prepared = (Settings, Surroundings);

/// Takes the sockets from systemd, reads the configuration, starts the log, and restricts the program with Landlock.
pub(super) fn prepare(file: Option<&PathBuf>, format: Option<Format>) -> Result<Prepared, Exit> {
    let sockets = systemd::inherited_sockets();
    let (settings, problems) = config::load_leniently(file.map(PathBuf::as_path));
    let level = super::start_log(&settings.log, format);
    if let Some(problems) = problems {
        let told = problems.to_string();
        let lines: Vec<&str> = told.lines().collect();
        systemd::status(&format!("The configuration is wrong: {}", lines.join("; ")));
        for line in lines {
            error!("{line}");
        }
        return Err(Exit::Configuration);
    }
    let sockets = sockets.map_err(|error| refused(&error.to_string()))?;
    if let Some(why) = begin::making(&settings) {
        return Err(refused(&why));
    }
    begin::writing(&settings);
    let sandbox = confine(&settings);
    Ok((settings, Surroundings { sockets, sandbox, level, hangups: None }))
}

fn refused(why: &str) -> Exit {
    systemd::status(why);
    error!("{why}");
    Exit::Configuration
}

/// Confines the program only where a supervisor restarts it: a disk that is mounted later may require a restart.
fn confine(settings: &Settings) -> Sandbox {
    let is_supervised = systemd::is_there() || std::process::id() == 1;
    if !is_supervised {
        return Sandbox::default();
    }
    let own = [settings.store.path(), settings.store.target(), settings.google.token.clone()];
    let own: Vec<PathBuf> = own.iter().filter_map(|path| path.parent()).map(Into::into).collect();
    let configured = follow::destinations(settings).into_keys();
    Sandbox::confine(&own, &configured.chain(awaited(settings)).collect::<Vec<_>>())
}

/// The destinations of pending files that were found under an earlier configuration.
fn awaited(settings: &Settings) -> Vec<PathBuf> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let look = async {
        let store = Store::open(&settings.store, Access::Shared).await?;
        let awaited = store.awaited().await;
        store.close().await;
        awaited
    };
    // Without a database, or with an older one, they are not known.
    runtime.block_on(look).unwrap_or_default()
}

/// The daemon, from its start to its end.
pub(super) async fn run((settings, mut surroundings): Prepared) -> Exit {
    // Before anything else, so that no signal is missed.
    let stop = interrupted();
    surroundings.hangups = signal(SignalKind::hangup())
        .inspect_err(|error| {
            warn!(%error, "cannot handle SIGHUP; the configuration is read again only when its file changes");
        })
        .ok();
    let outcome = match stop.run_until_cancelled(Daemon::build(settings, surroundings)).await {
        Some(Ok(daemon)) => daemon.run(stop).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    if let Err(error) = &outcome {
        // `systemctl status` shows the error without the log.
        systemd::status(&format!("{error:#}"));
        error!("{error:#}");
    }
    exit_of(outcome)
}
