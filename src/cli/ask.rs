//! Requests to the admin address of a running daemon.

use std::time::Duration;

use anyhow::Context;

use crate::admin::status::Report;
use crate::config::Settings;

/// A program on this machine answers within this time, or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `None`: no program answers at the admin address.
pub(super) async fn fetch(settings: &Settings) -> anyhow::Result<Option<Report>> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let mut request = client.get(format!("http://{}/api/status", settings.admin.listen));
    if let Some(token) = settings.admin.token()? {
        request = request.bearer_auth(token);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => return Err(error).context("admin.listen does not answer"),
    };
    let status = response.status();
    anyhow::ensure!(
        status.is_success(),
        "{} answers {status}; check that this is gdrive-webhook and that admin.token_file is correct",
        settings.admin.listen
    );
    Ok(Some(response.json().await.context("admin.listen answers something that is not a status")?))
}

/// The answer to a readiness check, which needs no token.
pub(super) async fn is_ready(settings: &Settings) -> bool {
    let Ok(client) = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build() else { return false };
    let answer = client.get(format!("http://{}/readyz", settings.admin.listen)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
