//! The metadata server of Google's own machines (Compute Engine, Kubernetes Engine): it gives tokens for the service
//! account that the machine has, without a key. It is asked directly, never through a proxy.

use std::time::Duration;

use reqwest::Client;

use super::endpoint::Tokens;
use super::{AccessToken, Error, SCOPE};
use crate::http::explain;
use crate::model::LoginId;

/// The address is the same on all of Google's machines.
const ADDRESS: &str = "169.254.169.254";
/// What the firmware of Google's machines says.
const PRODUCT: &str = "/sys/class/dmi/id/product_name";
const HEADER: &str = "Metadata-Flavor";
const FLAVOUR: &str = "Google";
/// It is on the same machine.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct MetadataServer {
    base: String,
    http: Client,
}

impl MetadataServer {
    /// The server of this machine, if this is one of Google's. The variables are those of Google's own libraries.
    pub(super) fn of_this_machine() -> Option<String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if variable("NO_GCE_CHECK").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        variable("GCE_METADATA_HOST").or_else(|| variable("GCE_METADATA_ROOT")).or_else(|| {
            let product = std::fs::read_to_string(PRODUCT).unwrap_or_default();
            product.trim().starts_with("Google").then(|| ADDRESS.to_owned())
        })
    }

    pub(super) fn new(host: &str) -> Result<Self, Error> {
        Ok(Self { base: format!("http://{host}/computeMetadata/v1"), http: direct()? })
    }

    pub(super) fn describe(&self) -> String {
        format!("the service account of this machine ({})", self.base)
    }

    /// A token of the account that the machine has now: another one may be attached while the machine is stopped.
    pub(super) async fn fetch(&self) -> Result<AccessToken, Error> {
        let account = self.ask("email").await?;
        let scope = SCOPE.replace(':', "%3A").replace('/', "%2F");
        let token = self.ask(&format!("token?scopes={scope}")).await?;
        let tokens = Tokens::parse(&token).ok_or_else(|| unavailable("answers without a token"))?;
        let login = LoginId::of(&format!("{} {}", self.describe(), String::from_utf8_lossy(&account)));
        Ok(tokens.into_access_token(login))
    }

    /// Asks for something about the machine's account.
    async fn ask(&self, what: &str) -> Result<Vec<u8>, Error> {
        let url = format!("{}/instance/service-accounts/default/{what}", self.base);
        let failed = |error| unavailable(&format!("does not answer at {}: {}", self.base, explain(error)));
        let answer = self.http.get(url).header(HEADER, FLAVOUR).send().await.map_err(failed)?;
        let status = answer.status();
        if answer.headers().get(HEADER).is_none_or(|flavour| flavour != FLAVOUR) {
            return Err(unavailable(&format!("at {} is not Google's: it answers {status}", self.base)));
        }
        match status.as_u16() {
            200 => read(answer).await.map_err(|why| unavailable(&why)),
            404 => Err(Error::Refused {
                why: "this machine has no service account; attach one that the folder is shared with, and give the machine the \
                      scope drive.readonly, or set google.credentials to the key of another one"
                    .to_owned(),
            }),
            _ => Err(unavailable(&format!("answers {status}"))),
        }
    }
}

fn unavailable(why: &str) -> Error {
    Error::Unavailable { why: format!("the metadata server {why}") }
}

/// A client for what is on this machine or beside it.
pub(super) fn direct() -> Result<Client, Error> {
    let client = Client::builder().no_proxy().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    client.build().map_err(|error| Error::Unavailable { why: format!("no HTTP client: {}", explain(error)) })
}

/// An answer of a few kilobytes.
pub(super) async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    const LIMIT: usize = 64 * 1024;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(explain)? {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT {
            return Err(format!("answers with more than {LIMIT} bytes"));
        }
    }
    Ok(body)
}
