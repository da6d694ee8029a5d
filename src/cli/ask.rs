//! Requests to the admin address of a running daemon.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::{Exit, misconfigured};
use crate::admin::status::Report;
use crate::config::{Problems, Settings};

/// A program on this machine answers within this time, or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A look at a destination may take as long, and the answer comes after it.
const LONGER: Duration = Duration::from_secs(15);

/// What comes of asking the daemon.
pub(super) enum Asked<T> {
    Answered(T),
    /// The configuration has mistakes, and nobody answers where it leads; that has been said.
    Mistaken(Exit),
    Nobody,
}

/// A configuration with mistakes leads to the daemon as well, if they are elsewhere in it.
pub(super) fn judge<T>(
    answer: anyhow::Result<Option<T>>,
    problems: Option<&Problems>,
) -> anyhow::Result<Asked<T>> {
    match (answer, problems) {
        (Ok(Some(answer)), _) => {
            mistaken(problems);
            Ok(Asked::Answered(answer))
        }
        (Ok(None), None) => Ok(Asked::Nobody),
        (Err(error), None) => Err(error),
        (Ok(None), Some(problems)) => Ok(Asked::Mistaken(misconfigured(problems))),
        (Err(error), Some(problems)) => {
            eprintln!("gdrive-webhook: the daemon cannot be asked: {error:#}");
            Ok(Asked::Mistaken(misconfigured(problems)))
        }
    }
}

/// A command that only asks has been answered, although the file has mistakes.
fn mistaken(problems: Option<&Problems>) {
    if let Some(problems) = problems {
        let said = problems.to_string().replace('\n', "; ");
        eprintln!(
            "gdrive-webhook: the configuration file has mistakes, and the daemon keeps the configuration that is in effect: {said}"
        );
    }
}

/// `None`: no program answers at the admin address.
pub(super) async fn fetch(settings: &Settings) -> anyhow::Result<Option<Report>> {
    let url = address(settings, &["api", "status"])?;
    let Some(answer) = send(settings, Method::GET, url, TIMEOUT).await? else { return Ok(None) };
    let status = answer.status();
    anyhow::ensure!(
        status.is_success(),
        "the program at {} (admin.listen) answers {status}; check that it is gdrive-webhook, and that admin.token_file is correct",
        settings.admin.listen
    );
    let listen = settings.admin.listen;
    Ok(Some(answer.json().await.with_context(|| {
        format!("the program at {listen} (admin.listen) does not answer with a status; check that it is gdrive-webhook")
    })?))
}

/// An answer in JSON, whatever its status says. `None`: no program answers at the admin address.
pub(super) async fn request<T: DeserializeOwned>(
    settings: &Settings,
    method: Method,
    path: &[&str],
    query: &[(&str, &str)],
) -> anyhow::Result<Option<T>> {
    let mut url = address(settings, path)?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let Some(answer) = send(settings, method, url, LONGER).await? else { return Ok(None) };
    let (listen, status) = (settings.admin.listen, answer.status());
    let kind = answer.headers().get(reqwest::header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        let answer = answer.json().await;
        return answer
            .map(Some)
            .with_context(|| format!("{listen} (admin.listen) answers something unexpected"));
    }
    if status == StatusCode::NOT_FOUND {
        anyhow::bail!(
            "the program at {listen} (admin.listen) does not know this request; if it is an earlier version of the daemon, \
             restart it"
        );
    }
    let said = answer.text().await.unwrap_or_default();
    anyhow::bail!(
        "the program at {listen} (admin.listen) answers {status}: {}; check that it is gdrive-webhook, and that admin.token_file \
         is correct",
        said.trim()
    )
}

/// The address of a request. Each part of the path may be any text.
fn address(settings: &Settings, path: &[&str]) -> anyhow::Result<Url> {
    let mut url = Url::parse(&format!("http://{}/", settings.admin.listen))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(path);
    }
    Ok(url)
}

/// `None`: nobody listens there.
async fn send(
    settings: &Settings,
    method: Method,
    url: Url,
    patience: Duration,
) -> anyhow::Result<Option<Response>> {
    let client = reqwest::Client::builder().timeout(patience).no_proxy().build()?;
    let mut request = client.request(method, url);
    if let Some(token) = settings.admin.token()? {
        request = request.bearer_auth(token);
    }
    match request.send().await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("the daemon at {} (admin.listen) does not answer", settings.admin.listen)
        }),
    }
}

/// The answer to a readiness check, which needs no token.
pub(super) async fn is_ready(settings: &Settings) -> bool {
    let Ok(client) = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build() else { return false };
    let answer = client.get(format!("http://{}/readyz", settings.admin.listen)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
