//! Listening sockets: small headers, a deadline for everything, a bounded number of connections of which the oldest makes
//! room for a new one, and a stop that waits a moment for requests in progress. This room does not know what is served.

pub mod challenge;
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
use table::{Seat, Table};

/// The backlog: connections that the kernel completes before they are accepted. A burst of notifications waits here
/// instead of being refused. This is Linux's own default (`net.core.somaxconn`); the runtime would use 128.
const BACKLOG: u32 = 4096;
/// The kernel's buffer for one connection and direction; the kernel doubles it for its own records. By default it would
/// keep up to 4 MiB of unsent data and 128 KiB of unread data.
const KERNEL_BUFFER: usize = 32 * 1024;
/// The time for requests in progress after the stop signal. The program must stop within two seconds, even on a busy
/// machine.
const FAREWELL: Duration = Duration::from_secs(1);

/// Limits for the connections of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The name of the address in the log and in `status`.
    pub name: &'static str,
    /// Connections at once.
    pub connections: usize,
    /// Requests per connection.
    pub requests: Requests,
}

/// How many requests a connection may send, and how long it may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// One; the whole connection may last this long.
    One(Duration),
    /// Any number. A request's head must be complete within this time after the last answer; the body and the answer get
    /// the same time again.
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

    /// Takes a socket that another program has bound and listens on, such as systemd. That program sets its backlog.
    pub fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::listening(TcpListener::from_std(listener)?)
    }

    fn listening(listener: TcpListener) -> io::Result<Self> {
        // Each connection inherits these sizes, and its receive window is derived from them.
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

    /// The counts of its connections, for `status`.
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Serves until `stop`, then gives requests in progress a moment to finish. Ends within two seconds after `stop`,
    /// whatever its peers do.
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
                    let Some(seat) = seat(&table, &stop).await else { break };
                    let end = End { stop: stop.clone(), cut: cut.clone() };
                    tasks.spawn(answer(stream, seat, router.clone(), limits.requests, end));
                }
                Err(error) => table.not_accepted(&error).await,
            }
        }
        // New connections are refused from now on, or wait for the next start if systemd also holds the socket.
        drop(listener);
        tasks.close();
        if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
            cut.cancel();
            tasks.wait().await;
        }
    }
}

/// A place for an accepted connection, even if the stop came in the same moment: nobody else answers it. `None`: there was
/// no place before the stop.
async fn seat(table: &Table, stop: &CancellationToken) -> Option<Seat> {
    tokio::select! {
        biased;
        seat = table.seat() => Some(seat),
        () = stop.cancelled() => None,
    }
}

#[cfg(test)]
mod tests;
