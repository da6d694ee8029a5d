//! Sockets: accepting, TLS, HTTP/1.1 or HTTP/2 as the client speaks, and the ends that faults demand.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::TlsFiles;
use crate::front;
use crate::inner::Inner;
use crate::serve::body::{Abandoned, stream_error};
use crate::serve::line::{Line, Order};

/// Reads certificate and key.
pub(crate) fn acceptor(files: &TlsFiles) -> io::Result<TlsAcceptor> {
    let unreadable = |path: &std::path::Path, error: rustls::pki_types::pem::Error| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("cannot read {}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.cert, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, error))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves every connection until the emulator stops.
pub(crate) async fn accept(inner: Arc<Inner>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                inner.spawn(serve(inner.clone(), stream, tls.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let latency = inner.state().service.latency;
    let line = inner.lines.open();
    let stream = Resettable { stream, line: line.clone() };
    tokio::time::sleep(latency).await;
    let result = match tls {
        None => run(inner, stream, line).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => {
                tokio::time::sleep(latency).await;
                run(inner, stream, line).await
            }
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
        },
    };
    if let Err(error) = result {
        tracing::trace!(error, "a connection ended early");
    }
}

/// Serves one connection. HTTP/2 is told by its preface, so it is spoken without TLS as well.
async fn run<S>(
    inner: Arc<Inner>,
    stream: S,
    line: Arc<Line>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut orders = line.orders();
    let builder = auto::Builder::new(Streams(inner.clone()));
    let service = service_fn(move |request| {
        let (inner, line) = (inner.clone(), line.clone());
        async move {
            let response = front::answer(&inner, request, line).await;
            match response.extensions().get::<Abandoned>() {
                Some(Abandoned(error)) => Err(stream_error(*error)),
                None => Ok(response),
            }
        }
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            result = serving.as_mut() => return result,
            Ok(()) = orders.changed() => match *orders.borrow() {
                Order::Serve => {}
                Order::GoAway => serving.as_mut().graceful_shutdown(),
                Order::Close => return Ok(()),
            },
        }
    }
}

/// Runs the streams of HTTP/2 sessions.
#[derive(Clone)]
struct Streams(Arc<Inner>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// A socket that sends RST instead of FIN, if its connection is to end so, when it is dropped.
struct Resettable {
    stream: TcpStream,
    line: Arc<Line>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.line.ends_with_reset() {
            // If it fails, the connection ends with FIN instead.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.ends_with_reset() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
