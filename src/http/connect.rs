//! New connections: straight to the host, or through the proxy that the environment names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::service::Service;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_rustls::TlsConnector;

use super::CONNECT_TIMEOUT;
use super::proxies::Proxies;

/// TLS asks for 4 KiB at a time; so many are read from the socket at once. Larger reads pass the buffer by.
const READ_AHEAD: usize = 64 * 1024;
/// How long a connection may be without traffic before the other side is asked whether it is there, and how long after
/// an answer that does not come it is asked again.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: u32 = 3;
/// How long what was sent may be without a sign that it came.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// No connection.
#[derive(Debug, thiserror::Error)]
#[error("{host} cannot be reached")]
pub struct Error {
    /// Where it was to lead.
    host: String,
    /// What came in between.
    source: Failure,
}

/// What carries requests and answers.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> Stream for T {}

/// A connection.
pub(super) type Line = Box<dyn Stream>;

/// Makes connections that speak HTTP/1.1.
#[derive(Clone, Debug)]
pub struct Connect {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    /// Said to proxies that are led through.
    agent: HeaderValue,
}

impl Connect {
    pub(super) fn new(tls: Arc<ClientConfig>, proxies: Proxies, agent: HeaderValue) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVES));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { tcp, tls, proxies, agent }
    }

    /// The proxy that passes a request on as it is. One that is asked over https is led through, and sees nothing.
    pub(super) fn relay(&self, target: &Uri) -> Option<Intercept> {
        self.proxies.on_the_way_to(target).filter(|_| !is_https(target))
    }

    /// A connection to the host of an address, encrypted if that is its way.
    pub(super) async fn to(&self, target: &Uri) -> Result<Line, Error> {
        let connected = match tokio::time::timeout(CONNECT_TIMEOUT, self.connect(target)).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()).into()),
        };
        connected.map_err(|source| Error { host: host(target), source })
    }

    async fn connect(&self, target: &Uri) -> Result<Line, Failure> {
        let line: Line = match self.proxies.on_the_way_to(target) {
            None => {
                let tcp = TowerToHyperService::new(self.tcp.clone()).call(target.clone()).await?;
                Box::new(BufReader::with_capacity(READ_AHEAD, tcp.into_inner()))
            }
            Some(proxy) => self.through(&proxy, target).await?,
        };
        if !is_https(target) {
            return Ok(line);
        }
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Box::new(TlsConnector::from(Arc::clone(&self.tls)).connect(name, line).await?))
    }

    async fn through(&self, proxy: &Intercept, target: &Uri) -> Result<Line, Failure> {
        let address = proxy.uri().clone();
        if !matches!(address.scheme_str(), Some("http" | "https")) {
            return Err("the proxy in HTTPS_PROXY or ALL_PROXY is not an http or https proxy".into());
        }
        let connector = HttpsConnector::from((self.tcp.clone(), Arc::clone(&self.tls)));
        let stream = if is_https(target) {
            let said = HeaderMap::from_iter([(USER_AGENT, self.agent.clone())]);
            let mut tunnel = Tunnel::new(address, connector).with_headers(said);
            if let Some(shown) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(shown.clone());
            }
            TowerToHyperService::new(tunnel).call(target.clone()).await?
        } else {
            TowerToHyperService::new(connector).call(address).await?
        };
        Ok(Box::new(BufReader::with_capacity(READ_AHEAD, TokioIo::new(stream))))
    }
}

/// Host and port, as far as the address names them.
pub(super) fn host(target: &Uri) -> String {
    let host = target.host().unwrap_or_default();
    target.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_https(target: &Uri) -> bool {
    target.scheme_str() == Some("https")
}
