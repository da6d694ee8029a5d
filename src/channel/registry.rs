//! The channels that the public door knows, and when Google last called on each. Nothing here takes a lock or waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::model::id::hash_token;
use crate::model::{ChangeLog, Channel, ChannelId, ChannelState};

/// What the door knows of a channel.
#[derive(Clone, Debug)]
struct Entry {
    token_hash: String,
    state: ChannelState,
    log: ChangeLog,
    /// When Google last called on it, in milliseconds since 1970; 0: never.
    called: Arc<AtomicI64>,
}

/// One of our channels, by its right token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its state.
    pub state: ChannelState,
    /// It is the first call on it.
    pub is_first: bool,
}

/// Channels by id. Written by the keeper only.
#[derive(Debug, Default)]
pub struct Registry {
    channels: ArcSwap<HashMap<ChannelId, Entry>>,
}

/// Stands in for the hash of a channel that is not known, so that looking it up takes as long.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Registry {
    /// Replaces all channels. What has been heard on those that stay is kept.
    pub fn replace(&self, channels: &[Channel]) {
        self.channels.rcu(|known| {
            let entries = channels.iter().map(|channel| {
                let mut entry = entry(channel);
                if let Some(known) = known.get(&channel.id) {
                    known.called.fetch_max(entry.called.load(Ordering::Relaxed), Ordering::Relaxed);
                    entry.called = known.called.clone();
                }
                (channel.id.clone(), entry)
            });
            entries.collect::<HashMap<_, _>>()
        });
    }

    /// Adds a channel, before Drive is asked for it.
    pub fn add(&self, channel: &Channel) {
        self.channels.rcu(|channels| {
            let mut channels = HashMap::clone(channels);
            channels.insert(channel.id.clone(), entry(channel));
            channels
        });
    }

    /// The channel, if it is one of ours and the token is its token; the call is noted then. Whether the channel is unknown or
    /// the token wrong cannot be told from the time this takes: tokens are compared by their hashes, to the end.
    pub fn authenticate(&self, id: &ChannelId, token: &[u8], now: Timestamp) -> Option<Heard> {
        let channels = self.channels.load();
        let entry = channels.get(id);
        let expected = entry.map_or(NOBODY, |entry| entry.token_hash.as_str());
        let same = hash_token(token).as_bytes().ct_eq(expected.as_bytes());
        entry.filter(|_| same.into()).map(|entry| {
            let before = entry.called.swap(now.as_millisecond(), Ordering::Relaxed);
            Heard { state: entry.state, is_first: before == 0 }
        })
    }

    /// When Google last called on a channel.
    pub fn called(&self, id: &ChannelId) -> Option<Timestamp> {
        self.channels.load().get(id).and_then(Entry::called)
    }

    /// When Google last called about a log, on whichever channel.
    pub fn called_about(&self, log: &ChangeLog) -> Option<Timestamp> {
        let channels = self.channels.load();
        channels.values().filter(|entry| entry.log == *log).filter_map(Entry::called).max()
    }

    /// Brings what the ledger says of calls up to date: it is written down later than it is heard.
    pub fn complete(&self, channels: &mut [Channel]) {
        for channel in channels {
            channel.called = channel.called.max(self.called(&channel.id));
        }
    }
}

impl Entry {
    fn called(&self) -> Option<Timestamp> {
        let ms = self.called.load(Ordering::Relaxed);
        (ms != 0).then(|| Timestamp::from_millisecond(ms).ok()).flatten()
    }
}

fn entry(channel: &Channel) -> Entry {
    let called = channel.called.map_or(0, Timestamp::as_millisecond);
    Entry {
        token_hash: channel.token_hash.clone(),
        state: channel.state,
        log: channel.log.clone(),
        called: Arc::new(AtomicI64::new(called)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChannelToken;

    fn channel(token: &ChannelToken) -> Channel {
        Channel {
            id: ChannelId::random(),
            log: ChangeLog::User,
            address: String::new(),
            token_hash: token.hash(),
            resource_id: None,
            state: ChannelState::Replaced,
            created: Timestamp::UNIX_EPOCH,
            opened: None,
            called: None,
            expires: Timestamp::UNIX_EPOCH,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_call_is_noted_by_its_channel_and_stays_known() {
        let token = ChannelToken::random();
        let (first, second) = (channel(&token), Channel { called: Some(at(5)), ..channel(&token) });
        let team = ChangeLog::SharedDrive("0A".into());
        let third = Channel { log: team.clone(), ..channel(&token) };
        let registry = Registry::default();
        registry.replace(&[first.clone(), second.clone(), third.clone()]);
        let call = |channel: &Channel, token: &[u8], now| {
            registry.authenticate(&channel.id, token, at(now)).map(|heard| heard.is_first)
        };
        let secret = token.expose().as_bytes();
        assert_eq!(call(&first, b"wrong", 1), None);
        assert_eq!((registry.called(&first.id), registry.called(&second.id)), (None, Some(at(5))));
        assert_eq!(call(&first, secret, 7), Some(true));
        assert_eq!(call(&first, secret, 8), Some(false));
        assert_eq!(call(&second, secret, 9), Some(false), "the ledger knows of an earlier one");
        assert_eq!(
            (registry.called_about(&ChangeLog::User), registry.called_about(&team)),
            (Some(at(9)), None)
        );
        // The ledger does not know of it yet.
        registry.replace(&[first.clone(), Channel { called: Some(at(20)), ..second.clone() }]);
        assert_eq!((registry.called(&first.id), registry.called(&second.id)), (Some(at(8)), Some(at(20))));
        let mut channels = [first, Channel { called: Some(at(30)), ..second }, third];
        registry.complete(&mut channels);
        assert_eq!(channels.map(|channel| channel.called), [Some(at(8)), Some(at(30)), None]);
    }

    #[test]
    fn only_the_right_token_of_a_known_channel_is_let_in() {
        let token = ChannelToken::random();
        let channel = channel(&token);
        let registry = Registry::default();
        let authenticate =
            |id: &ChannelId, token: &[u8]| registry.authenticate(id, token, at(1)).map(|heard| heard.state);
        let secret = token.expose().as_bytes();
        assert_eq!(authenticate(&channel.id, secret), None);
        registry.add(&channel);
        assert_eq!(authenticate(&channel.id, secret), Some(ChannelState::Replaced));
        assert_eq!(authenticate(&channel.id, b""), None);
        assert_eq!(authenticate(&channel.id, token.hash().as_bytes()), None, "the stored hash opens nothing");
        assert_eq!(authenticate(&ChannelId::random(), secret), None);
        registry.replace(std::slice::from_ref(&channel));
        assert_eq!(authenticate(&channel.id, secret), Some(ChannelState::Replaced));
        registry.replace(&[]);
        assert_eq!(authenticate(&channel.id, secret), None);
    }
}
