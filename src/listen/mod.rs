//! Sockets that listen: small headers, a deadline for everything, a bounded number of connections of which the oldest
//! makes room for a new one, and an end that waits a moment for requests that are being answered. What is served on them
//! is not known here.

mod connection;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::counters::Connections;
pub use connection::LongLived;
use connection::{End, answer};
use table::Table;

/// Connections that the system completes before they are accepted: a burst of notifications waits here instead of being
/// refused. What Linux allows by itself (`net.core.somaxconn`); the runtime would ask for 128.
const BACKLOG: u32 = 4096;
/// What the kernel keeps for one connection and direction; it doubles this for its own records. Left to itself it keeps
/// up to 4 MiB that nobody reads and 128 KiB that nobody has asked for.
const KERNEL_BUFFER: usize = 32 * 1024;
/// After the stop signal, for requests that are on their way or being answered. The program is to end within two
/// seconds, on a machine that is busy as well.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many connections there may be, and what each may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the address is for, in the log and in `status`.
    pub name: &'static str,
    /// Connections at once.
    pub connections: usize,
    /// Requests per connection.
    pub requests: Requests,
}

/// How many requests a connection may bring, and how long it may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// One, from the first byte of the connection to its last within this time.
    One(Duration),
    /// Any number. This is the time for a request's head to be complete, counted from the end of the last answer, and
    /// again for its body and its answer.
    Many(Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self { name: "callback", connections: 16, requests: Requests::One(Duration::from_secs(10)) }
    }
}

/// A bound socket that does not answer yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    limits: Limits,
    connections: Arc<Connections>,
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
        // Each connection inherits these, and the window that its peer is offered is derived from them.
        sockopt::set_socket_send_buffer_size(&listener, KERNEL_BUFFER)?;
        sockopt::set_socket_recv_buffer_size(&listener, KERNEL_BUFFER)?;
        let (address, limits) = (listener.local_addr()?, Limits::default());
        let connections = Arc::new(Connections::new(limits.name, address, limits.connections));
        Ok(Self { listener, limits, connections })
    }

    /// The same with these limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        let connections = Arc::new(Connections::new(limits.name, self.address(), limits.connections));
        Self { limits, connections, ..self }
    }

    /// The address it is bound to, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.connections.address()
    }

    /// How many connections there are, for whoever is asked.
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Serves until `stop`, then gives the requests that are being answered a moment to finish. Ends within two seconds
    /// after `stop`, whatever its peers do.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let Self { listener, limits, connections } = self;
        let table = Table::new(limits, connections);
        let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
                () = table.calm() => continue,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    let Some(seat) = stop.run_until_cancelled(table.seat()).await else { break };
                    let end = End { stop: stop.clone(), cut: cut.clone() };
                    tasks.spawn(answer(stream, seat, router.clone(), limits.requests, end));
                }
                Err(error) => table.not_accepted(&error).await,
            }
        }
        // Whoever calls from now on is refused at once, or waits for the next start if the socket is not ours alone.
        drop(listener);
        tasks.close();
        if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
            cut.cancel();
            tasks.wait().await;
        }
    }
}

#[cfg(test)]
mod tests;
