//! The client for JSON. Many calls share a connection, so a connection on which one failed is given up as well.
//!
//! A session of HTTP/2 can fall silent while TCP lives and pings are answered. A pool keeps such a session, and every later
//! call would time out on it too. After a failure new calls therefore go over new connections. Calls that are under way
//! stay where they are.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Request, RequestBuilder, Response, StatusCode, redirect};
use rustls::ClientConfig;
use tracing::info;

use super::proxies::Proxies;
use super::{CONNECT_TIMEOUT, REDIRECT_LIMIT, USER_AGENT};
use crate::telemetry::log::with_causes;

/// A whole call, body included. Listing a thousand changes takes Drive a few seconds at worst.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// An answer about one thing has a few kilobytes.
pub const ANSWER_LIMIT: usize = 1 << 20;
/// A page has at most a thousand entries of about one kilobyte. This allows for 16 KiB each.
pub const PAGE_LIMIT: usize = 16 << 20;
/// An error answer is a few hundred bytes; HTML pages of proxies are more, and the first part tells.
pub const ERROR_LIMIT: usize = 64 << 10;

/// The client. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    recipe: Recipe,
    /// Its pool holds the connections. A client that is replaced lives on until its calls have ended.
    current: ArcSwap<Client>,
}

/// What a client is made from.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) tls: ClientConfig,
    pub(super) proxies: Proxies,
}

/// Whether a call that broke off is made once more, over a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// If it only reads.
    Reads,
    /// Whatever it does: doing it twice does no harm.
    Always,
}

/// An answer that has come whole.
#[derive(Debug)]
pub struct Answer {
    /// How it went.
    pub status: StatusCode,
    /// What is said with it.
    pub headers: HeaderMap,
    /// The bytes, decompressed. Of a refusal only the beginning.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call failed.
    #[error(transparent)]
    Call(reqwest::Error),
    /// The answer has more bytes than any that makes sense.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
}

impl From<reqwest::Error> for Error {
    /// Without the address it went to: addresses can carry secrets.
    fn from(error: reqwest::Error) -> Self {
        Self::Call(error.without_url())
    }
}

impl Error {
    /// Whether the connection is at fault, or may be.
    fn is_of_connection(&self) -> bool {
        match self {
            Self::Call(error) => !(error.is_builder() || error.is_redirect() || error.is_connect()),
            Self::TooLong(_) => false,
        }
    }

    /// Whether it took the whole time that a call may take.
    fn is_timeout(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_timeout())
    }
}

impl Api {
    pub(super) fn new(recipe: Recipe) -> reqwest::Result<Self> {
        let current = ArcSwap::from_pointee(recipe.client()?);
        Ok(Self(Arc::new(Shared { recipe, current })))
    }

    /// A call that is still to be sent, by [`send`](Self::send).
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.0.current.load().request(method, url)
    }

    /// Makes a call and reads its answer, which may have so many bytes.
    pub async fn send(&self, request: RequestBuilder, limit: usize, repeat: Repeat) -> Result<Answer, Error> {
        let request = request.build()?;
        let may_repeat = repeat == Repeat::Always || request.method().is_safe();
        let again = request.try_clone().filter(|_| may_repeat);
        match (self.once(request, limit).await, again) {
            (Err(error), Some(again)) if error.is_of_connection() && !error.is_timeout() => {
                self.once(again, limit).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn once(&self, request: Request, limit: usize) -> Result<Answer, Error> {
        let client = self.0.current.load_full();
        let outcome = exchange(&client, request, limit).await;
        if let Err(error) = &outcome
            && error.is_of_connection()
        {
            self.give_up(&client, error);
        }
        outcome
    }

    /// Lets new calls go over new connections, unless another call did so before.
    fn give_up(&self, client: &Arc<Client>, error: &Error) {
        // It was made from the same parts before, so it cannot fail; the old one would serve if it did.
        let Ok(new) = self.0.recipe.client() else { return };
        let found = self.0.current.compare_and_swap(client, Arc::new(new));
        if Arc::ptr_eq(&found, client) {
            info!(error = with_causes(error), "a call failed; the next ones use a new connection");
        }
    }
}

impl Recipe {
    fn client(&self) -> reqwest::Result<Client> {
        Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirects())
            .tcp_nodelay(true)
            .no_proxy()
            .proxy(self.proxies.for_reqwest())
            .tls_backend_preconfigured(self.tls.clone())
            .timeout(CALL_TIMEOUT)
            .build()
    }
}

/// A few redirects, and never to another host: it would see what the call carries.
fn redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let stays = attempt.previous().last().is_some_and(|url| url.origin() == attempt.url().origin());
        if attempt.previous().len() > REDIRECT_LIMIT {
            attempt.error("too many redirects")
        } else if stays {
            attempt.follow()
        } else {
            attempt.error("redirected to another host, which is not followed: check the address, and whether a proxy answers in its place")
        }
    })
}

async fn exchange(client: &Client, request: Request, limit: usize) -> Result<Answer, Error> {
    let mut response = client.execute(request).await?;
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let body =
        if status.is_success() { read_whole(response, limit).await? } else { read_beginning(response).await };
    Ok(Answer { status, headers, body })
}

/// A body that is refused when it is longer than the limit. What is compressed counts by what comes out of it.
pub async fn read_whole(mut response: Response, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Error::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The beginning of a body. A body that breaks off still tells as much as came.
async fn read_beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < ERROR_LIMIT
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(ERROR_LIMIT);
    body
}
