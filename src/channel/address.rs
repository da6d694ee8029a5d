//! Where Drive is to call: as configured, or as the ngrok agent on this machine says; and followed when it changes.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::http::{checked, explain};
use crate::model::channel::{Address, Known};
use crate::task::{Activation, Next, Reason, Step, Wake};

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
            info!(address, "where Drive is to call has changed");
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

async fn ask(http: &reqwest::Client, api: &str, port: u16) -> Result<String, String> {
    let response =
        http.get(format!("{api}/api/tunnels")).send().await.and_then(reqwest::Response::error_for_status);
    let tunnels: Tunnels = match response {
        Ok(response) => response.json().await.map_err(|error| {
            format!("webhook.ngrok_api: what answers at {api} is no ngrok agent: {}", explain(error))
        })?,
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
    use super::*;

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

    #[test]
    fn without_one_it_is_said_what_there_is() {
        assert!(chosen("{}").unwrap_err().contains("to nowhere; start `ngrok http 8080`"));
        let other = r#"{"tunnels":[{"public_url":"https://x","config":{"addr":"http://localhost:80"}}]}"#;
        assert!(chosen(other).unwrap_err().contains("localhost:80;"));
    }
}
