//! Bodies of several parts: a file's metadata with its content, and batches.

use bytes::Bytes;

/// One part: its own header lines and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Part {
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fits = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(fits).map(|(_, value)| value.as_str())
    }
}

/// The parts of a body of this type; `None` if there are none to be seen. Lines may end in CR LF or, as some clients
/// write them, in LF alone, but throughout in the same way.
pub(crate) fn parts(content_type: &str, body: &Bytes) -> Option<Vec<Part>> {
    let delimiter = format!("--{}", boundary(content_type)?);
    let mut lines = Lines { body, at: 0 };
    let (first, end) = lines.by_ref().find(|(line, _)| trim(line) == delimiter.as_bytes())?;
    let line_end = first.len() - trim(first).len();
    let mut parts = Vec::new();
    let mut start = end;
    for (line, end) in lines {
        let line_start = end - line.len();
        let text = trim(line);
        let is_last = text.strip_prefix(delimiter.as_bytes()) == Some(b"--");
        if is_last || text == delimiter.as_bytes() {
            let part_end = line_start.checked_sub(line_end).filter(|end| *end >= start)?;
            parts.push(part(&body.slice(start..part_end))?);
            start = end;
        }
        if is_last {
            return Some(parts);
        }
    }
    None
}

/// Header lines, an empty line, and the rest.
pub(crate) fn part(text: &Bytes) -> Option<Part> {
    let mut headers = Vec::new();
    for (line, end) in (Lines { body: text, at: 0 }) {
        let line = str::from_utf8(trim(line)).ok()?;
        if line.is_empty() {
            return Some(Part { headers, body: text.slice(end..) });
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Some(Part { headers, body: Bytes::new() })
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    let parameter = |text: &'static str| {
        parameters.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case(text).then(|| value.trim_matches('"'))
        })
    };
    kind.trim().to_ascii_lowercase().starts_with("multipart/").then(|| parameter("boundary")).flatten()
}

fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Lines with their ends, each with the offset behind it.
struct Lines<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], usize);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.at += length;
        Some((&rest[..length], self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_bytes_whatever_ends_their_lines() {
        for end in ["\r\n", "\n"] {
            let content = "one\r\n\n--other\r\ntwo\r";
            let lines = [
                "",
                "--b-1",
                "Content-Type: text/plain",
                "",
                "{}",
                "--b-1",
                "content-type:video/mp4",
                "",
                content,
                "--b-1--",
                "",
            ];
            let body = Bytes::from(lines.join(end));
            let parts = parts("multipart/related; boundary=\"b-1\"", &body).unwrap();
            assert_eq!(parts.len(), 2);
            assert_eq!(
                (parts[0].header("content-type"), &parts[0].body[..]),
                (Some("text/plain"), &b"{}"[..])
            );
            assert_eq!(
                (parts[1].header("Content-Type"), &parts[1].body[..]),
                (Some("video/mp4"), content.as_bytes())
            );
        }
    }

    #[test]
    fn what_is_not_in_parts_is_none() {
        let body = Bytes::from_static(b"--b\r\n\r\nx\r\n--b--\r\n");
        assert_eq!(parts("multipart/mixed; boundary=b", &body).unwrap()[0].body, "x");
        assert!(parts("multipart/mixed", &body).is_none());
        assert!(parts("application/json; boundary=b", &body).is_none());
        assert!(parts("multipart/mixed; boundary=c", &body).is_none());
        assert!(parts("multipart/mixed; boundary=b", &Bytes::from_static(b"--b\r\n\r\nx")).is_none());
    }
}
