//! Compression of JSON, as Google does it: only for a client that accepts gzip and says the word in its `User-Agent` too.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, USER_AGENT};

use super::body::{Framing, Reply, Shape};

/// How an answer may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Gzip,
}

impl Coding {
    /// What the client asks for.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Self {
        let says = |name| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.into_iter().any(|value| value.to_ascii_lowercase().contains("gzip"))
        };
        if says(ACCEPT_ENCODING) && says(USER_AGENT) { Self::Gzip } else { Self::Plain }
    }

    /// Compresses an answer, if it is JSON and nobody did before.
    pub(crate) fn apply(self, mut reply: Reply, shape: &mut Shape) -> Reply {
        let is_json =
            reply.header_value("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if self == Self::Plain || !is_json || reply.header_value("content-encoding").is_some() {
            return reply;
        }
        let content = reply.content();
        reply.set_content(pack(&content));
        if shape.framing == Framing::Length && shape.length_by == 0 {
            // Its length is not known when it begins.
            shape.framing = Framing::Chunked;
        }
        reply.header("content-encoding", "gzip")
    }
}

/// One member of gzip.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_have_to_ask() {
        let asked = |accept: &str, agent: &str| {
            let headers = HeaderMap::from_iter([
                (ACCEPT_ENCODING, accept.parse().unwrap()),
                (USER_AGENT, agent.parse().unwrap()),
            ]);
            Coding::asked_for(&headers)
        };
        assert_eq!(asked("deflate, GZIP", "client (gzip)"), Coding::Gzip);
        assert_eq!(asked("gzip", "client"), Coding::Plain);
        assert_eq!(asked("identity", "client (gzip)"), Coding::Plain);
        assert_eq!(Coding::asked_for(&HeaderMap::new()), Coding::Plain);
    }
}
