//! Requests about deliveries, and their answers in JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tracing::{debug, error, info};

use super::Admin;
use super::deliveries::{self, Answer, Outcome, PAGE};
use crate::model::DeliveryId;
use crate::store::{Earlier, Error, Which};
use crate::task::Reason;

/// What of the history is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    failed: bool,
    limit: Option<i64>,
    before: Option<String>,
}

/// A page of the history.
pub(super) async fn history(State(admin): State<Admin>, Query(page): Query<Page>) -> Response {
    let which = if page.failed { Which::Failed } else { Which::All };
    let before = page.before.as_deref().map_or(Ok(Earlier::LATEST), str::parse);
    let Ok(before) = before else {
        return (StatusCode::BAD_REQUEST, "`before` is not the `next` of a page\n").into_response();
    };
    match deliveries::history(&admin.store, which, before, page.limit.unwrap_or(PAGE)).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => unread(&error),
    }
}

/// Puts one delivery back in the queue.
pub(super) async fn retry(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let id = DeliveryId::new(id);
    answered(&admin, deliveries::retry(&admin.store, &id, Timestamp::now()).await)
}

/// Delivers one file again.
pub(super) async fn redeliver(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let id = DeliveryId::new(id);
    answered(&admin, deliveries::redeliver(&admin.store, &id, Timestamp::now()).await)
}

/// Puts back all that failed.
pub(super) async fn retry_failed(State(admin): State<Admin>) -> Response {
    answered(&admin, deliveries::retry_failed(&admin.store, Timestamp::now()).await)
}

/// Puts back all that were skipped.
pub(super) async fn retry_skipped(State(admin): State<Admin>) -> Response {
    answered(&admin, deliveries::retry_skipped(&admin.store, Timestamp::now()).await)
}

fn answered(admin: &Admin, answer: Result<Answer, Error>) -> Response {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return unread(&error),
    };
    if answer.count > 0 {
        info!(count = answer.count, "files were put in the queue again on request");
        if admin.wakes.deliveries.wake(Reason::Handover).is_err() {
            debug!("the delivery engine has stopped");
        }
    }
    let status = match answer.outcome {
        Outcome::Done => StatusCode::OK,
        Outcome::Refused => StatusCode::CONFLICT,
        Outcome::Unknown => StatusCode::NOT_FOUND,
    };
    (status, Json(answer)).into_response()
}

fn unread(error: &Error) -> Response {
    error!(%error, "a request about the history cannot be answered");
    (StatusCode::INTERNAL_SERVER_ERROR, "the database cannot be read; see the log\n").into_response()
}
