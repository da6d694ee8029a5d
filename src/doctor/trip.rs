//! A round trip: from here through the public address and back to this machine's own listener.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::get;
use reqwest::redirect::Policy;
use reqwest::{Client, header};
use rustls::CertificateError;
use tokio_util::sync::CancellationToken;

use super::running::{self, Daemon};
use crate::channel::address::{self, Follower};
use crate::config::Settings;
use crate::http::explain;
use crate::listen::Door;
use crate::listen::challenge::{Challenge, Challenges};
use crate::model::channel::Address;

/// The whole way, there and back.
const PATIENCE: Duration = Duration::from_secs(15);
/// So much of a body tells whose it is.
const SHOWN: usize = 64 << 10;
/// How a webhook address of this program greets whoever does not know a question.
const GREETING: &str = "gdrive-webhook waits";

/// What came of it.
#[derive(Debug)]
pub(super) enum Trip {
    /// There is no public address.
    Nowhere,
    /// It could not be made, because …
    NotMade(String),
    /// The answer came back.
    Came,
    /// The address leads to another daemon.
    OtherDaemon,
    /// The address leads to something else, which answers with this status.
    SomebodyElse(StatusCode),
    /// Its proxy answers, and does not reach the listener.
    Gateway(StatusCode),
    /// The address sends elsewhere.
    Redirect(String),
    /// The certificate is not accepted.
    Certificate(Flaw),
    /// What answers does not speak TLS.
    Plain,
    /// Nobody answers.
    Dead(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Expired,
    NotYetValid,
    OtherName,
    /// Signed by itself, or by an authority that is not trusted.
    Unknown,
    Other,
}

/// Where Drive is to call; for ngrok as its agent says.
pub(super) async fn public_address(settings: &Settings) -> Result<Option<String>, String> {
    match &settings.channel.address {
        Address::Nowhere => Ok(None),
        Address::Fixed(address) => Ok(Some(address.clone())),
        Address::Ngrok { api, port, path } => {
            let client = Follower::client().map_err(explain)?;
            address::ask(&client, api, *port).await.map(|base| Some(format!("{base}{path}")))
        }
    }
}

impl Trip {
    /// Makes it. With a daemon its receiver answers, without one a listener that is there for the moment.
    pub(super) async fn make(settings: &Settings, address: Option<&str>, daemon: &Daemon) -> Self {
        let Some(address) = address else { return Self::Nowhere };
        match daemon {
            Daemon::Running(_) => match running::challenge(settings).await {
                Ok(challenge) => go(address, &challenge).await,
                Err(why) => Self::NotMade(format!("the daemon at {} answers {why}", settings.admin.listen)),
            },
            Daemon::Silent | Daemon::Unclear(_) => alone(settings, address).await,
        }
    }
}

async fn alone(settings: &Settings, address: &str) -> Trip {
    let listen = settings.receiver.listen;
    let door = match Door::bind(listen) {
        Ok(door) => door,
        Err(error) => {
            return Trip::NotMade(format!("nothing can listen on {listen} (webhook.listen): {error}"));
        }
    };
    let challenges = Challenges::default();
    let challenge = challenges.make();
    let answer = move |RawQuery(query): RawQuery| async move {
        challenges.answer(query.as_deref()).ok_or(StatusCode::NOT_FOUND)
    };
    let router = Router::new().route(&settings.receiver.path, get(answer).post(busy));
    let serving = door.serve(router, CancellationToken::new());
    tokio::select! {
        () = serving => Trip::NotMade(format!("the listener on {listen} has ended")),
        trip = go(address, &challenge) => trip,
    }
}

async fn go(address: &str, challenge: &Challenge) -> Trip {
    let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build();
    let sent = match client {
        Ok(client) => client.get(format!("{address}?{}", challenge.query)).send().await,
        Err(error) => return Trip::NotMade(explain(error)),
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => return lost(error),
    };
    let status = answer.status();
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok().map(str::to_owned));
    let body = crate::http::api::read_whole(answer, SHOWN).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    match status.as_u16() {
        200 if body.trim() == challenge.answer => Trip::Came,
        200 if body.starts_with(GREETING) => Trip::OtherDaemon,
        300..400 => Trip::Redirect(to.unwrap_or_else(|| "nowhere".to_owned())),
        502..=504 => Trip::Gateway(status),
        _ => Trip::SomebodyElse(status),
    }
}

fn lost(error: reqwest::Error) -> Trip {
    match tls(&error) {
        Some(rustls::Error::InvalidCertificate(error)) => Trip::Certificate(flaw(error)),
        Some(rustls::Error::InvalidMessage(_)) => Trip::Plain,
        _ => Trip::Dead(explain(error)),
    }
}

fn flaw(error: &CertificateError) -> Flaw {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Flaw::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Flaw::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Flaw::OtherName
        }
        // A bad signature is that of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Flaw::Unknown,
        // A certificate that signs itself is often an authority as well.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => Flaw::Unknown,
        _ => Flaw::Other,
    }
}

/// The TLS error among the causes of an error. One in an I/O error is not among its sources.
fn tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

/// A notification may come while nobody else listens. Google sends it again after this answer.
async fn busy() -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
