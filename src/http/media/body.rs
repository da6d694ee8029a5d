//! The body of an answer, read from the connection itself as far as its length is known.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::idle::{Idle, Origin};
use crate::http::connect::Line;

pub(super) type Connection = http1::Connection<TokioIo<Line>, Empty<Bytes>>;

/// Where a connection goes when its answer has come whole.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) idle: Arc<Idle>,
    pub(super) origin: Origin,
}

/// Bytes that are on their way.
#[derive(Debug)]
pub struct Body {
    source: Source,
    stall: Duration,
    /// When the last ones came.
    came: Instant,
}

#[derive(Debug)]
enum Source {
    /// The rest of the connection, up to a known length.
    Counted(Counted),
    /// In pieces or up to the connection's end, as hyper takes it apart.
    Framed(Box<Framed>),
}

#[derive(Debug)]
struct Counted {
    /// Gone when all has come.
    line: Option<Line>,
    /// What came together with the head.
    ahead: Bytes,
    left: u64,
    /// How the connection ended, as long as nobody was told.
    ended: Option<io::Error>,
    home: Option<Home>,
}

#[derive(Debug)]
struct Framed {
    connection: Connection,
    has_ended: bool,
    incoming: Incoming,
    piece: Bytes,
}

impl Body {
    pub(super) fn new(
        connection: Connection,
        incoming: Incoming,
        home: Option<Home>,
        stall: Duration,
    ) -> Self {
        let source = match incoming.size_hint().exact() {
            Some(length) => Source::Counted(Counted::new(connection, incoming, length, home)),
            None => Source::Framed(Box::new(Framed {
                connection,
                has_ended: false,
                incoming,
                piece: Bytes::new(),
            })),
        };
        Self { source, stall, came: Instant::now() }
    }

    /// How many bytes are still to come, if that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.source {
            Source::Counted(counted) => Some(counted.left),
            Source::Framed(_) => None,
        }
    }

    /// Fills a buffer, which has room for a byte at least, with as much as is there; waits for the first byte. 0: the
    /// body has ended. Nothing is lost when this is dropped while it waits.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let deadline = self.came + self.stall;
        let source = &mut self.source;
        let read = timeout_at(
            deadline,
            poll_fn(|context| match source {
                Source::Counted(counted) => counted.poll_read(context, into),
                Source::Framed(framed) => framed.poll_read(context, into),
            }),
        );
        let Ok(count) = read.await else {
            self.forget_neighbours();
            return Err(Error::Silent(self.stall));
        };
        let count = count?;
        self.came = Instant::now();
        Ok(count)
    }

    /// Closes the connections that wait and may have lost their way as this one has.
    fn forget_neighbours(&self) {
        if let Source::Counted(Counted { home: Some(home), .. }) = &self.source {
            home.idle.forget(&home.origin);
        }
    }
}

impl Counted {
    fn new(connection: Connection, mut incoming: Incoming, length: u64, home: Option<Home>) -> Self {
        // What came with the head: one piece may have been handed over already, the rest lies in hyper's buffer.
        let mut ahead = BytesMut::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut incoming).poll_frame(&mut context) {
            ahead.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        let parts = connection.into_parts();
        ahead.extend_from_slice(&parts.read_buf);
        // More than was promised: nobody knows what it is, and the connection is of no more use.
        let home = home.filter(|_| ahead.len() as u64 <= length);
        let mut counted = Self {
            line: Some(parts.io.into_inner()),
            ahead: ahead.freeze(),
            left: length,
            ended: None,
            home,
        };
        counted.go_home_if_done();
        counted
    }

    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Error>> {
        if let Some(error) = self.ended.take() {
            return Poll::Ready(Err(Error::Cut(error)));
        }
        let room = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut filled = self.ahead.len().min(room);
        self.ahead.copy_to_slice(&mut into[..filled]);
        while let Some(line) = self.line.as_mut().filter(|_| filled < room) {
            let mut buffer = ReadBuf::new(&mut into[filled..room]);
            let error = match Pin::new(line).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    filled += buffer.filled().len();
                    continue;
                }
                Poll::Ready(Ok(())) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(error)) => error,
                Poll::Pending if filled == 0 => return Poll::Pending,
                Poll::Pending => break,
            };
            if filled == 0 {
                return Poll::Ready(Err(Error::Cut(error)));
            }
            // What came before it comes first. A connection that ended with a fault may not say so again.
            self.ended = Some(error);
            break;
        }
        self.left -= filled as u64;
        self.go_home_if_done();
        Poll::Ready(Ok(filled))
    }

    fn go_home_if_done(&mut self) {
        if self.left == 0
            && let Some(line) = self.line.take()
            && let Some(home) = self.home.take()
        {
            home.idle.put(home.origin, line);
        }
    }
}

impl Framed {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Error>> {
        while self.piece.is_empty() {
            // How it ended is told by the body as well.
            self.has_ended = self.has_ended || Pin::new(&mut self.connection).poll(context).is_ready();
            match ready!(Pin::new(&mut self.incoming).poll_frame(context)).transpose()? {
                Some(frame) => self.piece = frame.into_data().unwrap_or_default(),
                None => return Poll::Ready(Ok(0)),
            }
        }
        let count = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..count]);
        Poll::Ready(Ok(count))
    }
}
