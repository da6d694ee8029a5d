//! rclone as a contestant, as its makers ship it. It knows Google's hosts by name and no other, so it gets a hosts file
//! of its own, in a mount namespace that ends with it; everything else is as for the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::nginx::GOOGLE;
use crate::process::{self, Cost};
use crate::race::Contestant;
use crate::server::Server;

pub(crate) struct Rclone<'a> {
    pub(crate) program: PathBuf,
    pub(crate) server: &'a Server<'a>,
    /// Files at once.
    pub(crate) transfers: u32,
    /// Ranges of one file at once.
    pub(crate) streams: u32,
}

impl Contestant for Rclone<'_> {
    fn name(&self) -> String {
        match self.transfers {
            1 => format!("rclone copy, {} stream{}", self.streams, if self.streams == 1 { "" } else { "s" }),
            transfers => format!("rclone copy --transfers {transfers}"),
        }
    }

    /// Its checksum check is on by default.
    fn fetch(&mut self, into: &Path, limit: Duration) -> anyhow::Result<Cost> {
        let bench = self.server.bench;
        let certificate = bench.certificate.as_ref().context("rclone needs TLS")?;
        let (hosts, credentials, config) =
            (into.join("hosts"), into.join("service-account.json"), into.join("rclone.conf"));
        fs::write(
            &hosts,
            format!("127.0.0.1 localhost\n{GOOGLE} www.googleapis.com oauth2.googleapis.com\n"),
        )?;
        fs::write(&credentials, self.server.drive.service_account_json())?;
        fs::write(
            &config,
            format!(
                "[drive]\ntype = drive\nscope = drive.readonly\nservice_account_file = {}\nroot_folder_id = {}\n",
                credentials.display(),
                self.server.inbox
            ),
        )?;
        let (transfers, streams) = (self.transfers.to_string(), self.streams.to_string());
        // Everything is exec: the process that is measured is rclone in the end.
        let mut command = Command::new("unshare");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", into)
            .env("RCLONE_CONFIG", &config)
            .args(["--mount", "--propagation", "private", "/bin/sh", "-ec"])
            .arg("mount --bind \"$0\" /etc/hosts; exec \"$@\"")
            .arg(&hosts)
            .arg(&self.program)
            .args(["copy", "drive:", "files", "--retries", "1", "--drive-pacer-min-sleep", "0"])
            .args(["--drive-pacer-burst", "10000", "--multi-thread-cutoff", "32M"])
            .args(["--transfers", &transfers, "--multi-thread-streams", &streams, "--ca-cert"])
            .arg(&certificate.authority)
            .current_dir(into);
        process::run(&mut command, &into.join("log"), limit)
    }
}
