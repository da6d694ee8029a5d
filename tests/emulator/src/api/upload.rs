//! Content on its way in: with the request, with metadata in several parts, or in a session of its own.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::discovery::{self, body};
use super::error::ApiError;
use super::multipart;
use super::params::Params;
use super::route::{Operation, Route};
use super::write::{self, Media};
use crate::drive::content::Content;
use crate::inner::Inner;
use crate::serve::body::Reply;
use crate::uploads::Session;

/// How long a session waits for the rest.
const SESSION_LIFETIME_MS: i64 = 7 * 24 * 3600 * 1000;
/// What Google answers to the cancelling of a session.
const CANCELLED: u16 = 499;

/// `files.create` and `files.update`, with content or without.
pub(crate) async fn write(inner: &Arc<Inner>, call: &Call) -> Answer {
    let is_upload = matches!(call.route.operation, Operation::Upload(_));
    let (resource, media) = match call.params.filled("uploadType").filter(|_| is_upload) {
        None if !is_upload => (body::read(&call.body, "File")?, None),
        Some("media") => (json!({}), Some(media(call.header("content-type"), &call.body))),
        Some("multipart") => {
            let (resource, media) = two_parts(call)?;
            (resource, Some(media))
        }
        Some("resumable") => return begin(inner, call),
        _ => return Err(ApiError::invalid_value("uploadType")),
    };
    let id = write::store(inner, call, &resource, media).await?;
    write::told(&inner.state(), call, &id)
}

fn two_parts(call: &Call) -> Result<(Value, Media), ApiError> {
    let parts = call.header("content-type").and_then(|kind| multipart::parts(kind, &call.body));
    let Some([resource, content]) = parts.as_deref() else {
        return Err(ApiError::bad_request("The body must have two parts, metadata and content."));
    };
    Ok((body::read(&resource.body, "File")?, media(content.header("content-type"), &content.body)))
}

/// A copy: a small body is a window on the connection's read buffer, which it must not keep alive.
fn media(mime_type: Option<&str>, body: &Bytes) -> Media {
    let mime_type = mime_type.filter(|kind| !kind.is_empty()).map(str::to_owned);
    Media { content: Content::Bytes(Bytes::copy_from_slice(body)), mime_type }
}

/// Opens a session and says where its bytes go.
fn begin(inner: &Arc<Inner>, call: &Call) -> Answer {
    let resource = body::read(&call.body, "File")?;
    let now = {
        let state = inner.state();
        write::look(&state, call, &resource)?;
        state.now()
    };
    let mut session =
        Session::new(call.params.clone(), call.headers.clone(), resource, now + SESSION_LIFETIME_MS);
    session.file.clone_from(&call.route.id);
    session.mime_type = call.header("x-upload-content-type").map(str::to_owned);
    session.total = call.header("x-upload-content-length").and_then(|text| text.parse().ok());
    let id = inner.uploads.begin(session);
    let file = call.route.id.as_ref().map_or(String::new(), |id| format!("/{}", super::params::encode(id)));
    let address = format!(
        "{}/upload/drive/v3/files{file}?uploadType=resumable&upload_id={id}",
        address(inner, call.header("host").unwrap_or_default())
    );
    Ok(Reply::empty(200).header("location", address).header("x-guploader-uploadid", id))
}

/// The address by which the client came in. A name without a port is a Google name that a proxy led here, by https.
pub(crate) fn address(inner: &Inner, host: &str) -> String {
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let is_plain = port.is_some() && port == inner.port.get().copied();
    format!("{}://{host}", if is_plain { "http" } else { "https" })
}

/// Part of a content: from which byte on, and how long the whole is.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    /// `None`: a question about what has arrived.
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    /// `bytes 0-99/200`, `bytes 0-99/*`, `bytes */200`, `bytes */*`.
    fn parse(text: &str) -> Option<Self> {
        let (range, total) =
            text.trim().strip_prefix("bytes")?.trim_start_matches([' ', '=']).split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self { start: None, total });
        }
        let (start, end) = range.split_once('-')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        (start <= end && total.is_none_or(|total| end < total)).then_some(Self { start: Some(start), total })
    }
}

/// Takes the bytes of a session's request as they come, so that those of one that is cut are not lost.
pub(crate) async fn pour(inner: &Arc<Inner>, params: &Params, headers: &HeaderMap, mut body: Incoming) {
    let id = params.get("upload_id").unwrap_or_default();
    let range = headers.get("content-range").and_then(|value| value.to_str().ok());
    let start = range.map_or(Some(0), |text| ContentRange::parse(text)?.start);
    let Some(mut position) = start else { return };
    while let Some(Ok(frame)) = body.frame().await {
        let Some(bytes) = frame.data_ref() else { continue };
        if let Some(session) = inner.uploads.sessions().get_mut(id) {
            session.append(position, bytes);
        }
        position += bytes.len() as u64;
    }
}

/// What a session's request comes to, once its bytes are in.
enum Step {
    /// More is to come; so much is there.
    Incomplete(u64),
    Complete(Session, Bytes),
    /// This file came of it before.
    Finished(Session, String),
}

/// A request of a session: the next bytes, a question about what is there, or the end of it.
pub(crate) async fn session(inner: &Arc<Inner>, call: &Call) -> Answer {
    let id = call.params.get("upload_id").unwrap_or_default();
    if call.verb == Method::DELETE {
        let known = inner.uploads.sessions().remove(id);
        return known.map(|_| Reply::empty(CANCELLED)).ok_or_else(unknown_session);
    }
    match step(inner, call, id)? {
        Step::Incomplete(length) => Ok(incomplete(call, length)),
        Step::Complete(session, bytes) => {
            let first = first_call(&session)?;
            let media = Media { content: Content::Bytes(bytes), mime_type: session.mime_type.clone() };
            let stored = write::store(inner, &first, &session.resource, Some(media)).await;
            {
                let mut sessions = inner.uploads.sessions();
                match (&stored, sessions.get_mut(id)) {
                    (Ok(file), Some(session)) => session.finished = Some(file.clone()),
                    // What could not be stored cannot be gone on with either.
                    _ => drop(sessions.remove(id)),
                }
            }
            write::told(&inner.state(), &first, &stored?)
        }
        Step::Finished(session, file) => write::told(&inner.state(), &first_call(&session)?, &file),
    }
}

fn step(inner: &Inner, call: &Call, id: &str) -> Result<Step, ApiError> {
    let range = match call.header("content-range") {
        None => None,
        Some(text) => {
            Some(ContentRange::parse(text).ok_or_else(|| ApiError::invalid_value("Content-Range"))?)
        }
    };
    let now = inner.clock.now();
    let mut sessions = inner.uploads.sessions();
    let session = sessions.get_mut(id).filter(|session| session.expires > now).ok_or_else(unknown_session)?;
    if let Some(file) = session.finished.clone() {
        return Ok(Step::Finished(session.clone(), file));
    }
    match range {
        // Without a range the bytes are all there are.
        None => session.total = Some(session.length()),
        Some(range) => session.total = range.total.or(session.total),
    }
    if session.total == Some(session.length()) {
        let bytes = session.take();
        Ok(Step::Complete(session.clone(), bytes))
    } else {
        Ok(Step::Incomplete(session.settle()))
    }
}

fn unknown_session() -> ApiError {
    ApiError::new(404, "notFound", "The upload session is not known, or it is over.")
}

/// 308 and what is there; a client that cannot take a 308 gets it veiled.
fn incomplete(call: &Call, length: u64) -> Reply {
    let reply = if call.header("x-guploader-no-308") == Some("yes") {
        Reply::empty(200).header("x-http-status-code-override", "308")
    } else {
        Reply::empty(308)
    };
    match length.checked_sub(1) {
        Some(last) => reply.header("range", format!("bytes=0-{last}")),
        None => reply,
    }
}

/// The request that began the session, which its file is written for.
fn first_call(session: &Session) -> Result<Call, ApiError> {
    let name = if session.file.is_some() { "files.update" } else { "files.create" };
    let method = discovery::method(name).ok_or_else(unknown_session)?;
    let route = Route { operation: Operation::Upload(method), id: session.file.clone(), inner_id: None };
    Ok(Call {
        params: session.params.clone(),
        headers: session.headers.clone(),
        body: Bytes::new(),
        verb: Method::POST,
        route,
        ignore_range: false,
        refuse_consent: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_content_are_read() {
        let range = |start, total| Some(ContentRange { start, total });
        for (text, expected) in [
            ("bytes 0-99/200", range(Some(0), Some(200))),
            ("bytes 100-199/200", range(Some(100), Some(200))),
            ("bytes 0-99/*", range(Some(0), None)),
            ("bytes */200", range(None, Some(200))),
            ("bytes */*", range(None, None)),
            ("bytes 5-4/10", None),
            ("bytes 0-10/10", None),
            ("bytes 0-9", None),
            ("lines 0-9/10", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }
}
