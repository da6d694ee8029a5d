//! What commands do before they begin: warnings, and what an earlier command of root's has left.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tracing::{info, warn};

use super::ask::fetch;
use super::{ConfigCommand, Exit, scratch};
use crate::config::{self, Settings, former, secrets, there};
use crate::daemon::connect;
use crate::{doctor, owner, store};

/// Before a command that writes: secrets that others can read are named, and files of root's are given to whoever owns the
/// directory that they lie in. What a dry run has left that was killed is removed.
pub(super) fn writing(settings: &Settings) {
    for warning in secrets::warnings(settings) {
        warn!("{warning}");
    }
    scratch::tidy(&settings.state_dir);
    let database = settings.store.path();
    let beside = ["", "-wal", "-shm", ".lock"].map(|ending| {
        let mut path = database.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    });
    for path in beside.iter().chain([&settings.google.token]) {
        match owner::heal(path) {
            Ok(true) => {
                info!(path = %path.display(), "owner changed from root to the owner of the directory");
            }
            Ok(false) => {}
            Err(error) => {
                warn!(path = %path.display(), %error, "a file of root cannot be given to the owner of its directory");
            }
        }
    }
}

/// Before a command that begins anew where there is no database: there may be one that was forgotten. The state directory
/// is made. What keeps it from beginning, if anything does.
pub(super) fn making(settings: &Settings) -> Option<String> {
    let made = || {
        let place = &settings.state_dir;
        let error = owner::make_room(place).err()?;
        let why = owner::explain(&error, place, owner::Want::Make);
        Some(format!("cannot create the directory {}: {why}", place.display()))
    };
    placeless(settings).or_else(|| lost(settings)).or_else(|| former::left_behind(settings)).or_else(made)
}

/// A destination whose files are gone when the systemd unit stops, if there is one.
fn lost(settings: &Settings) -> Option<String> {
    let destinations = settings.folders.iter().map(|folder| &folder.destination);
    let path = destinations.into_iter().find(|path| owner::is_lost_at_a_stop(path))?;
    Some(format!(
        "files that are delivered to {} are lost when the systemd unit stops, because the unit has temporary directories of its \
         own (PrivateTmp=yes); use another destination, or install the drop-in that `gdrive-webhook config systemd` prints",
        path.display()
    ))
}

/// What keeps any command from finding the program's files, if anything does.
pub(super) fn placeless(settings: &Settings) -> Option<String> {
    config::homeless(&settings.state_dir, &settings.source)
}

/// Whether the running daemon keeps its database somewhere else: systemd may have given it a directory that nobody has
/// told this command. In another one everything would be delivered once more, and its channels would not be known.
pub(super) async fn alone(settings: &Settings) -> anyhow::Result<()> {
    let report = match fetch(settings).await {
        Ok(Some(report)) => report,
        Ok(None) => return Ok(()),
        Err(error) => {
            warn!("the daemon cannot be asked where its database is: {error:#}");
            return Ok(());
        }
    };
    let same = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (ours, theirs) = (settings.store.path(), &report.database);
    if theirs.as_os_str().is_empty() || same(&ours) == same(theirs) {
        return Ok(());
    }
    let listen = settings.admin.listen;
    anyhow::bail!(
        "the daemon at {listen} (admin.listen) has its database at {}, and this command would use {}; stop the daemon and \
         set state.dir = {:?} in the configuration, or if these are two daemons, give each an admin.listen of its own",
        theirs.display(),
        ours.display(),
        owner::parent(theirs)
    )
}

/// A database that is not there may lie where it lay before.
pub(super) fn missing(error: store::Error, settings: &Settings) -> anyhow::Error {
    match (&error, former::left_behind(settings)) {
        (store::Error::Missing { .. }, Some(said)) => anyhow::anyhow!(said),
        _ => error.into(),
    }
}

/// The commands about the configuration.
pub(super) async fn config(command: &ConfigCommand, settings: &Settings) -> Exit {
    match command {
        ConfigCommand::Check { online, .. } => {
            let absent = there::missing(settings);
            if let Some(problems) = &absent {
                eprintln!("{problems}");
            }
            let has_credentials =
                settings.google.credentials.as_deref().is_none_or(|path| path.try_exists().unwrap_or(true));
            let credentials = if has_credentials { connect(settings).map(drop) } else { Ok(()) };
            let token = settings.admin.token().map(drop).context("the admin token cannot be used");
            let place = &settings.state_dir;
            let state = if place.exists() && !place.is_dir() {
                Err(anyhow::anyhow!("{} (state.dir) is not a directory; name another one", place.display()))
            } else {
                Ok(())
            };
            let mut exit = if absent.is_some() { Exit::Configuration } else { Exit::Done };
            for error in [credentials, token, state].into_iter().filter_map(Result::err) {
                eprintln!("gdrive-webhook: {error:#}");
                exit = Exit::Configuration;
            }
            for warning in secrets::warnings(settings) {
                eprintln!("gdrive-webhook: warning: {warning}");
            }
            if exit == Exit::Done {
                println!("{}: no mistakes", settings.source.display());
                for folder in
                    settings.folders.iter().filter(|f| there::destination(&f.destination) == Ok(true))
                {
                    println!("{} does not exist yet; the first run makes it", folder.destination.display());
                }
            }
            if *online && exit == Exit::Done {
                let examination = doctor::online(settings).await;
                print!("{}", examination.text());
                return if examination.is_good() { Exit::Done } else { Exit::Failed };
            }
            return exit;
        }
        ConfigCommand::Show => print!("{}", config::show(settings)),
        ConfigCommand::Systemd => print!("{}", config::systemd::drop_in(settings)),
    }
    Exit::Done
}
