//! The running daemon, asked at its admin address.

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

use crate::admin::status::Report;
use crate::config::Settings;
use crate::http::explain;
use crate::listen::challenge::Challenge;

/// A program on this machine answers within this time, or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What answers at the admin address.
#[derive(Debug)]
pub enum Daemon {
    /// The daemon, with its status, and the same as it came.
    Running(Box<(Report, Value)>),
    /// Nobody.
    Silent,
    /// Something that is not the daemon, or a daemon that does not know us.
    Unclear(String),
}

impl Daemon {
    /// Asks.
    pub async fn ask(settings: &Settings) -> Self {
        match answer(settings, Method::GET, "status").await {
            Err(None) => Self::Silent,
            Err(Some(why)) => Self::Unclear(why),
            Ok(json) => match serde_json::from_value(json.clone()) {
                Ok(report) => Self::Running(Box::new((report, json))),
                Err(error) => Self::Unclear(format!("its status cannot be read: {error}")),
            },
        }
    }

    /// Its status, if it runs.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Running(answer) => Some(&answer.0),
            Self::Silent | Self::Unclear(_) => None,
        }
    }

    /// The same as it came.
    pub fn json(&self) -> Option<&Value> {
        match self {
            Self::Running(answer) => Some(&answer.1),
            Self::Silent | Self::Unclear(_) => None,
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Option<u32> {
        self.report()?.process.as_ref().map(|process| process.pid)
    }
}

/// Has the daemon make a question that it answers at its webhook address.
pub(super) async fn challenge(settings: &Settings) -> Result<Challenge, String> {
    let json = answer(settings, Method::POST, "challenge").await;
    let json = json.map_err(|why| why.unwrap_or_else(|| "the daemon does not answer any more".to_owned()))?;
    let text =
        |name: &str| json[name].as_str().map(str::to_owned).ok_or("the daemon's answer cannot be read");
    Ok(Challenge { query: text("query")?, answer: text("answer")? })
}

/// `Err(None)`: nobody listens there.
async fn answer(settings: &Settings, method: Method, what: &str) -> Result<Value, Option<String>> {
    let fail = |error: reqwest::Error| Some(explain(error));
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(fail)?;
    let mut request = client.request(method, format!("http://{}/api/{what}", settings.admin.listen));
    if let Some(token) = settings.admin.token().map_err(|error| Some(error.to_string()))? {
        request = request.bearer_auth(token);
    }
    let response =
        request.send().await.map_err(|error| if error.is_connect() { None } else { fail(error) })?;
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED => Err(Some(format!("{status}: admin.token_file has another token"))),
        StatusCode::NOT_FOUND => Err(Some(format!("{status}: it does not know this request"))),
        _ if !status.is_success() => Err(Some(status.to_string())),
        _ => read(response).await.map_err(|error| Some(format!("it does not answer with JSON: {error}"))),
    }
}

async fn read(response: Response) -> Result<Value, String> {
    response.json().await.map_err(explain)
}
