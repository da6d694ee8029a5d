//! The address on this machine that the browser is sent back to. It answers a browser with what became of the login, so
//! an answer waits until that is known. Whatever does not belong to this login is turned away and changes nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::redirect::{self, Consent};
use crate::listen::{Door, Limits, Requests};

/// A browser waits for its answer while the code is exchanged, which takes a minute at worst.
const LONGEST: Duration = Duration::from_secs(90);

/// What the browser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    LoggedIn,
    Denied,
    Failed,
    Answered,
    Stray,
}

/// An answer, and the browser that waits to hear what became of it.
pub(super) type Answer = (Consent, oneshot::Sender<Page>);

/// A callback that is served.
pub(super) struct Callback {
    pub(super) redirect_uri: String,
    answers: mpsc::Receiver<Answer>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Callback {
    /// Listens there, else on a free port of this machine.
    pub(super) fn open(listen: Option<SocketAddr>, state: &str) -> std::io::Result<Self> {
        let listen = listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let limits = Limits { requests: Requests::One(LONGEST), ..Limits::default() };
        let door = Door::bind(listen)?.with_limits(limits);
        let redirect_uri = redirect_uri(door.address());
        let (sender, answers) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let desk = Desk { state: state.into(), answers: sender };
        let router = Router::new().route("/", any(answer)).fallback(stray).with_state(desk);
        let served = tokio::spawn(door.serve(router, stop.clone()));
        Ok(Self { redirect_uri, answers, stop, served })
    }

    /// The first answer to this login.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// Tells this browser, and every other one that waits, and waits until they have heard it.
    pub(super) async fn close(mut self, browser: Option<oneshot::Sender<Page>>, page: Page) {
        let others = std::iter::from_fn(|| self.answers.try_recv().ok()).map(|(_, browser)| browser);
        for browser in browser.into_iter().chain(others.collect::<Vec<_>>()) {
            // A browser that was closed needs no page.
            let _ = browser.send(page);
        }
        self.stop.cancel();
        // It ends within two seconds, and that it failed would change nothing.
        let _ = (&mut self.served).await;
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The loopback address that Google sends the browser to. A container listens on all of its addresses, and one of its ports
/// is published as the same port of the browser's machine.
fn redirect_uri(listening: SocketAddr) -> String {
    match listening.ip() {
        IpAddr::V6(address) if address.is_loopback() => format!("http://[::1]:{}", listening.port()),
        _ => format!("http://127.0.0.1:{}", listening.port()),
    }
}

#[derive(Clone)]
struct Desk {
    state: Arc<str>,
    answers: mpsc::Sender<Answer>,
}

async fn answer(State(desk): State<Desk>, method: Method, RawQuery(query): RawQuery) -> Page {
    // What only looks whether an address is there does not answer.
    let query = query.filter(|_| method == Method::GET).unwrap_or_default();
    let Ok(consent) = redirect::read(&query, &desk.state) else { return Page::Stray };
    let (browser, told) = oneshot::channel();
    match desk.answers.try_send((consent, browser)) {
        Ok(()) => told.await.unwrap_or(Page::Answered),
        Err(_) => Page::Answered,
    }
}

async fn stray() -> Page {
    Page::Stray
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::LoggedIn => {
                (StatusCode::OK, "Logged in", "The program is logged in. You can close this window.")
            }
            Self::Denied => (
                StatusCode::OK,
                "Access denied",
                "The access was denied, so the program is not logged in. To try again, run <code>gdrive-webhook login</code>.",
            ),
            Self::Failed => {
                (StatusCode::OK, "Not logged in", "The program is not logged in. The terminal shows why.")
            }
            Self::Answered => (
                StatusCode::CONFLICT,
                "Answered already",
                "This login has been answered already. The terminal shows what became of it.",
            ),
            Self::Stray => (
                StatusCode::NOT_FOUND,
                "Not an answer",
                "This page waits for Google's answer to a login, and this address is not one. Open the address that the \
                 terminal shows.",
            ),
        };
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title} - gdrive-webhook</title>\n\
             <h1>{title}</h1>\n<p>{text}</p>\n"
        );
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            // The address has the code in it.
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        (status, headers, page).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_sent_to_their_own_machine() {
        for (listening, expected) in [
            ("127.0.0.1:80", "http://127.0.0.1:80"),
            ("0.0.0.0:8085", "http://127.0.0.1:8085"),
            ("192.0.2.7:8085", "http://127.0.0.1:8085"),
            ("[::]:8085", "http://127.0.0.1:8085"),
            ("[::1]:8085", "http://[::1]:8085"),
        ] {
            assert_eq!(redirect_uri(listening.parse().unwrap()), expected);
        }
    }
}
