//! `login`: prints the address to open, and waits for the callback or for the pasted-back address.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use super::Exit;
use crate::auth::login::{Login, check_place, keep};
use crate::auth::{self, Auth};
use crate::config::Settings;
use crate::drive::Drive;
use crate::http::Http;

pub(super) async fn login(settings: &Settings) -> anyhow::Result<Exit> {
    let credentials = settings.google.credentials.as_deref().ok_or_else(|| auth::Error::Credentials {
        path: "google.credentials".into(),
        why: "is not set; set it to the file of an OAuth client of the type \"Desktop app\"".to_owned(),
    })?;
    let client = auth::read_client(credentials)?;
    check_place(&settings.google.token)?;
    let http = Arc::new(Http::new(settings.download.stall)?);
    let login = Login::begin(client)?;
    println!("Open this address in a browser and allow the access:\n\n{}\n", login.address());
    println!(
        "If the browser is on another machine, it ends at an address that begins with http://127.0.0.1 and that it cannot open:"
    );
    println!("copy the whole address and paste it here.");
    open_browser(&login.address());
    let grant = login.finish(&http.api, pasted_line()).await.map_err(failed)?;
    keep(&grant, &settings.google.token)?;
    let auth = Auth::load(&settings.google, &http)?;
    match Drive::new(&settings.drive, http, Arc::new(auth)).account().await {
        Ok(account) => {
            println!(
                "Logged in as {}. The login is stored in {}.",
                account.name,
                settings.google.token.display()
            );
        }
        Err(error) => println!(
            "The login is stored in {}, but Drive cannot be read with it: {error}",
            settings.google.token.display()
        ),
    }
    Ok(Exit::Done)
}

/// Google refuses a login, not the credentials.
fn failed(error: auth::Error) -> anyhow::Error {
    match error {
        auth::Error::Refused { why } => anyhow::anyhow!("the login failed: {why}"),
        other => other.into(),
    }
}

/// The first line of standard input that looks like an address. A closed standard input is nobody's answer.
async fn pasted_line() -> Option<String> {
    let lines = tokio::task::spawn_blocking(|| {
        std::io::stdin().lock().lines().map_while(Result::ok).find(|line| line.contains('?'))
    });
    lines.await.ok().flatten()
}

/// A convenience: where it does not work the printed address does.
fn open_browser(address: &str) {
    let graphical = std::env::var_os("DISPLAY").or_else(|| std::env::var_os("WAYLAND_DISPLAY")).is_some();
    if graphical && std::io::stdout().is_terminal() {
        let quiet = std::process::Stdio::null;
        let opened =
            std::process::Command::new("xdg-open").arg(address).stdout(quiet()).stderr(quiet()).spawn();
        if let Err(error) = opened {
            tracing::debug!(%error, "no browser could be opened");
        }
    }
}
