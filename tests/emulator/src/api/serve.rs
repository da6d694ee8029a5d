//! One request from its head to its answer: log it, let faults strike, check access, do it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};

use super::access;
use super::batch::{self, Single};
use super::call::{Answer, Call};
use super::discovery::check::{self, Strangers};
use super::error::ApiError;
use super::methods::{self, Handler};
use super::params::Params;
use super::route::{self, Operation, Route};
use super::upload;
use super::view::RESOURCE_KEYS;
use crate::fault::{Action, Asked, Strike};
use crate::inner::Inner;
use crate::oauth::{consent, endpoint, workload};
use crate::serve::alter::{self, Fill};
use crate::serve::body::{Body, Reply, Shape, respond};
use crate::serve::gzip::Coding;
use crate::serve::line::Line;
use crate::serve::record::RequestRecord;

fn with_retry_after(reply: Reply, value: Option<String>) -> Reply {
    match value {
        Some(value) => reply.header("retry-after", value),
        None => reply,
    }
}

const LARGEST_BODY: usize = 1 << 20;
/// It is kept in memory.
const LARGEST_UPLOAD: usize = 1 << 30;

/// Answers one request.
pub(crate) async fn answer(
    inner: &Arc<Inner>,
    request: Request<Incoming>,
    carrier: Arc<Line>,
) -> Response<Body> {
    let (head, query, body) = opened(request).await;
    let path = head.uri.path().to_owned();
    let params = Params::parse(&query);
    let route = route::find(head.method.as_str(), &path, &params);
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let range = text("range");
    let live = inner.records.begin(RequestRecord {
        time: inner.clock.now(),
        method: head.method.to_string(),
        path: path.clone(),
        query: query.clone(),
        operation: route.operation.name().to_owned(),
        range: range.clone(),
        resource_keys: text(RESOURCE_KEYS),
        user_agent: text("user-agent"),
        http_version: format!("{:?}", head.version),
        connection: carrier.number(),
        status: 0,
        bytes_sent: 0,
    });
    let asked = Asked {
        operation: route.operation.name(),
        method: head.method.as_str(),
        path: &path,
        file: route.id.as_deref(),
        range: range.as_deref(),
        query: &query,
    };
    let (strike, latency) = {
        let mut state = inner.state();
        (state.faults.strike(&asked), state.service.latency)
    };
    match strike.as_ref().map(|strike| &strike.action) {
        Some(Action::GoAway) => carrier.go_away(),
        Some(Action::Silence) => carrier.silence(),
        _ => {}
    }
    carrier.speak().await;
    tokio::time::sleep(latency).await;
    let mut headers = head.headers;
    if let Some(authority) = head.uri.authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok()) {
        headers.entry(HOST).or_insert(authority);
    }
    let coding = Coding::asked_for(&headers);
    let (reply, mut shape) = match receive(inner, &route, &params, &headers, body).await {
        Err(reply) => (reply, Shape::default()),
        Ok(body) => {
            let verb = head.method;
            let call = Call { params, headers, body, verb, route, ignore_range: false, refuse_consent: None };
            struck(inner, call, strike, &format!("{path}?{query}")).await
        }
    };
    let reply = coding.apply(reply, &mut shape);
    respond(reply, shape, live, carrier)
}

/// Head, query and body; a GET in the clothes of a POST, whose body is the query, as a GET.
async fn opened(request: Request<Incoming>) -> (Parts, String, Option<Incoming>) {
    let (mut head, body) = request.into_parts();
    let is_get = |name: &HeaderValue| name.as_bytes().eq_ignore_ascii_case(b"GET");
    if head.method == Method::POST && head.headers.get("x-http-method-override").is_some_and(is_get) {
        head.method = Method::GET;
        let query = Limited::new(body, LARGEST_BODY).collect().await.map(Collected::to_bytes);
        return (head, String::from_utf8_lossy(&query.unwrap_or_default()).into_owned(), None);
    }
    let query = head.uri.query().unwrap_or_default().to_owned();
    (head, query, Some(body))
}

/// The body, as large as the operation may have it.
async fn receive(
    inner: &Arc<Inner>,
    route: &Route,
    params: &Params,
    headers: &HeaderMap,
    body: Option<Incoming>,
) -> Result<Bytes, Reply> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let largest = match route.operation {
        Operation::UploadSession => {
            upload::pour(inner, params, headers, body).await;
            return Ok(Bytes::new());
        }
        Operation::Upload(_) => LARGEST_UPLOAD,
        _ => LARGEST_BODY,
    };
    let body = Limited::new(body, largest).collect().await;
    body.map(Collected::to_bytes).map_err(|_| Reply::html(413, "Request Entity Too Large"))
}

/// Answers with a fault applied. `target` is path and query.
async fn struck(inner: &Arc<Inner>, mut call: Call, strike: Option<Strike>, target: &str) -> (Reply, Shape) {
    let mut shape = Shape::default();
    if call.route.operation == Operation::FilesMedia {
        shape.rate = inner.state().service.rate;
    }
    let Some(Strike { action, count }) = strike else { return (perform(inner, &call).await, shape) };
    match action {
        Action::Status { code, reason, message, retry_after } => {
            let reply = match call.route.operation {
                Operation::Auth => {
                    call.refuse_consent = Some(reason);
                    return (perform(inner, &call).await, shape);
                }
                Operation::Token | Operation::Revoke | Operation::TokenExchange => {
                    endpoint::refusal(code, &reason, message.as_deref())
                }
                _ => ApiError::of_reason(code, &reason, message).into(),
            };
            (with_retry_after(reply, retry_after), shape)
        }
        Action::Html { code, retry_after } => {
            (with_retry_after(Reply::html(code, "Server Error"), retry_after), shape)
        }
        Action::Delay { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            (perform(inner, &call).await, shape)
        }
        Action::AnswerLate { milliseconds } => {
            let reply = perform(inner, &call).await;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            (reply, shape)
        }
        Action::IgnoreRange => {
            call.ignore_range = true;
            (perform(inner, &call).await, shape)
        }
        Action::Revise(content) => {
            let checksums = content.checksums();
            // A request about no file, or one without content, passes unharmed.
            let _ = inner.state().revise(call.id(), content, checksums);
            (perform(inner, &call).await, shape)
        }
        action => {
            let fill = Fill { count, target };
            let reply = match alter::instead(&action, &fill) {
                Some(reply) => reply,
                None => perform(inner, &call).await,
            };
            (alter::changed(&action, reply, &mut shape, &fill), shape)
        }
    }
}

/// Answers as a healthy Drive.
async fn perform(inner: &Arc<Inner>, call: &Call) -> Reply {
    match call.route.operation {
        Operation::Unknown => Reply::html(404, "Not Found"),
        Operation::Token => endpoint::token(inner, call),
        Operation::Revoke => endpoint::revoke(inner, call),
        Operation::Auth => consent::page(inner, call),
        Operation::MetadataToken => workload::metadata(call, || workload::metadata_token(inner, call)),
        Operation::MetadataEmail => workload::metadata(call, || workload::metadata_email(inner)),
        Operation::TokenExchange => workload::exchange(inner, call),
        Operation::GenerateAccessToken => workload::generate(inner, call).unwrap_or_else(Reply::from),
        Operation::Batch => batch(inner, call).await.unwrap_or_else(Reply::from),
        Operation::UploadSession => upload::session(inner, call).await.unwrap_or_else(Reply::from),
        operation @ (Operation::Method(_) | Operation::Upload(_) | Operation::FilesMedia) => {
            ask(inner, operation, call).await.unwrap_or_else(Reply::from)
        }
    }
}

/// Asks a method, once the request is one that Google's front would let through.
async fn ask(inner: &Arc<Inner>, operation: Operation, call: &Call) -> Answer {
    access::check(&inner.state(), operation, call.verb == Method::GET, &call.headers, &call.params)?;
    if let Some(method) = operation.method() {
        // Whoever puts a channel into the query was seen to be told that the body is missing.
        if method.request == Some("Channel") && call.body.is_empty() {
            return Err(ApiError::required("entityResource"));
        }
        let is_upload = matches!(operation, Operation::Upload(_));
        let strangers = if is_upload { Strangers::Overlooked } else { Strangers::Refused };
        check::parameters(method, &call.params, strangers)?;
    }
    if call.params.get("alt").is_some_and(|alt| alt.eq_ignore_ascii_case("proto")) {
        return Err(ApiError::not_emulated("alt=proto"));
    }
    match methods::handler(operation.name()) {
        Some(Handler::Read(read)) => read(&inner.state(), call),
        Some(Handler::Change(change)) => change(&mut inner.state(), call),
        Some(Handler::Own(own)) => own(inner, call).await,
        None => Err(ApiError::not_emulated(operation.name())),
    }
}

/// Answers every request of a batch by itself.
async fn batch(inner: &Arc<Inner>, call: &Call) -> Answer {
    let mut answers = Vec::new();
    for request in batch::requests(call)? {
        // A batch is refused inside a batch, so that this goes one level deep.
        let reply = Box::pin(single(inner, &request)).await;
        answers.push((request, reply));
    }
    Ok(batch::answer(answers))
}

/// One request of a batch, recorded and struck by faults as if it had come alone.
async fn single(inner: &Arc<Inner>, request: &batch::Single) -> Reply {
    let Single { verb, path, query, headers, body, .. } = request;
    let params = Params::parse(query);
    let route = route::find(verb.as_str(), path, &params);
    let operation = route.operation;
    let live = inner.records.begin(RequestRecord {
        time: inner.clock.now(),
        method: verb.to_string(),
        path: path.clone(),
        query: query.clone(),
        operation: operation.name().to_owned(),
        ..RequestRecord::default()
    });
    let asked = Asked {
        operation: operation.name(),
        method: verb.as_str(),
        path,
        file: route.id.as_deref(),
        range: None,
        query,
    };
    let action = inner.state().faults.strike(&asked);
    let reply = match operation {
        Operation::FilesMedia => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let address = format!("{}/download{path}?{query}", upload::address(inner, host));
            Reply::empty(302).header("location", address)
        }
        Operation::Method(_) | Operation::Unknown => {
            let (headers, body, verb) = (headers.clone(), body.clone(), verb.clone());
            let call = Call { params, headers, body, verb, route, ignore_range: false, refuse_consent: None };
            struck(inner, call, action, &format!("{path}?{query}")).await.0
        }
        _ => ApiError::bad_request("A batch takes neither content nor other batches.").into(),
    };
    live.answered(reply.status);
    reply
}
