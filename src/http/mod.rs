//! The HTTP clients, and the gate that makes all calls wait when Drive asks for fewer or does not answer at all.
//!
//! API calls share an HTTP/2 connection and take gzip. Media comes over HTTP/1.1, a connection a transfer: one HTTP/2
//! connection caps every transfer at its flow-control window per round trip, and gzip would break ranges. All of them
//! trust what the system trusts, and take the proxy that the environment names.

pub mod api;
#[cfg(test)]
mod canned;
pub mod connect;
pub mod gate;
pub mod media;
mod proxies;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::log::with_causes;
use api::{Api, Recipe};
use connect::Connect;
use gate::Gate;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use media::Media;
use proxies::Proxies;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ClientConfig};
use rustls_platform_verifier::BuilderVerifierExt;

/// Google's hosts answer from everywhere; a connection that takes longer is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const REDIRECT_LIMIT: usize = 5;
/// Whatever a server asks for, it is asked again after this long.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// The word "gzip" in the agent is what makes Google compress, besides `Accept-Encoding`.
const USER_AGENT: &str = concat!("gdrive-webhook/", env!("CARGO_PKG_VERSION"), " (gzip)");

/// The clients and their gate.
#[derive(Debug)]
pub struct Http {
    /// For JSON, access tokens included.
    pub api: Api,
    /// For bytes.
    pub media: Media,
    /// Passed before every call to Drive.
    pub gate: Gate,
}

/// The clients cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The one for JSON.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// Their TLS.
    #[error("the certificates that this system trusts cannot be read")]
    Tls(#[from] rustls::Error),
}

impl Http {
    /// `stall` is how long a transfer may stay silent before its connection counts as dead.
    pub fn new(stall: Duration) -> Result<Self, Error> {
        Self::with(Proxies::of_the_environment(), stall)
    }

    fn with(proxies: Proxies, stall: Duration) -> Result<Self, Error> {
        // What the system trusts is read once, for all.
        let config = ClientConfig::builder().with_platform_verifier()?.with_no_client_auth();
        let speaking = |protocols: &[&str]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            config
        };
        let api = Recipe { tls: speaking(&["h2", "http/1.1"]), proxies: proxies.clone() };
        let agent = HeaderValue::from_static(USER_AGENT);
        let connect = Connect::new(Arc::new(speaking(&["http/1.1"])), proxies, agent.clone());
        Ok(Self { api: Api::new(api)?, media: Media::new(connect, agent, stall), gate: Gate::default() })
    }
}

/// Installs the one TLS implementation of the program. Without it a client panics when it is built.
pub fn install_tls() {
    // Only the first call counts.
    let _ = provider().install_default();
}

/// AES with 128-bit keys is offered first, as in browsers: both lengths are secure, and longer keys take both ends
/// fourteen rounds instead of ten.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

/// A number from 0 to 1, to spread waits out.
pub fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_u64_pair().1 as u32) / f64::from(u32::MAX)
}

/// `Retry-After` in both its forms: seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // An HTTP date is an RFC 2822 date that says "GMT" for its zone.
        Err(_) => Duration::try_from(rfc2822::parse(text).ok()?.timestamp().duration_since(now))
            .unwrap_or(Duration::ZERO),
    };
    Some(asked.min(LONGEST_WAIT))
}

/// An https address, or an http one on this machine; as a browser would write it, without the slash at its end.
pub fn checked(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    let local = url.host_str().is_some_and(is_loopback);
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return Err("is not encrypted: http is for this machine only".to_owned()),
        _ => return Err("is not an https address".to_owned()),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if url.query().is_some() || url.fragment().is_some() || has_user {
        return Err("has more than scheme, host, port and path".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a host in an address is this machine itself.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error and what caused it, in one line, without the address it went to: addresses can carry secrets.
pub fn explain(error: reqwest::Error) -> String {
    with_causes(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::canned::Server;
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    #[test]
    fn addresses() {
        assert_eq!(
            checked("https://videos.example.com/hooks/"),
            Ok("https://videos.example.com/hooks".into())
        );
        assert_eq!(checked("http://127.0.0.1:8080"), Ok("http://127.0.0.1:8080".into()));
        assert_eq!(checked("http://[::1]:8080"), Ok("http://[::1]:8080".into()));
        assert_eq!(checked(" HTTPS:\\\\X.example\t/a b/ "), Ok("https://x.example/a%20b".into()));
        for text in [
            "http://videos.example.com",
            "ngrok",
            "ftp://x",
            "https://u:p@x",
            "https://:p@x",
            "https://x?y=1",
        ] {
            assert!(checked(text).is_err(), "{text}");
        }
    }

    const REFUSED: &str = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";

    fn through(proxy: &str) -> Http {
        install_tls();
        Http::with(Proxies::all(proxy), Duration::from_secs(10)).unwrap()
    }

    async fn get(http: &Http, url: &str) -> Result<api::Answer, api::Error> {
        let request = http.api.request(reqwest::Method::GET, url);
        http.api.send(request, api::ANSWER_LIMIT, api::Repeat::Reads).await
    }

    #[tokio::test]
    async fn calls_take_the_proxy_and_show_what_it_wants() {
        let relayed = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrelayed";
        let server = Server::start(vec![vec![REFUSED], vec![relayed]]).await;
        let http = through(&server.address.replace("://", "://user:a%40b@"));
        let refusal = get(&http, "https://drive.example/drive/v3/about").await.unwrap_err();
        let told = with_causes(&refusal);
        assert!(told.contains("proxy authorization required") && !told.contains("a@b"), "{told}");
        let answer = get(&http, "http://token.example/token").await.unwrap();
        assert!(answer.status.is_success());
        let heads = server.heads();
        let firsts: Vec<_> = heads.iter().filter_map(|head| head.lines().next()).collect();
        let expected = ["CONNECT drive.example:443 HTTP/1.1", "GET http://token.example/token HTTP/1.1"];
        assert_eq!(firsts, expected);
        for head in &heads {
            assert!(head.to_lowercase().contains("proxy-authorization: basic dxnlcjphqgi=\r\n"), "{head}");
        }
    }

    #[tokio::test]
    async fn this_machine_is_asked_directly() {
        let hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let server = Server::start(vec![vec![hello]]).await;
        let http = through("http://127.0.0.1:1");
        assert!(get(&http, &server.address).await.unwrap().status.is_success());
    }

    #[tokio::test]
    async fn a_proxy_of_another_kind_is_refused() {
        let http = through("socks5://127.0.0.1:1");
        let told = with_causes(&get(&http, "https://drive.example/").await.unwrap_err());
        assert!(told.contains("tunnel") && told.contains("unsupported scheme socks5"), "{told}");
    }

    #[test]
    fn short_keys_are_offered_first_and_the_others_as_well() {
        let ours = provider().cipher_suites;
        let count = rustls::crypto::ring::default_provider().cipher_suites.len();
        let is_short: Vec<bool> =
            ours.iter().map(|suite| format!("{:?}", suite.suite()).contains("_AES_128_GCM_")).collect();
        assert_eq!(is_short[..3], [true; 3]);
        assert_eq!(is_short[3..], vec![false; count - 3]);
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        assert_eq!(retry_after(&headers("30"), now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers("Tue, 24 Nov 2026 12:01:00 GMT"), now), Some(Duration::from_mins(1)));
        assert_eq!(retry_after(&headers("Tue, 24 Nov 2026 11:00:00 GMT"), now), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("99999999999"), now), Some(Duration::from_hours(1)));
        assert_eq!(retry_after(&headers("soon"), now), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
