//! Whose account the calls are made for. Page tokens and push channels belong to one account; a call with those of another
//! one would be answered, and the answer would be wrong. So before the first call under a login somebody is asked who
//! keeps them.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::Method;
use tokio::sync::Mutex;

use super::wire::WireAbout;
use super::{Drive, Error};
use crate::auth::AccessToken;
use crate::http::api::ANSWER_LIMIT;
use crate::model::{Account, LoginId};

/// What the call is named.
const LOOK: &str = "look at the account";
const FIELDS: [(&str, &str); 1] = [("fields", "user(permissionId,emailAddress,displayName)")];

/// Who keeps what belongs to an account.
pub trait Guard: fmt::Debug + Send + Sync {
    /// Whether a login is known to belong to the account of what is kept.
    fn knows<'a>(&'a self, login: &'a LoginId) -> BoxFuture<'a, Result<bool, String>>;

    /// From now on calls are made for this account. What belongs to another one has gone when this is done.
    fn admit<'a>(&'a self, account: &'a Account, login: &'a LoginId) -> BoxFuture<'a, Result<(), String>>;
}

/// The guard, and the login that it has let pass.
#[derive(Debug, Default)]
pub(super) struct Admission {
    guard: Option<Arc<dyn Guard>>,
    /// An async lock, held while the account is looked at: callers that come meanwhile wait for the outcome.
    admitted: Mutex<Option<LoginId>>,
}

impl Drive {
    /// The same connection, whose calls this guard has to let pass.
    #[must_use]
    pub fn guarded_by(mut self, guard: Arc<dyn Guard>) -> Self {
        self.admission = Arc::new(Admission { guard: Some(guard), admitted: Mutex::default() });
        self
    }

    /// The account that the credentials belong to.
    pub async fn account(&self) -> Result<Account, Error> {
        let about: WireAbout = self.json(LOOK, self.call(Method::GET, "/about").query(&FIELDS)).await?;
        about.account().ok_or_else(|| Error::connection(LOOK, "the answer names no account"))
    }

    /// Lets a call with this token pass, once it is known whose account it is for.
    pub(super) async fn admit(&self, what: &'static str, token: &AccessToken) -> Result<(), Error> {
        let Some(guard) = &self.admission.guard else { return Ok(()) };
        let mut admitted = self.admission.admitted.lock().await;
        if admitted.as_ref() == Some(token.login()) {
            return Ok(());
        }
        let failed = |why: String| Error::database(what, &why);
        if !guard.knows(token.login()).await.map_err(failed)? {
            let request = self.call(Method::GET, "/about").query(&FIELDS).bearer_auth(token.expose());
            let answer = self.answer(LOOK, request, ANSWER_LIMIT).await?;
            let about: WireAbout = serde_json::from_slice(&answer.body)
                .map_err(|error| Error::unreadable(LOOK, &error.into()))?;
            let account =
                about.account().ok_or_else(|| Error::connection(LOOK, "the answer names no account"))?;
            guard.admit(&account, token.login()).await.map_err(failed)?;
        }
        *admitted = Some(token.login().clone());
        Ok(())
    }
}
