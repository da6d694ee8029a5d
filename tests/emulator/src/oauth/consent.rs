//! The consent page, which grants at once and sends the browser back, or asks first if it is told to.

use std::sync::Arc;

use super::credentials::CLIENT_ID;
use super::tokens::Grant;
use crate::api::call::Call;
use crate::drive::ids;
use crate::inner::Inner;
use crate::params::encode;
use crate::serve::body::Reply;

const CODE_LIFETIME_MS: i64 = 600_000;

/// 302 to the loopback address the client names, with a code or, if a fault wants it, an error.
pub(crate) fn page(inner: &Arc<Inner>, call: &Call) -> Reply {
    let get = |name: &str| call.params.filled(name);
    if get("client_id") != Some(CLIENT_ID) {
        return Reply::html(401, "invalid_client: The OAuth client was not found");
    }
    let Some(redirect_uri) = get("redirect_uri").filter(|uri| is_loopback(uri)) else {
        return Reply::html(400, "redirect_uri_mismatch: only loopback addresses are registered");
    };
    if get("response_type") != Some("code") {
        return Reply::html(400, "unsupported_response_type");
    }
    let Some(scope) = get("scope") else {
        return Reply::html(400, "invalid_request: Missing required parameter: scope");
    };
    if get("code_challenge").is_some() && get("code_challenge_method") != Some("S256") {
        return Reply::html(400, "invalid_request: code_challenge_method must be S256");
    }
    let mut state = inner.state();
    let decision = get("decision");
    if state.tokens.asks && decision.is_none() {
        return question(call);
    }
    let granted = ticked(scope, state.tokens.consented.as_deref());
    let mut back = if let Some(error) = &call.refuse_consent {
        vec![("error", error.clone())]
    } else if granted.is_empty() || decision == Some("deny") {
        vec![("error", "access_denied".to_owned())]
    } else {
        let code = format!("4/0A{}", ids::random(70));
        let grant = Grant {
            redirect_uri: redirect_uri.to_owned(),
            challenge: get("code_challenge").map(str::to_owned),
            scope: granted.clone(),
            expires: state.now() + CODE_LIFETIME_MS,
        };
        let address = get("login_hint").filter(|hint| state.account(hint).is_ok());
        let address = address.map_or_else(|| state.identities.consenting.clone(), str::to_owned);
        state.identities.set(&code, &address);
        state.tokens.codes.insert(code.clone(), grant);
        vec![("code", code), ("scope", granted)]
    };
    drop(state);
    if let Some(state) = get("state") {
        back.push(("state", state.to_owned()));
    }
    let query: Vec<String> = back.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    Reply::empty(302).header("location", format!("{redirect_uri}{separator}{}", query.join("&")))
}

/// Two buttons that open the same address with the decision.
fn question(call: &Call) -> Reply {
    let inputs = call.params.pairs().map(|(name, value)| {
        format!("<input type=hidden name=\"{}\" value=\"{}\">\n", escaped(name), escaped(value))
    });
    let page = format!(
        "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n<title>Sign in</title>\n\
         <h1>An app wants access to your Drive</h1>\n<form>\n{}\
         <button name=decision value=allow id=allow>Continue</button>\n\
         <button name=decision value=deny id=deny>Cancel</button>\n</form>\n",
        inputs.collect::<String>()
    );
    Reply::new(200, "text/html; charset=UTF-8", page.into_bytes())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// Those of the scopes asked for that the user ticks.
fn ticked(asked: &str, consented: Option<&[String]>) -> String {
    let is_ticked = |scope: &&str| consented.is_none_or(|list| list.iter().any(|ticked| ticked == scope));
    asked.split_whitespace().filter(is_ticked).collect::<Vec<_>>().join(" ")
}

/// Any port and path of this machine; `urn:ietf:wg:oauth:2.0:oob` is long gone.
fn is_loopback(uri: &str) -> bool {
    uri.strip_prefix("http://").is_some_and(|rest| {
        ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
            rest.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
        })
    })
}
