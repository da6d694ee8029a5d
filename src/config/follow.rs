//! The configuration while the program runs: the file is read again when it changes, and on request (`reload`, SIGHUP).
//! A wrong file is refused as a whole, and the configuration in effect stays. Folders, filters, limits, the public address
//! and the log's level take effect at once. All other changes are named, and take effect at the next start.

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
use crate::sync::rules::{Existing, Folder};
use crate::task::{Activation, Next, Outcome, Reason, Step, Wake};
use crate::telemetry::log::Level;
use crate::telemetry::systemd;
use crate::{audit, channel, delivery, sync};

/// Reading a file's modification time costs almost nothing.
const LOOK: Duration = Duration::from_secs(2);
/// How long to wait for a disk.
const PATIENCE: Duration = Duration::from_secs(4);
const UNCHANGED: &str = "the configuration is unchanged";

/// The parts that get each new configuration.
#[derive(Debug)]
pub struct Followers {
    /// The engine that finds the public address.
    pub address: watch::Sender<Address>,
    /// The channel keeper.
    pub channel: watch::Sender<channel::Config>,
    /// The sync engine.
    pub sync: watch::Sender<sync::Wanted>,
    /// The delivery engine.
    pub delivery: watch::Sender<delivery::Wanted>,
    /// The engine that makes audits.
    pub audit: watch::Sender<audit::Wanted>,
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
        set(&self.audit, to_audit(settings));
        self.downloader.set(settings.download);
        self.level.set(&settings.log.level);
        for wake in &self.wakes {
            // An engine that has ended stops the program.
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

/// The settings of the sync engine.
pub fn to_sync(settings: &Settings) -> sync::Wanted {
    sync::Wanted { config: settings.sync, folders: settings.folders.clone() }
}

/// The settings of the delivery engine.
pub fn to_deliver(settings: &Settings) -> delivery::Wanted {
    delivery::Wanted { config: settings.delivery, destinations: destinations(settings) }
}

/// The settings of the engine that makes audits.
pub fn to_audit(settings: &Settings) -> audit::Wanted {
    let rule = |folder: &Folder| audit::Rule {
        id: folder.id.clone(),
        resource_key: folder.resource_key.clone(),
        destination: folder.destination.clone(),
        recursive: folder.recursive,
        shortcuts: folder.shortcuts,
        ignores_existing: folder.existing == Existing::Ignore,
        include: folder.include.clone(),
        extensions: folder.extensions.clone(),
        name: folder.name.patterns().to_vec(),
        exclude: folder.exclude.patterns().to_vec(),
        min_size: folder.min_size,
        max_size: folder.max_size,
    };
    audit::Wanted { rules: settings.folders.iter().map(rule).collect(), reconcile: settings.sync.reconcile }
}

/// The destinations of the configuration, and the modes of files there.
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
    /// The port of the webhook address; systemd may use another one than the configuration.
    port: u16,
    /// The stamp of the file when it was last read, and when it was last checked.
    read: Option<Stamp>,
    seen: Option<Stamp>,
    /// A thread that still waits for a disk.
    asking: Option<JoinHandle<()>>,
    said: Outcome,
}

/// Distinguishes a file from an earlier file of the same name.
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
        let said = Ok("unchanged since the start".to_owned());
        Self { settings, followers, sandbox, port, read: None, seen: None, asking: None, said }
    }

    /// Runs a question to a disk; `None` if the disk does not answer. It runs in a separate thread: a disk that does not
    /// answer must not block the runtime.
    async fn ask<T: Send + 'static>(&mut self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.asking.as_ref().is_some_and(|asking| !asking.is_finished()) {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        self.asking = Some(tokio::task::spawn_blocking(move || {
            // The receiver is dropped if the answer took too long.
            let _ = sender.send(look());
        }));
        let answer = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok();
        // It has answered and is about to end.
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
            Err(said) => error!(
                error = said,
                "the configuration file has mistakes; the daemon keeps the configuration in effect"
            ),
        }
        outcome
    }

    async fn take_over(&mut self) -> Outcome {
        let refused = |why: String| format!("the new configuration is refused: {why}");
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
                "these changes to the configuration take effect at the next start"
            );
        }
        let told = [("in effect now", now), ("takes effect at the next start", later)];
        let told = told.into_iter().filter(|(_, lines)| !lines.is_empty());
        let told: Vec<String> = told.map(|(what, lines)| format!("{what}: {}", lines.join(", "))).collect();
        Ok(if told.is_empty() { UNCHANGED.to_owned() } else { told.join("; ") })
    }

    /// The settings in effect, with all new settings that can take effect while the program runs.
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

/// Restrictions by the unit, the image or the kernel cannot be changed while the program runs.
fn permits(sandbox: &Sandbox, destination: &Path) -> Result<(), String> {
    let path = destination.display();
    if !sandbox.permits(destination) {
        return Err(format!(
            "the destination {path} is outside the directories that the daemon may write to since its start; restart the daemon"
        ));
    }
    let existing = destination.ancestors().find(|path| path.exists()).unwrap_or(destination);
    match access(existing, Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(Errno::ROFS) if systemd::is_there() => Err(format!(
            "the destination {path} is read-only for the service; `gdrive-webhook config systemd` prints the drop-in \
             that adds it to ReadWritePaths=; install the drop-in and restart the service"
        )),
        Err(error) => {
            let why = owner::explain(&error.into(), existing, owner::Want::Write);
            Err(format!("cannot write to the destination {path}: {why}"))
        }
    }
}

fn silent(path: &Path) -> String {
    format!("the disk of {} does not answer; check that its server is reachable", path.display())
}

impl Step for Follower {
    /// One step: reads the file if it has changed, or on request.
    async fn step(&mut self, activation: Activation) -> Next {
        let is_asked = activation.asked || activation.reason == Reason::Handover;
        let source = self.settings.source.clone();
        let outcome = match self.ask(move || Stamp::of(&source)).await {
            None => Err(silent(&self.settings.source)),
            Some(now) => {
                // Unchanged between two checks: it is complete. A file that is missing for a moment is being replaced.
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

/// The lines that differ in the new text, and the keys that are missing there.
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (keyed(old), keyed(new));
    let changed = new.iter().filter(|line| !old.contains(line)).map(|(_, line)| line.clone());
    let removed = old
        .iter()
        .filter(|(key, _)| !new.iter().any(|(other, _)| other == key))
        .map(|(key, _)| format!("{key} is removed"));
    changed.chain(removed).collect()
}

/// The lines of a printed configuration, each with the full name of its key: `folder 2.recursive`.
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
        assert_eq!(changed_lines(old, new), ["s.b = 3", "s.c = 4", "folder 2.r = false", "s.d is removed"]);
        assert!(changed_lines(new, new).is_empty());
    }
}
