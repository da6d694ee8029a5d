//! A user's consent: an address to open, a callback to this machine, and the exchange of the code for a refresh token.
//! Authorization code with PKCE (RFC 7636) and a `state`; the callback listens on loopback only.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustix::fs::Access;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::endpoint::{Answer, post};
use super::user::scope_suffices;
use super::{Client, Error, Grant, SCOPE};
use crate::http::api::Api;
use crate::listen::Door;
use crate::owner::{self, SERVICE, SYSTEM_STATE, Want};

/// A person has this long to answer Google's questions.
const PATIENCE: Duration = Duration::from_mins(15);

/// A login that waits for the user's consent.
pub struct Login {
    client: Client,
    redirect_uri: String,
    verifier: String,
    state: String,
    answers: mpsc::Receiver<String>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Verifier and state are secrets until the login is over.
        f.debug_struct("Login").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

impl Login {
    /// Opens the callback on a free port of this machine.
    pub fn begin(client: Client) -> Result<Self, Error> {
        let unavailable =
            |error: std::io::Error| Error::Unavailable { why: format!("no port for the callback: {error}") };
        let door = Door::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(unavailable)?;
        let redirect_uri = format!("http://127.0.0.1:{}", door.address().port());
        let (sender, answers) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(callback)).with_state(sender);
        tokio::spawn(door.serve(router, stop.clone()));
        Ok(Self { client, redirect_uri, verifier: random(), state: random(), answers, stop })
    }

    /// The address that the user opens in a browser.
    pub fn address(&self) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()));
        let query = [
            ("client_id", self.client.id.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("response_type", "code"),
            ("scope", SCOPE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &self.state),
            // Both together make Google give out a new refresh token even to someone who has consented before.
            ("access_type", "offline"),
            ("prompt", "consent"),
        ];
        reqwest::Url::parse_with_params(&self.client.auth_uri, query)
            .map_or_else(|_| self.client.auth_uri.clone(), String::from)
    }

    /// Waits for the consent, by the callback or as the address that the user pasted back, and exchanges it.
    pub async fn finish(
        mut self,
        http: &Api,
        pasted: impl Future<Output = Option<String>>,
    ) -> Result<Grant, Error> {
        let query = tokio::select! {
            query = self.answers.recv() => query,
            Some(address) = pasted => Some(address),
            () = tokio::time::sleep(PATIENCE) => None,
        };
        let query = query.ok_or_else(|| {
            refused("no consent was given within 15 minutes; run `gdrive-webhook login` again")
        })?;
        let code = read_answer(&query, &self.state)?;
        self.exchange(http, &code).await
    }

    async fn exchange(&self, http: &Api, code: &str) -> Result<Grant, Error> {
        let answer = post(
            http,
            &self.client.token_uri,
            &[
                ("grant_type", "authorization_code"),
                ("client_id", &self.client.id),
                ("client_secret", &self.client.secret),
                ("code", code),
                ("code_verifier", &self.verifier),
                ("redirect_uri", &self.redirect_uri),
            ],
        )
        .await?;
        let tokens = match answer {
            Answer::Granted(tokens) => tokens,
            Answer::Refused(refusal) => {
                return Err(refused(&format!("Google does not accept the code: {}", refusal.said())));
            }
        };
        if tokens.scope.as_deref().is_some_and(|scope| !scope_suffices(scope)) {
            return Err(refused(
                "the permission to see and download Drive files was not granted on the consent page; run `gdrive-webhook login` again \
                 and tick it",
            ));
        }
        let refresh_token = tokens
            .refresh_token
            .ok_or_else(|| refused("Google sent no refresh token; run `gdrive-webhook login` again"))?;
        Ok(Grant {
            refresh_token,
            client_id: self.client.id.clone(),
            scope: tokens.scope,
            granted_at: Some(Timestamp::now()),
        })
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Looks whether the grant can be written there, before a person is asked for it. The directory is not made here: whoever
/// logs in first would own it.
pub fn check_place(path: &Path) -> Result<(), Error> {
    let directory = owner::parent(path);
    let wrong = |why: String| Error::Credentials { path: path.to_owned(), why };
    match rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => {
            let shown = directory.display();
            let command = match owner::user_id(SERVICE) {
                Some(_) if directory == Path::new(SYSTEM_STATE) => {
                    format!("sudo install -d -m 0700 -o {SERVICE} -g {SERVICE} {}", owner::shell(directory))
                }
                _ => format!("mkdir -p -m 0700 {}", owner::shell(directory)),
            };
            Err(wrong(format!("cannot be written: there is no directory {shown}; make it first: {command}")))
        }
        Err(errno) => {
            let why = owner::explain(&errno.into(), path, Want::Write);
            Err(wrong(format!("cannot be written: {why}")))
        }
    }
}

/// Writes the grant where the daemon finds it.
pub fn keep(grant: &Grant, path: &Path) -> Result<(), Error> {
    grant.write(path).map_err(|error| Error::Credentials {
        path: path.to_owned(),
        why: format!("cannot be written: {}", owner::explain(&error, path, Want::Write)),
    })
}

async fn callback(
    State(answers): State<mpsc::Sender<String>>,
    RawQuery(query): RawQuery,
) -> (StatusCode, Html<&'static str>) {
    match query {
        Some(query) if query.contains("code=") || query.contains("error=") => {
            // A second callback finds the place taken; the first one counts.
            let _ = answers.try_send(format!("?{query}"));
            (
                StatusCode::OK,
                Html(
                    "<!doctype html><title>gdrive-webhook</title><p>You can close this window and go back to the terminal.",
                ),
            )
        }
        _ => (
            StatusCode::NOT_FOUND,
            Html(
                "<!doctype html><title>gdrive-webhook</title><p>This page waits for Google's answer to a login.",
            ),
        ),
    }
}

/// Reads code and state out of the callback's query, or out of a whole pasted address.
fn read_answer(answer: &str, state: &str) -> Result<String, Error> {
    let query = answer.trim().split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let url = reqwest::Url::parse(&format!("http://127.0.0.1/?{query}"))
        .map_err(|_| refused("that is not an address; paste the whole address that the browser ended on"))?;
    let value =
        |key: &str| url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
    if let Some(error) = value("error") {
        let remedy = if error == "access_denied" { "; allow the access on the consent page" } else { "" };
        return Err(refused(&format!("Google answers {error}{remedy}")));
    }
    if value("state").as_deref() != Some(state) {
        return Err(refused(
            "this address belongs to an earlier login; run `gdrive-webhook login` again and open the address that it prints",
        ));
    }
    value("code")
        .ok_or_else(|| refused("there is no code in it; paste the whole address that the browser ended on"))
}

fn refused(why: &str) -> Error {
    Error::Refused { why: why.to_owned() }
}

/// 43 and more characters of the unreserved alphabet, as RFC 7636 asks for.
fn random() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_from_callbacks_and_pasted_addresses() {
        for answer in ["?state=s&code=4%2Fabc", " http://127.0.0.1:3999/?code=4%2Fabc&state=s&scope=x#top \n"]
        {
            assert_eq!(read_answer(answer, "s").unwrap(), "4/abc");
        }
    }

    #[test]
    fn answers_that_are_not_ours_are_refused() {
        for (answer, word) in [
            ("?code=4&state=other", "earlier login"),
            ("?code=4", "earlier login"),
            ("?error=access_denied&state=s", "access_denied"),
            ("?state=s", "no code"),
            ("4/abc", "earlier login"),
        ] {
            let error = read_answer(answer, "s").unwrap_err().to_string();
            assert!(error.contains(word), "{answer}: {error}");
        }
    }

    #[test]
    fn the_address_carries_pkce_and_state() {
        let client = Client {
            id: "id".into(),
            secret: "secret".into(),
            auth_uri: "https://accounts.google.com/o/oauth2/v2/auth".into(),
            token_uri: String::new(),
        };
        let (_sender, answers) = mpsc::channel(1);
        let login = Login {
            client,
            redirect_uri: "http://127.0.0.1:1".into(),
            // The example of RFC 7636, appendix B.
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
            state: "s".into(),
            answers,
            stop: CancellationToken::new(),
        };
        let address = login.address();
        assert!(address.contains("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), "{address}");
        assert!(!address.contains("secret") && address.contains("state=s"));
        let shown = format!("{login:?}");
        assert!(!shown.contains("dBjftJeZ4CVP") && !shown.contains("secret"), "{shown}");
    }
}
