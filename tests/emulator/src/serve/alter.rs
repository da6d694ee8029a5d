//! Answers as faults make them: others, wrong ones, and ones that end or are framed in another way.

use std::borrow::Cow;

use serde_json::Value;

use super::body::{End, Reply, Shape};
use super::gzip::pack_behind_spaces;
use crate::fault::{Action, StreamError};
use crate::params::Params;

/// What the texts of a fault can refer to.
pub(crate) struct Fill<'a> {
    /// How often the fault has struck, this time included.
    pub(crate) count: u32,
    /// Path and query of the request.
    pub(crate) target: &'a str,
}

impl Fill<'_> {
    /// A text with its `{count}` and each `{query:NAME}` filled in, the latter as JSON strings have them.
    fn fill(&self, text: &str) -> String {
        const QUERY: &str = "{query:";
        let params = Params::parse(self.target.split_once('?').map_or("", |(_, query)| query));
        let mut filled = text.replace("{count}", &self.count.to_string());
        while let Some((before, rest)) = filled.split_once(QUERY)
            && let Some((name, after)) = rest.split_once('}')
        {
            let value = Value::from(params.get(name).unwrap_or_default()).to_string();
            filled = format!("{before}{}{after}", value.trim_matches('"'));
        }
        filled
    }

    /// Where a redirect leads. An address without a path keeps that of the request.
    fn location(&self, to: &str) -> String {
        let is_host_only = to.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
        if is_host_only { format!("{to}{}", self.target) } else { self.fill(to) }
    }
}

/// The answer that a fault gives without acting on the request.
pub(crate) fn instead(action: &Action, fill: &Fill<'_>) -> Option<Reply> {
    match action {
        Action::Text { code, text } => Some(Reply::json(*code, fill.fill(text))),
        Action::Redirect { code, location } => {
            Some(Reply::html(*code, "Found").header("location", fill.location(location)))
        }
        Action::ResetStream { error: StreamError::RefusedStream, after: None } => Some(Reply::empty(503)),
        _ => None,
    }
}

/// An answer as a fault changes it.
pub(crate) fn changed(action: &Action, mut reply: Reply, shape: &mut Shape, fill: &Fill<'_>) -> Reply {
    match action {
        Action::CutAfter { bytes } => shape.end = Some((*bytes, End::Cut)),
        Action::StallAfter { bytes } => shape.end = Some((*bytes, End::Stall)),
        Action::ResetAfter { bytes } => shape.end = Some((*bytes, End::Reset)),
        Action::ResetStream { error, after: None } => shape.abandon = Some(*error),
        Action::ResetStream { error, after: Some(bytes) } => {
            shape.end = Some((*bytes, End::ResetStream(*error)));
        }
        Action::Slow { bytes_per_second } => shape.rate = Some(*bytes_per_second),
        Action::WrongByte { offset } => shape.wrong_byte = Some(*offset),
        Action::WrongLength { by } => shape.length_by = *by,
        Action::WithoutLength(framing) => shape.framing = *framing,
        Action::Truncate { bytes } => {
            let mut content = reply.content();
            content.truncate(usize::try_from(*bytes).unwrap_or(usize::MAX));
            reply.set_content(content);
        }
        Action::Patch { pointer, json } => edit(&mut reply, pointer, Some(&fill.fill(json))),
        Action::Remove { pointer } => edit(&mut reply, pointer, None),
        Action::Header { name, value } => {
            let name = name.to_ascii_lowercase();
            reply.headers.retain(|(known, _)| *known != name);
            reply.headers.extend(value.clone().map(|value| (Cow::from(name), value)));
        }
        Action::WrongRange { start_by, total_by } => shift_range(&mut reply, *start_by, *total_by),
        Action::Bomb { megabytes } => {
            let content = reply.content();
            reply.set_content(pack_behind_spaces(*megabytes, &content));
            reply = reply.header("content-encoding", "gzip");
        }
        _ => {}
    }
    reply
}

/// Replaces or removes one value of a JSON answer. What is in the way of it is left alone, and so is any other answer.
fn edit(reply: &mut Reply, pointer: &str, json: Option<&str>) {
    /// Stands where text comes that need not be JSON.
    const MARK: &str = "\u{e000}patched\u{e000}";
    let content = reply.content();
    let Ok(mut value) = serde_json::from_slice::<Value>(&content) else { return reply.set_content(content) };
    let (above, name) = pointer.rsplit_once('/').unwrap_or_default();
    let name = name.replace("~1", "/").replace("~0", "~");
    let mark = Value::from(MARK);
    match (value.pointer_mut(above), json) {
        _ if pointer.is_empty() => value = mark,
        (Some(Value::Object(members)), Some(_)) => drop(members.insert(name, mark)),
        (Some(Value::Object(members)), None) => drop(members.remove(&name)),
        (Some(Value::Array(items)), Some(_)) if name == "-" => items.push(mark),
        (Some(Value::Array(items)), json) => match (name.parse::<usize>(), json) {
            (Ok(at), Some(_)) if at < items.len() => items[at] = mark,
            (Ok(at), None) if at < items.len() => drop(items.remove(at)),
            _ => {}
        },
        _ => {}
    }
    let text = format!("{value:#}\n").replace(&format!("\"{MARK}\""), json.unwrap_or("null"));
    reply.set_content(text.into_bytes());
}

/// `bytes 5-9/20` with other numbers.
fn shift_range(reply: &mut Reply, start_by: i64, total_by: i64) {
    let Some((_, range)) = reply.headers.iter_mut().find(|(name, _)| name == "content-range") else { return };
    let parts = || {
        let (place, total) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (start, end) = place.split_once('-')?;
        Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?, total.parse::<u64>().ok()?))
    };
    let Some((start, end, total)) = parts() else { return };
    let moved = |at: u64| at.saturating_add_signed(start_by);
    *range = format!("bytes {}-{}/{}", moved(start), moved(end), total.saturating_add_signed(total_by));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(pointer: &str, json: Option<&str>) -> String {
        let mut reply = Reply::json(200, r#"{"a":{"b":[1,2]},"n":3}"#.to_owned());
        edit(&mut reply, pointer, json);
        String::from_utf8(reply.content()).unwrap().split_whitespace().collect()
    }

    #[test]
    fn values_are_replaced_added_and_removed_and_need_not_be_json() {
        for (pointer, json, expected) in [
            ("/n", Some(r#""\ud800""#), r#"{"a":{"b":[1,2]},"n":"\ud800"}"#),
            ("/a/b/1", Some("{}"), r#"{"a":{"b":[1,{}]},"n":3}"#),
            ("/a/b/-", Some("null"), r#"{"a":{"b":[1,2,null]},"n":3}"#),
            ("/a/c~1d", Some("5"), r#"{"a":{"b":[1,2],"c/d":5},"n":3}"#),
            ("/a/b/0", None, r#"{"a":{"b":[2]},"n":3}"#),
            ("/a", None, r#"{"n":3}"#),
            ("", Some("{"), "{"),
            ("/a/b/7", Some("0"), r#"{"a":{"b":[1,2]},"n":3}"#),
            ("/none/x", Some("0"), r#"{"a":{"b":[1,2]},"n":3}"#),
        ] {
            assert_eq!(edited(pointer, json), expected, "{pointer}");
        }
    }

    #[test]
    fn texts_refer_to_the_request() {
        let fill = Fill { count: 7, target: "/drive/v3/changes?pageToken=a%22b&x=1" };
        assert_eq!(fill.fill(r#""{query:pageToken}-{count}{query:none}""#), r#""a\"b-7""#);
        assert_eq!(fill.location("/other?n={count}"), "/other?n=7");
        assert_eq!(fill.location("https://h:1"), "https://h:1/drive/v3/changes?pageToken=a%22b&x=1");
    }

    #[test]
    fn ranges_are_shifted() {
        let mut reply = Reply::empty(206).header("content-range", "bytes 5-9/20");
        shift_range(&mut reply, -2, 100);
        assert_eq!(reply.header_value("content-range"), Some("bytes 3-7/120"));
    }
}
