//! Several requests in one: each part of the body is a request, each part of the answer what came of it.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};

use super::call::Call;
use super::error::ApiError;
use super::multipart::{self, Part};
use crate::drive::ids;
use crate::serve::body::Reply;

/// Google's limit.
const MOST: usize = 100;

/// A request out of a batch.
pub(crate) struct Single {
    pub(crate) verb: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How the client finds its answer.
    id: Option<String>,
}

/// The requests of a batch, each with the credentials of the whole unless it has its own.
pub(crate) fn requests(call: &Call) -> Result<Vec<Single>, ApiError> {
    let bad = || ApiError::bad_request("The batch is not a body of parts that are requests.");
    let parts =
        call.header("content-type").and_then(|kind| multipart::parts(kind, &call.body)).ok_or_else(bad)?;
    if parts.len() > MOST {
        return Err(ApiError::bad_request(&format!(
            "The batch has {} requests; {MOST} is the most.",
            parts.len()
        )));
    }
    parts.iter().map(|part| single(part, &call.headers).ok_or_else(bad)).collect()
}

fn single(part: &Part, outer: &HeaderMap) -> Option<Single> {
    let line_end = part.body.iter().position(|byte| *byte == b'\n')?;
    let line = str::from_utf8(&part.body[..line_end]).ok()?;
    let mut words = line.split_whitespace();
    let (verb, target) = (Method::from_bytes(words.next()?.as_bytes()).ok()?, words.next()?);
    let target = target
        .find("://")
        .map_or(Some(target), |at| target[at + 3..].find('/').map(|slash| &target[at + 3 + slash..]))?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = multipart::part(&part.body.slice(line_end + 1..))?;
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    for name in [AUTHORIZATION, HOST] {
        if let Some(value) = outer.get(&name).filter(|_| !headers.contains_key(&name)) {
            headers.insert(name, value.clone());
        }
    }
    Some(Single {
        verb,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: request.body,
        id: part.header("content-id").map(str::to_owned),
    })
}

/// The answers, each as the part that the client looks for.
pub(crate) fn answer(answers: Vec<(Single, Reply)>) -> Reply {
    let boundary = format!("batch_{}", ids::random(32));
    let mut body = Vec::new();
    for (request, mut reply) in answers {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Type: application/http\r\n").as_bytes());
        if let Some(id) = request.id {
            let id = id.trim_start_matches('<').trim_end_matches('>');
            body.extend_from_slice(format!("Content-ID: <response-{id}>\r\n").as_bytes());
        }
        let reason = StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
        let length = reply.reader.remaining();
        body.extend_from_slice(
            format!("\r\nHTTP/1.1 {} {}\r\n", reply.status, reason.unwrap_or_default()).as_bytes(),
        );
        for (name, value) in &reply.headers {
            body.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        body.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
        while let Some(chunk) = reply.reader.next_chunk(usize::MAX) {
            body.extend_from_slice(&chunk);
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Reply::new(200, &format!("multipart/mixed; boundary={boundary}"), body)
}
