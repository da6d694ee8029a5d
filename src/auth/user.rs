//! A user who logged in: an OAuth client, and the refresh token that the user granted it.
//!
//! The refresh is one form post of our own. yup-oauth2's installed flow falls back to waiting for a browser on any
//! failure, its authorized-user flow has Google's address built in, and neither looks at the HTTP status. A refresh token
//! that Google exchanges for another one is kept, in memory at least: the old one may be dead from then on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::end::{explain_refusal, unreadable};
use super::endpoint::{Answer, post};
use super::grant::{self, Grant};
use super::{AccessToken, Error, check_endpoint};
use crate::http::api::Api;
use crate::model::LoginId;
use crate::owner::{self, Want};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// A refused refresh token is shown again after this long. A suspended account comes back, and refusals can be wrong.
const DEAD_FOR: Duration = Duration::from_hours(1);
/// The end of a login is written again only when Google's word for it differs by more than this: it is told in seconds that
/// are left.
const SAME_END: Duration = Duration::from_hours(1);
/// An OAuth client.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) auth_uri: String,
    pub(super) token_uri: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the file that the Google Cloud console gives out for a "Desktop app".
    pub(super) fn from_installed(text: &str) -> Result<Self, String> {
        let secret = yup_oauth2::parse_application_secret(text)
            .map_err(|error| format!("is not a complete OAuth client: {error}"))?;
        check_endpoint("token_uri", &secret.token_uri)?;
        Ok(Self {
            id: secret.client_id,
            secret: secret.client_secret,
            auth_uri: secret.auth_uri,
            token_uri: secret.token_uri,
        })
    }
}

pub(super) struct User {
    client: Client,
    source: Source,
    http: Api,
    /// The refresh token that died, what of, and when. As long as no other one is there, nobody is asked for a while.
    dead: Mutex<Option<(String, Error, Instant)>>,
    /// A refresh token that the source still has, and the grant that took its place.
    exchanged: Mutex<Option<(String, Grant)>>,
    /// The end of the login that was warned of last, in seconds since 1970.
    warned_of: AtomicI64,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("client", &self.client)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where the refresh token is. Both are read again for each refresh: a new login needs no restart.
#[derive(Debug)]
enum Source {
    TokenFile(PathBuf),
    /// An authorized_user file, and what it held when the program started.
    Credentials(PathBuf, Grant),
}

/// Reads an authorized_user file, of gcloud's kind or of google-auth's.
pub(super) fn authorized(json: &serde_json::Value) -> Result<(Client, Grant), String> {
    let text = |key: &str| json.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let need = |key: &str| text(key).ok_or_else(|| format!("is an authorized_user file without `{key}`"));
    let client = Client {
        id: need("client_id")?,
        secret: need("client_secret")?,
        auth_uri: String::new(),
        token_uri: text("token_uri").unwrap_or_else(|| TOKEN_URI.to_owned()),
    };
    check_endpoint("token_uri", &client.token_uri)?;
    let grant = Grant {
        refresh_token: need("refresh_token")?,
        client_id: client.id.clone(),
        scope: None,
        granted_at: None,
        ends_at: None,
    };
    Ok((client, grant))
}

impl User {
    pub(super) fn logged_in(client: Client, token: PathBuf, http: Api) -> Self {
        Self::new(client, Source::TokenFile(token), http)
    }

    pub(super) fn with_grant(client: Client, grant: Grant, path: PathBuf, http: Api) -> Self {
        Self::new(client, Source::Credentials(path, grant), http)
    }

    fn new(client: Client, source: Source, http: Api) -> Self {
        let (dead, exchanged) = (Mutex::default(), Mutex::default());
        Self { client, source, http, dead, exchanged, warned_of: AtomicI64::new(0) }
    }

    pub(super) fn describe(&self) -> String {
        match &self.source {
            Source::TokenFile(path) => format!("the user who logged in ({})", path.display()),
            Source::Credentials(path, _) => format!("the user of {}", path.display()),
        }
    }

    pub(super) async fn fetch(&self) -> Result<AccessToken, Error> {
        let grant = self.grant()?;
        let is_of_it =
            |dead: &&(String, Error, Instant)| dead.0 == grant.refresh_token && dead.2.elapsed() < DEAD_FOR;
        if let Some((_, death, _)) = self.dead().as_ref().filter(is_of_it) {
            return Err(death.clone());
        }
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client.id),
            ("client_secret", &self.client.secret),
            ("refresh_token", &grant.refresh_token),
        ];
        match post(&self.http, &self.client.token_uri, &form).await? {
            Answer::Granted(mut tokens) => {
                let now = Timestamp::now();
                let ends_at = tokens.login_life().and_then(|life| now.checked_add(life).ok());
                let new = tokens.refresh_token.take().filter(|new| !new.is_empty());
                match new.filter(|new| *new != grant.refresh_token) {
                    Some(refresh_token) => {
                        self.exchange(
                            &grant.refresh_token,
                            &Grant { refresh_token, ends_at, ..grant.clone() },
                        );
                    }
                    None if is_another_end(grant.ends_at, ends_at) => {
                        self.exchange(&grant.refresh_token, &Grant { ends_at, ..grant.clone() });
                    }
                    None => {}
                }
                self.warn_of_end(ends_at.or(grant.ends_at), now);
                Ok(tokens.into_access_token(LoginId::of(&grant.refresh_token)))
            }
            Answer::Refused(refusal) => {
                let error = explain_refusal(&refusal, &grant, Timestamp::now());
                if matches!(error, Error::LoginNeeded { .. }) {
                    *self.dead() = Some((grant.refresh_token, error.clone(), Instant::now()));
                }
                Err(error)
            }
        }
    }

    /// When the login ends, as far as Google has said so.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.grant().ok()?.ends_at
    }

    /// Once for each login.
    fn warn_of_end(&self, ends_at: Option<Timestamp>, now: Timestamp) {
        let Some(ends_at) = ends_at else { return };
        let Some(warning) = grant::warning(ends_at, now) else { return };
        let before = self.warned_of.swap(ends_at.as_second(), Ordering::Relaxed);
        if (before - ends_at.as_second()).unsigned_abs() > SAME_END.as_secs() {
            warn!(%ends_at, "{warning}");
        }
    }

    /// The current grant: the one in the file, or the one that Google exchanged it for.
    fn grant(&self) -> Result<Grant, Error> {
        let in_file = self.read()?;
        let exchanged = self.exchanged();
        let newer = exchanged.as_ref().filter(|(old, _)| *old == in_file.refresh_token);
        Ok(newer.map_or(in_file, |(_, new)| new.clone()))
    }

    /// Google has issued a new refresh token; the old one is on its way out.
    fn exchange(&self, old: &str, new: &Grant) {
        let in_file = {
            let mut exchanged = self.exchanged();
            // What was exchanged before may still be what the file has.
            let in_file = exchanged.take().filter(|(_, before)| before.refresh_token == old);
            let in_file = in_file.map_or_else(|| old.to_owned(), |(in_file, _)| in_file);
            *exchanged = Some((in_file.clone(), new.clone()));
            in_file
        };
        let Source::TokenFile(path) = &self.source else {
            if new.refresh_token == old {
                return;
            }
            warn!(
                "Google has issued a new refresh token; the credentials file keeps the old one, so a restart may need a new file"
            );
            return;
        };
        // Somebody may have logged in or out while Google was asked. What they did counts more.
        if self.read().map_or(true, |there| there.refresh_token != in_file) {
            return;
        }
        if let Err(error) = new.write(path) {
            if new.refresh_token == old {
                // Only when the login ends would have been noted, and Google says so each time.
                debug!(file = %path.display(), %error, "the end of the login cannot be noted");
                return;
            }
            let why = owner::explain(&error, path, Want::Write);
            error!(
                file = %path.display(), error = why,
                "the new refresh token cannot be written; it is used until the program ends, and then a new login is needed"
            );
        }
    }

    fn exchanged(&self) -> MutexGuard<'_, Option<(String, Grant)>> {
        // A plain value, whole at any time.
        self.exchanged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead(&self) -> MutexGuard<'_, Option<(String, Error, Instant)>> {
        // A plain value, whole at any time.
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Grant, Error> {
        match &self.source {
            Source::TokenFile(path) => {
                let grant = Grant::read(path).map_err(|error| unreadable(path, &error))?;
                if grant.client_id == self.client.id {
                    Ok(grant)
                } else {
                    Err(Error::LoginNeeded {
                        why: format!("{} belongs to another OAuth client", path.display()),
                    })
                }
            }
            Source::Credentials(path, at_start) => {
                let now =
                    std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
                let now = now.and_then(|json: serde_json::Value| authorized(&json).ok());
                Ok(now.map_or_else(|| at_start.clone(), |(_client, grant)| grant))
            }
        }
    }
}

/// Whether Google has named an end, and it is not the one that is known.
fn is_another_end(known: Option<Timestamp>, named: Option<Timestamp>) -> bool {
    let Some(named) = named else { return false };
    known.is_none_or(|known| known.duration_since(named).unsigned_abs() > SAME_END)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::endpoint::tests::{Endpoint, client};
    use super::super::grant::tests::grant;
    use super::*;

    /// A user whose token file holds the refresh token `r`.
    fn user(home: &Path, endpoint: &Endpoint) -> User {
        let path = home.join("token.json");
        grant(None).write(&path).unwrap();
        User::logged_in(the_client(endpoint), path, client())
    }

    fn the_client(endpoint: &Endpoint) -> Client {
        let uri = endpoint.uri.clone();
        Client { id: "c".into(), secret: "client-secret".into(), auth_uri: String::new(), token_uri: uri }
    }

    /// The refresh tokens that were shown to the endpoint.
    fn shown(endpoint: &Endpoint) -> Vec<String> {
        let token = |form: &String| form.rsplit_once("refresh_token=").unwrap().1.to_owned();
        endpoint.forms().iter().map(token).collect()
    }

    fn granted(new: Option<&str>) -> (u16, Value) {
        (200, json!({"access_token": "a", "expires_in": 3599, "refresh_token": new}))
    }

    #[tokio::test]
    async fn a_refresh_token_that_is_exchanged_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start([granted(Some("r2")), granted(Some("r2")), granted(None)]).await;
        let user = user(home.path(), &endpoint);
        for _ in 0..3 {
            user.fetch().await.unwrap();
        }
        assert_eq!(shown(&endpoint), ["r", "r2", "r2"]);
        assert_eq!(Grant::read(&home.path().join("token.json")).unwrap().refresh_token, "r2");
    }

    #[tokio::test]
    async fn a_refresh_token_that_cannot_be_written_is_used_all_the_same() {
        let home = tempfile::tempdir().unwrap();
        let answers = [granted(Some("r2")), granted(Some("r3")), granted(None)];
        let endpoint = Endpoint::start(answers).await;
        let user = user(home.path(), &endpoint);
        let in_the_way = home.path().join(format!("token.json.new-{}", std::process::id()));
        std::fs::create_dir(&in_the_way).unwrap();
        for _ in 0..3 {
            user.fetch().await.unwrap();
        }
        assert_eq!(shown(&endpoint), ["r", "r2", "r3"]);
        assert_eq!(Grant::read(&home.path().join("token.json")).unwrap().refresh_token, "r");
        let login = Grant { refresh_token: "new-login".into(), ..grant(None) };
        std::fs::remove_dir(&in_the_way).unwrap();
        login.write(&home.path().join("token.json")).unwrap();
        user.fetch().await.unwrap();
        assert_eq!(shown(&endpoint)[3], "new-login", "a new login counts more");
    }

    #[tokio::test]
    async fn the_refresh_token_of_a_credentials_file_is_exchanged_in_memory() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start([granted(Some("r2")), granted(None)]).await;
        let path = home.path().join("authorized_user.json");
        let file =
            json!({"client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": endpoint.uri});
        std::fs::write(&path, file.to_string()).unwrap();
        let (client_of_file, grant) = authorized(&file).unwrap();
        let user = User::with_grant(client_of_file, grant, path.clone(), client());
        user.fetch().await.unwrap();
        user.fetch().await.unwrap();
        assert_eq!(shown(&endpoint), ["r", "r2"]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), file.to_string(), "it is the user's file");
    }

    #[tokio::test]
    async fn the_end_of_a_login_is_learnt_at_a_refresh_and_kept() {
        let home = tempfile::tempdir().unwrap();
        let answer = |left: Value| {
            (200, json!({"access_token": "a", "expires_in": 3599, "refresh_token_expires_in": left}))
        };
        let answers = [answer(json!(86_400)), answer(json!(86_390)), answer(Value::Null)];
        let endpoint = Endpoint::start(answers).await;
        let user = user(home.path(), &endpoint);
        let path = home.path().join("token.json");
        user.fetch().await.unwrap();
        let known = Grant::read(&path).unwrap().ends_at;
        let left = known.unwrap().duration_since(Timestamp::now()).as_hours();
        assert!((23..=24).contains(&left), "{left}");
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        for _ in 0..2 {
            user.fetch().await.unwrap();
            assert_eq!(user.ends_at(), known, "a few seconds are no other end, and silence is none");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
        assert_eq!(shown(&endpoint), ["r", "r", "r"]);
    }

    #[tokio::test]
    async fn a_login_that_comes_during_an_exchange_stays() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start([granted(Some("r2")), granted(None)]).await;
        let path = home.path().join("token.json");
        let user = user(home.path(), &endpoint);
        let (file, login) = (path.clone(), Grant { refresh_token: "new-login".into(), ..grant(None) });
        endpoint.before_answering(move || login.write(&file).unwrap());
        user.fetch().await.unwrap();
        assert_eq!(Grant::read(&path).unwrap().refresh_token, "new-login");
        user.fetch().await.unwrap();
        assert_eq!(shown(&endpoint), ["r", "new-login"]);
    }

    #[tokio::test]
    async fn a_dead_login_that_comes_back_to_life_is_used_again() {
        let home = tempfile::tempdir().unwrap();
        let refused = (400, json!({"error": "invalid_grant"}));
        let endpoint = Endpoint::start([refused.clone(), refused, granted(None)]).await;
        let user = user(home.path(), &endpoint);
        for (minutes, is_alive) in [(0, false), (59, false), (2, false), (59, false), (2, true)] {
            tokio::time::pause();
            tokio::time::advance(Duration::from_mins(minutes)).await;
            tokio::time::resume();
            assert_eq!(user.fetch().await.is_ok(), is_alive, "{minutes}");
        }
        assert_eq!(shown(&endpoint), ["r", "r", "r"], "once an hour");
    }

    #[tokio::test]
    async fn a_dead_login_is_asked_for_once() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start([(400, json!({"error": "invalid_grant"})), granted(None)]).await;
        let user = user(home.path(), &endpoint);
        for _ in 0..3 {
            assert!(matches!(user.fetch().await, Err(Error::LoginNeeded { .. })));
        }
        assert_eq!(shown(&endpoint), ["r"]);
        let login = Grant { refresh_token: "new-login".into(), ..grant(None) };
        login.write(&home.path().join("token.json")).unwrap();
        user.fetch().await.unwrap();
        assert_eq!(shown(&endpoint), ["r", "new-login"]);
    }

    #[tokio::test]
    async fn no_secret_is_shown() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start([granted(Some("second-refresh"))]).await;
        let user = user(home.path(), &endpoint);
        let secret = Grant { refresh_token: "first-refresh".into(), ..grant(None) };
        secret.write(&home.path().join("token.json")).unwrap();
        user.fetch().await.unwrap();
        let death = Error::LoginNeeded { why: String::new() };
        *user.dead() = Some(("first-refresh".into(), death, Instant::now()));
        let source = Source::Credentials(home.path().to_owned(), secret.clone());
        let all = format!("{user:?} {:?} {secret:?} {source:?}", user.client);
        for secret in ["first-refresh", "second-refresh", "client-secret"] {
            assert!(!all.contains(secret), "{all}");
        }
        assert!(all.contains("token.json"), "{all}");
    }
}
