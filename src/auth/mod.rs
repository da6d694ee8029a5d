//! The credentials for Google. There are several kinds, told apart by the content of the file; where there is none, a machine
//! of Google's has some. Each kind gives access tokens. Only `login`, which a person starts, waits for a person.

mod assertion;
mod callback;
mod end;
mod endpoint;
mod external;
mod file;
mod grant;
pub mod login;
mod metadata;
mod redirect;
mod service_account;
mod user;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::http::{Http, checked};
use crate::model::LoginId;
use external::ExternalAccount;
pub use file::locate;
use file::{kind_of, read};
pub use grant::warning;
use jiff::Timestamp;
use metadata::MetadataServer;
use service_account::ServiceAccount;
pub use user::Client;
use user::User;

/// Read everything, change nothing: enough for lists, downloads and shared drives.
pub const SCOPE: &str = "https://www.googleapis.com/auth/drive.readonly";
/// A wider scope that includes it.
const WIDER_SCOPE: &str = "https://www.googleapis.com/auth/drive";
/// A token endpoint that is asked too often is left alone for so long, unless it says for how long.
const TOO_MANY_WAIT: Duration = Duration::from_secs(30);
/// Tokens are renewed this long before their end, as Google's own libraries do.
const EARLY: Duration = Duration::from_secs(225);

/// `[google]` of the configuration, as far as it says who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The credentials file. `None`: Application Default Credentials.
    pub credentials: Option<PathBuf>,
    /// Where `login` keeps what the user granted.
    pub token: PathBuf,
    /// The user a service account acts for (domain-wide delegation).
    pub impersonate: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { credentials: None, token: PathBuf::from("token.json"), impersonate: None }
    }
}

/// Why there is no access token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The credentials file is missing or wrong; found when it is read, before anything runs.
    #[error("{path}: {why}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Nobody is logged in, or no longer.
    #[error("login needed: {why}; run `gdrive-webhook login`")]
    LoginNeeded {
        /// What happened to the login.
        why: String,
    },
    /// Google knows us and says no; somebody has to change a setting.
    #[error("Google refuses the credentials: {why}")]
    Refused {
        /// Google's words, and the remedy.
        why: String,
    },
    /// The token endpoint is asked too often.
    #[error("no access token: {why}")]
    TooMany {
        /// Google's words.
        why: String,
        /// Not before this is over.
        retry_after: Duration,
    },
    /// The token endpoint cannot be reached or is out of order.
    #[error("no access token: {why}")]
    Unavailable {
        /// What happened.
        why: String,
    },
}

/// A bearer token. Never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    text: String,
    login: LoginId,
    renew_at: Instant,
}

impl AccessToken {
    fn new(text: String, life: Duration, login: LoginId) -> Self {
        // A token that lives shorter than `EARLY` is renewed at half its life.
        Self { text, login, renew_at: Instant::now() + life.saturating_sub(EARLY).max(life / 2) }
    }

    /// The login that it was given for.
    pub fn login(&self) -> &LoginId {
        &self.login
    }

    /// For the authorization header.
    pub fn expose(&self) -> &str {
        &self.text
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.renew_at
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([hidden])")
    }
}

/// The credentials, and the access token they last gave.
#[derive(Debug)]
pub struct Auth {
    kind: Kind,
    /// An async lock, held while a token is fetched: callers that come meanwhile get the same token, not one each.
    current: Mutex<Option<AccessToken>>,
}

#[derive(Debug)]
enum Kind {
    ServiceAccount(Box<ServiceAccount>),
    User(Box<User>),
    Metadata(MetadataServer),
    External(Box<ExternalAccount>),
}

impl Auth {
    /// Reads the credentials file; asks nobody yet.
    pub fn load(config: &Config, http: &Http) -> Result<Self, Error> {
        let kind = match (locate(config), MetadataServer::of_this_machine()) {
            (Ok(path), _) => kind(&path, config, http)?,
            (Err(_), Some(host)) if config.impersonate.is_none() => {
                Kind::Metadata(MetadataServer::new(&host)?)
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Self { kind, current: Mutex::new(None) })
    }

    /// Whose credentials they are, for messages.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::ServiceAccount(account) => account.describe(),
            Kind::User(user) => user.describe(),
            Kind::Metadata(server) => server.describe(),
            Kind::External(account) => account.describe(),
        }
    }

    /// When the login ends, as far as Google has said so.
    pub fn login_ends_at(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::ServiceAccount(_) | Kind::Metadata(_) | Kind::External(_) => None,
            Kind::User(user) => user.ends_at(),
        }
    }

    /// An access token that is good for a while.
    pub async fn token(&self) -> Result<AccessToken, Error> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        let token = match &self.kind {
            Kind::ServiceAccount(account) => account.fetch().await?,
            Kind::User(user) => user.fetch().await?,
            Kind::Metadata(server) => server.fetch().await?,
            Kind::External(account) => account.fetch().await?,
        };
        *current = Some(token.clone());
        Ok(token)
    }

    /// Drive refused this token: the next caller gets another one.
    pub async fn refused(&self, token: &AccessToken) {
        let mut current = self.current.lock().await;
        if current.as_ref() == Some(token) {
            *current = None;
        }
    }
}

/// The credentials in a file.
fn kind(path: &Path, config: &Config, http: &Http) -> Result<Kind, Error> {
    let wrong = |why: String| Error::Credentials { path: path.to_owned(), why };
    let (text, json) = read(path)?;
    let api = http.api.clone();
    let kind = match kind_of(&json).map_err(wrong)? {
        file::Kind::ServiceAccount => {
            let account = ServiceAccount::read(&text, config.impersonate.clone(), api);
            return Ok(Kind::ServiceAccount(Box::new(account.map_err(wrong)?)));
        }
        file::Kind::InstalledClient => {
            let client = Client::from_installed(&text).map_err(wrong)?;
            Kind::User(Box::new(User::logged_in(client, config.token.clone(), api)))
        }
        file::Kind::AuthorizedUser => {
            let (client, grant) = user::authorized(&json).map_err(wrong)?;
            Kind::User(Box::new(User::with_grant(client, grant, path.to_owned(), api)))
        }
        file::Kind::ExternalAccount => {
            Kind::External(Box::new(ExternalAccount::read(&json, path, api).map_err(wrong)?))
        }
    };
    if config.impersonate.is_some() {
        return Err(wrong(
            "is not a service-account key; google.impersonate works with a service-account key only".into(),
        ));
    }
    Ok(kind)
}

/// Where tokens may be fetched, and logins begun: https, or this machine. `key` names it in the file.
fn check_endpoint(key: &str, uri: &str) -> Result<(), String> {
    checked(uri).map(|_| ()).map_err(|what| format!("has the {key} `{}`, which {what}", uri.escape_debug()))
}

/// Reads the kind of a credentials file for `login`, which works with an OAuth client only.
pub fn read_client(path: &Path) -> Result<Client, Error> {
    let wrong = |why: String| Error::Credentials { path: path.to_owned(), why };
    let (text, json) = read(path)?;
    match kind_of(&json).map_err(wrong)? {
        file::Kind::InstalledClient => {
            let client = Client::from_installed(&text).map_err(wrong)?;
            // It is handed to whatever opens a browser. Nobody else needs it.
            check_endpoint("auth_uri", &client.auth_uri).map_err(wrong)?;
            Ok(client)
        }
        file::Kind::ServiceAccount => Err(wrong("is a service account, which needs no login".to_owned())),
        file::Kind::ExternalAccount => Err(wrong("is a workload identity, which needs no login".to_owned())),
        file::Kind::AuthorizedUser => Err(wrong("contains a login already; no login is needed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_nowhere_unencrypted() {
        assert!(check_endpoint("token_uri", "https://oauth2.googleapis.com/token").is_ok());
        assert!(check_endpoint("token_uri", "http://127.0.0.1:4444/token").is_ok());
        assert!(check_endpoint("token_uri", "http://example.com/token").is_err());
        assert!(check_endpoint("token_uri", "token").is_err());
    }

    #[test]
    fn tokens_are_renewed_early() {
        let token = |life| AccessToken::new("secret".into(), life, LoginId::of("r"));
        assert!(token(Duration::from_hours(1)).is_fresh());
        assert!(!token(Duration::ZERO).is_fresh());
        assert_eq!(format!("{:?}", token(Duration::ZERO)), "AccessToken([hidden])");
    }
}
