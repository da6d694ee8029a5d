//! A service account: signs its own requests, never expires, needs no browser. yup-oauth2 signs and asks.

use std::time::Duration;

use yup_oauth2::error::AuthErrorCode;
use yup_oauth2::{CustomHyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey};

use super::{AccessToken, Error, SCOPE, TOO_MANY_WAIT, check_endpoint};
use crate::http::Plain;
use crate::telemetry::log::with_causes;

/// yup-oauth2 has no limit of its own.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct ServiceAccount {
    key: ServiceAccountKey,
    impersonate: Option<String>,
    http: Plain,
}

impl ServiceAccount {
    pub(super) fn read(text: &str, impersonate: Option<String>, http: Plain) -> Result<Self, String> {
        let key = yup_oauth2::parse_service_account_key(text)
            .map_err(|error| format!("is not a complete service-account key: {error}"))?;
        check_endpoint(&key.token_uri)?;
        Ok(Self { key, impersonate, http })
    }

    pub(super) fn describe(&self) -> String {
        match &self.impersonate {
            Some(user) => format!("service account {} for {user}", self.key.client_email),
            None => format!("service account {}", self.key.client_email),
        }
    }

    /// Asks for a new token. The authenticator is made for this one question: yup-oauth2 would remember an answer
    /// without a token in it as a token that never ends.
    pub(super) async fn fetch(&self) -> Result<AccessToken, Error> {
        let http = CustomHyperClientBuilder::from(self.http.clone());
        let builder = ServiceAccountAuthenticator::with_client(self.key.clone(), http);
        let builder = match &self.impersonate {
            Some(user) => builder.subject(user.clone()),
            None => builder,
        };
        let authenticator = builder.build().await.map_err(|error| Error::Refused {
            why: format!("the private key of {} cannot be used: {error}", self.key.client_email),
        })?;
        let answer = tokio::time::timeout(TIMEOUT, authenticator.token(&[SCOPE]))
            .await
            .map_err(|_elapsed| Error::Unavailable { why: "the token endpoint does not answer".to_owned() })?
            .map_err(|error| self.explain(&error))?;
        let lifetime = answer
            .expiration_time()
            .map(|end| Duration::try_from(end - std::time::SystemTime::now()).unwrap_or(Duration::ZERO));
        match answer.token() {
            Some(token) => Ok(AccessToken::new(token.to_owned(), lifetime)),
            None => Err(Error::Unavailable { why: "the token endpoint answered without a token".to_owned() }),
        }
    }

    fn explain(&self, error: &yup_oauth2::Error) -> Error {
        let yup_oauth2::Error::AuthError(refusal) = error else {
            // Everything else is a connection, or an answer that is none: HTML from a proxy, half a JSON.
            return Error::Unavailable { why: format!("the token endpoint: {}", with_causes(error)) };
        };
        let said = refusal.to_string();
        if let AuthErrorCode::Other(code) = &refusal.error
            && ["rate", "quota", "slow_down"].iter().any(|word| code.to_ascii_lowercase().contains(word))
        {
            // How long Google asks to wait is in a header, which yup-oauth2 does not hand out.
            return Error::TooMany { why: said, retry_after: TOO_MANY_WAIT };
        }
        let remedy = match &refusal.error {
            AuthErrorCode::InvalidGrant if said.contains("reasonable timeframe") => {
                "this machine's clock is wrong; set it"
            }
            AuthErrorCode::InvalidGrant if self.impersonate.is_some() => {
                "check the address in google.impersonate"
            }
            AuthErrorCode::InvalidGrant => {
                "the key may have been deleted; make a new one for the service account"
            }
            AuthErrorCode::UnauthorizedClient => {
                "in the Workspace admin console allow the service account's client id the scope \
                 https://www.googleapis.com/auth/drive.readonly (domain-wide delegation), or remove google.impersonate"
            }
            AuthErrorCode::Other(code)
                if matches!(
                    code.as_str(),
                    "internal_failure"
                        | "internalError"
                        | "backendError"
                        | "server_error"
                        | "temporarily_unavailable"
                ) =>
            {
                return Error::Unavailable { why: said };
            }
            _ => "check the service account in the Google Cloud console",
        };
        Error::Refused { why: format!("{said}; {remedy}") }
    }
}
