//! A user who logged in: an OAuth client, and the refresh token that the user granted it.
//!
//! The refresh is one form post of our own. yup-oauth2's installed flow falls back to waiting for a browser on any
//! failure, its authorized-user flow has Google's address built in, and neither looks at the HTTP status.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{AccessToken, Error, SCOPE, TOO_MANY_WAIT, WIDER_SCOPE, check_endpoint};
use crate::http::api::{ANSWER_LIMIT, Api, Repeat};
use crate::http::retry_after;
use crate::owner::{self, Absent, Want};
use crate::telemetry::log::with_causes;

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Grants of an app in "Testing" end after seven days; one that died at about that age died of it.
const TESTING_DAYS: std::ops::RangeInclusive<i64> = 6..=8;

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
        check_endpoint(&secret.token_uri)?;
        Ok(Self {
            id: secret.client_id,
            secret: secret.client_secret,
            auth_uri: secret.auth_uri,
            token_uri: secret.token_uri,
        })
    }
}

/// What a user granted, as `login` keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    /// Gets new access tokens until it dies.
    pub refresh_token: String,
    /// The client it was granted to; another one cannot use it.
    pub client_id: String,
    /// What may be done with it, as the user left it ticked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When the user granted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("granted_at", &self.granted_at).finish_non_exhaustive()
    }
}

impl Grant {
    /// Reads a token file.
    pub fn read(path: &Path) -> io::Result<Self> {
        // Of a pipe nobody may ever write the other end.
        let file =
            std::fs::File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        serde_json::from_str(&io::read_to_string(file)?).map_err(io::Error::other)
    }

    /// Replaces a token file in one step, readable by its owner only. Root writes it for the owner of the directory.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_added_extension(format!("new-{}", std::process::id()));
        let written = (|| {
            let mut file = owner::open(&beside, Absent::Make)?;
            file.set_len(0)?;
            file.write_all(serde_json::to_string_pretty(self).map_err(io::Error::other)?.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            std::fs::File::open(owner::parent(path))?.sync_all()
        })();
        if written.is_err() {
            // What is left of the attempt is of no use, and the error says what matters.
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

/// Whether the granted scopes, a list with blanks between, allow what this program does.
pub(super) fn scope_suffices(granted: &str) -> bool {
    granted.split_whitespace().any(|scope| scope == SCOPE || scope == WIDER_SCOPE)
}

#[derive(Debug)]
pub(super) struct User {
    client: Client,
    source: Source,
    http: Api,
    /// The refresh token that died, and what of. As long as no other one is there, nobody is asked again.
    dead: Mutex<Option<(String, Error)>>,
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
    check_endpoint(&client.token_uri)?;
    let grant = Grant {
        refresh_token: need("refresh_token")?,
        client_id: client.id.clone(),
        scope: None,
        granted_at: None,
    };
    Ok((client, grant))
}

impl User {
    pub(super) fn logged_in(client: Client, token: PathBuf, http: Api) -> Self {
        Self { client, source: Source::TokenFile(token), http, dead: Mutex::default() }
    }

    pub(super) fn with_grant(client: Client, grant: Grant, path: PathBuf, http: Api) -> Self {
        Self { client, source: Source::Credentials(path, grant), http, dead: Mutex::default() }
    }

    pub(super) fn describe(&self) -> String {
        match &self.source {
            Source::TokenFile(path) => format!("the user who logged in ({})", path.display()),
            Source::Credentials(path, _) => format!("the user of {}", path.display()),
        }
    }

    pub(super) async fn fetch(&self) -> Result<AccessToken, Error> {
        let grant = self.grant()?;
        if let Some((_, death)) = self.dead().as_ref().filter(|(token, _)| *token == grant.refresh_token) {
            return Err(death.clone());
        }
        let answer = post_form(
            &self.http,
            &self.client.token_uri,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", &self.client.id),
                ("client_secret", &self.client.secret),
                ("refresh_token", &grant.refresh_token),
            ],
        )
        .await?;
        match answer {
            Answer::Granted(tokens) => {
                if let Some(new) = tokens.refresh_token.clone().filter(|new| *new != grant.refresh_token) {
                    self.keep(&Grant { refresh_token: new, ..grant })?;
                }
                Ok(AccessToken::new(tokens.access_token, tokens.expires_in.map(Duration::from_secs)))
            }
            Answer::Refused(refusal) => {
                let error = explain_refusal(&refusal, &grant, Timestamp::now());
                if matches!(error, Error::LoginNeeded { .. }) {
                    *self.dead() = Some((grant.refresh_token, error.clone()));
                }
                Err(error)
            }
        }
    }

    fn dead(&self) -> MutexGuard<'_, Option<(String, Error)>> {
        // A plain value, whole at any time.
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant(&self) -> Result<Grant, Error> {
        match &self.source {
            Source::TokenFile(path) => {
                let grant = Grant::read(path).map_err(|error| Error::LoginNeeded {
                    why: match error.kind() {
                        io::ErrorKind::NotFound => format!("there is no {}", path.display()),
                        _ => format!(
                            "{} cannot be used: {}",
                            path.display(),
                            owner::explain(&error, path, Want::Read)
                        ),
                    },
                })?;
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

    /// Google may hand out a new refresh token; the old one is then on its way out.
    fn keep(&self, grant: &Grant) -> Result<(), Error> {
        match &self.source {
            Source::TokenFile(path) => grant.write(path).map_err(|error| Error::Unavailable {
                why: format!(
                    "the new refresh token cannot be written to {}: {}",
                    path.display(),
                    owner::explain(&error, path, Want::Write)
                ),
            }),
            Source::Credentials(..) => Ok(()),
        }
    }
}

/// What the token endpoint grants.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    #[serde(default)]
    pub(super) expires_in: Option<u64>,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

/// What the token endpoint refuses.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    error_subtype: Option<String>,
}

impl Refusal {
    pub(super) fn said(&self) -> String {
        match &self.error_description {
            Some(description) => format!("{} ({description})", self.error),
            None => self.error.clone(),
        }
    }
}

pub(super) enum Answer {
    Granted(Tokens),
    Refused(Refusal),
}

/// Asks the token endpoint. An answer that is neither a grant nor a refusal in due form is an outage.
pub(super) async fn post_form(http: &Api, uri: &str, form: &[(&str, &str)]) -> Result<Answer, Error> {
    let unavailable = |why: String| Error::Unavailable { why: format!("the token endpoint: {why}") };
    let request = http.request(Method::POST, uri).form(form);
    // Asking twice is what would be done after the failure, only later.
    let sent = http.send(request, ANSWER_LIMIT, Repeat::Always).await;
    let answer = sent.map_err(|error| unavailable(with_causes(&error)))?;
    let status = answer.status;
    if status == reqwest::StatusCode::TOO_MANY_REQUESTS {
        let retry_after = retry_after(&answer.headers, Timestamp::now()).unwrap_or(TOO_MANY_WAIT);
        return Err(Error::TooMany { why: format!("the token endpoint: {status}"), retry_after });
    }
    if status.is_success() {
        return serde_json::from_slice(&answer.body)
            .map(Answer::Granted)
            .map_err(|_| unavailable(format!("{status} without an access token")));
    }
    match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) if status.is_client_error() && !is_passing(status, &refusal) => {
            Ok(Answer::Refused(refusal))
        }
        _ => Err(unavailable(status.to_string())),
    }
}

/// Google's own libraries try these again.
fn is_passing(status: reqwest::StatusCode, refusal: &Refusal) -> bool {
    status == reqwest::StatusCode::REQUEST_TIMEOUT
        || matches!(refusal.error.as_str(), "internal_failure" | "server_error" | "temporarily_unavailable")
}

fn explain_refusal(refusal: &Refusal, grant: &Grant, now: Timestamp) -> Error {
    if refusal.error != "invalid_grant" {
        return Error::Refused {
            why: format!("{}; check the OAuth client in the Google Cloud console", refusal.said()),
        };
    }
    let age_days = grant.granted_at.map(|granted| now.duration_since(granted).as_hours() / 24);
    let why = match age_days {
        _ if refusal.error_subtype.as_deref() == Some("invalid_rapt") => {
            "the organisation's session length has ended this login".to_owned()
        }
        Some(days) if TESTING_DAYS.contains(&days) => format!(
            "the login was {days} days old, and logins of an app whose consent screen is in \"Testing\" end after seven \
             days; in the Google Cloud console under Audience publish the app (\"In production\") and log in once more"
        ),
        _ => format!("the login has expired or was revoked: {}", refusal.said()),
    };
    Error::LoginNeeded { why }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn grant(granted_at: Option<&str>) -> Grant {
        Grant {
            refresh_token: "r".into(),
            client_id: "c".into(),
            scope: None,
            granted_at: granted_at.map(|time| time.parse().unwrap()),
        }
    }

    fn refusal(error: &str) -> Refusal {
        Refusal { error: error.into(), error_description: Some("Bad Request".into()), error_subtype: None }
    }

    #[test]
    fn a_login_that_dies_after_seven_days_is_told_why() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |time| explain_refusal(&refusal("invalid_grant"), &grant(time), now).to_string();
        assert!(at(Some("2026-11-17T11:00:00Z")).contains("Testing"));
        assert!(at(Some("2026-06-17T11:00:00Z")).contains("expired or was revoked"));
        assert!(at(None).contains("gdrive-webhook login"));
        let client = explain_refusal(&refusal("deleted_client"), &grant(None), now);
        assert!(matches!(client, Error::Refused { .. }), "a dead client needs no login but another client");
    }

    #[test]
    fn a_token_file_is_private_and_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token.json");
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        grant(Some("2026-11-17T11:00:00Z")).write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Grant::read(&path).unwrap().refresh_token, "r");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn scopes_are_compared_word_by_word() {
        assert!(scope_suffices(&format!("openid {SCOPE}")));
        assert!(!scope_suffices("https://www.googleapis.com/auth/drive.readonly.metadata"));
        assert!(!scope_suffices("https://www.googleapis.com/auth/drive.file"));
    }
}
