//! One connection. Whatever its peer does, it ends by its deadline, and no data stays in the kernel.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::debug;

use super::Requests;
use super::table::{Seat, Visit};

/// Headers larger than this are answered with 431.
const HEADER_LIMIT: usize = 16 * 1024;
/// A connection ends when sent data is not acknowledged for this long. This is the only bound of an answer without a
/// deadline.
const UNREAD: Duration = Duration::from_secs(30);
/// After the answer, the peer has this long to close its end, and may send this much of a body that is not read. If the
/// connection were closed while the peer still sends, the peer could lose the answer.
const FAREWELL: (Duration, usize) = (Duration::from_secs(1), 64 * 1024);

/// An extension of a response whose body has no end, such as a stream of events. It has no deadline, but the connection
/// ends when its peer does not read it.
#[derive(Clone, Copy, Debug)]
pub struct LongLived;

/// When to end.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// After the request that is being answered.
    pub(super) stop: CancellationToken,
    /// Now.
    pub(super) cut: CancellationToken,
}

/// Serves one connection.
pub(super) async fn answer(stream: TcpStream, seat: Seat, router: Router, requests: Requests, end: End) {
    // Answers are small: waiting to fill a packet only adds delay. A failure here does not matter.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_tcp_user_timeout(&stream, UNREAD.as_millis() as u32);
    let visit = &seat.visit;
    let service = service_fn(|request| Box::pin(respond(router.clone(), request, visit.clone(), requests)));
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEADER_LIMIT)
        .keep_alive(matches!(requests, Requests::Many(_)))
        .serve_connection(TokioIo::new(stream), service);
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break Some(ended),
            () = visit.over() => break None,
            () = end.cut.cancelled() => break None,
            () = end.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                // This would also end a connection whose only request is still arriving.
                if matches!(requests, Requests::Many(_)) {
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    let stream = connection.into_parts().io.into_inner();
    match ended {
        Some(Ok(())) => leave(stream, visit, &end).await,
        Some(Err(error)) => {
            debug!(%error, "a connection ended early");
            leave(stream, visit, &end).await;
        }
        None => reset(&stream),
    }
}

async fn respond(
    mut router: Router,
    request: hyper::Request<Incoming>,
    visit: Arc<Visit>,
    requests: Requests,
) -> Result<hyper::Response<Timed>, Infallible> {
    let time = match requests {
        Requests::One(_) => None,
        Requests::Many(time) => Some(time),
    };
    visit.answers(time);
    let response: Response = router.call(request.map(Body::new)).await?;
    if response.extensions().get::<LongLived>().is_some() {
        visit.goes_on();
    }
    Ok(response.map(|body| Timed { body, _answer: Answer { visit, time } }))
}

/// The body of an answer. It records when it has been sent to the kernel.
struct Timed {
    body: Body,
    _answer: Answer,
}

struct Answer {
    visit: Arc<Visit>,
    time: Option<Duration>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.visit.waits(self.time);
    }
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Closes the sending side, and waits a moment for the peer to do the same.
async fn leave(mut stream: TcpStream, visit: &Visit, end: &End) {
    let (time, bytes) = FAREWELL;
    visit.leaves(time);
    let is_over = tokio::select! {
        is_over = farewell(&mut stream, bytes) => is_over,
        () = visit.over() => false,
        () = end.cut.cancelled() => false,
    };
    if !is_over {
        reset(&stream);
    }
}

/// Whether the peer closed its end before it sent this many bytes.
async fn farewell(stream: &mut TcpStream, bytes: usize) -> bool {
    if stream.shutdown().await.is_err() {
        return false;
    }
    let (mut unread, mut count) = ([0; 1024], 0);
    while let Ok(read) = stream.read(&mut unread).await {
        count += read;
        if read == 0 || count > bytes {
            return read == 0;
        }
    }
    false
}

/// Resets a connection when it is dropped: otherwise the kernel would keep unread data for minutes.
fn reset(stream: &TcpStream) {
    // A broken connection needs no reset.
    let _ = stream.set_zero_linger();
}
