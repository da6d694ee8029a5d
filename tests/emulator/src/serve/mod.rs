//! HTTP/1.1 and HTTP/2 over plain and TLS connections, with bodies that can be slowed, cut and falsified.

pub(crate) mod alter;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod gzip;
pub(crate) mod line;
pub(crate) mod record;
