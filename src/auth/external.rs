//! Workload identity: another cloud, or another issuer of tokens, says who this machine is. Its token is exchanged at Google's
//! token service, and usually for the token of a service account after that, since files are shared with accounts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::{self, Answer, Refusal, Tokens};
use super::{AccessToken, Error, SCOPE, check_endpoint, metadata};
use crate::http::api::{Api, Repeat};
use crate::http::explain;
use crate::model::LoginId;
use crate::owner::{self, Want};
use crate::telemetry::log::with_causes;

/// What a token must be allowed to do so that another one is given out for it.
/// Tokens have a few thousand bytes.
const LONGEST_TOKEN: u64 = 64 << 10;
const EXCHANGE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The file, as Google's console and gcloud write it.
#[derive(Deserialize)]
struct Written {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: Source,
}

/// Where the subject token is. One of the first two is there.
#[derive(Deserialize)]
struct Source {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
    executable: Option<Value>,
    environment_id: Option<String>,
    certificate: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Format {
    #[serde(default)]
    r#type: String,
    subject_token_field_name: Option<String>,
}

pub(super) struct ExternalAccount {
    path: PathBuf,
    written: Written,
    http: Api,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers of the source may be secrets.
        f.debug_tuple("ExternalAccount").field(&self.describe()).finish()
    }
}

impl ExternalAccount {
    pub(super) fn read(json: &Value, path: &Path, http: Api) -> Result<Self, String> {
        let written = Written::deserialize(json)
            .map_err(|error| format!("is not a complete workload identity configuration: {error}"))?;
        check_endpoint("token_url", &written.token_url)?;
        if let Some(url) = &written.service_account_impersonation_url {
            check_endpoint("service_account_impersonation_url", url)?;
        }
        written.credential_source.check()?;
        Ok(Self { path: path.to_owned(), written, http })
    }

    pub(super) fn describe(&self) -> String {
        let account = self.written.service_account_impersonation_url.as_deref();
        let account = account.and_then(|url| url.rsplit_once("/serviceAccounts/")?.1.split(':').next());
        match account {
            Some(account) => {
                format!("service account {account} by workload identity ({})", self.path.display())
            }
            None => format!("the workload identity of {}", self.path.display()),
        }
    }

    pub(super) async fn fetch(&self) -> Result<AccessToken, Error> {
        let subject = self.written.credential_source.token(&self.path).await?;
        let account = self.written.service_account_impersonation_url.as_deref();
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &self.written.audience),
            ("scope", if account.is_some() { EXCHANGE_SCOPE } else { SCOPE }),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", &subject),
            ("subject_token_type", &self.written.subject_token_type),
        ];
        let tokens = match endpoint::post(&self.http, &self.written.token_url, &form).await? {
            Answer::Granted(tokens) => tokens,
            Answer::Refused(refusal) => return Err(self.refused(
                &refusal,
                "check the provider of the workload identity pool, and that the token of this machine is for it",
            )),
        };
        match account {
            Some(url) => self.impersonate(url, &tokens).await,
            None => Ok(tokens.into_access_token(self.login())),
        }
    }

    /// Exchanges the token once more, for one of the service account.
    async fn impersonate(&self, url: &str, tokens: &Tokens) -> Result<AccessToken, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Given {
            access_token: String,
            expire_time: Option<Timestamp>,
        }
        let body = json!({"scope": [SCOPE], "lifetime": "3600s"});
        let request = self.http.request(Method::POST, url).bearer_auth(tokens.expose()).json(&body);
        let sent = self.http.send(request, endpoint::ANSWER_LIMIT, Repeat::Always).await;
        let answer = sent.map_err(|error| Error::Unavailable {
            why: format!("the service for service accounts: {}", with_causes(&error)),
        })?;
        if answer.status.is_success() {
            let given: Option<Given> = serde_json::from_slice(&answer.body).ok();
            let left = |end: Timestamp| end.duration_since(Timestamp::now()).as_secs();
            let tokens =
                given.and_then(|given| Tokens::given(given.access_token, given.expire_time.map(left)));
            return tokens.map(|tokens| tokens.into_access_token(self.login())).ok_or_else(|| {
                Error::Unavailable {
                    why: "the service for service accounts answers without a token".to_owned(),
                }
            });
        }
        match endpoint::read(answer.status, &answer.headers, &answer.body)? {
            Answer::Refused(refusal) => Err(self.refused(
                &refusal,
                "enable the IAM Service Account Credentials API, and grant the workload identity the role Service Account Token \
                 Creator (or Workload Identity User) on the service account",
            )),
            Answer::Granted(_) => Err(Error::Unavailable { why: "an answer that is none".to_owned() }),
        }
    }

    /// Another identity may take the place of one in the same file.
    fn login(&self) -> LoginId {
        let account = self.written.service_account_impersonation_url.as_deref().unwrap_or_default();
        LoginId::of(&format!("{} {} {account}", self.path.display(), self.written.audience))
    }

    fn refused(&self, refusal: &Refusal, remedy: &str) -> Error {
        Error::Refused { why: format!("{} ({}); {remedy}", refusal.said(), self.path.display()) }
    }
}

impl Source {
    fn check(&self) -> Result<(), String> {
        let others = [
            (self.executable.is_some(), "an executable"),
            (self.environment_id.is_some(), "AWS"),
            (self.certificate.is_some(), "a certificate"),
        ];
        // AWS is named with addresses as well.
        if let Some((_, other)) = others.iter().find(|(is_there, _)| *is_there) {
            return Err(format!(
                "takes its token from {other}, which is not supported; use a provider whose token is in a file or at an address"
            ));
        }
        match (&self.file, &self.url) {
            (Some(_), None) => Ok(()),
            (None, Some(url)) if url.starts_with("https://") || url.starts_with("http://") => Ok(()),
            (None, Some(_)) => {
                Err("has a credential_source.url that is not an http or https address".to_owned())
            }
            (Some(_), Some(_)) => Err("has both file and url in credential_source; remove one".to_owned()),
            (None, None) => {
                Err("has neither file nor url in credential_source; make it again with gcloud".to_owned())
            }
        }
    }

    /// The token by which the other issuer says who this machine is. It is issued anew now and then, so it is read each time.
    async fn token(&self, path: &Path) -> Result<String, Error> {
        let said = match (&self.file, &self.url) {
            (Some(file), _) => read_token(file).map_err(|error| Error::Credentials {
                path: path.to_owned(),
                why: format!(
                    "names the token file {}, which cannot be read: {}",
                    file.display(),
                    owner::explain(&error, file, Want::Read)
                ),
            })?,
            (None, Some(url)) => self.ask(url).await?,
            (None, None) => String::new(),
        };
        let field = self.format.subject_token_field_name.as_deref().filter(|_| self.format.r#type == "json");
        let token = match field {
            Some(field) => serde_json::from_str::<Value>(&said)
                .ok()
                .and_then(|json| json.get(field).and_then(Value::as_str).map(str::to_owned)),
            None => Some(said.trim().to_owned()),
        };
        token.filter(|token| !token.is_empty()).ok_or_else(|| Error::Credentials {
            path: path.to_owned(),
            why: match field {
                Some(field) => format!("names a source for a token that has no `{field}` in its JSON"),
                None => "names a source for a token that is empty".to_owned(),
            },
        })
    }

    /// Such an address is on this machine or beside it.
    async fn ask(&self, url: &str) -> Result<String, Error> {
        // The rest of an address may be a secret.
        let shown = reqwest::Url::parse(url).map_or_else(
            |_| "at an address".to_owned(),
            |url| format!("{}{}", url.origin().ascii_serialization(), url.path()),
        );
        let unavailable =
            |why: String| Error::Unavailable { why: format!("the token source {shown}: {why}") };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
                return Err(unavailable(format!("the header {name:?} cannot be sent")));
            };
            headers.insert(name, value);
        }
        let request = metadata::direct()?.get(url).headers(headers);
        let answer = request.send().await.map_err(|error| unavailable(explain(error)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(unavailable(format!("answers {status}")));
        }
        let body = metadata::read(answer).await.map_err(unavailable)?;
        String::from_utf8(body).map_err(|_| unavailable("answers with something that is not text".to_owned()))
    }
}

/// Reads a file with a token. Of a pipe nobody may ever write the other end, and a device may never end.
fn read_token(path: &Path) -> io::Result<String> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    io::read_to_string(file.take(LONGEST_TOKEN))
}
