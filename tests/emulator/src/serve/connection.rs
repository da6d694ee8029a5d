//! Sockets: accepting, TLS, and ending with a reset when a fault demands it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::emulator::TlsFiles;
use crate::inner::Inner;

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
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
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
    let latency = inner.state().settings.latency;
    let reset = Arc::new(AtomicBool::new(false));
    let stream = Resettable { stream, reset: reset.clone() };
    tokio::time::sleep(latency).await;
    let result = match tls {
        None => run(inner, stream, reset).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => {
                tokio::time::sleep(latency).await;
                run(inner, stream, reset).await
            }
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
        },
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
}

async fn run<S>(inner: Arc<Inner>, stream: S, reset: Arc<AtomicBool>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (inner, reset) = (inner.clone(), reset.clone());
        async move { Ok::<_, Infallible>(api::serve::answer(&inner, request, reset).await) }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

/// A socket that sends RST instead of FIN when its flag is up as it is dropped.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
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
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
