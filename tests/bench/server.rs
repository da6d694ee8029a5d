//! The Drive that all contestants fetch from: the emulator, with nginx before it where there is one.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use drive_emulator::{Content, Emulator, Options, TlsFiles, Upload};
use sha2::{Digest as _, Sha256};

use crate::Bench;
use crate::nginx::Nginx;
use crate::process;

/// How the bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// A file that contestants have to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// One Drive for one work.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) drive: Emulator,
    /// The folder that is watched.
    pub(crate) inbox: String,
    pub(crate) nginx: Option<Nginx>,
}

impl<'a> Server<'a> {
    /// With nginx, if there is one.
    pub(crate) fn start(bench: &'a Bench) -> anyhow::Result<Self> {
        let mut server = Self::emulator(bench)?;
        if let Some(program) = &bench.tools.nginx {
            let certificate = bench.certificate.as_ref();
            let google = certificate.is_some() && bench.tools.rclone.is_some();
            server.nginx =
                Some(Nginx::start(program, &bench.place, server.drive.port(), certificate, google)?);
        }
        Ok(server)
    }

    /// The emulator alone.
    pub(crate) fn emulator(bench: &'a Bench) -> anyhow::Result<Self> {
        let tls = bench.certificate.as_ref().map(|certificate| TlsFiles {
            cert: certificate.chain.clone(),
            key: certificate.key.clone(),
            port: 0,
            name: None,
        });
        let drive = bench.runtime.block_on(Emulator::start(Options { tls, ..Options::default() }))?;
        let inbox = drive.folder(&drive.root_id(), "Inbox");
        Ok(Self { bench, drive, inbox, nginx: None })
    }

    /// The root of the API.
    pub(crate) fn url(&self, scheme: Scheme) -> anyhow::Result<String> {
        let nginx = self.nginx.as_ref();
        match scheme {
            Scheme::Http => Ok(match nginx {
                Some(nginx) => format!("http://127.0.0.1:{}", nginx.port),
                None => self.drive.url(),
            }),
            Scheme::Https => {
                let port = nginx.map_or_else(|| self.drive.tls_port(), |nginx| nginx.tls_port);
                Ok(format!("https://127.0.0.1:{}", port.context("there is no TLS without openssl")?))
            }
        }
    }

    /// Puts a file into the inbox, and on the disk where nginx finds it.
    pub(crate) fn publish(&self, name: &str, seed: u64, size: u64) -> anyhow::Result<Published> {
        let (content, id) = (Content::pattern(seed, size), format!("1bench-{seed}-{size}"));
        if self.nginx.is_some() {
            let path = self.media().join(&id);
            fs::create_dir_all(self.media())?;
            if path.exists() { warm(&path)? } else { write(&content, &path)? }
        }
        let upload = Upload::new(&self.inbox, name, content).id(&id);
        let id = self.drive.upload(upload);
        let sha256 = self.drive.content_sha256(&id).context("a file without content")?;
        Ok(Published { id, name: name.to_owned(), sha256, size })
    }

    fn media(&self) -> PathBuf {
        self.bench.place.join("media/")
    }

    /// CPU time of everything that serves, since it began.
    pub(crate) fn cpu(&self) -> std::time::Duration {
        let own = process::cpu_time(std::process::id().cast_signed());
        own + self.nginx.as_ref().map(|nginx| nginx.running.cpu()).unwrap_or_default()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.bench.runtime.block_on(self.drive.stop());
    }
}

fn write(content: &Content, path: &Path) -> anyhow::Result<()> {
    const STEP: usize = 1 << 20;
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut at = 0;
    while at < content.size() {
        let bytes = content.slice(at, STEP);
        file.write_all(&bytes)?;
        at += bytes.len() as u64;
    }
    file.sync_all()?;
    Ok(())
}

/// Reads a file once, so that nobody after that waits for the disk.
fn warm(path: &Path) -> anyhow::Result<()> {
    each_piece(path, |_| ())
}

/// What all contestants have to end up with: these files, and no others.
pub(crate) fn check(files: &[Published], directory: &Path) -> anyhow::Result<()> {
    for file in files {
        let path = directory.join(&file.name);
        if sha256(&path)? != file.sha256 {
            bail!("{} is not what Drive has", path.display());
        }
    }
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        count += usize::from(!entry?.file_name().as_encoded_bytes().starts_with(b"."));
    }
    if count != files.len() {
        bail!("{} files in {}, not {}", count, directory.display(), files.len());
    }
    Ok(())
}

/// A file's digest as Drive writes it.
pub(crate) fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    each_piece(path, |bytes| hash.update(bytes))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn each_piece(path: &Path, mut what: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => what(&buffer[..read]),
        }
    }
}
