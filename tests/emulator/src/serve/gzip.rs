//! Compression of JSON, as Google does it: only for a client that accepts gzip and says the word in its `User-Agent` too.

use std::io::Write as _;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress};
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, USER_AGENT};

use super::body::{Reply, Shape};
use crate::fault::Framing;

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
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// So many megabytes of spaces and then these bytes, as one member of gzip. Compressing all of it would take seconds for
/// gigabytes, so that one megabyte is compressed and repeated.
pub(crate) fn pack_behind_spaces(megabytes: u64, bytes: &[u8]) -> Vec<u8> {
    let spaces = vec![b' '; 1 << 20];
    let (mut sum, mut spaces_sum) = (Crc::new(), Crc::new());
    spaces_sum.update(&spaces);
    let spaces = deflate(&spaces, FlushCompress::Full);
    // Deflate, no flags, no time, unknown system.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for _ in 0..megabytes {
        packed.extend_from_slice(&spaces);
        sum.combine(&spaces_sum);
    }
    packed.extend(deflate(bytes, FlushCompress::Finish));
    let mut rest = Crc::new();
    rest.update(bytes);
    sum.combine(&rest);
    packed.extend(sum.sum().to_le_bytes());
    packed.extend(sum.amount().to_le_bytes());
    packed
}

/// Blocks that refer to nothing before them.
fn deflate(bytes: &[u8], flush: FlushCompress) -> Vec<u8> {
    // What cannot be compressed grows by a few bytes for each 64 KiB.
    let mut packed = Vec::with_capacity(bytes.len() + bytes.len() / 1000 + 100);
    // There is room for all of it, so nothing is left over and nothing can fail.
    let _ = Compress::new(Compression::default(), false).compress_vec(bytes, &mut packed, flush);
    packed
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_is_packed_behind_spaces_is_one_member_with_the_right_sum() {
        let mut unpacked = Vec::new();
        GzDecoder::new(&pack_behind_spaces(3, b"end")[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked.len(), (3 << 20) + 3);
        assert!(unpacked[..3 << 20].iter().all(|&byte| byte == b' ') && unpacked.ends_with(b"end"));
    }

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
