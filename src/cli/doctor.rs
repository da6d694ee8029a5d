//! `doctor`: prints what was found, or writes it into a file for a report.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::{Exit, start_log};
use crate::config::{Problems, Settings};
use crate::doctor::{self, bundle};
use crate::telemetry::log;

/// What it prints, and where to.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also write a new file with everything that a report needs: the version, the system, what was found, the configuration
    /// and the status. Secrets are left out; e-mail addresses and the names of files and folders are replaced by numbers
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

pub(super) async fn doctor(settings: &Settings, problems: Option<&Problems>, options: &Options) -> Exit {
    // What libraries log is not about what was asked.
    start_log(&log::Config { level: "off".to_owned(), ..settings.log.clone() }, None);
    let (examination, daemon) = doctor::examine(settings, problems).await;
    if options.json {
        match serde_json::to_string_pretty(&examination) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("gdrive-webhook: {error}"),
        }
    } else {
        print!("{}", examination.text());
    }
    if let Some(path) = &options.bundle {
        let text = bundle::text(settings, &examination, &daemon, &system(), Timestamp::now());
        if let Err(error) = write_new(path, &text) {
            eprintln!("gdrive-webhook: {} cannot be written: {error}", path.display());
            return Exit::Failed;
        }
        eprintln!("{} can be pasted into a report; read it before you do", path.display());
    }
    match problems {
        Some(_) => Exit::Configuration,
        None if examination.is_good() => Exit::Done,
        None => Exit::Failed,
    }
}

/// A file that was there before stays as it is.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// The system's name and kernel.
fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown system");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, kernel {}, {}", name.trim_matches('"'), kernel.trim(), std::env::consts::ARCH)
}
