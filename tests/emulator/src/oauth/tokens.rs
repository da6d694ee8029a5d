//! Which codes, access tokens and refresh tokens have been issued and still hold.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::credentials;
use crate::drive::ids;
use crate::drive::tree::milliseconds;

/// An authorization code waiting to be exchanged.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    pub(crate) scope: String,
    pub(crate) expires: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) scope: String,
    pub(crate) expires: i64,
}

/// A refresh token's scope and its end, if it has one.
#[derive(Clone, Debug)]
struct Refresh {
    scope: String,
    ends: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) codes: HashMap<String, Grant>,
    /// The scopes that the user ticks on the consent page; `None`: every one that is asked for.
    pub(crate) consented: Option<Vec<String>>,
    /// Whether the consent page waits until somebody presses a button.
    pub(crate) asks: bool,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    dead: HashSet<String>,
}

impl Default for Tokens {
    fn default() -> Self {
        let scope = credentials::DEFAULT_SCOPE.to_owned();
        let refresh = HashMap::from([(credentials::REFRESH_TOKEN.to_owned(), Refresh { scope, ends: None })]);
        Self {
            codes: HashMap::new(),
            consented: None,
            asks: false,
            access: HashMap::new(),
            refresh,
            dead: HashSet::new(),
        }
    }
}

impl Tokens {
    pub(crate) fn issue_access(&mut self, scope: &str, now: i64, lifetime: Duration) -> String {
        self.access.retain(|_, access| access.expires > now);
        let token = format!("ya29.{}", ids::random(180));
        let expires = now + milliseconds(lifetime);
        self.access.insert(token.clone(), Access { scope: scope.to_owned(), expires });
        token
    }

    pub(crate) fn issue_refresh(&mut self, scope: &str, ends: Option<i64>) -> String {
        let token = format!("1//0e{}", ids::random(90));
        self.refresh.insert(token.clone(), Refresh { scope: scope.to_owned(), ends });
        token
    }

    /// The scope of an access token that still holds.
    pub(crate) fn access(&self, token: &str, now: i64) -> Option<&str> {
        self.access.get(token).filter(|access| access.expires > now).map(|access| access.scope.as_str())
    }

    /// The scope of a refresh token that still holds.
    pub(crate) fn refresh(&self, token: &str, now: i64) -> Option<&str> {
        let alive = self.refresh.get(token).filter(|refresh| refresh.ends.is_none_or(|ends| ends > now));
        alive.map(|refresh| refresh.scope.as_str())
    }

    /// The end of a refresh token that has one.
    pub(crate) fn end_of(&self, token: &str) -> Option<i64> {
        self.refresh.get(token)?.ends
    }

    /// A refresh token for a ready-made credential file: always the same one until it is revoked.
    pub(crate) fn ready_made(&mut self) -> String {
        if self.refresh.contains_key(credentials::REFRESH_TOKEN) {
            credentials::REFRESH_TOKEN.to_owned()
        } else {
            self.issue_refresh(credentials::DEFAULT_SCOPE, None)
        }
    }

    /// `false` when the token was not alive.
    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        let was_alive = self.refresh.remove(token).is_some() | self.access.remove(token).is_some();
        if was_alive {
            self.dead.insert(token.to_owned());
        }
        was_alive
    }

    pub(crate) fn revoke_all_refresh(&mut self) {
        self.dead.extend(self.refresh.drain().map(|(token, _)| token));
    }

    pub(crate) fn expire_all_access(&mut self) {
        self.access.clear();
    }
}
