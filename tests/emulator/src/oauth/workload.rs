//! Tokens without a key or a person: the metadata server of a machine, the exchange of another issuer's token, and the
//! token of a service account for whoever may act as it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::credentials::{SERVICE_ACCOUNT, SUBJECT_TOKEN};
use super::endpoint::{issue, refusal};
use crate::api::call::{Answer, Call};
use crate::api::error::ApiError;
use crate::drive::tree::milliseconds;
use crate::inner::Inner;
use crate::params::Params;
use crate::serve::body::Reply;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What the metadata server says to requests that no browser can be made to send.
pub(crate) fn metadata(call: &Call, answer: impl FnOnce() -> Reply) -> Reply {
    let is_asked =
        call.header("metadata-flavor") == Some("Google") && call.header("x-forwarded-for").is_none();
    let refused = || Reply::html(403, "Missing Metadata-Flavor:Google header.");
    if is_asked { answer() } else { refused() }.header("metadata-flavor", "Google")
}

/// A token of the machine's service account.
pub(crate) fn metadata_token(inner: &Arc<Inner>, call: &Call) -> Reply {
    let scopes = call.params.filled("scopes").unwrap_or(CLOUD_PLATFORM).replace(',', " ");
    let mut state = inner.state();
    let address = state.identities.service_account.clone();
    issue(&mut state, &address, &scopes, None)
}

/// Who it is.
pub(crate) fn metadata_email(inner: &Arc<Inner>) -> Reply {
    Reply::new(200, "application/text", inner.state().identities.service_account.clone().into_bytes())
}

/// RFC 8693, as `sts.googleapis.com` has it.
pub(crate) fn exchange(inner: &Arc<Inner>, call: &Call) -> Reply {
    let form = Params::parse(&String::from_utf8_lossy(&call.body));
    let needed = ["audience", "scope", "subject_token", "subject_token_type"];
    if let Some(missing) = needed.into_iter().find(|name| form.filled(name).is_none()) {
        return refusal(
            400,
            "invalid_request",
            Some(&format!("Missing or empty required field: {missing}.")),
        );
    }
    if form.get("grant_type") != Some(EXCHANGE) || form.get("requested_token_type") != Some(ACCESS_TOKEN) {
        return refusal(400, "invalid_request", Some("Invalid grant_type or requested_token_type."));
    }
    if form.get("subject_token") != Some(SUBJECT_TOKEN) {
        return refusal(400, "invalid_grant", Some("Unable to verify the ID Token signature."));
    }
    let scope = form.get("scope").unwrap_or_default().to_owned();
    let mut state = inner.state();
    let (now, lifetime) = (state.now(), state.service.access_token_lifetime);
    let token = state.tokens.issue_access(&scope, now, lifetime);
    Reply::value(
        200,
        &json!({
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs(),
        }),
    )
}

/// `projects.serviceAccounts.generateAccessToken`.
pub(crate) fn generate(inner: &Arc<Inner>, call: &Call) -> Answer {
    let mut state = inner.state();
    let shown = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let shown = shown.ok_or_else(|| denied(401, "required"))?;
    let (now, lifetime) = (state.now(), state.service.access_token_lifetime);
    let may = state
        .tokens
        .access(shown, now)
        .is_some_and(|scope| scope.split(' ').any(|one| one == CLOUD_PLATFORM));
    if !may || call.id() != SERVICE_ACCOUNT {
        return Err(denied(403, "forbidden"));
    }
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let scopes: Vec<&str> =
        body["scope"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if scopes.is_empty() {
        return Err(ApiError::bad_request("Request contains an invalid argument."));
    }
    let address = state.identities.service_account.clone();
    let token = state.tokens.issue_access(&scopes.join(" "), now, lifetime);
    state.identities.set(&token, &address);
    let end = jiff::Timestamp::from_millisecond(now + milliseconds(lifetime)).unwrap_or(jiff::Timestamp::MAX);
    Ok(Reply::value(200, &json!({"accessToken": token, "expireTime": end.to_string()})))
}

fn denied(code: u16, reason: &str) -> ApiError {
    let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
    ApiError::of_reason(code, reason, Some(message.to_owned()))
}
