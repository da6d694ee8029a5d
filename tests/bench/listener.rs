//! The Python listener as a contestant: it runs already, and the time is from the notification to its answer, which it
//! gives when the last byte is in its file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::nginx::free_port;
use crate::process::{Cost, Running};
use crate::race::Contestant;
use crate::server::{Scheme, Server};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/listener.py");

pub(crate) struct Listener<'a> {
    pub(crate) python: PathBuf,
    pub(crate) server: &'a Server<'a>,
    pub(crate) scheme: Scheme,
    /// Where the change log stood before the files came.
    pub(crate) page_token: String,
}

impl Contestant for Listener<'_> {
    fn name(&self) -> String {
        "Flask + google-api-python-client".to_owned()
    }

    fn fetch(&mut self, into: &Path, limit: Duration) -> anyhow::Result<Cost> {
        let (port, log) = (free_port()?, into.join("log"));
        let mut running = Running::start(&mut self.command(into, port)?, &log)?;
        let (url, runtime) = (format!("http://127.0.0.1:{port}/"), &self.server.bench.runtime);
        let client = crate::client()?;
        let began = Instant::now();
        while runtime.block_on(async { client.get(&url).send().await }).is_err() {
            running.check(&log)?;
            ensure!(began.elapsed() < Duration::from_secs(30), "the listener does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = running.cpu();
        let began = Instant::now();
        let notification = client
            .post(format!("{url}webhook"))
            .timeout(limit)
            .header("X-Goog-Channel-ID", "bench")
            .header("X-Goog-Resource-State", "change");
        let answer =
            runtime.block_on(async { notification.send().await }).context("the listener did not answer")?;
        let cost =
            Cost { wall: began.elapsed(), cpu: running.cpu().saturating_sub(before), peak: running.peak() };
        let said = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(answer.status().is_success(), "the listener failed: {}", said());
        Ok(cost)
    }
}

impl Listener<'_> {
    fn command(&self, into: &Path, port: u16) -> anyhow::Result<Command> {
        let (files, credentials) = (into.join("files"), into.join("service-account.json"));
        fs::create_dir(&files)?;
        fs::write(&credentials, self.server.drive.service_account_json())?;
        let mut command = Command::new(&self.python);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("no_proxy", "*")
            .current_dir(into)
            .arg(SOURCE)
            .arg(port.to_string())
            .arg(self.server.url(self.scheme)?)
            .arg(self.server.bench.certificate.as_ref().map_or(Path::new(""), |files| &files.authority))
            .arg(&credentials)
            .arg(&self.server.inbox)
            .arg(&self.page_token)
            .arg(&files);
        Ok(command)
    }
}
