//! The credentials for Google. There are three kinds, told apart by the content of the file; each gives access tokens.
//! Only `login`, which a person starts, waits for a person.

mod assertion;
mod callback;
mod endpoint;
mod grant;
pub mod login;
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
use crate::owner::{Want, explain};
pub use grant::warning;
use jiff::Timestamp;
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
}

impl Auth {
    /// Reads the credentials file; asks nobody yet.
    pub fn load(config: &Config, http: &Http) -> Result<Self, Error> {
        let path = locate(config)?;
        let wrong = |why: String| Error::Credentials { path: path.clone(), why };
        let (text, json) = read(&path)?;
        let kind = match kind_of(&json).map_err(wrong)? {
            FileKind::ServiceAccount => Kind::ServiceAccount(Box::new(
                ServiceAccount::read(&text, config.impersonate.clone(), http.api.clone()).map_err(wrong)?,
            )),
            FileKind::InstalledClient => {
                let client = Client::from_installed(&text).map_err(wrong)?;
                Kind::User(Box::new(User::logged_in(client, config.token.clone(), http.api.clone())))
            }
            FileKind::AuthorizedUser => {
                let (client, grant) = user::authorized(&json).map_err(wrong)?;
                Kind::User(Box::new(User::with_grant(client, grant, path.clone(), http.api.clone())))
            }
        };
        if config.impersonate.is_some() && matches!(kind, Kind::User(_)) {
            return Err(wrong(
                "is not a service-account key; google.impersonate works with a service account only".into(),
            ));
        }
        Ok(Self { kind, current: Mutex::new(None) })
    }

    /// Whose credentials they are, for messages.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::ServiceAccount(account) => account.describe(),
            Kind::User(user) => user.describe(),
        }
    }

    /// When the login ends, as far as Google has said so.
    pub fn login_ends_at(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::ServiceAccount(_) => None,
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

fn read(path: &Path) -> Result<(String, serde_json::Value), Error> {
    let wrong = |why: String| Error::Credentials { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("cannot be read: {}", explain(&error, path, Want::Read))))?;
    let json = serde_json::from_str(&text).map_err(|error| wrong(format!("is not valid JSON: {error}")))?;
    Ok((text, json))
}

/// The file that the configuration names, else the one that Google's tools would use.
pub fn locate(config: &Config) -> Result<PathBuf, Error> {
    if let Some(path) = &config.credentials {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let gcloud = std::env::var_os("CLOUDSDK_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config/gcloud")));
    match gcloud.map(|directory| directory.join("application_default_credentials.json")) {
        Some(path) if path.exists() => Ok(path),
        _ => Err(Error::Credentials {
            path: PathBuf::from("google.credentials"),
            why: "is not set, and neither GOOGLE_APPLICATION_CREDENTIALS nor gcloud's application default \
                  credentials are there; set google.credentials to a service-account key or an OAuth client file"
                .to_owned(),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    ServiceAccount,
    InstalledClient,
    AuthorizedUser,
}

fn kind_of(json: &serde_json::Value) -> Result<FileKind, String> {
    let has = |key: &str| json.get(key).is_some();
    match json.get("type").and_then(serde_json::Value::as_str) {
        Some("service_account") => Ok(FileKind::ServiceAccount),
        Some("authorized_user") => Ok(FileKind::AuthorizedUser),
        Some(other) => Err(format!(
            "is of the type `{other}`, which is not supported; use a service-account key, an OAuth client of the type \
             \"Desktop app\", or an authorized_user file"
        )),
        None if has("installed") => Ok(FileKind::InstalledClient),
        None if has("web") => Err(
            "is an OAuth client of the type \"Web application\"; make one of the type \"Desktop app\" in the Google \
             Cloud console under Clients and download its JSON"
                .to_owned(),
        ),
        None if has("refresh_token") && has("client_id") => Ok(FileKind::AuthorizedUser),
        None => Err(
            "does not contain supported credentials, which are a service-account key, an OAuth client of the type \
             \"Desktop app\", or an authorized_user file; download it again from the Google Cloud console"
                .to_owned(),
        ),
    }
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
        FileKind::InstalledClient => Client::from_installed(&text).map_err(wrong),
        FileKind::ServiceAccount => Err(wrong("is a service account, which needs no login".to_owned())),
        FileKind::AuthorizedUser => Err(wrong("contains a login already; no login is needed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_told_apart_by_content() {
        assert_eq!(kind_of(&json!({"type": "service_account"})), Ok(FileKind::ServiceAccount));
        assert_eq!(kind_of(&json!({"type": "authorized_user"})), Ok(FileKind::AuthorizedUser));
        assert_eq!(kind_of(&json!({"installed": {}})), Ok(FileKind::InstalledClient));
        assert_eq!(kind_of(&json!({"refresh_token": "r", "client_id": "c"})), Ok(FileKind::AuthorizedUser));
        assert!(kind_of(&json!({"web": {}})).unwrap_err().contains("Desktop app"));
        assert!(kind_of(&json!({"type": "external_account"})).unwrap_err().contains("external_account"));
        assert!(kind_of(&json!([])).is_err());
    }

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
