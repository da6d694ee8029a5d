//! `/api/audit`: asks for an audit, and says how far it is and what the last one found.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::Admin;
use crate::audit::{self, Report, Scope, Standing};
use crate::store::{self, Store};
use crate::telemetry::log::with_causes;

/// What an audit is to do.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Reads every delivered file.
    pub checksums: bool,
    /// Puts what is missing in the queue.
    pub fix: bool,
}

/// The number of an audit that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Which start of the program has given it. After another one nobody works on it.
    pub run: String,
    /// It has ended when `Audits::ended` is not less.
    pub number: u64,
}

/// How far audits are, and what the last one found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Audits {
    /// How far they are.
    #[serde(flatten)]
    pub standing: Standing,
    /// What the last one found.
    pub report: Option<Report>,
}

/// 202: an audit begins. It takes longer than a request may.
pub(super) async fn ask(State(admin): State<Admin>, Query(wish): Query<Wish>) -> Response {
    let scope = Scope { checksums: wish.checksums, fix: wish.fix };
    match admin.live.audits.ask(scope) {
        Ok(number) => {
            let run = admin.live.audits.standing().run;
            (StatusCode::ACCEPTED, Json(Asked { run, number })).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

pub(super) async fn show(State(admin): State<Admin>) -> Response {
    // Before the report: an audit that has ended has left its report.
    let standing = admin.live.audits.standing();
    match audit::last(&admin.store).await {
        Ok(report) => Json(Audits { standing, report }).into_response(),
        Err(error) => {
            error!(error = with_causes(&error), "the last audit cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the last audit cannot be read; see the log\n")
                .into_response()
        }
    }
}

/// The last audit. A report that cannot be read was written by another version: there is none then.
pub(super) async fn last_audit(store: &Store) -> Result<Option<audit::Report>, store::Error> {
    match audit::last(store).await {
        Ok(report) => Ok(report),
        Err(audit::Error::Store(error)) => Err(error),
        Err(_) => Ok(None),
    }
}
