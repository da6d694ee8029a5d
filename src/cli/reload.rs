//! `reload`: makes the running daemon read its configuration again, and prints the outcome.

use std::time::Duration;

use anyhow::Context;
use reqwest::StatusCode;

use super::{Exit, misconfigured};
use crate::config::{Problems, Settings};

/// Reading the file takes milliseconds; the engine starts as soon as it is woken.
const PATIENCE: Duration = Duration::from_secs(10);

/// `problems` are those of the file, for when there is no daemon that could name them.
pub(super) async fn reload(settings: &Settings, problems: Option<&Problems>) -> anyhow::Result<Exit> {
    let listen = settings.admin.listen;
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let mut request = client.post(format!("http://{listen}/api/reload"));
    if let Some(token) = settings.admin.token()? {
        request = request.bearer_auth(token);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() && problems.is_some() => {
            return Ok(problems.map_or(Exit::Failed, misconfigured));
        }
        Err(error) if error.is_connect() => anyhow::bail!(
            "no daemon answers at {listen} (admin.listen); the changes take effect at its next start. If a daemon runs with \
             another admin.listen, restart it"
        ),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("the daemon at {listen} (admin.listen) does not answer"));
        }
    };
    let status = answer.status();
    let said = answer.text().await.unwrap_or_default();
    match status {
        StatusCode::OK => {
            print!("{said}");
            Ok(Exit::Done)
        }
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::SERVICE_UNAVAILABLE => {
            eprint!("{said}");
            Ok(Exit::Failed)
        }
        _ => anyhow::bail!(
            "the program at {listen} (admin.listen) answers {status}; check that it is gdrive-webhook, and that admin.token_file \
             is correct"
        ),
    }
}
