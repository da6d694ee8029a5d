//! Failures on demand: which requests, how many of them, and what goes wrong.

use serde::Deserialize;

use crate::drive::content::Content;

/// The next `times` requests that match go wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    #[serde(default)]
    pub matching: Matching,
    /// How many of them; `u32::MAX`: until cleared.
    #[serde(default = "once")]
    pub times: u32,
    /// What goes wrong.
    pub action: Action,
}

const fn once() -> u32 {
    1
}

const fn ok() -> u16 {
    200
}

const fn found() -> u16 {
    302
}

impl Fault {
    /// One failure of one operation.
    pub fn once(operation: &str, action: Action) -> Self {
        Self { matching: Matching::operation(operation), times: 1, action }
    }

    /// `times` failures of one operation.
    pub fn times(operation: &str, times: u32, action: Action) -> Self {
        Self { matching: Matching::operation(operation), times, action }
    }

    /// Every call of one operation fails until the faults are cleared.
    pub fn always(operation: &str, action: Action) -> Self {
        Self::times(operation, u32::MAX, action)
    }
}

/// Which requests a fault is for: all that fit every part that is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Matching {
    /// A method of the discovery document: `changes.list`, `files.get`, `files.create`, …. Besides those `files.media`,
    /// `upload` for the requests of a resumable upload, `batch`, `token`, `auth`, `revoke`.
    pub operation: Option<String>,
    /// `GET`, `POST`, …
    pub method: Option<String>,
    /// The beginning of the path; `*` stands for any text.
    pub path: Option<String>,
    /// The file the request is about, or the folder whose items it lists.
    pub file: Option<String>,
    /// Only requests with a range that begins anywhere and goes to the file's end.
    pub to_end: bool,
    /// How many requests that fit pass unharmed first.
    pub skip: u32,
}

impl Matching {
    /// Every call of one operation.
    pub fn operation(operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::default() }
    }

    /// Every request whose path begins like this; `*` stands for any text.
    pub fn path(path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::default() }
    }

    /// Only requests about this file.
    #[must_use]
    pub fn file(mut self, id: &str) -> Self {
        self.file = Some(id.to_owned());
        self
    }

    /// Only requests with a range that goes to the file's end.
    #[must_use]
    pub const fn to_end(mut self) -> Self {
        self.to_end = true;
        self
    }

    /// Lets the first `requests` that fit pass.
    #[must_use]
    pub const fn skip(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    fn fits(&self, request: &Asked<'_>) -> bool {
        let equal = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        equal(&self.operation, request.operation)
            && equal(&self.method, request.method)
            && self.file.as_deref().is_none_or(|file| request.is_about(file))
            && self.path.as_deref().is_none_or(|pattern| begins_like(request.path, pattern))
            && (!self.to_end || request.range.is_some_and(|range| range.trim_end().ends_with('-')))
    }
}

/// What goes wrong with a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Google's JSON error instead of an answer. At the token endpoint `reason` is the `error` member; at the consent
    /// page it becomes `?error=` of the redirect.
    Status {
        /// HTTP status.
        code: u16,
        /// `rateLimitExceeded`, `invalid_grant`, …
        reason: String,
        /// `None`: a text that fits.
        message: Option<String>,
        /// The `Retry-After` header.
        retry_after: Option<String>,
    },
    /// An HTML page, as from a proxy in front of Google.
    Html {
        /// HTTP status.
        code: u16,
        /// The `Retry-After` header.
        retry_after: Option<String>,
    },
    /// The connection is closed after this many bytes of the body.
    CutAfter {
        /// Bytes that still arrive.
        bytes: u64,
    },
    /// Nothing more comes after this many bytes of the body, and the connection stays open.
    StallAfter {
        /// Bytes that still arrive.
        bytes: u64,
    },
    /// The connection is reset (RST) after this many bytes of the body.
    ResetAfter {
        /// Bytes that still arrive.
        bytes: u64,
    },
    /// The request is acted on this much later.
    Delay {
        /// How much.
        milliseconds: u64,
    },
    /// The request is acted on at once and answered this much later: what a `watch` brings about can be heard of
    /// before its answer, and a client that gives up leaves a channel behind.
    AnswerLate {
        /// How much.
        milliseconds: u64,
    },
    /// This body arrives at this many bytes per second.
    Slow {
        /// The rate.
        bytes_per_second: u64,
    },
    /// The byte at this offset of the body is another one.
    WrongByte {
        /// Offset in the body, not in the file.
        offset: u64,
    },
    /// `Content-Length` is off by this much. Too large: the body ends early; too small: it is truncated.
    WrongLength {
        /// Added to the true length.
        by: i64,
    },
    /// `Range` is ignored: 200 with the whole file.
    IgnoreRange,
    /// The file gets this content just before the request is answered.
    Revise(Content),
    /// This text is the answer, as JSON, and nothing is acted on. `{count}` in it is how often the fault has struck, and
    /// `{query:NAME}` a parameter of the request.
    Text {
        /// HTTP status.
        #[serde(default = "ok")]
        code: u16,
        /// What need not be JSON.
        text: String,
    },
    /// One value of the JSON answer is another one. A missing member is added, and so is an item at `-`.
    Patch {
        /// JSON pointer.
        pointer: String,
        /// What stands there, which need not be JSON. It may have the same references as [`Text`](Self::Text).
        json: String,
    },
    /// One value of the JSON answer is missing.
    Remove {
        /// JSON pointer.
        pointer: String,
    },
    /// A header of the answer is another one, or, without a value, missing. `Content-Length` stays as it is.
    Header {
        /// In any case.
        name: String,
        /// What it says.
        value: Option<String>,
    },
    /// The answer is somewhere else.
    Redirect {
        /// HTTP status.
        #[serde(default = "found")]
        code: u16,
        /// A path, or an address. An address without a path keeps path and query of the request.
        location: String,
    },
    /// The body ends after this many bytes, and its length agrees. [`CutAfter`](Self::CutAfter) is for one that does not.
    Truncate {
        /// Bytes that come.
        bytes: u64,
    },
    /// `Content-Range` has other numbers than the bytes that come.
    WrongRange {
        /// Added to its first and last byte.
        #[serde(default)]
        start_by: i64,
        /// Added to its total.
        #[serde(default)]
        total_by: i64,
    },
    /// The body has no `Content-Length`.
    WithoutLength(Framing),
    /// The JSON answer begins with so many megabytes of spaces, and all of it is compressed to a thousandth.
    Bomb {
        /// How many.
        megabytes: u64,
    },
    /// The request is answered, and its connection takes no more of them: GOAWAY in HTTP/2.
    GoAway,
    /// Neither this request nor any other on its connection gets another byte. The connection stays open, and HTTP/2
    /// goes on answering pings.
    Silence,
    /// HTTP/2: the stream ends with RST_STREAM, and its session lives on. HTTP/1.1: the connection is closed.
    ResetStream {
        /// The error code.
        #[serde(default)]
        error: StreamError,
        /// Bytes of the body that still arrive; `None`: not even a status does.
        after: Option<u64>,
    },
}

/// How a client knows where a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Framing {
    /// By `Content-Length`.
    #[default]
    Length,
    /// By its last chunk; in HTTP/2 by the end of the stream.
    Chunked,
    /// By the end of the connection, as in HTTP/1.0.
    UntilClose,
}

/// Error codes of RST_STREAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StreamError {
    /// `INTERNAL_ERROR`: nobody knows whether the request was acted on.
    #[default]
    InternalError,
    /// `REFUSED_STREAM`: the request was not acted on.
    RefusedStream,
    /// `ENHANCE_YOUR_CALM`.
    EnhanceYourCalm,
}

impl Action {
    /// Google's JSON error with this status and reason.
    pub fn status(code: u16, reason: &str) -> Self {
        Self::Status { code, reason: reason.to_owned(), message: None, retry_after: None }
    }

    /// The same with `Retry-After`.
    pub fn status_retry_after(code: u16, reason: &str, retry_after: &str) -> Self {
        let retry_after = Some(retry_after.to_owned());
        Self::Status { code, reason: reason.to_owned(), message: None, retry_after }
    }

    /// RST_STREAM with `INTERNAL_ERROR` instead of an answer.
    pub const fn reset_stream() -> Self {
        Self::ResetStream { error: StreamError::InternalError, after: None }
    }

    /// One value of a JSON answer is another one.
    pub fn patch(pointer: &str, json: &str) -> Self {
        Self::Patch { pointer: pointer.to_owned(), json: json.to_owned() }
    }

    /// This text is the answer.
    pub fn text(text: &str) -> Self {
        Self::Text { code: 200, text: text.to_owned() }
    }

    /// The answer is somewhere else.
    pub fn redirect(location: &str) -> Self {
        Self::Redirect { code: 302, location: location.to_owned() }
    }

    /// A proxy's HTML page.
    pub const fn html(code: u16) -> Self {
        Self::Html { code, retry_after: None }
    }
}

/// What a request asks for, as faults see it.
pub(crate) struct Asked<'a> {
    pub(crate) operation: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) file: Option<&'a str>,
    pub(crate) range: Option<&'a str>,
    pub(crate) query: &'a str,
}

impl Asked<'_> {
    fn is_about(&self, file: &str) -> bool {
        // Ids have no character that an address would encode.
        self.file == Some(file) || self.operation == "files.list" && self.query.contains(file)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    live: Vec<Live>,
}

#[derive(Debug)]
struct Live {
    fault: Fault,
    struck: u32,
}

/// What goes wrong with a request.
#[derive(Debug)]
pub(crate) struct Strike {
    pub(crate) action: Action,
    /// How often its fault has struck, this time included.
    pub(crate) count: u32,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.live.push(Live { fault, struck: 0 });
    }

    pub(crate) fn clear(&mut self) {
        self.live.clear();
    }

    /// The first fault that fits, used up by one.
    pub(crate) fn strike(&mut self, request: &Asked<'_>) -> Option<Strike> {
        for index in 0..self.live.len() {
            let Live { fault, struck } = &mut self.live[index];
            if !fault.matching.fits(request) || fault.times == 0 {
                continue;
            }
            if fault.matching.skip > 0 {
                fault.matching.skip -= 1;
                continue;
            }
            *struck = struck.saturating_add(1);
            let strike = Strike { action: fault.action.clone(), count: *struck };
            if fault.times != u32::MAX {
                fault.times -= 1;
            }
            if fault.times == 0 {
                self.live.remove(index);
            }
            return Some(strike);
        }
        None
    }
}

/// Whether `text` begins like `pattern`, in which `*` stands for any text.
fn begins_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text.starts_with(pattern),
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| begins_like(&rest[at..], after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_their_beginning_and_stars() {
        let cases = [
            ("/drive/v3/changes", "/drive/v3/ch", true),
            ("/drive/v3/changes", "/v3", false),
            ("/drive/v3/files/abc/watch", "/drive/v3/files/*/watch", true),
            ("/drive/v3/files/abc", "/drive/v3/files/*/watch", false),
            ("/anything", "", true),
        ];
        for (text, pattern, fits) in cases {
            assert_eq!(begins_like(text, pattern), fits, "{text} {pattern}");
        }
    }

    #[test]
    fn a_fault_lets_some_pass_strikes_and_is_spent() {
        let mut faults = Faults::default();
        let matching = Matching::operation("about.get").skip(1);
        faults.add(Fault { matching, times: 2, action: Action::html(502) });
        let asked =
            |operation| Asked { operation, method: "GET", path: "/", file: None, range: None, query: "" };
        let struck: Vec<bool> = (0..4).map(|_| faults.strike(&asked("about.get")).is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert!(faults.strike(&asked("files.get")).is_none());
    }

    #[test]
    fn a_fault_for_a_folder_strikes_its_listings() {
        let mut faults = Faults::default();
        let matching = Matching::operation("files.list").file("1Folder");
        faults.add(Fault { matching, times: u32::MAX, action: Action::html(502) });
        for (query, is_struck) in [("q=%271Folder%27+in+parents", true), ("q=%271Other%27+in+parents", false)]
        {
            let asked =
                Asked { operation: "files.list", method: "GET", path: "/", file: None, range: None, query };
            assert_eq!(faults.strike(&asked).is_some(), is_struck, "{query}");
        }
    }

    #[test]
    fn a_fault_for_the_end_of_files_lets_other_ranges_pass() {
        let mut faults = Faults::default();
        let matching = Matching::operation("files.media").to_end();
        faults.add(Fault { matching, times: u32::MAX, action: Action::html(502) });
        for (range, is_struck) in
            [(None, false), (Some("bytes=5-9"), false), (Some("bytes=-9"), false), (Some("bytes=5-"), true)]
        {
            let asked =
                Asked { operation: "files.media", method: "GET", path: "/", file: None, range, query: "" };
            assert_eq!(faults.strike(&asked).is_some(), is_struck, "{range:?}");
        }
    }
}
