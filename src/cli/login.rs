//! `login`: opens a browser where there is one, prints the address to open, and waits for the answer. Then it says who has
//! logged in, and which watched folders that account sees.

use std::io::BufRead;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::show::printable;
use super::{Exit, interrupted};
use crate::auth::login::{Login, Person, check_place};
use crate::auth::{self, Auth};
use crate::config::Settings;
use crate::drive::{Drive, Fault};
use crate::http::Http;
use crate::model::file::Kind;
use crate::model::{Account, ResourceKeys};
use crate::sync::rules::Folder;

/// What `login` can be told.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Open no browser, only print the address
    #[arg(long)]
    no_browser: bool,
    /// Wait for the browser's answer at this address and port, for containers: publish the port as the same port of
    /// 127.0.0.1 on the machine with the browser [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// What opens a browser, the first one that is there: the user's own choice, then the desktop's, then the system's.
const OPENERS: [&str; 5] = ["xdg-open", "gio open", "wslview", "x-www-browser", "open"];

pub(super) async fn login(settings: &Settings, options: &Options) -> anyhow::Result<Exit> {
    let credentials = settings.google.credentials.as_deref().ok_or_else(|| auth::Error::Credentials {
        path: "google.credentials".into(),
        why: "is not set; set it to the file of an OAuth client of the type \"Desktop app\"".to_owned(),
    })?;
    let client = auth::read_client(credentials)?;
    let token = &settings.google.token;
    check_place(token, &settings.store.path())?;
    let http = Arc::new(Http::new(settings.download.stall)?);
    let stop = interrupted();
    let login = Login::begin(client, options.listen).map_err(failed)?;
    let address = login.address();
    println!("Open this address in a browser and allow the access:\n\n{address}\n");
    println!(
        "If the browser is on another machine, it ends at an address that begins with http://127.0.0.1 and that it cannot open:"
    );
    println!("copy the whole address, paste it here, and press Enter.");
    if !options.no_browser {
        open_browser(address);
    }
    let person = Person { pasted: lines(), tell: |said: &str| println!("{said}"), stop };
    login.finish(&http.api, token, person).await.map_err(failed)?;
    let auth = Auth::load(&settings.google, &http)?;
    let drive = Drive::new(&settings.drive, http, Arc::new(auth));
    let shown = token.display();
    match drive.account().await {
        Ok(account) => {
            println!("Logged in as {}. The login is stored in {shown}.", printable(&account.name));
            print!("{}", visible(&drive, &settings.folders, &account).await);
        }
        Err(error) => {
            println!("The login is stored in {shown}, but Drive cannot be read with it: {error}");
        }
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

/// Which of the watched folders the account sees, a line for each.
async fn visible(drive: &Drive, folders: &[Folder], account: &Account) -> String {
    let (mut text, mut seen) = (String::new(), 0);
    for folder in folders {
        let keys = ResourceKeys::of(&folder.id, folder.resource_key.as_deref());
        let (id, who) = (printable(folder.id.as_str()), printable(&account.name));
        text += &match drive.file(&folder.id, &keys).await {
            Ok(file) if file.kind() != Kind::Folder => {
                format!(
                    "  {} ({id}) is not a folder; correct its id in the configuration\n",
                    printable(&file.name)
                )
            }
            Ok(file) if file.trashed => {
                format!("  {} ({id}) is in the trash; restore it\n", printable(&file.name))
            }
            Ok(file) => {
                seen += 1;
                format!("  {} ({id})\n", printable(&file.name))
            }
            Err(error) if error.fault() == Fault::NotFound => format!(
                "  {id} is not visible: share it with {who}, log in as somebody who sees it, or correct its id in the configuration\n"
            ),
            Err(error) => format!("  {id} cannot be looked at: {error}\n"),
        };
    }
    let heading = match (seen, folders.len()) {
        (0, 0) => "The configuration names no folder yet.".to_owned(),
        (0, _) => "This account can use none of the watched folders:".to_owned(),
        (seen, all) => format!("This account can use {seen} of {all} watched folders:"),
    };
    format!("{heading}\n{text}")
}

/// The lines of standard input. The thread that waits for the next one ends with the program.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Opens a browser, if there may be one. A convenience: where it does not work the printed address does.
fn open_browser(address: String) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_graphical = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") || cfg!(target_os = "macos");
    // A browser must not run as root, and the desktop is not root's.
    if is_set("SUDO_USER") || !(is_graphical || is_set("BROWSER")) {
        return;
    }
    let chosen = std::env::var("BROWSER").ok().filter(|chosen| !chosen.is_empty());
    tokio::task::spawn_blocking(move || {
        let openers = chosen.iter().flat_map(|list| list.split(':')).chain(OPENERS);
        for opener in openers.filter(|opener| !opener.is_empty()) {
            match opened(opener, &address) {
                Ok(true) => return,
                Ok(false) => tracing::debug!(opener, "no browser was opened"),
                Err(error) => tracing::debug!(opener, %error, "no browser was opened"),
            }
        }
    });
}

/// Whether a command has opened a browser. `%s` stands for the address, which else comes last.
fn opened(opener: &str, address: &str) -> std::io::Result<bool> {
    let mut words = opener.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let has_place = opener.contains("%s");
    command.args(words.map(|word| word.replace("%s", address)));
    if !has_place {
        command.arg(address);
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(status.success())
}
