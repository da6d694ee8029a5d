//! The channels that the public door knows. Reading it takes no lock and no wait.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;

use crate::model::id::hash_token;
use crate::model::{Channel, ChannelId, ChannelState};

/// What the door knows of a channel.
#[derive(Clone, Debug)]
struct Entry {
    token_hash: String,
    state: ChannelState,
}

/// Channels by id. Written by the keeper only.
#[derive(Debug, Default)]
pub struct Registry {
    channels: ArcSwap<HashMap<ChannelId, Entry>>,
}

/// Stands in for the hash of a channel that is not known, so that looking it up takes as long.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Registry {
    /// Replaces all channels.
    pub fn replace(&self, channels: &[Channel]) {
        let entries = channels.iter().map(|channel| (channel.id.clone(), entry(channel))).collect();
        self.channels.store(std::sync::Arc::new(entries));
    }

    /// Adds a channel, before Drive is asked for it.
    pub fn add(&self, channel: &Channel) {
        self.channels.rcu(|channels| {
            let mut channels = HashMap::clone(channels);
            channels.insert(channel.id.clone(), entry(channel));
            channels
        });
    }

    /// The state of the channel, if it is one of ours and the token is its token. Whether the channel is unknown or the
    /// token wrong cannot be told from the time this takes: tokens are compared by their hashes, to the end.
    pub fn authenticate(&self, id: &ChannelId, token: &[u8]) -> Option<ChannelState> {
        let channels = self.channels.load();
        let entry = channels.get(id);
        let expected = entry.map_or(NOBODY, |entry| entry.token_hash.as_str());
        let same = hash_token(token).as_bytes().ct_eq(expected.as_bytes());
        entry.filter(|_| same.into()).map(|entry| entry.state)
    }
}

fn entry(channel: &Channel) -> Entry {
    Entry { token_hash: channel.token_hash.clone(), state: channel.state }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{ChangeLog, ChannelToken};

    #[test]
    fn only_the_right_token_of_a_known_channel_is_let_in() {
        let token = ChannelToken::random();
        let channel = Channel {
            id: ChannelId::random(),
            log: ChangeLog::User,
            address: String::new(),
            token_hash: token.hash(),
            resource_id: None,
            state: ChannelState::Replaced,
            created: Timestamp::UNIX_EPOCH,
            expires: Timestamp::UNIX_EPOCH,
        };
        let registry = Registry::default();
        let secret = token.expose().as_bytes();
        assert_eq!(registry.authenticate(&channel.id, secret), None);
        registry.add(&channel);
        assert_eq!(registry.authenticate(&channel.id, secret), Some(ChannelState::Replaced));
        assert_eq!(registry.authenticate(&channel.id, b""), None);
        assert_eq!(
            registry.authenticate(&channel.id, token.hash().as_bytes()),
            None,
            "the stored hash opens nothing"
        );
        assert_eq!(registry.authenticate(&ChannelId::random(), secret), None);
        registry.replace(std::slice::from_ref(&channel));
        assert_eq!(registry.authenticate(&channel.id, secret), Some(ChannelState::Replaced));
        registry.replace(&[]);
        assert_eq!(registry.authenticate(&channel.id, secret), None);
    }
}
