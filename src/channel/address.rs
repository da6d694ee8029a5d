//! Where Drive is to call: as configured, or as the ngrok agent on this machine says; and followed when it changes.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::http::api::{ANSWER_LIMIT, read_whole};
use crate::http::{checked, explain};
use crate::model::channel::{Address, Known};
use crate::task::{Activation, Next, Reason, Step, Wake};
use crate::telemetry::log::with_causes;

/// The agent is on this machine or next to it, and asking costs nothing.
const LOOK: Duration = Duration::from_secs(10);
/// While the agent starts, and while it does not answer.
const LOOK_SOON: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The engine that knows the address.
#[derive(Debug)]
pub struct Follower {
    http: reqwest::Client,
    /// What the configuration says, now.
    wanted: watch::Receiver<Address>,
    /// What is known, for the keeper and the status.
    known: watch::Sender<Known>,
    keeper: Wake,
    last_error: Option<String>,
}

impl Follower {
    /// Ready for its first step. The keeper is woken when the address is another one.
    pub fn new(
        http: reqwest::Client,
        wanted: watch::Receiver<Address>,
        known: watch::Sender<Known>,
        keeper: Wake,
    ) -> Self {
        Self { http, wanted, known, keeper, last_error: None }
    }

    /// For asking the agent: nothing stands between this program and its neighbour.
    pub fn client() -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()
    }

    fn set(&self, new: Known) {
        let address = new.address().map(str::to_owned);
        let changed = self.known.send_if_modified(|known| {
            let is_news = *known != new;
            *known = new;
            is_news
        });
        if changed {
            info!(address, "the public address has changed");
            // Without a keeper the program is ending.
            let _ = self.keeper.wake(Reason::Handover);
        }
    }

    fn went_wrong(&mut self, said: String) -> Next {
        if self.last_error.as_ref() != Some(&said) {
            warn!(error = said, "the public address is not known");
        }
        self.last_error = Some(said.clone());
        Next { due: Some(LOOK_SOON), settle: Duration::ZERO, outcome: Err(said) }
    }
}

impl Step for Follower {
    /// One step: looks where Drive is to call now. What was known stays while the agent does not answer.
    async fn step(&mut self, _: Activation) -> Next {
        let wanted = self.wanted.borrow_and_update().clone();
        let outcome = match &wanted {
            Address::Nowhere | Address::Fixed(_) => Ok((Known::from(&wanted), None)),
            Address::Ngrok { api, port, path } => {
                ask(&self.http, api, *port).await.map(|base| (Known::At(format!("{base}{path}")), Some(LOOK)))
            }
        };
        match outcome {
            Ok((known, due)) => {
                let said = known.address().unwrap_or("polling only").to_owned();
                self.last_error = None;
                self.set(known);
                Next { due, settle: Duration::ZERO, outcome: Ok(said) }
            }
            Err(said) => self.went_wrong(said),
        }
    }
}

#[derive(Deserialize)]
struct Tunnels {
    #[serde(default)]
    tunnels: Vec<Tunnel>,
}

#[derive(Deserialize)]
struct Tunnel {
    #[serde(default)]
    public_url: String,
    #[serde(default)]
    config: TunnelConfig,
}

#[derive(Default, Deserialize)]
struct TunnelConfig {
    /// `http://localhost:8080`, `localhost:8080`, or a bare port.
    #[serde(default)]
    addr: String,
}

/// The public address that the agent has for a port, without a path.
pub async fn ask(http: &reqwest::Client, api: &str, port: u16) -> Result<String, String> {
    let response =
        http.get(format!("{api}/api/tunnels")).send().await.and_then(reqwest::Response::error_for_status);
    let no_agent = |why: String| format!("webhook.ngrok_api: what answers at {api} is no ngrok agent: {why}");
    let tunnels: Tunnels = match response {
        Ok(response) => {
            let read = read_whole(response, ANSWER_LIMIT).await;
            let body = read.map_err(|error| no_agent(with_causes(&error)))?;
            serde_json::from_slice(&body).map_err(|error| no_agent(error.to_string()))?
        }
        Err(error) => {
            return Err(format!(
                "webhook.ngrok_api: the ngrok agent does not answer at {api}; is `ngrok http {port}` running? ({})",
                explain(error)
            ));
        }
    };
    choose(&tunnels, port)
}

/// The tunnel that leads to the port of the public door and that Drive may use.
fn choose(tunnels: &Tunnels, port: u16) -> Result<String, String> {
    let leads_here = |tunnel: &&Tunnel| {
        let digits = tunnel.config.addr.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
        digits.parse() == Ok(port)
    };
    let usable =
        tunnels.tunnels.iter().filter(leads_here).find_map(|tunnel| checked(&tunnel.public_url).ok());
    usable.ok_or_else(|| {
        let there: Vec<&str> = tunnels.tunnels.iter().map(|tunnel| tunnel.config.addr.as_str()).collect();
        let there = if there.is_empty() { "nowhere".to_owned() } else { there.join(", ") };
        format!(
            "the ngrok agent has no https tunnel to port {port}, but to {there}; start `ngrok http {port}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::task::{run, status_board, wake_up};

    fn chosen(json: &str) -> Result<String, String> {
        choose(&serde_json::from_str(json).unwrap(), 8080)
    }

    #[test]
    fn the_tunnel_to_the_public_door_is_chosen() {
        let tunnels = r#"{"tunnels":[
            {"public_url":"https://other.ngrok.app","proto":"https","config":{"addr":"http://localhost:3000"}},
            {"public_url":"http://plain.ngrok.app","proto":"http","config":{"addr":"http://localhost:8080"}},
            {"public_url":"tcp://0.tcp.ngrok.io:1","proto":"tcp","config":{"addr":"localhost:8080"}},
            {"public_url":"https://mine.ngrok.app","proto":"https","config":{"addr":"http://localhost:8080"}}
        ],"uri":"/api/tunnels"}"#;
        assert_eq!(chosen(tunnels), Ok("https://mine.ngrok.app".into()));
        let bare = r#"{"tunnels":[{"public_url":"https://mine.ngrok.app","config":{"addr":"8080"}}]}"#;
        assert_eq!(chosen(bare), Ok("https://mine.ngrok.app".into()));
    }

    #[tokio::test]
    async fn an_agent_that_says_too_much_is_none() {
        use drive_emulator::{Action, Emulator, Fault, Matching, Options};
        crate::http::install_tls();
        let server = Emulator::start(Options::default()).await.unwrap();
        let tunnel = r#"{"public_url":"https://mine.ngrok.app","config":{"addr":"8080"}}"#;
        for (spaces, is_heard) in [(1000, true), (ANSWER_LIMIT, false)] {
            let text = format!("{}{{\"tunnels\":[{tunnel}]}}", " ".repeat(spaces));
            let (matching, action) = (Matching::path("/api/tunnels"), Action::text(&text));
            server.fail(Fault { matching, times: 1, action });
            let answer = ask(&Follower::client().unwrap(), &server.url(), 8080).await;
            assert_eq!(answer.is_ok(), is_heard, "{answer:?}");
        }
    }

    #[test]
    fn without_one_it_is_said_what_there_is() {
        assert!(chosen("{}").unwrap_err().contains("to nowhere; start `ngrok http 8080`"));
        let other = r#"{"tunnels":[{"public_url":"https://x","config":{"addr":"http://localhost:80"}}]}"#;
        assert!(chosen(other).unwrap_err().contains("localhost:80;"));
    }

    struct Idle;

    impl Step for Idle {
        async fn step(&mut self, _: Activation) -> Next {
            Next { due: None, settle: Duration::ZERO, outcome: Ok(String::new()) }
        }
    }

    /// An agent that answers whatever it is told to.
    async fn agent() -> (String, Arc<Mutex<(StatusCode, &'static str)>>) {
        let said = Arc::new(Mutex::new((StatusCode::OK, "{}")));
        let says = said.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let answer = move || async move { *says.lock().unwrap() };
        let router = Router::new().route("/api/tunnels", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, said)
    }

    const MINE: &str =
        r#"{"tunnels":[{"public_url":"https://mine.ngrok.app","config":{"addr":"localhost:8080"}}]}"#;
    const MOVED: &str =
        r#"{"tunnels":[{"public_url":"https://moved.ngrok.app","config":{"addr":"localhost:8080"}}]}"#;

    #[tokio::test]
    async fn the_keeper_is_woken_when_the_address_is_another_one_and_only_then() {
        crate::http::install_tls();
        let (api, said) = agent().await;
        let (wanted, following) = watch::channel(Address::Nowhere);
        let known = watch::Sender::new(Known::NotYet);
        let (keeper, wakeups) = wake_up();
        let (board, stop) = (status_board(), CancellationToken::new());
        let shown = board.clone();
        let engine = tokio::spawn(async move { run(wakeups, board, stop, &mut Idle).await });
        let mut follower = Follower::new(Follower::client().unwrap(), following, known.clone(), keeper);
        let activation = Activation { reason: Reason::Due, waited: Duration::ZERO, asked: false };
        let fixed = Address::Fixed("https://x/webhook".to_owned());
        let ngrok = Address::Ngrok { api, port: 8080, path: "/webhook".to_owned() };
        let at = |address: &str| Known::At(address.to_owned());
        // The keeper's first step is its start.
        let mut wakes = 1;
        for (address, status, body, expected, due, is_news) in [
            (Address::Nowhere, 200, "{}", Known::Nowhere, None, true),
            (fixed, 200, "{}", at("https://x/webhook"), None, true),
            (ngrok.clone(), 500, MINE, at("https://x/webhook"), Some(LOOK_SOON), false),
            (ngrok.clone(), 200, MINE, at("https://mine.ngrok.app/webhook"), Some(LOOK), true),
            (ngrok.clone(), 200, MINE, at("https://mine.ngrok.app/webhook"), Some(LOOK), false),
            (ngrok.clone(), 200, "nonsense", at("https://mine.ngrok.app/webhook"), Some(LOOK_SOON), false),
            (ngrok, 200, MOVED, at("https://moved.ngrok.app/webhook"), Some(LOOK), true),
        ] {
            *said.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body);
            wanted.send_replace(address);
            let next = follower.step(activation).await;
            assert_eq!((&*known.borrow(), next.due), (&expected, due), "{:?}", next.outcome);
            assert_eq!(next.outcome.is_err(), due == Some(LOOK_SOON), "{:?}", next.outcome);
            wakes += u64::from(is_news);
            tokio::time::timeout(Duration::from_secs(10), async {
                while shown.borrow().steps < wakes {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await
            .expect("the keeper was not woken");
        }
        // Only the follower can wake the keeper, which ends after its last wake-up.
        drop(follower);
        engine.await.unwrap();
        assert_eq!(shown.borrow().steps, wakes);
    }

    #[tokio::test]
    async fn an_agent_that_does_not_answer_is_named() {
        crate::http::install_tls();
        let client = Follower::client().unwrap();
        let error = ask(&client, "http://127.0.0.1:1", 8080).await.unwrap_err();
        assert!(
            error.contains("does not answer at http://127.0.0.1:1; is `ngrok http 8080` running?"),
            "{error}"
        );
        let (api, said) = agent().await;
        *said.lock().unwrap() = (StatusCode::OK, "nonsense");
        let error = ask(&client, &api, 8080).await.unwrap_err();
        assert!(error.contains("is no ngrok agent"), "{error}");
    }
}
