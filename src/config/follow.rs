//! The configuration while the program runs: the file is read again when it changes, or when somebody asks for it
//! (`reload`, SIGHUP). A file that is wrong is refused as a whole, and what was in effect stays. Folders, filters, limits,
//! the public address and the log's level take effect at once; what else has changed is named, and takes effect at the
//! next start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{Settings, load_again, show};
use crate::destination::Rights;
use crate::download::Downloader;
use crate::model::channel::Address;
use crate::owner;
use crate::sandbox::Sandbox;
use crate::sync::rules::Folder;
use crate::task::{Activation, Next, Outcome, Reason, Step, Wake};
use crate::telemetry::log::Level;
use crate::telemetry::systemd;
use crate::{channel, delivery, sync};

/// A look at a file's time costs nothing.
const LOOK: Duration = Duration::from_secs(2);

/// Everyone who goes by another configuration as soon as there is one.
#[derive(Debug)]
pub struct Followers {
    /// Whoever finds out the public address.
    pub address: watch::Sender<Address>,
    /// The keeper of channels.
    pub channel: watch::Sender<channel::Config>,
    /// The reader of change logs.
    pub sync: watch::Sender<sync::Wanted>,
    /// Whoever takes deliveries from the queue.
    pub delivery: watch::Sender<delivery::Wanted>,
    /// Downloads.
    pub downloader: Downloader,
    /// The log.
    pub level: Level,
    /// Their wake-ups.
    pub wakes: Vec<Wake>,
}

impl Followers {
    fn take(&self, settings: &Settings) {
        set(&self.address, settings.channel.address.clone());
        set(&self.channel, settings.channel.clone());
        set(&self.sync, to_sync(settings));
        set(&self.delivery, to_deliver(settings));
        self.downloader.set(settings.download);
        self.level.set(&settings.log.level);
        for wake in &self.wakes {
            // Whoever has ended takes the program down.
            let _ = wake.wake(Reason::Handover);
        }
    }
}

fn set<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|known| {
        let is_news = *known != new;
        *known = new;
        is_news
    });
}

/// What the reader of change logs goes by.
pub fn to_sync(settings: &Settings) -> sync::Wanted {
    sync::Wanted { config: settings.sync, folders: settings.folders.clone() }
}

/// What whoever takes deliveries from the queue goes by.
pub fn to_deliver(settings: &Settings) -> delivery::Wanted {
    delivery::Wanted { config: settings.delivery, destinations: destinations(settings) }
}

/// The destinations of the configuration, and what files get there.
pub fn destinations(settings: &Settings) -> BTreeMap<PathBuf, Rights> {
    let owner = owner::heir(&settings.state_dir);
    let rights = |folder: &Folder| Rights { file_mode: folder.file_mode, dir_mode: folder.dir_mode, owner };
    settings.folders.iter().map(|folder| (folder.destination.clone(), rights(folder))).collect()
}

/// The engine that reads the configuration again.
#[derive(Debug)]
pub struct Follower {
    /// In effect.
    settings: Settings,
    followers: Followers,
    sandbox: Sandbox,
    seen: Option<SystemTime>,
    said: Outcome,
}

impl Follower {
    /// Ready for its first step.
    pub fn new(settings: Settings, followers: Followers, sandbox: Sandbox) -> Self {
        let seen = modified(&settings);
        Self { settings, followers, sandbox, seen, said: Ok("as at the start".to_owned()) }
    }

    fn read_again(&mut self) -> Outcome {
        systemd::reloading();
        let outcome = self.take_over();
        systemd::ready();
        match &outcome {
            Ok(said) => info!(outcome = said, "the configuration was read again"),
            Err(said) => error!(error = said, "the configuration was read again and is refused"),
        }
        outcome
    }

    fn take_over(&mut self) -> Outcome {
        let refused = |why: String| format!("the configuration is not taken over: {why}");
        let settings = load_again(&self.settings).map_err(|problems| refused(problems.to_string()))?;
        let known = destinations(&self.settings);
        for destination in destinations(&settings).keys() {
            if !known.contains_key(destination) {
                self.permits(destination).map_err(refused)?;
            }
        }
        let effective = self.with_what_can_change(&settings);
        let now = changed_lines(&show(&self.settings), &show(&effective));
        let later = changed_lines(&show(&effective), &show(&settings));
        self.followers.take(&effective);
        self.settings = effective;
        if !later.is_empty() {
            warn!(
                changes = later.join(", "),
                "these changes of the configuration take effect at the next start"
            );
        }
        let told = [("in effect now", now), ("takes effect at the next start", later)];
        let told = told.into_iter().filter(|(_, lines)| !lines.is_empty());
        let told: Vec<String> = told.map(|(what, lines)| format!("{what}: {}", lines.join(", "))).collect();
        Ok(if told.is_empty() { "as in the file".to_owned() } else { told.join("; ") })
    }

    /// What is in effect, with everything of the new settings that can take effect while the program runs.
    fn with_what_can_change(&self, new: &Settings) -> Settings {
        let mut effective = self.settings.clone();
        // The address has the path and the port of the webhook address in it, which stay until the next start.
        let is_same_place = new.receiver == self.settings.receiver;
        let address = if is_same_place { &new.channel.address } else { &self.settings.channel.address };
        effective.channel = channel::Config { address: address.clone(), ..new.channel.clone() };
        effective.sync = new.sync;
        effective.folders.clone_from(&new.folders);
        effective.delivery = new.delivery;
        let stall = self.settings.download.stall;
        effective.download = crate::download::Config { stall, ..new.download };
        effective.log.level.clone_from(&new.log.level);
        effective
    }

    /// What the unit, the image or the kernel forbid cannot be changed while the program runs.
    fn permits(&self, destination: &Path) -> Result<(), String> {
        let path = destination.display();
        if !self.sandbox.permits(destination) {
            return Err(format!(
                "the destination {path} is outside the directories that the program was confined to at its start; restart it"
            ));
        }
        let existing = destination.ancestors().find(|path| path.exists()).unwrap_or(destination);
        match access(existing, Access::WRITE_OK) {
            Ok(()) => Ok(()),
            Err(Errno::ROFS) if systemd::is_there() => Err(format!(
                "the destination {path} is read-only for the service; `gdrive-webhook config systemd` prints the drop-in \
                 that names it under ReadWritePaths=, then restart the service"
            )),
            Err(error) => Err(format!("the destination {path} cannot be written to: {error}")),
        }
    }
}

impl Step for Follower {
    /// One step: reads the file if it is another one than the last time, or if somebody asks.
    async fn step(&mut self, activation: Activation) -> Next {
        let modified = modified(&self.settings);
        let is_asked = activation.asked || activation.reason == Reason::Handover;
        // A file that is gone for a moment is being replaced.
        if is_asked || (modified.is_some() && modified != self.seen) {
            self.seen = modified;
            self.said = self.read_again();
        }
        Next { due: Some(LOOK), settle: Duration::ZERO, outcome: self.said.clone() }
    }
}

fn modified(settings: &Settings) -> Option<SystemTime> {
    std::fs::metadata(&settings.source).and_then(|metadata| metadata.modified()).ok()
}

/// What is another in the new text than in the old one, and what is not there any more.
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (keyed(old), keyed(new));
    let changed = new.iter().filter(|line| !old.contains(line)).map(|(_, line)| line.clone());
    let removed = old
        .iter()
        .filter(|(key, _)| !new.iter().any(|(other, _)| other == key))
        .map(|(key, _)| format!("{key} is gone"));
    changed.chain(removed).collect()
}

/// The lines of a shown configuration, each with the place of its key: `folder 2.recursive`.
fn keyed(text: &str) -> Vec<(String, String)> {
    let (mut section, mut folders) = (String::new(), 0);
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("[[") {
            folders += 1;
            section = format!("folder {folders}.");
        } else if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, _)) = line.split_once(" = ") {
            lines.push((format!("{section}{key}"), format!("{section}{line}")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        let old = "# x\na = 1\n[s]\nb = 2\nd = 1\n[[folder]]\nr = true\n[[folder]]\nr = true\n";
        let new = "# y\na = 1\n[s]\nb = 3\nc = 4\n[[folder]]\nr = true\n[[folder]]\nr = false\n";
        assert_eq!(changed_lines(old, new), ["s.b = 3", "s.c = 4", "folder 2.r = false", "s.d is gone"]);
        assert!(changed_lines(new, new).is_empty());
    }
}
