//! The bytes of a file: given ones, or a pattern made on the fly at any offset.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::Md5;
use serde::Deserialize;
use sha1::Sha1;
use sha2::Sha256;

/// What a file contains.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub enum Content {
    /// Exactly these bytes.
    Bytes(Bytes),
    /// Deterministic noise: `size` bytes that depend on `seed` and the offset alone and cost no memory.
    Pattern {
        /// Two patterns with different seeds differ everywhere.
        seed: u64,
        /// Length in bytes.
        size: u64,
    },
}

impl Content {
    /// Exactly these bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// `size` bytes of noise.
    pub const fn pattern(seed: u64, size: u64) -> Self {
        Self::Pattern { seed, size }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern { size, .. } => *size,
        }
    }

    /// The bytes from `offset` on, at most `length` of them: what a downloader should end up with.
    pub fn slice(&self, offset: u64, length: usize) -> Bytes {
        Reader::new(self, offset, offset.saturating_add(length as u64)).next_chunk(length).unwrap_or_default()
    }

    pub(crate) fn checksums(&self) -> Checksums {
        static KNOWN: LazyLock<Mutex<HashMap<(u64, u64), Checksums>>> = LazyLock::new(Mutex::default);
        match self {
            Self::Bytes(_) => Checksums::of(self),
            Self::Pattern { seed, size } => {
                let key = (*seed, *size);
                let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
                known.unwrap_or_else(|| {
                    let sums = Checksums::of(self);
                    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, sums.clone());
                    sums
                })
            }
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

/// A content as JSON writes it: `{"text": "…"}`, `{"base64": "…"}` or `{"pattern": {"seed": 1, "size": 2}}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Written {
    Text(String),
    Base64(String),
    Pattern { seed: u64, size: u64 },
}

impl TryFrom<Written> for Content {
    type Error = base64::DecodeError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Ok(match written {
            Written::Text(text) => Self::Bytes(text.into()),
            Written::Base64(text) => Self::Bytes(STANDARD.decode(text)?.into()),
            Written::Pattern { seed, size } => Self::Pattern { seed, size },
        })
    }
}

/// The three digests Drive publishes, lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksums {
    pub(crate) md5: String,
    pub(crate) sha1: String,
    pub(crate) sha256: String,
}

impl Checksums {
    /// One thread per digest for large contents: MD5 alone takes as long as the other two together.
    fn of(content: &Content) -> Self {
        const WORTH_THREADS: u64 = 8 << 20;
        if content.size() < WORTH_THREADS {
            return Self {
                md5: digest::<Md5>(content),
                sha1: digest::<Sha1>(content),
                sha256: digest::<Sha256>(content),
            };
        }
        std::thread::scope(|scope| {
            let sha1 = scope.spawn(|| digest::<Sha1>(content));
            let sha256 = scope.spawn(|| digest::<Sha256>(content));
            Self {
                md5: digest::<Md5>(content),
                sha1: sha1.join().unwrap_or_default(),
                sha256: sha256.join().unwrap_or_default(),
            }
        })
    }
}

fn digest<D: md5::Digest>(content: &Content) -> String {
    let mut digest = D::new();
    let mut reader = Reader::new(content, 0, content.size());
    while let Some(chunk) = reader.next_chunk(CHUNK) {
        digest.update(&chunk);
    }
    hex(&digest.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Large enough that a gigabyte costs a few thousand writes, small enough to stop promptly.
pub(crate) const CHUNK: usize = 256 << 10;

/// Reads part of a content front to back.
pub(crate) struct Reader {
    source: Source,
    at: u64,
    end: u64,
}

enum Source {
    Bytes(Bytes),
    Pattern { seed: u64 },
}

impl Reader {
    /// Bytes `start..end` of `content`, clipped to its size.
    pub(crate) fn new(content: &Content, start: u64, end: u64) -> Self {
        let source = match content {
            Content::Bytes(bytes) => Source::Bytes(bytes.clone()),
            Content::Pattern { seed, .. } => Source::Pattern { seed: *seed },
        };
        let end = end.min(content.size());
        Self { source, at: start.min(end), end }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes, at most `max`; `None` at the end.
    pub(crate) fn next_chunk(&mut self, max: usize) -> Option<Bytes> {
        let length = self.remaining().min(max as u64);
        if length == 0 {
            return None;
        }
        let start = self.at;
        self.at += length;
        Some(match &self.source {
            Source::Bytes(bytes) => bytes.slice(start as usize..self.at as usize),
            Source::Pattern { seed } => pattern(*seed, start, length as usize),
        })
    }
}

const BASE: u64 = 1 << 20;
const PAGE: u64 = 4 << 10;
const STAMP: u64 = 8;

/// One block of noise for all patterns: a debug build takes a while to make one.
static NOISE: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..BASE / STAMP).flat_map(|word| mix(word).to_le_bytes()).collect());

/// Copies of one random block, begun elsewhere for each seed, each page of which is stamped with its own number: as fast
/// as memory, and still different wherever a range could be misplaced.
fn pattern(seed: u64, start: u64, length: usize) -> Bytes {
    let base = &NOISE;
    let turn = mix(seed) % BASE;
    let end = start + length as u64;
    let mut out = Vec::with_capacity(length);
    while out.len() < length {
        let from = ((turn + start + out.len() as u64) % BASE) as usize;
        let take = (base.len() - from).min(length - out.len());
        out.extend_from_slice(&base[from..from + take]);
    }
    for page in start / PAGE..end.div_ceil(PAGE) {
        let stamp = mix(seed ^ mix(page)).to_le_bytes();
        let stamp_at = page * PAGE;
        let (from, to) = (start.max(stamp_at), end.min(stamp_at + STAMP));
        if from < to {
            let (source, target) = ((from - stamp_at) as usize, (from - start) as usize);
            let length = (to - from) as usize;
            out[target..target + length].copy_from_slice(&stamp[source..source + length]);
        }
    }
    Bytes::from(out)
}

/// The finalizer of splitmix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_the_same_in_one_piece_and_in_many() {
        let content = Content::pattern(7, 3 * BASE + 12_345);
        let whole = content.slice(0, content.size() as usize);
        let mut pieces = Vec::new();
        let mut offset = 0;
        for step in [1usize, 4095, 5, 70_001, 2, 1 << 20].into_iter().cycle() {
            let piece = content.slice(offset, step);
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            pieces.extend_from_slice(&piece);
        }
        assert_eq!(whole, pieces);
    }

    #[test]
    fn no_two_blocks_of_a_pattern_are_alike() {
        let content = Content::pattern(1, 2 * BASE);
        assert_ne!(content.slice(0, BASE as usize), content.slice(BASE, BASE as usize));
        let other = Content::pattern(2, BASE);
        for at in (0..BASE).step_by(PAGE as usize / 2) {
            assert_ne!(content.slice(at, 16), other.slice(at, 16), "{at}");
        }
    }

    #[test]
    fn checksums_are_those_of_the_well_known_tools() {
        let sums = Content::from("abc").checksums();
        assert_eq!(sums.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(sums.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(sums.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
