//! Sockets that listen: small headers, short patience, a bounded number of connections, and an end that lets running
//! requests finish. What is served on them is not known here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Headers larger than this are answered with 431.
const HEADER_LIMIT: usize = 16 * 1024;
/// A client that has not sent its headers by then is cut off.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once; more of them wait in the system's backlog.
const CONNECTION_LIMIT: usize = 1024;
/// Connections that the system completes before they are accepted: a burst of notifications waits here instead of being
/// refused. What Linux allows by itself (`net.core.somaxconn`); the runtime would ask for 1,024.
const BACKLOG: u32 = 4096;
/// After a failed accept (out of file handles, mostly) trying at once again would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that does not answer yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Binds the address; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart binds while connections of the last run still wait for their end.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Self::listening(socket.listen(BACKLOG)?)
    }

    /// Takes a socket that somebody else has bound and listens on, as systemd does. Its backlog is theirs to choose.
    pub fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::listening(TcpListener::from_std(listener)?)
    }

    fn listening(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address it is bound to, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets the requests that are being answered finish.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.accept(&room) => accepted,
            };
            let Some((stream, permit)) = accepted else { continue };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                answer(stream, router, stop).await;
                drop(permit);
            });
        }
        connections.close();
        connections.wait().await;
    }

    async fn accept(&self, room: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let permit = room.clone().acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _peer)) => Some((stream, permit)),
            Err(error) => {
                warn!(address = %self.address, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Answers are small: waiting to fill a packet only adds delay. Failing to say so is no reason not to answer.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
