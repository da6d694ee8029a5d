//! The parts of Google's OAuth 2.0 that a Drive client meets.

pub(crate) mod consent;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod identities;
pub(crate) mod jwt;
pub(crate) mod tokens;
pub(crate) mod workload;
