//! Where every request comes in: for the emulator itself, or for the Drive.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::api;
use crate::control;
use crate::inner::Inner;
use crate::serve::body::Body;
use crate::serve::line::Line;

/// Answers one request.
pub(crate) async fn answer(
    inner: &Arc<Inner>,
    request: Request<Incoming>,
    carrier: Arc<Line>,
) -> Response<Body> {
    let path = request.uri().path().strip_prefix("/control").map(str::to_owned);
    match path {
        Some(path) => control::answer(inner, &path, request).await,
        None => api::serve::answer(inner, request, carrier).await,
    }
}
