//! The admin address: whether the program is alive, whether it is ready, and its status. On loopback unless a token
//! protects it.

pub mod audits;
pub mod deliveries;
pub mod folders;
pub mod health;
pub mod login;
pub mod origin;
mod requests;
mod shared;
pub mod status;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tracing::error;

use crate::listen::challenge::Challenges;
use crate::listen::{Limits, Requests};
use crate::model::id::hash_token;
use crate::owner;
use crate::process;
use crate::store::Store;
use crate::task::{Reason, Wake};
use origin::Guard;
use shared::Shared;
use status::{Live, Recorded, readiness, report};

/// `[admin]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// A file with the required bearer token. Needed if the address is not loopback.
    pub token_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), token_file: None }
    }
}

impl Config {
    /// The token, if one is required.
    pub fn token(&self) -> io::Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let named = |why: String| io::Error::other(format!("admin.token_file {}: {why}", path.display()));
        let unread = |error: io::Error| named(owner::explain(&error, path, owner::Want::Read));
        let token = std::fs::read_to_string(path).map_err(unread)?.trim().to_owned();
        if token.is_empty() { Err(named("is empty".to_owned())) } else { Ok(Some(token)) }
    }
}

/// The time for a request's head, and again for its body and its answer. No answer takes this long.
const DEADLINE: Duration = Duration::from_secs(10);

/// Its own connections, so that connections to the webhook address cannot block it.
pub fn limits() -> Limits {
    let connections = share(process::open_files_limit());
    Limits { name: "admin", connections, requests: Requests::Many(DEADLINE) }
}

/// A sixteenth of the limit of open files.
fn share(open_files: u64) -> usize {
    (open_files / 16).clamp(8, 64) as usize
}

#[derive(Clone)]
struct Admin {
    store: Store,
    live: Live,
    wakes: Wakes,
    challenges: Challenges,
    readiness: Arc<Shared<Answer>>,
    status: Arc<Shared<Answer>>,
}

/// A shared answer.
type Answer = (StatusCode, [(HeaderName, &'static str); 1], Bytes);

/// What requests wake.
#[derive(Clone, Debug)]
pub struct Wakes {
    /// The engine that reads the configuration again.
    pub configuration: Wake,
    /// The engine that downloads.
    pub deliveries: Wake,
}

/// All routes. `token` protects all except the two health checks, which orchestrators request without a token.
pub fn router(store: Store, live: Live, wakes: Wakes, challenges: Challenges, token: Option<&str>) -> Router {
    let guarded = Router::new()
        .route("/api/status", get(show))
        .route("/api/reload", post(reload))
        .route("/api/challenge", post(challenge))
        .route("/api/audit", get(audits::show).post(audits::ask))
        .route("/api/deliveries", get(requests::history))
        .route("/api/deliveries/failed/retry", post(requests::retry_failed))
        .route("/api/deliveries/skipped/retry", post(requests::retry_skipped))
        .route("/api/deliveries/{id}/retry", post(requests::retry))
        .route("/api/deliveries/{id}/redeliver", post(requests::redeliver));
    let origins = if token.is_some() { Guard::Token } else { Guard::Loopback };
    let guarded = match token.map(|token| hash_token(token.as_bytes())) {
        Some(hash) => {
            guarded.route_layer(middleware::from_fn(move |request, next| guard(hash.clone(), request, next)))
        }
        None => guarded,
    };
    guarded
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .layer(middleware::from_fn(move |request, next| refuse_strangers(origins, request, next)))
        .with_state(Admin {
            store,
            live,
            wakes,
            challenges,
            readiness: Arc::default(),
            status: Arc::default(),
        })
}

async fn refuse_strangers(guard: Guard, request: Request, next: Next) -> Response {
    match origin::refusal(guard, request.method(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(sentence) => (StatusCode::FORBIDDEN, format!("{sentence}\n")).into_response(),
    }
}

async fn guard(hash: String, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    // Comparing hashes needs no constant time: how far two hashes agree reveals nothing about the secret.
    if shown.is_some_and(|token| hash_token(token.as_bytes()) == hash) {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "a token is required\n")
            .into_response()
    }
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(admin): State<Admin>) -> Answer {
    admin.readiness.get(async || ready(&admin).await).await
}

async fn ready(admin: &Admin) -> Answer {
    let reasons = match Recorded::read(&admin.store).await {
        Ok(recorded) => readiness(&admin.live, &recorded, Timestamp::now()),
        Err(error) => vec![format!("the database cannot be read: {error}")],
    };
    if reasons.is_empty() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n")))
    }
}

/// 200: what is in effect now, and what takes effect at the next start. 422: the file is wrong, and nothing has changed.
async fn reload(State(admin): State<Admin>) -> Response {
    match admin.wakes.configuration.ask(Reason::Handover).await {
        Ok(Ok(said)) => format!("{said}\n").into_response(),
        Ok(Err(said)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{said}\n")).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// A question that the webhook address answers for a minute.
async fn challenge(State(admin): State<Admin>) -> axum::Json<serde_json::Value> {
    let made = admin.challenges.make();
    axum::Json(serde_json::json!({ "query": made.query, "answer": made.answer }))
}

async fn show(State(admin): State<Admin>) -> Answer {
    admin.status.get(async || status(&admin).await).await
}

async fn status(admin: &Admin) -> Answer {
    let report = match report(&admin.store, Some(&admin.live)).await {
        Ok(report) => serde_json::to_vec(&report).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match report {
        Ok(json) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], json.into()),
        Err(error) => {
            error!(%error, "the status cannot be collected");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the database cannot be read; see the log\n")
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into())
}

#[cfg(test)]
mod tests;
