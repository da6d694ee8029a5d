//! The configuration while the program runs: the file is read again when it changes, or when somebody asks for it by
//! SIGHUP. The public address and the rate limit take effect at once; what else has changed is named, and takes effect
//! at the next start.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{Settings, load, show};
use crate::download::limit::Limit;
use crate::model::channel::Address;
use crate::task::{Activation, Next, Reason, Step, Wake};

/// A look at a file's time costs nothing.
const LOOK: Duration = Duration::from_secs(2);

/// The engine that reads the configuration again.
#[derive(Debug)]
pub struct Follower {
    /// In effect.
    settings: Settings,
    address: watch::Sender<Address>,
    address_engine: Wake,
    limit: Limit,
    seen: Option<SystemTime>,
    said: Result<String, String>,
}

impl Follower {
    /// Ready for its first step. `address_engine` is woken when the address is configured otherwise.
    pub fn new(
        settings: Settings,
        address: watch::Sender<Address>,
        address_engine: Wake,
        limit: Limit,
    ) -> Self {
        let seen = modified(&settings);
        Self { settings, address, address_engine, limit, seen, said: Ok("as at the start".to_owned()) }
    }

    fn read_again(&mut self) -> Result<String, String> {
        let settings = load(Some(&self.settings.source)).map_err(|problems| {
            let said = format!("the configuration is not taken over: {problems}");
            error!(error = said, "the configuration was read again");
            said
        })?;
        // The address has the path and the port of the public door in it, which stay as they are until the next start.
        let is_same_door = settings.receiver == self.settings.receiver;
        if is_same_door && settings.channel.address != self.settings.channel.address {
            info!("webhook.public_url has changed");
            self.settings.channel.address = settings.channel.address.clone();
            self.address.send_replace(settings.channel.address.clone());
            // Without an engine for addresses the program is ending.
            let _ = self.address_engine.wake(Reason::Handover);
        }
        let rate_limit = settings.download.rate_limit;
        if rate_limit != self.settings.download.rate_limit {
            info!(bytes_per_second = rate_limit, "download.rate_limit has changed");
            self.settings.download.rate_limit = rate_limit;
            self.limit.set(rate_limit);
        }
        let others = changed_lines(&show(&self.settings), &show(&settings));
        if others.is_empty() {
            return Ok("as in the file".to_owned());
        }
        let said = format!("takes effect at the next start: {}", others.join(", "));
        warn!("the configuration was read again; {said}");
        Ok(said)
    }
}

impl Step for Follower {
    /// One step: reads the file if it is another one than the last time, or if somebody asks.
    async fn step(&mut self, activation: Activation) -> Next {
        let modified = modified(&self.settings);
        let is_asked = activation.reason == Reason::Handover;
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
