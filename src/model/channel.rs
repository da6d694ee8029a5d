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
