//! Answers and their bodies: as they are meant, then slowed, cut short or falsified as a fault demands.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode, Version};
use serde_json::Value;
use tokio::time::Instant;

use super::line::Line;
use super::record::Live;
use crate::drive::content::{CHUNK, Content, Reader};
use crate::fault::{Framing, StreamError};

type Failure = Box<dyn Error + Send + Sync>;

pub(crate) type Body = UnsyncBoxBody<Bytes, Failure>;

/// An answer as it is meant.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) reader: Reader,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, content: impl Into<Content>) -> Self {
        let content = content.into();
        let reader = Reader::new(&content, 0, content.size());
        Self { status, headers: vec![("content-type".into(), content_type.to_owned())], reader }
    }

    /// Google's JSON headers.
    pub(crate) fn json(status: u16, text: String) -> Self {
        Self::new(status, "application/json; charset=UTF-8", text.into_bytes())
            .header("vary", "Origin, X-Origin")
            .header("cache-control", "no-cache, no-store, max-age=0, must-revalidate")
    }

    /// An indented JSON answer of the emulator's own.
    pub(crate) fn value(status: u16, value: &Value) -> Self {
        Self::json(status, format!("{value:#}\n"))
    }

    pub(crate) fn html(status: u16, title: &str) -> Self {
        let page = format!(
            "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n<title>Error {status} ({title})!!1</title>\n\
             <p><b>{status}.</b> <ins>That’s an error.</ins>\n<p>{title}. <ins>That’s all we know.</ins>\n"
        );
        Self::new(status, "text/html; charset=UTF-8", page.into_bytes())
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), reader: Reader::new(&Content::from(Bytes::new()), 0, 0) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// All bytes that the reader has not given yet.
    pub(crate) fn content(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.reader.next_chunk(CHUNK) {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }

    pub(crate) fn set_content(&mut self, content: impl Into<Content>) {
        let content = content.into();
        self.reader = Reader::new(&content, 0, content.size());
    }
}

/// How a body differs from what is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) end: Option<(u64, End)>,
    pub(crate) rate: Option<u64>,
    pub(crate) wrong_byte: Option<u64>,
    pub(crate) length_by: i64,
    pub(crate) framing: Framing,
    /// There is no answer: the stream ends with an error instead.
    pub(crate) abandon: Option<StreamError>,
}

/// What happens in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Cut,
    Stall,
    Reset,
    ResetStream(StreamError),
}

/// Goes with a response that is not to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abandoned(pub(crate) StreamError);

/// What makes hyper end a stream with an error code.
pub(crate) fn stream_error(error: StreamError) -> h2::Error {
    h2::Error::from(match error {
        StreamError::InternalError => h2::Reason::INTERNAL_ERROR,
        StreamError::RefusedStream => h2::Reason::REFUSED_STREAM,
        StreamError::EnhanceYourCalm => h2::Reason::ENHANCE_YOUR_CALM,
    })
}

/// Makes the response.
pub(crate) fn respond(reply: Reply, shape: Shape, live: Arc<Live>, carrier: Arc<Line>) -> Response<Body> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(error) = shape.abandon {
        let mut nothing = Response::default();
        nothing.extensions_mut().insert(Abandoned(error));
        return nothing;
    }
    live.answered(status.as_u16());
    let mut builder = Response::builder().status(status);
    if shape.framing == Framing::UntilClose {
        builder = builder.version(Version::HTTP_10);
    }
    if reply.header_value("server").is_none() {
        builder = builder.header("server", "ESF");
    }
    for (name, value) in &reply.headers {
        builder = builder.header(name.as_ref(), value);
    }
    if status != StatusCode::NO_CONTENT && shape.framing == Framing::Length {
        let length = reply.reader.remaining().saturating_add_signed(shape.length_by);
        builder = builder.header("content-length", length);
    }
    if shape.length_by != 0 {
        // Nobody could tell where the next answer begins.
        builder = builder.header("connection", "close");
    }
    let pour = Pour { reader: reply.reader, sent: 0, started: Instant::now(), shape, live, carrier };
    let frames =
        stream::unfold(pour, |mut pour| async move { Some((pour.next().await?.map(Frame::data), pour)) });
    // Names come from this crate and values are checked by whoever wrote them; a bad one gives an empty answer.
    builder.body(StreamBody::new(frames).boxed_unsync()).unwrap_or_default()
}

/// A body on its way out.
struct Pour {
    reader: Reader,
    sent: u64,
    started: Instant,
    shape: Shape,
    live: Arc<Live>,
    carrier: Arc<Line>,
}

impl Pour {
    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        self.carrier.speak().await;
        let mut max = CHUNK;
        if let Some((bytes, end)) = self.shape.end {
            let left = bytes.saturating_sub(self.sent);
            if left == 0 {
                return Some(Err(self.stop(end).await));
            }
            max = max.min(usize::try_from(left).unwrap_or(CHUNK));
        }
        if let Some(rate) = self.shape.rate {
            max = max.min(self.pace(rate.max(1)).await);
        }
        let Some(chunk) = self.reader.next_chunk(max) else {
            // A body shorter than announced can only end with its connection.
            return if self.shape.length_by > 0 { Some(Err(self.stop(End::Cut).await)) } else { None };
        };
        let chunk = self.falsify(chunk);
        self.sent += chunk.len() as u64;
        self.live.sent(chunk.len() as u64);
        Some(Ok(chunk))
    }

    /// Waits until the next piece is due and says how large it may be: two hundred a second. Who has not read for a
    /// while gets no more at once than a line would have held back for him.
    async fn pace(&mut self, rate: u64) -> usize {
        const HELD_BACK: Duration = Duration::from_millis(50);
        let due = self.started + Duration::from_secs_f64(self.sent as f64 / rate as f64);
        tokio::time::sleep_until(due).await;
        self.started += due.elapsed().saturating_sub(HELD_BACK);
        usize::try_from(rate / 200).unwrap_or(CHUNK).clamp(1, CHUNK)
    }

    fn falsify(&self, chunk: Bytes) -> Bytes {
        let Some(at) = self.shape.wrong_byte.and_then(|at| at.checked_sub(self.sent)) else { return chunk };
        if at >= chunk.len() as u64 {
            return chunk;
        }
        let mut bytes = Vec::from(chunk);
        bytes[at as usize] ^= 0xff;
        bytes.into()
    }

    async fn stop(&self, end: End) -> Failure {
        // What was sent must be on its way before the connection goes down.
        const FLUSHED: Duration = Duration::from_millis(30);
        tokio::time::sleep(FLUSHED).await;
        match end {
            End::Cut => self.carrier.close(),
            End::Reset => self.carrier.reset(),
            End::Stall => std::future::pending().await,
            End::ResetStream(error) => return stream_error(error).into(),
        }
        "cut on demand".into()
    }
}
