//! The client for bytes: HTTP/1.1, and each body comes straight into the buffer of whoever wants it.
//!
//! A client for everything gives bodies out in pieces of its own. For files of gigabytes the copy from there into the
//! buffer that is written costs as much as decrypting them; small reads below TLS cost as much again. So connections
//! are held here: hyper says the request and reads the head of the answer, and then the rest of the connection is read
//! from directly.

mod body;
mod idle;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use reqwest::Url;

use super::REDIRECT_LIMIT;
use super::connect::{self, Connect, Line, host};
pub use body::Body;
use body::{Connection, Home};
use idle::{Idle, Origin};

/// Why no answer came, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked for.
    #[error("{0} is not an address")]
    Address(String),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// The connection is there, and nothing comes.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// The other side does not speak HTTP, or ended in the middle of it.
    #[error("the connection broke off")]
    Broken(#[from] hyper::Error),
    /// The connection ended in the middle of a body.
    #[error("the connection broke off")]
    Cut(#[from] io::Error),
    /// Sent from one place to the next.
    #[error("redirected {0}")]
    Redirect(&'static str),
}

/// What to get.
#[derive(Clone, Debug)]
pub struct Get {
    /// Where it is.
    pub url: Url,
    /// What is said with it. Values that are marked sensitive are for the first host only.
    pub headers: HeaderMap,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    /// How it went.
    pub status: StatusCode,
    /// What is said with it.
    pub headers: HeaderMap,
    /// The bytes.
    pub body: Body,
}

/// The client.
#[derive(Debug)]
pub struct Media {
    connect: Connect,
    idle: Arc<Idle>,
    agent: HeaderValue,
    stall: Duration,
}

impl Media {
    /// `stall` is how long a connection may stay silent before it counts as dead.
    pub(super) fn new(connect: Connect, agent: HeaderValue, stall: Duration) -> Self {
        Self { connect, idle: Arc::default(), agent, stall }
    }

    /// Asks, and follows a few redirects, never from https to http.
    pub async fn get(&self, get: &Get) -> Result<Answer, Error> {
        let (mut url, mut headers) = (get.url.clone(), get.headers.clone());
        for _ in 0..=REDIRECT_LIMIT {
            let answer = self.ask(&url, &headers).await?;
            let Some(next) = redirection(&url, answer.status, &answer.headers)? else { return Ok(answer) };
            if next.origin() != url.origin() {
                headers = without_secrets(&headers);
            }
            url = next;
        }
        Err(Error::Redirect("more often than a few times"))
    }

    /// Asks one host once: on a connection that is there, if it is still good, else on a new one.
    async fn ask(&self, url: &Url, headers: &HeaderMap) -> Result<Answer, Error> {
        let target: Uri = url.as_str().parse().map_err(|_| Error::Address(place(url)))?;
        let origin = Origin::of(url);
        while let Some(line) = self.idle.take(&origin) {
            match self.exchange(line, &origin, &target, headers).await {
                // The other side closed it just now, as it may. One that has not seen the request has company.
                Err(Error::Broken(error)) if error.is_canceled() => {}
                Err(Error::Broken(_)) => break,
                outcome => return outcome,
            }
        }
        let line = self.connect.to(&target).await?;
        self.exchange(line, &origin, &target, headers).await
    }

    async fn exchange(
        &self,
        line: Line,
        origin: &Origin,
        target: &Uri,
        headers: &HeaderMap,
    ) -> Result<Answer, Error> {
        let request =
            self.request(target, headers).ok_or_else(|| Error::Address(target.path().to_owned()))?;
        let asked = tokio::time::timeout(self.stall, head(line, request)).await;
        let Ok(asked) = asked else {
            // What took the way of this connection away may have taken that of its neighbours: none of them is waited for.
            self.idle.forget(origin);
            return Err(Error::Silent(self.stall));
        };
        let (connection, response) = asked?;
        let (head, incoming) = response.into_parts();
        let stays = head.version == Version::HTTP_11
            && head.status != StatusCode::SWITCHING_PROTOCOLS
            && !says_close(&head.headers);
        let home = stays.then(|| Home { idle: Arc::clone(&self.idle), origin: origin.clone() });
        let body = Body::new(connection, incoming, home, self.stall);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn request(&self, target: &Uri, headers: &HeaderMap) -> Option<Request<Empty<Bytes>>> {
        let mut headers = headers.clone();
        headers.insert(HOST, HeaderValue::try_from(host(target)).ok()?);
        headers.insert(USER_AGENT, self.agent.clone());
        let relay = self.connect.relay(target);
        if let Some(shown) = relay.as_ref().and_then(|relay| relay.basic_auth()) {
            headers.insert(PROXY_AUTHORIZATION, shown.clone());
        }
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        let asked = if relay.is_some() { target.clone() } else { path.parse().ok()? };
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = asked;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Says a request and reads until the body of its answer begins.
async fn head(line: Line, request: Request<Empty<Bytes>>) -> Result<(Connection, Response<Incoming>), Error> {
    let (mut sender, mut connection) = http1::handshake(TokioIo::new(line)).await?;
    let mut asked = pin!(sender.send_request(request));
    let response = poll_fn(|context| {
        let ended = Pin::new(&mut connection).poll(context);
        match (asked.as_mut().poll(context), ended) {
            (Poll::Ready(response), _) => Poll::Ready(response.map_err(Error::Broken)),
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(Error::Broken(error))),
            (Poll::Pending, Poll::Ready(Ok(()))) => {
                Poll::Ready(Err(Error::Cut(io::ErrorKind::UnexpectedEof.into())))
            }
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    });
    // Both sides are here, and whoever is not asked for lack of time has not ended.
    let response = tokio::task::unconstrained(response).await?;
    Ok((connection, response))
}

/// Where an answer sends to, if it sends anywhere.
fn redirection(url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = headers.get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let location = location.to_str().map_err(|_| Error::Redirect("to an address that cannot be read"))?;
    let mut next = url.join(location).map_err(|_| Error::Redirect("to an address that cannot be read"))?;
    // Nobody logs in with what another one says. It cannot fail where there is a host, and else there is nothing.
    let _ = next.set_username("").and_then(|()| next.set_password(None));
    match (url.scheme(), next.scheme()) {
        ("https", "http") => Err(Error::Redirect("away from https")),
        (_, "http" | "https") => Ok(Some(next)),
        _ => Err(Error::Redirect("away from HTTP")),
    }
}

fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let public = headers.iter().filter(|(_, value)| !value.is_sensitive());
    public.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn says_close(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    said.any(|said| said.split(',').any(|word| word.trim().eq_ignore_ascii_case("close")))
}

/// An address without its query, which can carry secrets.
fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
