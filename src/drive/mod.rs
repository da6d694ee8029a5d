//! Drive: the few calls this program makes, and the only place that knows Google's field names. It stores nothing and
//! decides nothing; each call is made once, and whoever called decides when to call again.

mod account;
mod changes;
mod channels;
pub mod error;
mod files;
mod odd;
mod pages;
mod wire;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use tracing::warn;

pub use account::Guard;
pub use channels::Granted;
pub use error::{Error, Fault};
pub use files::{Corpus, Media};
pub use pages::{Listed, Read, read_changes, read_listing};
pub use wire::Unreadable;

use account::Admission;

use crate::auth::{AccessToken, Auth};
use crate::http::api::{ANSWER_LIMIT, Answer, PAGE_LIMIT, Repeat};
use crate::http::gate::{Cause, Pass};
use crate::http::{Http, retry_after};
use crate::telemetry::rarely::Rarely;

/// `[google]` of the configuration, as far as it says where Drive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `https://www.googleapis.com`, or another root for tests and private endpoints; no slash at the end.
    pub api_url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { api_url: "https://www.googleapis.com".to_owned() }
    }
}

/// A connection to Drive, shared by everybody who calls it.
#[derive(Clone, Debug)]
pub struct Drive {
    http: Arc<Http>,
    auth: Arc<Auth>,
    base: String,
    /// Entries of pages that name no item.
    nameless: Arc<Rarely>,
    admission: Arc<Admission>,
}

impl Drive {
    /// Calls nobody yet.
    pub fn new(config: &Config, http: Arc<Http>, auth: Arc<Auth>) -> Self {
        let base = format!("{}/drive/v3", config.api_url);
        Self { http, auth, base, nameless: Arc::default(), admission: Arc::default() }
    }

    /// Whose Drive it is, for messages.
    pub fn describe(&self) -> String {
        self.auth.describe()
    }

    /// The credentials that calls are made with.
    pub fn auth(&self) -> Arc<Auth> {
        self.auth.clone()
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.api.request(method, &format!("{}{path}", self.base))
    }

    /// Makes a call and reads its JSON answer.
    async fn json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: RequestBuilder,
    ) -> Result<T, Error> {
        let read = |body: &[u8]| Ok(serde_json::from_slice(body)?);
        self.read(what, what, request, ANSWER_LIMIT, read).await
    }

    /// Makes a call that is answered with a page of entries. `subject` is what the call is about: as long as only calls
    /// about one item or one log fail, the others go on.
    async fn page<T>(
        &self,
        what: &'static str,
        subject: &str,
        request: RequestBuilder,
        read: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, Error> {
        self.read(what, subject, request, PAGE_LIMIT, read).await
    }

    async fn read<T>(
        &self,
        what: &'static str,
        subject: &str,
        request: RequestBuilder,
        limit: usize,
        read: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, Error> {
        // Boxed: a call is large, and every task that makes one would be.
        let (answer, pass) = Box::pin(self.send(what, subject, request, limit)).await?;
        // A page of a portal that answers in Drive's place is no answer, whatever its status.
        let read = read(&answer.body).map_err(|error| Error::unreadable(what, &error));
        match &read {
            Ok(_) => pass.served(),
            Err(_) => pass.failed(subject, None),
        }
        read
    }

    /// Makes a call of the API; whoever reads the answer says whether the call was served.
    async fn send(
        &self,
        what: &'static str,
        subject: &str,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<(Answer, Pass<'_>), Error> {
        let ask = |token: AccessToken| {
            // Only a streamed body cannot be said twice, and there is none.
            let request = request.try_clone().ok_or_else(|| Error::connection(what, "it cannot be repeated"));
            async move { self.answer(what, request?.bearer_auth(token.expose()), limit).await }
        };
        self.with_token(what, subject, ask).await
    }

    /// The page that was read. What is lost of it is said, but not at every page.
    fn usable<T>(&self, what: &'static str, read: Read<T>) -> T {
        if read.nameless > 0 && self.nameless.count(Instant::now()).is_some() {
            warn!(
                entries = read.nameless,
                call = what,
                "Drive's answer has entries that do not say which file they are about; they are left out, and the daily \
                 comparison finds what they meant"
            );
        }
        read.page
    }

    /// Sends a request and tells answers from refusals.
    async fn answer(
        &self,
        what: &'static str,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Error> {
        let sent = self.http.api.send(request, limit, Repeat::Reads).await;
        let answer = sent.map_err(|error| Error::no_answer(what, &error))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let wait = retry_after(&answer.headers, Timestamp::now());
        Err(Error::refusal(what, answer.status.as_u16(), &answer.body, wait))
    }

    /// Makes a call: passes the gate, shows the token, and after a 401 once more with a new one. `subject` tells calls
    /// of one kind apart that can fail one by one. Whether the call was served is said by whoever has read the answer.
    async fn with_token<T, F: Future<Output = Result<T, Error>>>(
        &self,
        what: &'static str,
        subject: &str,
        ask: impl Fn(AccessToken) -> F,
    ) -> Result<(T, Pass<'_>), Error> {
        match self.ask_once(what, subject, &ask).await {
            Err((error, Some(token))) if error.fault() == Fault::Unauthorized => {
                self.auth.refused(&token).await;
                self.ask_once(what, subject, &ask).await
            }
            outcome => outcome,
        }
        .map_err(|(error, _)| error)
    }

    /// Makes a call once. A failure comes with the token that was shown, if any was.
    async fn ask_once<T, F: Future<Output = Result<T, Error>>>(
        &self,
        what: &'static str,
        subject: &str,
        ask: impl Fn(AccessToken) -> F,
    ) -> Result<(T, Pass<'_>), (Error, Option<AccessToken>)> {
        let pass = self.http.gate.pass().await;
        let (error, token) = match self.auth.token().await {
            Ok(token) => match self.admit(what, &token).await {
                Ok(()) => match ask(token.clone()).await {
                    Ok(response) => return Ok((response, pass)),
                    Err(error) => (error, Some(token)),
                },
                Err(error) => (error, Some(token)),
            },
            Err(error) => (Error::auth(what, &error), None),
        };
        match (error.fault(), error.retry_after()) {
            (Fault::RateLimit, wait) => pass.refused(Cause::RateLimit, wait),
            (Fault::DailyLimit, wait) => pass.refused(Cause::DailyLimit, wait),
            (Fault::Connection | Fault::Unreadable | Fault::Server, wait) => pass.failed(subject, wait),
            // The login, the credentials and the database say nothing of whether Drive answers.
            (Fault::LoginNeeded | Fault::Credentials | Fault::Database, _) => drop(pass),
            // Whatever it says, it answers.
            (
                Fault::Unauthorized
                | Fault::FileQuota
                | Fault::Abusive
                | Fault::NotDownloadable
                | Fault::Denied
                | Fault::NoBytes
                | Fault::NotMember
                | Fault::Forbidden
                | Fault::NotFound
                | Fault::PageToken
                | Fault::ChannelIdNotUnique
                | Fault::Push
                | Fault::TooManyChannels
                | Fault::Range
                | Fault::BadRequest,
                _,
            ) => pass.served(),
        }
        Err((error, token))
    }
}

#[cfg(test)]
mod tests;
