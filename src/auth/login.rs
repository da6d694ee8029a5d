//! A user's consent: an address to open, an answer by the callback or as an address that is pasted back, and the exchange
//! of the code for a refresh token. Authorization code with PKCE (RFC 7636) and a `state`.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::callback::{Callback, Page};
use super::endpoint::{Answer, Refusal, post};
use super::grant::{Grant, scope_suffices};
use super::redirect::{Consent, read_pasted};
use super::{Client, Error, SCOPE};
use crate::http::api::Api;
use crate::owner::{self, SERVICE, SYSTEM_STATE, Want};

/// A person has this long to answer Google's questions.
const PATIENCE: Duration = Duration::from_mins(15);

/// A login that waits for the user's consent.
pub struct Login {
    client: Client,
    verifier: String,
    state: String,
    redirect_uri: String,
    callback: Callback,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Verifier and state are secrets until the login is over.
        f.debug_struct("Login").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

/// The person who logs in.
#[derive(Debug)]
pub struct Person<F> {
    /// Lines that are pasted.
    pub pasted: mpsc::Receiver<String>,
    /// Shows a sentence about a line that is of no use.
    pub tell: F,
    /// Cancelled when the person gives up.
    pub stop: CancellationToken,
}

impl Login {
    /// Opens the callback there, else on a free port of this machine.
    pub fn begin(client: Client, listen: Option<SocketAddr>) -> Result<Self, Error> {
        let (verifier, state) = (random(), random());
        let callback = Callback::open(listen, &state).map_err(|error| {
            refused(&match listen {
                Some(listen) => format!("cannot listen on {listen} (--listen): {error}"),
                None => format!("cannot listen on a port of 127.0.0.1 for the browser's answer: {error}"),
            })
        })?;
        Ok(Self { client, verifier, state, redirect_uri: callback.redirect_uri.clone(), callback })
    }

    /// The address that the user opens in a browser.
    pub fn address(&self) -> String {
        address(&self.client, &self.redirect_uri, &self.verifier, &self.state)
    }

    /// Waits for the consent, exchanges it, and writes the grant to the token file, where the daemon finds it. The browser
    /// is told what became of it.
    pub async fn finish<F: Fn(&str)>(
        mut self,
        http: &Api,
        token: &Path,
        mut person: Person<F>,
    ) -> Result<(), Error> {
        let (consent, browser) = self.consent(&mut person).await?;
        let done = match consent {
            Consent::Given(code) => tokio::select! {
                granted = self.exchange(http, &code) => granted.and_then(|grant| keep(&grant, token)),
                () = person.stop.cancelled() => Err(interrupted()),
            },
            Consent::Denied => {
                self.callback.close(browser, Page::Denied).await;
                return Err(refused(
                    "the access was denied on Google's page, and nothing was stored; to try again, run `gdrive-webhook login` \
                     and allow the access",
                ));
            }
            Consent::Failed(word) => Err(failed(&word)),
        };
        self.callback.close(browser, if done.is_ok() { Page::LoggedIn } else { Page::Failed }).await;
        done
    }

    /// The first answer that belongs to this login, and the browser that it came from.
    async fn consent<F: Fn(&str)>(
        &mut self,
        person: &mut Person<F>,
    ) -> Result<(Consent, Option<oneshot::Sender<Page>>), Error> {
        let too_late = tokio::time::sleep(PATIENCE);
        tokio::pin!(too_late);
        loop {
            tokio::select! {
                Some((consent, browser)) = self.callback.answer() => return Ok((consent, Some(browser))),
                // A closed standard input is nobody's answer.
                Some(line) = person.pasted.recv() => match read_pasted(&line, &self.state) {
                    Some(Ok(consent)) => return Ok((consent, None)),
                    Some(Err(stray)) => (person.tell)(&format!("{stray}.")),
                    None => {}
                },
                () = person.stop.cancelled() => return Err(interrupted()),
                () = &mut too_late => {
                    return Err(refused("the access was not allowed within 15 minutes; run `gdrive-webhook login` again"));
                }
            }
        }
    }

    async fn exchange(&self, http: &Api, code: &str) -> Result<Grant, Error> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client.id),
            ("client_secret", &self.client.secret),
            ("code", code),
            ("code_verifier", &self.verifier),
            ("redirect_uri", &self.redirect_uri),
        ];
        let tokens = match post(http, &self.client.token_uri, &form).await? {
            Answer::Granted(tokens) => tokens,
            Answer::Refused(refusal) => return Err(not_exchanged(&refusal)),
        };
        if tokens.scope.as_deref().is_some_and(|scope| !scope_suffices(scope)) {
            return Err(refused(
                "the permission to see and download Drive files was not granted on the consent page; run `gdrive-webhook login` again \
                 and tick it",
            ));
        }
        let now = Timestamp::now();
        let ends_at = tokens.login_life().and_then(|life| now.checked_add(life).ok());
        let refresh_token = tokens
            .refresh_token
            .ok_or_else(|| refused("Google sent no refresh token; run `gdrive-webhook login` again"))?;
        Ok(Grant {
            refresh_token,
            client_id: self.client.id.clone(),
            scope: tokens.scope,
            granted_at: Some(now),
            ends_at,
        })
    }
}

fn address(client: &Client, redirect_uri: &str, verifier: &str, state: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let query = [
        ("client_id", client.id.as_str()),
        ("redirect_uri", redirect_uri),
        ("response_type", "code"),
        ("scope", SCOPE),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", state),
        // Both together make Google give out a new refresh token even to someone who has consented before.
        ("access_type", "offline"),
        ("prompt", "consent"),
    ];
    reqwest::Url::parse_with_params(&client.auth_uri, query)
        .map_or_else(|_| client.auth_uri.clone(), String::from)
}

fn interrupted() -> Error {
    refused("it was interrupted, and nothing was stored")
}

/// Google's word for what went wrong, with what helps.
fn failed(word: &str) -> Error {
    let remedy = match word {
        "admin_policy_enforced" => {
            "an administrator of the Workspace has to allow the OAuth client first (admin console, API controls)"
        }
        "org_internal" => {
            "the app is for its own organisation: log in with an account of it, or make its audience external in the Google \
             Cloud console"
        }
        _ => "run `gdrive-webhook login` again",
    };
    refused(&format!("Google answers {word}, and nothing was stored; {remedy}"))
}

fn not_exchanged(refusal: &Refusal) -> Error {
    let remedy = match refusal.code() {
        "invalid_grant" => "the answer was used before or is too old; run `gdrive-webhook login` again",
        "invalid_client" | "deleted_client" | "unauthorized_client" => {
            "the OAuth client may have been deleted, or its secret replaced; download its JSON again from the Google Cloud \
             console, under Clients"
        }
        _ => "run `gdrive-webhook login` again",
    };
    refused(&format!("Google does not accept the login: {}; {remedy}", refusal.said()))
}

/// Looks whether the grant can be written there, and read by the daemon, before a person is asked for it. The directory is
/// not made here: whoever logs in first would own it.
pub fn check_place(path: &Path, database: &Path) -> Result<(), Error> {
    let directory = owner::parent(path);
    let wrong = |why: String| Error::Credentials { path: path.to_owned(), why };
    match rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => misplaced(path, database).map_or(Ok(()), |why| Err(wrong(why))),
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

/// Whose the token file would be, if that is somebody else than the user that has to read it: whoever owns the database,
/// else the directory. The sentence that says so.
fn misplaced(token: &Path, database: &Path) -> Option<String> {
    let owner_of = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
    let directory = owner::parent(token);
    let us = geteuid().as_raw();
    let writer = owner::heir(directory).map_or(us, |heir| heir.uid);
    // A directory of root's with nothing in it says nothing about who uses it.
    let reader = owner_of(database).or_else(|| owner_of(directory).filter(|uid| *uid != 0))?;
    // Root reads everything, also what it may not give to somebody else.
    (reader != writer && reader != 0).then(|| {
        let (theirs, ours) = (owner::user(reader), owner::user(writer));
        format!(
            "would belong to {ours}, and the daemon, which runs as {theirs}, could not read it; run this as {theirs}: sudo -u \
             {theirs} gdrive-webhook login"
        )
    })
}

/// Writes the grant where the daemon finds it.
fn keep(grant: &Grant, path: &Path) -> Result<(), Error> {
    grant.write(path).map_err(|error| Error::Credentials {
        path: path.to_owned(),
        why: format!("cannot be written: {}", owner::explain(&error, path, Want::Write)),
    })
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
    fn the_address_carries_pkce_and_state() {
        let client = Client {
            id: "id".into(),
            secret: "secret".into(),
            auth_uri: "https://accounts.google.com/o/oauth2/v2/auth".into(),
            token_uri: String::new(),
        };
        // The example of RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let address = address(&client, "http://127.0.0.1:1", verifier, "s");
        assert!(address.contains("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), "{address}");
        assert!(!address.contains("secret") && address.contains("state=s"));
    }

    #[tokio::test]
    async fn no_secret_of_a_login_is_shown() {
        let client = Client {
            id: "id".into(),
            secret: "secret".into(),
            auth_uri: "https://accounts.google.com/o/oauth2/v2/auth".into(),
            token_uri: String::new(),
        };
        let login = Login::begin(client, None).unwrap();
        let shown = format!("{login:?}");
        let secrets = [&login.verifier, &login.state, "secret"];
        assert!(secrets.iter().all(|secret| !shown.contains(*secret)), "{shown}");
    }

    #[test]
    fn a_word_of_googles_comes_with_what_helps() {
        for (word, remedy) in [
            ("admin_policy_enforced", "API controls"),
            ("org_internal", "audience"),
            ("server_error", "run `gdrive-webhook login` again"),
        ] {
            let told = failed(word).to_string();
            assert!(told.contains(word) && told.contains(remedy), "{told}");
        }
    }
}
