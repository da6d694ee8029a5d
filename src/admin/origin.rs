//! Refuses requests that a browser sends for another site's page. A page can send requests to any address, including this
//! machine's loopback. With a host name that it points there (DNS rebinding) it could even read the answers. A request
//! in, a refusal out.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};

/// The other protection of the admin address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// None: it listens on loopback, and every user of this machine may send requests.
    Loopback,
    /// Each request needs a token, which another site's page does not have.
    Token,
}

/// Why a request is refused, if it is.
pub fn refusal(guard: Guard, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let hosts: Vec<&str> =
        values(headers, header::HOST).chain(uri.authority().map(Authority::as_str)).collect();
    // Programs may omit the host. Browsers do not.
    if guard == Guard::Loopback
        && let Some(host) = hosts.iter().find(|host| !is_loopback(host))
    {
        return Some(format!(
            "the request is for the host {}, which is not this machine: use 127.0.0.1 or localhost, or set admin.token_file",
            shown(host)
        ));
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if guard == Guard::Token && reads {
        return None;
    }
    values(headers, header::ORIGIN).find(|origin| !is_same(origin, &hosts)).map(|origin| {
        format!("the request was sent by a web page of {}, which may not use this address", shown(origin))
    })
}

/// A value that is not text becomes empty text, which matches no host and no origin.
fn values(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default())
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    !host.contains('@')
        && (name.eq_ignore_ascii_case("localhost")
            || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// Whether an origin is the requested address. The scheme may differ, since a proxy may have terminated TLS.
fn is_same(origin: &str, hosts: &[&str]) -> bool {
    let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    name.is_some_and(|name| !hosts.is_empty() && hosts.iter().all(|host| host.eq_ignore_ascii_case(name)))
}

fn shown(name: &str) -> String {
    let name: String = name.chars().take(100).filter(|c| !c.is_control()).collect();
    if name.is_empty() { "an unreadable name".to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(guard: Guard, method: &str, host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.append(name, value.parse().unwrap());
            }
        }
        refusal(guard, &method.parse().unwrap(), &Uri::from_static("/api/status"), &headers).is_none()
    }

    #[test]
    fn without_a_token_only_this_machine_is_a_host() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "127.9.9.9:1",
            "localhost",
            "LocalHost:8081",
            "[::1]:8081",
            "[::1]",
        ] {
            assert!(asked(Guard::Loopback, "GET", Some(host), None), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8081",
            "localhost.evil.example",
            "192.168.1.1",
            "0.0.0.0:8081",
            "",
            "127.0.0.1.evil.example",
            "x@127.0.0.1",
            "[::]",
            "2130706433",
            "127.0.0.1 evil",
        ] {
            assert!(!asked(Guard::Loopback, "GET", Some(host), None), "{host}");
            assert!(asked(Guard::Token, "GET", Some(host), None), "{host}");
        }
        assert!(asked(Guard::Loopback, "GET", None, None), "not a browser");
    }

    #[test]
    fn every_host_that_is_named_counts() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "127.0.0.1".parse().unwrap());
        let uri = Uri::from_static("http://evil.example/api/status");
        assert!(refusal(Guard::Loopback, &Method::GET, &uri, &headers).unwrap().contains("\"evil.example\""));
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(refusal(Guard::Loopback, &Method::GET, &Uri::from_static("/"), &headers).is_some());
    }

    #[test]
    fn a_page_of_somebody_else_is_refused() {
        let host = Some("127.0.0.1:8081");
        for method in ["GET", "POST"] {
            assert!(asked(Guard::Loopback, method, host, Some("http://127.0.0.1:8081")));
            for origin in
                ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1", "", "file://"]
            {
                assert!(!asked(Guard::Loopback, method, host, Some(origin)), "{method} {origin}");
            }
        }
        let host = Some("admin.example");
        assert!(asked(Guard::Token, "POST", host, Some("https://admin.example")));
        assert!(asked(Guard::Token, "GET", host, Some("https://evil.example")));
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            assert!(!asked(Guard::Token, method, host, Some("https://evil.example")), "{method}");
        }
        assert!(!asked(Guard::Token, "POST", None, Some("https://admin.example")), "no host to compare with");
    }
}
