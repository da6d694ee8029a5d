//! Push channels: who is to be called about what, until when.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ids;

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) token: Option<String>,
    pub(crate) address: String,
    pub(crate) resource_id: String,
    pub(crate) resource_uri: String,
    pub(crate) target: Target,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    pub(crate) stopped: Option<i64>,
    pub(crate) last_number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A change log, by name.
    Log(String),
    /// One file.
    File(String),
}

impl Channel {
    /// Numbers only grow; a real channel's second message was seen with number 84392.
    fn next_number(&mut self) -> u64 {
        self.last_number += if self.last_number < 2 { 10_000 } else { 1 } + ids::below(5_000);
        self.last_number
    }

    fn is_live(&self, now: i64) -> bool {
        self.stopped.is_none() && now < self.expires
    }
}

/// One notification on its way.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) channel: Channel,
    pub(crate) number: u64,
    pub(crate) state: &'static str,
    pub(crate) changed: Option<&'static str>,
}

/// A message handed to whoever delivers it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    pub(crate) not_before: Option<Instant>,
    /// Told when the first attempt is over.
    pub(crate) attempted: Option<oneshot::Sender<()>>,
}

impl Outgoing {
    pub(crate) fn plain(message: Message) -> Self {
        Self { message, not_before: None, attempted: None }
    }
}

/// What the Drive needs done outside its lock.
#[derive(Debug)]
pub(crate) enum Errand {
    Deliver(Box<Outgoing>),
    /// Look for reports that are due after this time.
    SettleAfter(Duration),
}

#[derive(Debug, Default)]
pub(crate) struct Channels {
    all: Vec<Channel>,
    /// Position in `all` of every channel that has not been stopped or seen to expire.
    live: HashMap<String, usize>,
    /// Ids are used up for ever.
    used: HashSet<String>,
}

impl Channels {
    pub(crate) fn is_used(&self, id: &str) -> bool {
        self.used.contains(id)
    }

    /// Registers a channel and returns its `sync` message, number 1.
    pub(crate) fn open(&mut self, mut channel: Channel) -> Message {
        channel.last_number = 1;
        self.used.insert(channel.id.clone());
        self.live.insert(channel.id.clone(), self.all.len());
        self.all.push(channel.clone());
        Message { channel, number: 1, state: "sync", changed: None }
    }

    /// `false` when there is no such live channel.
    pub(crate) fn stop(&mut self, id: &str, resource_id: &str, now: i64) -> bool {
        let Some(&index) = self.live.get(id) else { return false };
        let channel = &mut self.all[index];
        if channel.resource_id != resource_id || !channel.is_live(now) {
            return false;
        }
        channel.stopped = Some(now);
        self.live.remove(id);
        true
    }

    /// One message on every live channel whose target `concerns`.
    pub(crate) fn messages(
        &mut self,
        now: i64,
        state: &'static str,
        changed: Option<&'static str>,
        concerns: impl Fn(&Target) -> bool,
    ) -> Vec<Message> {
        let all = &mut self.all;
        self.live.retain(|_, index| all[*index].is_live(now));
        let mut indexes: Vec<usize> =
            self.live.values().copied().filter(|&i| concerns(&all[i].target)).collect();
        indexes.sort_unstable();
        indexes.into_iter().map(|index| message(&mut all[index], state, changed)).collect()
    }

    /// A message on a channel that may be dead already.
    pub(crate) fn straggler(&mut self, id: &str) -> Option<Message> {
        let channel = self.all.iter_mut().rev().find(|channel| channel.id == id)?;
        Some(message(channel, "change", None))
    }

    /// Ends every channel's life no later than `end`, as when Google grants less than it promised.
    pub(crate) fn shorten(&mut self, end: i64) {
        for &index in self.live.values() {
            let channel = &mut self.all[index];
            channel.expires = channel.expires.min(end);
        }
    }

    pub(crate) fn all(&self) -> &[Channel] {
        &self.all
    }
}

fn message(channel: &mut Channel, state: &'static str, changed: Option<&'static str>) -> Message {
    let number = channel.next_number();
    Message { channel: channel.clone(), number, state, changed }
}
