//! The webhook address. It authenticates a notification, wakes the sync engine, and answers. It never waits, and tells
//! strangers nothing.

pub mod notification;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tracing::{debug, error};

use crate::channel::calls;
use crate::channel::registry::Registry;
use crate::listen::challenge::Challenges;
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

/// What one connection may cost, and how many there may be.
pub fn limits() -> Limits {
    let connections = share(process::open_files_limit());
    Limits { name: "webhook", connections, requests: Requests::One(DEADLINE) }
}

/// Three eighths of the limit of open files: downloads, the database and the admin address need the rest.
fn share(open_files: u64) -> usize {
    (open_files / 8 * 3).clamp(16, 1024) as usize
}

/// Google's sender obeys this file. Without it everything is permitted; with it that is explicit.
const ROBOTS: &str = "User-agent: APIs-Google\nAllow: /\n\nUser-agent: *\nDisallow: /\n";

/// The state of the receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Which channels are ours.
    pub registry: Arc<Registry>,
    /// The sync engine.
    pub sync: Wake,
    /// The channel keeper, which is told of the first call on each channel.
    pub keeper: Wake,
    /// What came.
    pub counters: Arc<Notifications>,
    /// Questions by which `doctor` finds out whether the public address leads here.
    pub challenges: Challenges,
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

async fn greet(State(receiver): State<Receiver>, RawQuery(query): RawQuery) -> String {
    receiver.challenges.answer(query.as_deref()).unwrap_or_else(|| format!("{}\n", calls::GREETING))
}

/// 204: one of ours, and the engine will look. 404: anything else, whatever is wrong with it. 503: the engine cannot be
/// woken, so that Google sends it again.
async fn notify(State(receiver): State<Receiver>, headers: HeaderMap) -> Response {
    let notification = notification::parse(&headers);
    let now = Timestamp::now();
    let known = notification.as_ref().and_then(|n| receiver.registry.authenticate(&n.channel, n.token, now));
    let (Some(notification), Some(heard)) = (notification, known) else {
        receiver.counters.refuse();
        debug!("a request that is not a notification on one of our channels");
        return StatusCode::NOT_FOUND.into_response();
    };
    if receiver.sync.wake(Reason::Push).is_err() {
        error!(channel.id = %notification.channel, "a notification cannot be handled, because the daemon is stopping; Google sends it again");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if heard.is_first {
        // Without a keeper the program is ending.
        let _ = receiver.keeper.wake(Reason::Handover);
    }
    receiver.counters.accept(now);
    debug!(channel.id = %notification.channel, channel.state = heard.state.as_str(), state = ?notification.state, number = notification.number, "a notification");
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower_service::Service;

    use super::*;
    use crate::model::{ChangeLog, Channel, ChannelId, ChannelState, ChannelToken};
    use crate::task::wake_up;

    struct Door {
        router: Router,
        counters: Arc<Notifications>,
        token: ChannelToken,
        challenges: Challenges,
    }

    fn door(sync: Wake) -> Door {
        let (registry, token) = (Arc::new(Registry::default()), ChannelToken::random());
        registry.add(&Channel {
            id: ChannelId::new("ours"),
            log: ChangeLog::User,
            address: String::new(),
            token_hash: token.hash(),
            resource_id: None,
            state: ChannelState::Live,
            created: Timestamp::UNIX_EPOCH,
            opened: None,
            called: None,
            expires: Timestamp::MAX,
        });
        let counters = Arc::new(Notifications::default());
        let challenges = Challenges::default();
        let receiver = Receiver {
            registry,
            sync,
            keeper: wake_up().0,
            counters: counters.clone(),
            challenges: challenges.clone(),
        };
        let site_verification = Some("google0123.html".to_owned());
        let router = receiver.router(&Config { site_verification, ..Config::default() });
        Door { router, counters, token, challenges }
    }

    impl Door {
        async fn answer(&mut self, request: Request<Body>) -> (u16, String) {
            let answer = self.router.call(request).await.unwrap();
            let status = answer.status().as_u16();
            let body = to_bytes(answer.into_body(), 4096).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn get(&mut self, path: &str) -> (u16, String) {
            self.answer(Request::get(path).body(Body::empty()).unwrap()).await
        }

        async fn notify(&mut self, channel: &str, token: &str) -> u16 {
            let request = Request::post("/webhook")
                .header("X-Goog-Channel-ID", channel)
                .header("X-Goog-Channel-Token", token)
                .header("X-Goog-Resource-State", "change");
            let (status, body) = self.answer(request.body(Body::empty()).unwrap()).await;
            assert_eq!(body, "");
            status
        }

        fn counts(&self) -> (u64, u64) {
            (self.counters.accepted(), self.counters.refused())
        }
    }

    #[tokio::test]
    async fn a_notification_of_ours_wakes_and_anything_else_is_not_found() {
        let (sync, wakeups) = wake_up();
        let mut door = door(sync);
        let token = door.token.expose().to_owned();
        for (channel, shown) in [("ours", "wrong"), ("ours", ""), ("theirs", token.as_str())] {
            assert_eq!(door.notify(channel, shown).await, 404);
        }
        assert_eq!(door.counts(), (0, 3));
        assert_eq!(door.notify("ours", &token).await, 204);
        assert_eq!(door.counts(), (1, 3));
        drop(wakeups);
        assert_eq!(door.notify("ours", &token).await, 503, "Google sends again what nobody has looked at");
        assert_eq!(door.notify("theirs", &token).await, 404);
        assert_eq!(door.counts(), (1, 4));
    }

    #[tokio::test]
    async fn strangers_get_a_greeting_and_what_google_asks_for() {
        let (sync, _wakeups) = wake_up();
        let mut door = door(sync);
        let greeting = format!("{}\n", calls::GREETING);
        assert_eq!(door.get("/webhook").await, (200, greeting.clone()));
        let challenge = door.challenges.make();
        let asked = format!("/webhook?{}", challenge.query);
        assert_eq!(door.get(&asked).await, (200, challenge.answer));
        assert_eq!(door.get("/webhook?challenge=mine").await, (200, greeting));
        assert_eq!(door.get("/robots.txt").await, (200, ROBOTS.to_owned()));
        let proof = "google-site-verification: google0123.html".to_owned();
        assert_eq!(door.get("/google0123.html").await, (200, proof));
        assert_eq!(door.get("/other.html").await.0, 404);
        assert_eq!(door.answer(Request::put("/webhook").body(Body::empty()).unwrap()).await.0, 405);
    }

    #[test]
    fn without_settings_it_listens_on_loopback() {
        let config = Config::default();
        assert_eq!(
            (config.listen.to_string().as_str(), config.path.as_str()),
            ("127.0.0.1:8080", "/webhook")
        );
        let limits = limits();
        assert_eq!((limits.name, limits.connections), ("webhook", share(process::open_files_limit())));
        assert_eq!([0, 64, 1000, 1 << 20].map(share), [16, 24, 375, 1024]);
    }
}
