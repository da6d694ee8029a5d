//! HTTP over plain and TLS connections, with bodies that can be slowed, cut and falsified.

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod record;
