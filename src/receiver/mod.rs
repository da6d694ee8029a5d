//! The webhook address. It authenticates a notification, wakes the sync engine, and answers. It never waits, and tells
//! strangers nothing.

pub mod notification;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tracing::{debug, error};

use crate::channel::registry::Registry;
use crate::listen::{Limits, Requests};
use crate::process;
use crate::task::{Reason, Wake};
use crate::telemetry::counters::Notifications;

/// `[webhook]` of the configuration, as far as it concerns the public door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The path of notifications.
    pub path: String,
    /// The name of the file that Search Console asks for to prove ownership; served at `/` and the name.
    pub site_verification: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            path: "/webhook".to_owned(),
            site_verification: None,
        }
    }
}

/// The longest time for a whole connection. A notification is one small request; most of this time is for slow networks.
const DEADLINE: Duration = Duration::from_secs(5);

/// Three eighths of the limit of open files: downloads, the database and the admin address need the rest.
pub fn limits() -> Limits {
    let connections = (process::open_files_limit() / 8 * 3).clamp(16, 1024) as usize;
    Limits { name: "webhook", connections, requests: Requests::One(DEADLINE) }
}

/// Google's sender obeys this file. Without it everything is permitted; with it that is explicit.
const ROBOTS: &str = "User-agent: APIs-Google\nAllow: /\n\nUser-agent: *\nDisallow: /\n";
const GREETING: &str = "gdrive-webhook waits for notifications here.\n";

/// The state of the receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Which channels are ours.
    pub registry: Arc<Registry>,
    /// The sync engine.
    pub sync: Wake,
    /// What came.
    pub counters: Arc<Notifications>,
}

impl Receiver {
    /// Everything that strangers can ask for.
    pub fn router(self, config: &Config) -> Router {
        let mut router = Router::new().route(&config.path, post(notify).get(greet)).route(
            "/robots.txt",
            get(|| async { ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], ROBOTS) }),
        );
        if let Some(name) = &config.site_verification {
            let text = format!("google-site-verification: {name}");
            router = router.route(
                &format!("/{name}"),
                get(move || async move { ([(header::CONTENT_TYPE, "text/html")], text) }),
            );
        }
        router.with_state(self)
    }
}

async fn greet() -> &'static str {
    GREETING
}

/// 204: one of ours, and the engine will look. 404: anything else, whatever is wrong with it. 503: the engine cannot be
/// woken, so that Google sends it again.
async fn notify(State(receiver): State<Receiver>, headers: HeaderMap) -> Response {
    let notification = notification::parse(&headers);
    let known = notification.as_ref().and_then(|n| receiver.registry.authenticate(&n.channel, n.token));
    let (Some(notification), Some(state)) = (notification, known) else {
        receiver.counters.refuse();
        debug!("a request that is not a notification on one of our channels");
        return StatusCode::NOT_FOUND.into_response();
    };
    if receiver.sync.wake(Reason::Push).is_err() {
        error!(channel.id = %notification.channel, "a notification cannot be handled, because the daemon is stopping; Google sends it again");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    receiver.counters.accept(Timestamp::now());
    debug!(channel.id = %notification.channel, channel.state = state.as_str(), state = ?notification.state, number = notification.number, "a notification");
    StatusCode::NO_CONTENT.into_response()
}
