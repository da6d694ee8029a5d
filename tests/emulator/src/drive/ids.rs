//! Identifiers that look like Google's, so that a client which assumes their shape is caught or confirmed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// A file: 33 characters, the first a `1`.
pub(crate) fn file() -> String {
    format!("1{}", random(32))
}

/// My Drive's root and a shared drive, whose id is its root folder's: 19 characters, `0A…PVA`.
pub(crate) fn root() -> String {
    format!("0A{}Uk9PVA", random(11))
}

/// A revision: long, beginning with `0B`.
pub(crate) fn revision() -> String {
    format!("0B{}", random(49))
}

/// A permission: twenty digits.
pub(crate) fn permission() -> String {
    format!("{:020}", Uuid::new_v4().as_u64_pair().1)
}

/// A resource key: 24 characters, the first two `0-`.
pub(crate) fn resource_key() -> String {
    format!("0-{}", random(22))
}

/// Unguessable text of any length, from `[A-Za-z0-9_-]`.
pub(crate) fn random(length: usize) -> String {
    let mut text = String::with_capacity(length + 22);
    while text.len() < length {
        URL_SAFE_NO_PAD.encode_string(Uuid::new_v4().as_bytes(), &mut text);
    }
    text.truncate(length);
    text
}

/// A number below `bound`, for values that must not be predictable but need no secrecy.
pub(crate) fn below(bound: u64) -> u64 {
    Uuid::new_v4().as_u64_pair().1 % bound.max(1)
}
