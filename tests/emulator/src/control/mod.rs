//! The handle over HTTP, below `/control/`: JSON in and out, no credentials, for scripts and other languages.

mod conduct;
mod files;
mod setup;
mod sharing;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::drive::tree::Refusal;
use crate::emulator::Emulator;
use crate::inner::Inner;
use crate::params::{Params, unescape};
use crate::serve::body::{Body, Reply, Shape, respond};
use crate::serve::line::Line;
use crate::serve::record::Live;

/// A request for the emulator itself.
struct Command {
    emulator: Emulator,
    params: Params,
    is_json: bool,
    body: Bytes,
}

/// Why a command was not obeyed.
struct Refused(u16, String);

type Outcome = Result<Value, Refused>;

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let is_missing = matches!(
            refusal,
            Refusal::NoSuchFile(_)
                | Refusal::NoSuchRevision(_)
                | Refusal::NoSuchAccount(_)
                | Refusal::NoSuchDrive(_)
        );
        Self(if is_missing { 404 } else { 400 }, refusal.to_string())
    }
}

impl Command {
    /// The body as JSON; unknown keys are refused by name.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.body).map_err(|error| Refused(400, format!("the body: {error}")))
    }

    /// The folder named, or My Drive.
    fn parent(&self, named: Option<&str>) -> String {
        named.map_or_else(|| self.emulator.root_id(), str::to_owned)
    }
}

/// Answers one request; none of them is recorded, and no fault strikes them.
pub(crate) async fn answer(inner: &Arc<Inner>, path: &str, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (method, headers) = (head.method, head.headers);
    let params = Params::parse(head.uri.query().unwrap_or_default());
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = content_type.starts_with("application/json");
    let outcome = match body.collect().await {
        Err(error) => Err(Refused(400, format!("the body did not arrive: {error}"))),
        Ok(body) => {
            let emulator = Emulator { inner: inner.clone() };
            let command = Command { emulator, params, is_json, body: body.to_bytes() };
            let path = path.to_owned();
            // Large contents take a while to digest.
            let task = tokio::task::spawn_blocking(move || obey(&method, &path, &command));
            task.await.unwrap_or_else(|error| Err(Refused(500, format!("the command failed: {error}"))))
        }
    };
    let reply = match outcome {
        Ok(Value::String(text)) => Reply::json(200, text),
        Ok(value) => Reply::value(200, &value),
        Err(Refused(code, text)) => Reply::value(code, &json!({"error": text})),
    };
    // On a connection that is silent to everybody else it is answered too.
    respond(reply, Shape::default(), Arc::new(Live::default()), Arc::new(Line::unnumbered()))
}

fn obey(method: &Method, path: &str, command: &Command) -> Outcome {
    let segments: Vec<String> = path.trim_matches('/').split('/').map(unescape).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["files"]) => Ok(files::all(command)),
        ("POST", ["files"]) => files::upload(command),
        ("GET", ["files", id]) => files::one(command, id),
        ("PATCH", ["files", id]) => files::patch(command, id),
        ("DELETE", ["files", id]) => files::delete(command, id),
        ("POST", ["files", id, "content"]) => files::revise(command, id),
        ("POST", ["files", id, "restore"]) => files::restore(command, id),
        ("POST", ["files", id, "touch"]) => files::touch(command, id),
        ("POST", ["files", id, "hide"]) => files::hide(command, id),
        ("POST", ["seed"]) => setup::seed(command),
        ("POST", ["reset"]) => Ok(setup::reset(command)),
        ("POST", ["consent"]) => setup::consent(command),
        ("POST", ["folders"]) => files::folder(command),
        ("POST", ["shortcuts"]) => files::shortcut(command),
        ("POST", ["drives"]) => files::shared_drive(command),
        _ => sharing::obey(method, &segments, command)
            .unwrap_or_else(|| conduct::obey(method, &segments, command)),
    }
}
