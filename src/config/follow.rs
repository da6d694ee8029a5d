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
        if settings.channel.address != self.settings.channel.address {
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

/// The lines of the new text that the old one does not have.
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let old: Vec<&str> = old.lines().collect();
    new.lines().filter(|line| !line.is_empty() && !old.contains(line)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        assert_eq!(changed_lines("a = 1\nb = 2\n", "a = 1\nb = 3\n\nc = 4\n"), ["b = 3", "c = 4"]);
    }
}
