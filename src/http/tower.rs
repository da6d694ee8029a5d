//! The same connections for hyper's own client, which reads an answer whatever its length: so a connection ends when more
//! comes than any answer has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt as _};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::api::ANSWER_LIMIT;
use super::connect::{Connect, Error, Line};

/// A connection for one answer, that knows whether a proxy passes its requests on.
#[derive(Debug)]
pub struct Carrier {
    line: TokioIo<Limited>,
    is_relayed: bool,
}

/// A connection over which so many bytes may still come.
#[derive(Debug)]
struct Limited {
    line: Line,
    left: usize,
}

impl Service<Uri> for Connect {
    type Response = Carrier;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Carrier, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connect = self.clone();
        async move {
            let is_relayed = connect.relay(&target).is_some();
            let line = Limited { line: connect.to(&target).await?, left: ANSWER_LIMIT };
            Ok(Carrier { line: TokioIo::new(line), is_relayed })
        }
        .boxed()
    }
}

impl Connection for Carrier {
    fn connected(&self) -> Connected {
        // Requests then name the whole address.
        Connected::new().proxy(self.is_relayed)
    }
}

impl Read for Carrier {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_read(context, into)
    }
}

impl Write for Carrier {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.line).poll_read(context, into))?;
        let Some(left) = self.left.checked_sub(into.filled().len() - before) else {
            let said = format!("the answer has more than {ANSWER_LIMIT} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, said)));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}
