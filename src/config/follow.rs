//! The configuration while the program runs: the file is read again when it changes, or when somebody asks for it
//! (`reload`, SIGHUP). A file that is wrong is refused as a whole, and what was in effect stays. Folders, filters, limits,
//! the public address and the log's level take effect at once; what else has changed is named, and takes effect at the
//! next start.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

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
/// A disk that has not answered by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(4);
const UNCHANGED: &str = "as in the file";

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
    /// Of the webhook address; systemd may have chosen another one than the configuration.
    port: u16,
    /// The file as it was when it was read the last time, and when it was looked at the last time.
    read: Option<Stamp>,
    seen: Option<Stamp>,
    /// Whoever asks a disk and has no answer yet.
    asking: Option<JoinHandle<()>>,
    said: Outcome,
}

/// What tells a file from an earlier one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), size: metadata.len(), inode: metadata.ino() })
    }
}

impl Follower {
    /// Ready for its first step.
    pub fn new(settings: Settings, followers: Followers, sandbox: Sandbox, port: u16) -> Self {
        let said = Ok("as at the start".to_owned());
        Self { settings, followers, sandbox, port, read: None, seen: None, asking: None, said }
    }

    /// What a disk answers; `None` if it does not. The runtime's threads wait for no disk: that would hold up everything.
    async fn ask<T: Send + 'static>(&mut self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.asking.as_ref().is_some_and(|asking| !asking.is_finished()) {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        self.asking = Some(tokio::task::spawn_blocking(move || {
            // Nobody waits any more if it took too long.
            let _ = sender.send(look());
        }));
        let answer = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok();
        // It has answered, and is about to end.
        self.asking = None;
        answer
    }

    async fn read_again(&mut self) -> Outcome {
        systemd::reloading();
        let outcome = self.take_over().await;
        systemd::ready();
        match &outcome {
            Ok(said) if said == UNCHANGED => debug!("the configuration was read again; nothing has changed"),
            Ok(said) => info!(outcome = said, "the configuration was read again"),
            Err(said) => error!(error = said, "the configuration was read again and is refused"),
        }
        outcome
    }

    async fn take_over(&mut self) -> Outcome {
        let refused = |why: String| format!("the configuration is not taken over: {why}");
        let known = self.settings.clone();
        let read = self.ask(move || load_again(&known)).await;
        let read = read.ok_or_else(|| refused(silent(&self.settings.source)))?;
        let settings = read.map_err(|problems| refused(problems.to_string()))?;
        let known = destinations(&self.settings);
        for destination in destinations(&settings).into_keys().filter(|path| !known.contains_key(path)) {
            let (sandbox, path) = (self.sandbox.clone(), destination.clone());
            let permitted = self.ask(move || permits(&sandbox, &path)).await;
            permitted.unwrap_or_else(|| Err(silent(&destination))).map_err(refused)?;
        }
        let effective = self.with_what_can_change(&settings);
        let now = changed_lines(&show(&self.settings), &show(&effective));
        let later = changed_lines(&show(&effective), &show(&settings));
        if !now.is_empty() {
            self.followers.take(&effective);
        }
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
        Ok(if told.is_empty() { UNCHANGED.to_owned() } else { told.join("; ") })
    }

    /// What is in effect, with everything of the new settings that can take effect while the program runs.
    fn with_what_can_change(&self, new: &Settings) -> Settings {
        let mut effective = self.settings.clone();
        // The address has the path and the port of the webhook address in it, which stay until the next start.
        let is_same_place = new.receiver == self.settings.receiver;
        let address = if is_same_place { &new.channel.address } else { &self.settings.channel.address };
        effective.channel = channel::Config { address: address.clone(), ..new.channel.clone() };
        if let Address::Ngrok { port, .. } = &mut effective.channel.address {
            *port = self.port;
        }
        effective.sync = new.sync;
        effective.folders.clone_from(&new.folders);
        effective.delivery = new.delivery;
        let stall = self.settings.download.stall;
        effective.download = crate::download::Config { stall, ..new.download };
        effective.log.level.clone_from(&new.log.level);
        effective
    }
}

/// What the unit, the image or the kernel forbid cannot be changed while the program runs.
fn permits(sandbox: &Sandbox, destination: &Path) -> Result<(), String> {
    let path = destination.display();
    if !sandbox.permits(destination) {
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

fn silent(path: &Path) -> String {
    format!("the disk of {} does not answer", path.display())
}

impl Step for Follower {
    /// One step: reads the file if it is another one than the last time, or if somebody asks.
    async fn step(&mut self, activation: Activation) -> Next {
        let is_asked = activation.asked || activation.reason == Reason::Handover;
        let source = self.settings.source.clone();
        let outcome = match self.ask(move || Stamp::of(&source)).await {
            None => Err(silent(&self.settings.source)),
            Some(now) => {
                // The same at two looks: nobody is writing it. One that is gone for a moment is being replaced.
                let is_whole = now.is_some() && now == self.seen;
                self.seen = now;
                if is_asked || (is_whole && now != self.read) {
                    self.read = now;
                    self.said = self.read_again().await;
                }
                self.said.clone()
            }
        };
        Next { due: Some(LOOK), settle: Duration::ZERO, outcome }
    }
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
