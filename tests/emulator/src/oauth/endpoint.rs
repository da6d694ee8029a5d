//! The token endpoint and the revocation endpoint.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::credentials::{CLIENT_ID, CLIENT_SECRET};
use super::jwt;
use crate::api::call::Call;
use crate::drive::tree::milliseconds;
use crate::inner::Inner;
use crate::params::Params;
use crate::serve::body::Reply;
use crate::world::World;

/// An error of the token endpoint: status, `error`, `error_description`.
pub(crate) struct Refused(pub(crate) u16, pub(crate) &'static str, pub(crate) &'static str);

const DEAD: Refused = Refused(400, "invalid_grant", "Token has been expired or revoked.");

/// The body of a refusal.
pub(crate) fn refusal(code: u16, error: &str, description: Option<&str>) -> Reply {
    let description = description.unwrap_or(match error {
        "invalid_grant" => DEAD.2,
        _ => "Bad Request",
    });
    Reply::value(code, &json!({"error": error, "error_description": description}))
}

pub(crate) fn token(inner: &Arc<Inner>, call: &Call) -> Reply {
    let form = Params::parse(&String::from_utf8_lossy(&call.body));
    let mut state = inner.state();
    let result = match form.get("grant_type") {
        Some("refresh_token") => refresh(&mut state, call, &form),
        Some("authorization_code") => exchange(&mut state, call, &form),
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => assertion(&mut state, &form),
        Some(_) => Err(Refused(400, "unsupported_grant_type", "Invalid grant_type")),
        None => Err(Refused(400, "invalid_request", "Missing required parameter: grant_type")),
    };
    result.unwrap_or_else(|Refused(code, error, text)| refusal(code, error, Some(text)))
}

fn refresh(state: &mut World, call: &Call, form: &Params) -> Result<Reply, Refused> {
    check_client(call, form)?;
    let token =
        form.filled("refresh_token").ok_or(Refused(400, "invalid_request", "Missing refresh_token"))?;
    let granted = state.tokens.refresh(token, state.now()).ok_or(DEAD)?.to_owned();
    let address = state.identities.of(token).to_owned();
    let Some(narrower) = form.filled("scope") else {
        return Ok(issue(state, &address, &granted, Some((token, Shown::No))));
    };
    let is_granted = |scope: &str| granted.split_whitespace().any(|granted| granted == scope);
    if !narrower.split_whitespace().all(is_granted) {
        return Err(Refused(400, "invalid_scope", "The refresh token was not granted all of these scopes."));
    }
    Ok(issue(state, &address, narrower, Some((token, Shown::No))))
}

fn exchange(state: &mut World, call: &Call, form: &Params) -> Result<Reply, Refused> {
    check_client(call, form)?;
    let now = state.now();
    let code =
        form.filled("code").ok_or(Refused(400, "invalid_request", "Missing required parameter: code"))?;
    // A code serves once, whatever comes of it.
    let grant = state.tokens.codes.remove(code).filter(|grant| grant.expires > now);
    let grant = grant.ok_or(Refused(400, "invalid_grant", "Malformed auth code."))?;
    if form.get("redirect_uri") != Some(grant.redirect_uri.as_str()) {
        return Err(Refused(400, "redirect_uri_mismatch", "Bad Request"));
    }
    if let Some(challenge) = grant.challenge {
        let verifier =
            form.filled("code_verifier").ok_or(Refused(400, "invalid_grant", "Missing code verifier."))?;
        let is_long_enough = (43..=128).contains(&verifier.len());
        if !is_long_enough
            || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != challenge.trim_end_matches('=')
        {
            return Err(Refused(400, "invalid_grant", "Invalid code verifier."));
        }
    }
    let ends = state.service.refresh_token_lifetime.map(|lifetime| now + milliseconds(lifetime));
    let refresh_token = state.tokens.issue_refresh(&grant.scope, ends);
    let address = state.identities.of(code).to_owned();
    state.identities.set(&refresh_token, &address);
    Ok(issue(state, &address, &grant.scope, Some((&refresh_token, Shown::Yes))))
}

fn assertion(state: &mut World, form: &Params) -> Result<Reply, Refused> {
    let assertion = form.filled("assertion").ok_or(Refused(400, "invalid_request", "Missing assertion"))?;
    let scope = jwt::verify(assertion)?;
    let address = subject(state, assertion)?;
    Ok(issue(state, &address, &scope, None))
}

/// For whom a service account asks: for whom it impersonates, or for itself.
fn subject(state: &World, assertion: &str) -> Result<String, Refused> {
    match jwt::subject(assertion) {
        None => Ok(state.identities.service_account.clone()),
        Some(address) => match state.account(&address) {
            Ok(account) => Ok(account.address.clone()),
            Err(_) => Err(Refused(400, "invalid_grant", "Invalid email or User ID")),
        },
    }
}

/// Whether a refresh token is given out with the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Yes,
    No,
}

pub(super) fn issue(
    state: &mut World,
    address: &str,
    scope: &str,
    refresh_token: Option<(&str, Shown)>,
) -> Reply {
    let (now, lifetime) = (state.now(), state.service.access_token_lifetime);
    let token = state.tokens.issue_access(scope, now, lifetime);
    state.identities.set(&token, address);
    let mut answer = json!({
        "access_token": token,
        "expires_in": lifetime.as_secs(),
        "scope": scope,
        "token_type": "Bearer",
    });
    if let Some((refresh_token, shown)) = refresh_token {
        if shown == Shown::Yes {
            answer["refresh_token"] = json!(refresh_token);
        }
        if let Some(ends) = state.tokens.end_of(refresh_token) {
            answer["refresh_token_expires_in"] = json!((ends - now) / 1000);
        }
    }
    Reply::value(200, &answer)
}

/// The client names itself in the form, or in HTTP Basic.
fn check_client(call: &Call, form: &Params) -> Result<(), Refused> {
    let basic =
        call.header("authorization").and_then(|value| value.strip_prefix("Basic ")).and_then(|encoded| {
            let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
            let (id, secret) = text.split_once(':')?;
            Some((crate::params::decode(id), crate::params::decode(secret)))
        });
    let (id, secret) = match &basic {
        Some((id, secret)) => (Some(id.as_str()), Some(secret.as_str())),
        None => (form.get("client_id"), form.get("client_secret")),
    };
    match (id, secret) {
        (None, _) => Err(Refused(400, "invalid_request", "Could not determine client ID from request.")),
        (Some(CLIENT_ID), Some(CLIENT_SECRET)) => Ok(()),
        (Some(CLIENT_ID), None) => Err(Refused(400, "invalid_request", "client_secret is missing.")),
        (Some(CLIENT_ID), Some(_)) => Err(Refused(401, "invalid_client", "Unauthorized")),
        (Some(_), _) => Err(Refused(401, "invalid_client", "The OAuth client was not found.")),
    }
}

/// Ends a token's life; a dead one cannot die again.
pub(crate) fn revoke(inner: &Arc<Inner>, call: &Call) -> Reply {
    let form = Params::parse(&String::from_utf8_lossy(&call.body));
    let token = form.filled("token").or_else(|| call.params.filled("token")).unwrap_or_default();
    if inner.state().tokens.revoke(token) {
        Reply::value(200, &json!({}))
    } else {
        refusal(400, "invalid_token", Some("Token expired or revoked"))
    }
}
