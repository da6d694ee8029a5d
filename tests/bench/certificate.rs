//! An authority of the bench's own, and a certificate for this machine and for the names of Google's hosts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::place::Place;
use crate::process;

/// PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// Whom clients have to trust.
    pub(crate) authority: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

const NAMES: &str =
    "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:www.googleapis.com,DNS:oauth2.googleapis.com\n";
const KEY: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

pub(crate) fn make(openssl: &Path, place: &Place) -> anyhow::Result<Certificate> {
    let path = |name: &str| place.join(name);
    let run = |command: &mut Command| process::run(command, &path("openssl.log"), Duration::from_mins(1));
    let (authority, authority_key) = (path("authority.pem"), path("authority.key"));
    run(Command::new(openssl)
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=gdrive-webhook bench", "-keyout"])
        .arg(&authority_key)
        .arg("-out")
        .arg(&authority)
        .args(KEY))?;
    let (request, key, names, chain) =
        (path("server.csr"), path("server.key"), path("server.names"), path("server.pem"));
    run(Command::new(openssl)
        .args(["req", "-nodes", "-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&request)
        .args(KEY))?;
    fs::write(&names, NAMES)?;
    run(Command::new(openssl)
        .args(["x509", "-req", "-days", "2", "-set_serial", "1", "-in"])
        .arg(&request)
        .arg("-CA")
        .arg(&authority)
        .arg("-CAkey")
        .arg(&authority_key)
        .arg("-extfile")
        .arg(&names)
        .arg("-out")
        .arg(&chain))?;
    Ok(Certificate { authority, chain, key })
}
