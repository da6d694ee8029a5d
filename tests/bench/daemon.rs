//! The daemon as a contestant: a home of its own, nobody else's environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Bench;
use crate::nginx::free_port;
use crate::process::{self, Cost, Running};
use crate::race::Contestant;
use crate::server::{Scheme, Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gdrive-webhook");

/// A directory with configuration, credentials and ledger.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    /// Where files are delivered to.
    pub(crate) files: PathBuf,
    authority: Option<PathBuf>,
    admin: u16,
}

impl Home {
    /// `more` is TOML that goes before the section of the folder, `folder` is what goes into it.
    pub(crate) fn make(
        server: &Server<'_>,
        scheme: Scheme,
        path: PathBuf,
        more: &str,
        folder: &str,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(&path)?;
        let home = Self {
            admin: free_port()?,
            files: path.join("files"),
            authority: server.bench.certificate.as_ref().map(|files| files.authority.clone()),
            path,
        };
        fs::write(home.path.join("credentials.json"), server.drive.service_account_json())?;
        let config = format!(
            "[google]\ncredentials = \"credentials.json\"\napi_url = {api:?}\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n{more}\n\
             [[folder]]\nid = {inbox:?}\ndestination = {files:?}\n{folder}\n",
            api = server.url(scheme)?,
            admin = home.admin,
            inbox = server.inbox,
            files = home.files,
        );
        fs::write(home.path.join("gdrive-webhook.toml"), config)?;
        Ok(home)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().current_dir(&self.path).args(arguments);
        if let Some(authority) = &self.authority {
            command.env("SSL_CERT_FILE", authority);
        }
        command
    }

    /// The file of the ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path.join("state.db")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The daemon, running and ready.
    pub(crate) fn run(&self, bench: &Bench) -> anyhow::Result<Running> {
        let mut running = Running::start(&mut self.command(&["run"]), &self.log())?;
        let (client, url) = (crate::client()?, format!("http://127.0.0.1:{}/readyz", self.admin));
        let began = Instant::now();
        let ready =
            || async { client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        while !bench.runtime.block_on(ready()) {
            running.check(&self.log())?;
            ensure!(began.elapsed() < Duration::from_secs(30), "the daemon is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// One pass and out.
    pub(crate) fn sync(&self, limit: Duration) -> anyhow::Result<Cost> {
        process::run(&mut self.command(&["sync"]), &self.log(), limit)
    }
}

/// `[webhook]` with an address of this machine, which the emulator may call.
pub(crate) fn webhook() -> anyhow::Result<String> {
    let port = free_port()?;
    Ok(format!("[webhook]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"\n"))
}

/// `sync` into a new home.
pub(crate) struct Daemon<'a> {
    pub(crate) name: String,
    pub(crate) server: &'a Server<'a>,
    pub(crate) scheme: Scheme,
    /// More configuration.
    pub(crate) more: String,
}

impl Contestant for Daemon<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn fetch(&mut self, into: &Path, limit: Duration) -> anyhow::Result<Cost> {
        let home =
            Home::make(self.server, self.scheme, into.to_owned(), &self.more, "existing = \"download\"")?;
        home.sync(limit)
    }
}

/// Whether the program knows this configuration: a key may be younger than it.
pub(crate) fn accepts(server: &Server<'_>, more: &str) -> anyhow::Result<bool> {
    let path = server.bench.place.fresh("accepts")?;
    let home = Home::make(server, Scheme::Http, path, more, "")?;
    let limit = Duration::from_secs(20);
    Ok(process::run(&mut home.command(&["config", "check"]), &home.log(), limit).is_ok())
}
