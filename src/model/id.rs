//! A type for each identifier, so that none can be passed where another is meant.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; whoever reads it from outside has checked it.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier! {
    /// A Drive file, folder or shortcut. Folders are files to Drive.
    FileId
}
identifier! {
    /// One content of a file: Drive's `headRevisionId`. It changes with the bytes and with nothing else.
    RevisionId
}
identifier! {
    /// A position in a change log. Opaque; tokens of different logs do not compare.
    PageToken
}
identifier! {
    /// A push channel, chosen by us: a fresh UUID each time, since Drive never accepts an id twice.
    ChannelId
}
identifier! {
    /// What a channel watches, as Drive names it. Needed to stop the channel.
    ResourceId
}
identifier! {
    /// One delivery: one revision of one file on its way to its place.
    DeliveryId
}

identifier! {
    /// A Drive account: Drive's `permissionId` of the user.
    AccountId
}
identifier! {
    /// One login: the hash of what the credentials prove themselves by. Another login may belong to another account.
    LoginId
}

impl LoginId {
    /// Of a refresh token, or of what names a service account.
    pub fn of(proof: &str) -> Self {
        Self(hash_token(proof.as_bytes()))
    }
}

impl ChannelId {
    /// A new id that nobody has used.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

impl DeliveryId {
    /// A new id that nobody has used.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

/// The secret that Drive repeats in every notification of a channel. Never logged, never stored: the ledger
/// keeps its SHA-256 only.
#[derive(Clone)]
pub struct ChannelToken(String);

impl ChannelToken {
    /// 244 random bits as 64 hexadecimal digits, well under Drive's limit of 256 characters.
    pub fn random() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
    }

    /// The text to send to Drive.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the ledger keeps of it.
    pub fn hash(&self) -> String {
        hash_token(self.0.as_bytes())
    }
}

/// SHA-256 of a token's text, as lower-case hexadecimal.
pub fn hash_token(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for ChannelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelToken([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_shown_as_its_text() {
        let id = FileId::new("1AbC");
        assert_eq!((id.as_str(), id.to_string().as_str()), ("1AbC", "1AbC"));
    }

    #[test]
    fn random_ones_differ_and_have_the_form_that_is_promised() {
        let (a, b) = (ChannelId::random(), ChannelId::random());
        assert!(a != b && a.as_str().len() == 36, "{a} {b}");
        let (a, b) = (DeliveryId::random(), DeliveryId::random());
        assert!(a != b && a.as_str().len() == 32, "{a} {b}");
        let (a, b) = (ChannelToken::random(), ChannelToken::random());
        for token in [&a, &b] {
            let text = token.expose();
            assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        }
        assert_ne!(a.expose(), b.expose());
        assert_ne!(a.expose()[..32], a.expose()[32..]);
    }

    #[test]
    fn a_token_is_stored_as_its_hash_and_shown_as_nothing() {
        let token = ChannelToken("abc".to_owned());
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((token.hash().as_str(), hash_token(b"abc").as_str()), (hash, hash));
        assert_eq!(format!("{token:?}"), "ChannelToken([hidden])");
    }
}
