//! Starting an emulator: its sockets, and the tasks that serve them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::TlsFiles;
use crate::drive::clock::Clock;
use crate::emulator::Emulator;
use crate::inner::Inner;
use crate::notify;
use crate::serve::connection;
use crate::serve::line::Lines;
use crate::serve::record::Records;
use crate::uploads::Uploads;
use crate::world::World;

/// How to start an emulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to serve on; off loopback, a container or another host can reach it.
    pub host: IpAddr,
    /// Port; 0: a free one.
    pub port: u16,
    /// Serve https as well.
    pub tls: Option<TlsFiles>,
    /// Whether channels may have plain http addresses on this machine, which Google would refuse.
    pub allow_http_loopback: bool,
    /// The pause before a notification is sent again, doubled each time.
    pub notification_retry: Duration,
    /// A PEM file with an authority that receivers' certificates may come from, besides the public ones.
    pub notification_ca: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            tls: None,
            allow_http_loopback: true,
            notification_retry: Duration::from_millis(500),
            notification_ca: None,
        }
    }
}

impl Emulator {
    /// Binds its sockets and serves on the current tokio runtime.
    ///
    /// # Errors
    /// A port that is taken, or TLS files that cannot be read.
    pub async fn start(options: Options) -> io::Result<Self> {
        // Fails when the process has one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(SocketAddr::from((options.host, options.port))).await?;
        let tls = match &options.tls {
            None => None,
            Some(files) => {
                let acceptor = connection::acceptor(files)?;
                let listener = TcpListener::bind(SocketAddr::from((options.host, files.port))).await?;
                Some((listener, acceptor))
            }
        };
        let clock = Arc::new(Clock::default());
        let (outbox, outgoing) = unbounded_channel();
        let inner = Arc::new(Inner {
            state: Mutex::new(World::new(clock.clone(), outbox)),
            clock,
            records: Records::default(),
            lines: Lines::default(),
            uploads: Uploads::default(),
            notifications: Mutex::default(),
            http: notification_client(options.notification_ca.as_deref())?,
            notification_retry: options.notification_retry,
            allow_http_loopback: options.allow_http_loopback,
            host: reachable(options.host),
            port: OnceLock::from(listener.local_addr()?.port()),
            tls_name: options.tls.as_ref().and_then(|files| files.name.clone()),
            tls_port: OnceLock::new(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        if let Some((listener, acceptor)) = tls {
            inner.tls_port.get_or_init(|| listener.local_addr().map_or(0, |address| address.port()));
            inner.spawn(connection::accept(inner.clone(), listener, Some(acceptor)));
        }
        inner.spawn(connection::accept(inner.clone(), listener, None));
        inner.spawn(notify::dispatch(inner.clone(), outgoing));
        Ok(Self { inner })
    }
}

/// Where this machine reaches what listens on an address.
fn reachable(host: IpAddr) -> IpAddr {
    if host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { host }
}

fn notification_client(ca: Option<&std::path::Path>) -> io::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent("APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only();
    if let Some(path) = ca {
        let certificates =
            reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?).map_err(io::Error::other)?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(io::Error::other)
}
