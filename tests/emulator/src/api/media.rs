//! `files.get` with `alt=media`: bytes, whole or one range of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc};

use super::call::Call;
use super::error::ApiError;
use super::files::visible;
use super::view::View;
use crate::drive::content::{CHUNK, Content, Reader};
use crate::drive::ids;
use crate::drive::node::Quirk;
use crate::serve::body::Reply;
use crate::world::World;

pub(crate) fn get(state: &World, call: &Call) -> Result<Reply, ApiError> {
    let acknowledged = call.params.flag("acknowledgeAbuse", false)?;
    let node = visible(state, call)?;
    View::of(state, call).check_download(node)?;
    let blob = node.blob().ok_or_else(|| ApiError::of_reason(403, "fileNotDownloadable", None))?;
    if node.has(Quirk::NotDownloadable) {
        return Err(ApiError::of_reason(403, "cannotDownloadFile", None));
    }
    if node.has(Quirk::Abusive) && !acknowledged {
        return Err(ApiError::of_reason(403, "cannotDownloadAbusiveFile", None));
    }
    let size = blob.content.size();
    let range = call.header("range").filter(|_| !call.ignore_range).and_then(|text| parse_range(text, size));
    let (status, start, end) = match range {
        None => (200, 0, size),
        Some(Range::Part(start, end)) => (206, start, end),
        Some(Range::Beyond) => {
            let error = ApiError::new(416, "requestedRangeNotSatisfiable", "Request range not satisfiable");
            let reply = Reply::from(error.at_header("Range"));
            return Ok(reply.header("content-range", format!("bytes */{size}")));
        }
    };
    // A type that cannot stand in a header was never one.
    let is_plain = node.mime_type.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let content_type = if is_plain { node.mime_type.clone() } else { "application/octet-stream".to_owned() };
    let reader = Reader::new(&blob.content, start, end);
    let mut reply = Reply { status, headers: vec![("content-type".into(), content_type)], reader }
        .header("server", "UploadServer")
        .header("content-disposition", "attachment")
        .header("cache-control", "private, max-age=0, must-revalidate")
        .header("vary", "Origin, X-Origin")
        .header("x-guploader-uploadid", ids::random(76));
    if size <= HASHED {
        reply = reply.header("x-goog-hash", format!("crc32c={}", crc32c(&blob.content)));
    }
    Ok(if status == 206 {
        reply.header("content-range", format!("bytes {start}-{}/{size}", end - 1))
    } else {
        reply
    })
}

/// The hash of the whole content is computed for each answer, which would take too long for larger ones.
const HASHED: u64 = 1 << 20;

fn crc32c(content: &Content) -> String {
    static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    let mut digest = CRC32C.digest();
    let mut reader = Reader::new(content, 0, content.size());
    while let Some(chunk) = reader.next_chunk(CHUNK) {
        digest.update(&chunk);
    }
    STANDARD.encode(digest.finalize().to_be_bytes())
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// From the first, up to but without the second.
    Part(u64, u64),
    Beyond,
}

/// A single range, clipped to the file; anything else is as good as no range.
fn parse_range(text: &str, size: u64) -> Option<Range> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = if first.is_empty() {
        let count: u64 = last.parse().ok()?;
        (if count == 0 { size } else { size.saturating_sub(count) }, size)
    } else {
        let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.saturating_add(1).min(size) };
        (first.parse().ok()?, end)
    };
    if start >= size {
        Some(Range::Beyond)
    } else if start < end {
        Some(Range::Part(start, end))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_castagnolis() {
        // The check value of the catalogue: 0xe3069283.
        assert_eq!(crc32c(&Content::from("123456789")), "4waSgw==");
    }

    #[test]
    fn ranges_are_clipped_or_beyond_the_end() {
        for (text, size, expected) in [
            ("bytes=0-9", 100, Some(Range::Part(0, 10))),
            ("bytes=90-200", 100, Some(Range::Part(90, 100))),
            ("bytes=90-", 100, Some(Range::Part(90, 100))),
            ("bytes=-5", 100, Some(Range::Part(95, 100))),
            ("bytes=-500", 100, Some(Range::Part(0, 100))),
            ("bytes=100-", 100, Some(Range::Beyond)),
            ("bytes=0-", 0, Some(Range::Beyond)),
            ("bytes=5-4", 100, None),
            ("bytes=0-1,5-6", 100, None),
            ("lines=0-1", 100, None),
        ] {
            assert_eq!(parse_range(text, size), expected, "{text}");
        }
    }
}
