//! The other programs, as far as they are there, and why not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that were found.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    pub(crate) curl: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
    pub(crate) openssl: Option<PathBuf>,
    pub(crate) rclone: Option<PathBuf>,
    /// A Python that has what the listener imports.
    pub(crate) python: Option<PathBuf>,
    /// What is missing, and what is left out for that reason.
    pub(crate) missing: Vec<String>,
}

impl Tools {
    pub(crate) fn find() -> Self {
        let mut tools = Self {
            curl: find("curl"),
            nginx: find("nginx"),
            openssl: find("openssl"),
            rclone: find("rclone"),
            python: find("python3").filter(|python| has_modules(python)),
            missing: Vec::new(),
        };
        let told = [
            (tools.curl.is_none(), "curl: it is no contestant"),
            (
                tools.nginx.is_none(),
                "nginx: the emulator serves everything itself, and rclone is no contestant",
            ),
            (tools.openssl.is_none(), "openssl: nothing is measured over TLS"),
            (tools.rclone.is_none(), "rclone: it is no contestant"),
            (
                tools.python.is_none(),
                "python3 with flask, google-api-python-client and google-auth-httplib2: the listener is no contestant",
            ),
        ];
        for (_, text) in told.into_iter().filter(|(missing, _)| *missing) {
            tools.missing.push(text.to_owned());
        }
        if tools.nginx.is_none() || tools.openssl.is_none() {
            tools.rclone = None;
        }
        if tools.rclone.is_some() && !can_hide_hosts() {
            tools.rclone = None;
            tools.missing.push(
                "the right to give rclone a hosts file of its own (root): it is no contestant".to_owned(),
            );
        }
        tools
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root looks.
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|path| path.is_file())
}

fn has_modules(python: &Path) -> bool {
    quiet(Command::new(python).args(["-c", "import flask, googleapiclient.discovery, google_auth_httplib2"]))
}

/// Whether a mount namespace can be made. rclone reaches Drive by Google's names and at no other port than 443.
fn can_hide_hosts() -> bool {
    let port = std::net::TcpListener::bind((crate::nginx::GOOGLE, 443));
    port.is_ok() && quiet(Command::new("unshare").args(["--mount", "true"]))
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
