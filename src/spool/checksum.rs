//! Checksums as bytes come by.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::model::file::{Checksum, ShaInstructions};

/// A checksum in the making, by the algorithm of the one that is expected.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256
    Sha256(Box<Sha256>),
    /// SHA-1
    Sha1(Box<Sha1>),
    /// MD5
    Md5(Box<Md5>),
}

impl Hasher {
    /// Begins a checksum that can be compared with `expected`.
    pub fn like(expected: &Checksum) -> Self {
        match expected {
            Checksum::Sha256(_) => Self::Sha256(Box::default()),
            Checksum::Sha1(_) => Self::Sha1(Box::default()),
            Checksum::Md5(_) => Self::Md5(Box::default()),
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
        }
    }

    /// The checksum of all bytes.
    pub fn finish(self) -> Checksum {
        match self {
            Self::Sha256(hasher) => Checksum::Sha256(hex(&hasher.finalize())),
            Self::Sha1(hasher) => Checksum::Sha1(hex(&hasher.finalize())),
            Self::Md5(hasher) => Checksum::Md5(hex(&hasher.finalize())),
        }
    }
}

/// What this processor has.
pub fn sha_instructions() -> ShaInstructions {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has = std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    if has { ShaInstructions::Present } else { ShaInstructions::Absent }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_processor_has_is_what_the_system_says() {
        let said = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = said.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
        let has = flags.is_some_and(|flags| flags.split(' ').any(|flag| ["sha_ni", "sha2"].contains(&flag)));
        assert_eq!(sha_instructions() == ShaInstructions::Present, has);
    }

    #[test]
    fn each_algorithm_gives_its_published_test_vector() {
        for expected in [
            Checksum::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()),
            Checksum::Sha1("a9993e364706816aba3e25717850c26c9cd0d89d".into()),
            Checksum::Md5("900150983cd24fb0d6963f7d28e17f72".into()),
        ] {
            let mut hasher = Hasher::like(&expected);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), expected);
        }
    }
}
