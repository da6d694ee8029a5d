//! A push channel: what Drive has been asked to call, for how long, and on what secret.

use jiff::Timestamp;

use super::{ChangeLog, ChannelId, ResourceId};

/// One channel, as the ledger remembers it. Drive has no way to list channels: what is forgotten here is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// The log it watches.
    pub log: ChangeLog,
    /// The public address that Drive calls.
    pub address: String,
    /// SHA-256 of its token, hexadecimal.
    pub token_hash: String,
    /// Absent until Drive has answered `watch`.
    pub resource_id: Option<ResourceId>,
    /// Where it is in its life.
    pub state: ChannelState,
    /// When its row was written.
    pub created: Timestamp,
    /// When Drive granted it. Absent until then, and in rows of programs that did not write down when Google calls.
    pub opened: Option<Timestamp>,
    /// When Google last called on it. Absent: it has not been heard that Google can reach the address.
    pub called: Option<Timestamp>,
    /// The end that Drive granted; while opening, the end that was asked for.
    pub expires: Timestamp,
}

/// The life of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// The row is written, `watch` is not answered yet. Its first message may come before the answer.
    Opening,
    /// Drive calls us on it.
    Live,
    /// A newer channel serves the log; this one is to be stopped.
    Replaced,
    /// Stopped or expired. Kept for a while, because a few messages may still come.
    Ended,
}

impl ChannelState {
    /// The word the ledger and `status` use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Live => "live",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
        }
    }

    /// Reads `as_str` back.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Opening, Self::Live, Self::Replaced, Self::Ended].into_iter().find(|s| s.as_str() == word)
    }
}

/// `webhook.public_url` and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// There is none: polling only.
    #[default]
    Nowhere,
    /// This one, path included.
    Fixed(String),
    /// Whatever the ngrok agent has for the port that the public door listens on.
    Ngrok {
        /// The agent's own address.
        api: String,
        /// The port.
        port: u16,
        /// The path of notifications.
        path: String,
    },
}

impl Address {
    /// The address, if it is known without asking anybody.
    pub fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(address) => Some(address),
            Self::Nowhere | Self::Ngrok { .. } => None,
        }
    }
}

/// What is known of it at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nobody has said it yet.
    NotYet,
    /// There is none.
    Nowhere,
    /// This one, path included.
    At(String),
}

impl Known {
    /// The address, if there is one.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::At(address) => Some(address),
            Self::NotYet | Self::Nowhere => None,
        }
    }
}

impl From<&Address> for Known {
    fn from(address: &Address) -> Self {
        match address {
            Address::Nowhere => Self::Nowhere,
            Address::Fixed(address) => Self::At(address.clone()),
            Address::Ngrok { .. } => Self::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_the_ledger_as_it_was_written() {
        use ChannelState::{Ended, Live, Opening, Replaced};
        for (state, word) in [(Opening, "opening"), (Live, "live"), (Replaced, "replaced"), (Ended, "ended")]
        {
            assert_eq!((state.as_str(), ChannelState::from_word(word)), (word, Some(state)));
        }
        assert_eq!(ChannelState::from_word("Live"), None);
    }

    #[test]
    fn only_a_fixed_address_is_known_without_asking() {
        let ngrok =
            Address::Ngrok { api: "http://127.0.0.1:4040".into(), port: 8080, path: "/webhook".into() };
        let fixed = Address::Fixed("https://x/webhook".into());
        for (address, fixed, known) in [
            (Address::Nowhere, None, Known::Nowhere),
            (fixed, Some("https://x/webhook"), Known::At("https://x/webhook".into())),
            (ngrok, None, Known::NotYet),
        ] {
            assert_eq!((address.fixed(), &Known::from(&address)), (fixed, &known));
            assert_eq!(known.address(), fixed);
        }
    }
}
