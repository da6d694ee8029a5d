//! The proxies that the environment names, as curl understands them: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
//! This machine is never asked for through a proxy, whatever they say.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::Url;

use super::is_loopback;

#[derive(Clone, Debug)]
pub(super) struct Proxies(Arc<Matcher>);

impl Proxies {
    pub(super) fn of_the_environment() -> Self {
        Self(Arc::new(Matcher::from_system()))
    }

    /// The one that a request for this address goes to.
    pub(super) fn on_the_way_to(&self, target: &Uri) -> Option<Intercept> {
        self.0.intercept(target).filter(|_| !target.host().is_some_and(is_loopback))
    }

    /// The same for reqwest, which wants to know the way before it says the whole address.
    pub(super) fn for_reqwest(&self) -> reqwest::Proxy {
        let proxies = self.clone();
        reqwest::Proxy::custom(move |url| {
            let target = url.as_str().parse().ok()?;
            proxies.on_the_way_to(&target).and_then(|proxy| address(&proxy))
        })
    }
}

/// The address of a proxy, with what it wants to be shown.
fn address(proxy: &Intercept) -> Option<Url> {
    let mut url = Url::parse(&proxy.uri().to_string()).ok()?;
    if let Some((user, word)) = shown(proxy) {
        // It cannot fail where there is a host, and a proxy has one.
        url.set_username(&user).and_then(|()| url.set_password(Some(&word))).ok()?;
    }
    Some(url)
}

/// User and password, which are kept as the header that says them.
fn shown(proxy: &Intercept) -> Option<(String, String)> {
    let header = proxy.basic_auth()?.to_str().ok()?;
    let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    text.split_once(':').map(|(user, word)| (user.to_owned(), word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Proxies {
        pub(in crate::http) fn none() -> Self {
            Self(Arc::new(Matcher::builder().build()))
        }

        pub(in crate::http) fn all(proxy: &str) -> Self {
            Self(Arc::new(Matcher::builder().all(proxy).no("near.example").build()))
        }
    }

    fn way(proxies: &Proxies, target: &str) -> Option<String> {
        proxies.on_the_way_to(&target.parse().unwrap()).and_then(|proxy| address(&proxy)).map(String::from)
    }

    #[test]
    fn everything_goes_there_but_what_is_excepted_and_this_machine() {
        let proxies = Proxies::all("http://proxy.example:3128");
        let there = Some("http://proxy.example:3128/".to_owned());
        assert_eq!(way(&proxies, "https://www.googleapis.com/drive/v3/files"), there);
        assert_eq!(way(&proxies, "http://10.0.0.1/"), there);
        for target in [
            "https://near.example/",
            "http://127.0.0.1:8080/x",
            "http://localhost/",
            "http://[::1]:9/",
            "https://127.0.0.2/",
        ] {
            assert_eq!(way(&proxies, target), None, "{target}");
        }
        assert_eq!(way(&Proxies::none(), "https://www.googleapis.com/"), None);
    }

    #[test]
    fn what_a_proxy_wants_to_be_shown_stays_with_its_address() {
        let proxies = Proxies::all("http://me:a%40b%3Ac@proxy.example:3128");
        let expected = Some("http://me:a%40b%3Ac@proxy.example:3128/".to_owned());
        assert_eq!(way(&proxies, "https://www.googleapis.com/"), expected);
        assert!(!format!("{proxies:?}").contains("a@b"));
    }
}
