//! A service account: signs its own requests, never expires, needs no browser.

use std::fmt;

use rustls::SignatureAlgorithm;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use yup_oauth2::ServiceAccountKey;

use super::endpoint::{Answer, Refusal, post_encoded};
use super::{AccessToken, Error, assertion, check_endpoint};
use crate::http::api::Api;
use crate::model::LoginId;

pub(super) struct ServiceAccount {
    key: ServiceAccountKey,
    impersonate: Option<String>,
    http: Api,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key would show itself.
        f.debug_tuple("ServiceAccount").field(&self.describe()).finish()
    }
}

impl ServiceAccount {
    pub(super) fn read(text: &str, impersonate: Option<String>, http: Api) -> Result<Self, String> {
        let key = yup_oauth2::parse_service_account_key(text)
            .map_err(|error| format!("is not a complete service-account key: {error}"))?;
        check_endpoint("token_uri", &key.token_uri)?;
        if !can_sign(&key.private_key) {
            return Err("contains a private key that is damaged; download the key again, or create a new one for the service \
                        account in the Google Cloud console"
                .to_owned());
        }
        Ok(Self { key, impersonate, http })
    }

    pub(super) fn describe(&self) -> String {
        match &self.impersonate {
            Some(user) => format!("service account {} for {user}", self.key.client_email),
            None => format!("service account {}", self.key.client_email),
        }
    }

    /// Asks for a new token.
    pub(super) async fn fetch(&self) -> Result<AccessToken, Error> {
        let form = assertion::form(&self.key, self.impersonate.as_deref()).await;
        let form = form.map_err(|why| Error::Refused {
            why: format!("the private key of {} cannot be used: {why}", self.key.client_email),
        })?;
        match post_encoded(&self.http, &self.key.token_uri, form).await? {
            Answer::Granted(tokens) => Ok(tokens.into_access_token(LoginId::of(&self.describe()))),
            Answer::Refused(refusal) => Err(self.explain(&refusal)),
        }
    }

    fn explain(&self, refusal: &Refusal) -> Error {
        let said = refusal.said();
        let remedy = match refusal.code() {
            "invalid_grant" if said.contains("reasonable timeframe") => {
                "this machine's clock is wrong; set it"
            }
            "invalid_grant" if self.impersonate.is_some() => "check the address in google.impersonate",
            "invalid_grant" => "the key may have been deleted; make a new one for the service account",
            "unauthorized_client" => {
                "in the Workspace admin console allow the service account's client id the scope \
                 https://www.googleapis.com/auth/drive.readonly (domain-wide delegation), or remove google.impersonate"
            }
            _ => "check the service account in the Google Cloud console",
        };
        Error::Refused { why: format!("{said}; {remedy}") }
    }
}

/// Whether this is an RSA key in PEM format.
fn can_sign(private_key: &str) -> bool {
    let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).ok();
    let key = key.and_then(|key| any_supported_type(&key).ok());
    key.is_some_and(|key| key.algorithm() == SignatureAlgorithm::RSA)
}

#[cfg(test)]
mod tests {
    use drive_emulator::{Emulator, Options};
    use serde_json::{Value, json};

    use super::super::endpoint::tests::{Endpoint, client};
    use super::*;

    /// A service account whose token endpoint answers like this.
    async fn account(endpoint: &Endpoint, user: Option<&str>) -> ServiceAccount {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let mut key: Value = serde_json::from_str(&emulator.service_account_json()).unwrap();
        emulator.stop().await;
        key["token_uri"] = json!(endpoint.uri);
        ServiceAccount::read(&key.to_string(), user.map(str::to_owned), client()).unwrap()
    }

    async fn refused(user: Option<&str>, error: &str, description: &str) -> String {
        let body = json!({"error": error, "error_description": description});
        let endpoint = Endpoint::start([(400, body)]).await;
        match account(&endpoint, user).await.fetch().await {
            Err(Error::Refused { why }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_remedy() {
        for (user, error, description, remedy) in [
            (
                None,
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
                "clock is wrong",
            ),
            (None, "invalid_grant", "Invalid JWT Signature.", "the key may have been deleted"),
            (Some("ann@example.com"), "invalid_grant", "Invalid email or User ID", "google.impersonate"),
            (
                Some("ann@example.com"),
                "unauthorized_client",
                "Client is unauthorized.",
                "domain-wide delegation",
            ),
            (None, "disabled_client", "The OAuth client was disabled.", "check the service account"),
            (None, "admin_policy_enforced", "", "check the service account"),
        ] {
            let why = refused(user, error, description).await;
            assert!(why.starts_with(error) && why.contains(remedy), "{why}");
        }
    }

    #[tokio::test]
    async fn what_is_posted_is_signed_and_what_is_answered_is_bounded() {
        let endless = json!({"access_token": "ya29.a", "expires_in": 1_000_000_000_000_u64});
        let endpoint = Endpoint::start([(200, endless)]).await;
        let account = account(&endpoint, Some("ann@example.com")).await;
        let token = account.fetch().await.unwrap();
        assert_eq!((token.expose(), token.is_fresh()), ("ya29.a", true));
        assert!(account.fetch().await.is_ok(), "a second time");
        let forms = endpoint.forms();
        assert!(
            forms[0]
                .starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"),
            "{forms:?}"
        );
        assert_eq!(forms.len(), 2);
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_said_to_be() {
        let endpoint = Endpoint::start([(200, json!({}))]).await;
        let mut account = account(&endpoint, None).await;
        account.key.private_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
        let told = account.fetch().await.unwrap_err().to_string();
        assert!(told.contains("private key of") && told.contains(&account.key.client_email), "{told}");
        assert!(endpoint.forms().is_empty());
    }

    #[tokio::test]
    async fn a_damaged_key_is_told_when_it_is_read() {
        let endpoint = Endpoint::start([(200, json!({}))]).await;
        let key = account(&endpoint, None).await.key;
        let text = key.private_key.clone();
        let elliptic = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
                        OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
                        1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n";
        for damaged in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            &text.replace('\n', "\\n"),
            &text[..text.len() / 2],
            elliptic,
        ] {
            let json = serde_json::to_string(&yup_oauth2::ServiceAccountKey {
                private_key: damaged.to_owned(),
                ..key.clone()
            });
            let told = ServiceAccount::read(&json.unwrap(), None, client()).unwrap_err();
            assert!(told.contains("a private key that is damaged"), "{damaged:?}: {told}");
        }
    }

    #[tokio::test]
    async fn the_key_is_never_shown() {
        let endpoint = Endpoint::start([(200, json!({}))]).await;
        let account = account(&endpoint, Some("ann@example.com")).await;
        let shown = format!("{account:?}");
        assert!(shown.contains("ann@example.com") && !shown.contains("PRIVATE"), "{shown}");
    }
}
