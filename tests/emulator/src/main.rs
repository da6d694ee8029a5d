//! `drive-emulator`: an emulated Google Drive to try clients on by hand and from scripts.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use drive_emulator::{Emulator, Options, TlsFiles, names_of, write_private};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A Google Drive that runs on this machine.
///
/// Serves Drive's API v3 and its OAuth endpoints, and its own controls below /control/.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to serve on; 0.0.0.0: every address of this machine
    #[arg(long, value_name = "ADDR", default_value_t = Ipv4Addr::LOCALHOST.into())]
    host: IpAddr,
    /// Port for http; 0: a free one
    #[arg(long, default_value_t = 8089)]
    port: u16,
    /// Directory to write service-account.json, client.json and authorized-user.json to
    #[arg(long, value_name = "DIR")]
    credentials_dir: Option<PathBuf>,
    /// Serve https as well, with an authority of its own: authority.pem in the credentials directory
    #[arg(long, requires = "credentials_dir", conflicts_with = "tls_cert")]
    tls: bool,
    /// Host name or address in the certificate; the first one stands in the credentials; may be given several times
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Vec<String>,
    /// Certificate chain (PEM), to serve https as well
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Port for https; 0: a free one
    #[arg(long, default_value_t = 0)]
    tls_port: u16,
    /// Authority (PEM) that https receivers' certificates may come from
    #[arg(long, value_name = "FILE")]
    webhook_ca: Option<PathBuf>,
    /// Longest life of a push channel
    #[arg(long, value_name = "SECONDS")]
    channel_lifetime: Option<u64>,
    /// Folder to create at the top of My Drive; may be given several times
    #[arg(long, value_name = "NAME")]
    folder: Vec<String>,
    /// Directory whose folders and files are put into My Drive, or where --into says
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Folder for --seed, at the top of My Drive; made if it is not there
    #[arg(long, value_name = "NAME", requires = "seed")]
    into: Option<String>,
    /// Media bytes per second and connection
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "drive-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let emulator = start(&arguments).await?;
    let into = arguments.into.iter().filter(|name| !arguments.folder.contains(name));
    let folders: Vec<(String, &String)> = arguments
        .folder
        .iter()
        .chain(into)
        .map(|name| (emulator.folder(&emulator.root_id(), name), name))
        .collect();
    if let Some(directory) = &arguments.seed {
        let into = folders.iter().find(|(_, name)| Some(*name) == arguments.into.as_ref());
        let into = into.map_or_else(|| emulator.root_id(), |(id, _)| id.clone());
        emulator
            .seed(directory, &into)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot put in what is in {error}")))?;
    }
    let mut files = Vec::new();
    if let Some(directory) = &arguments.credentials_dir {
        files = write_credentials(&emulator, directory)?;
    }
    announce(&emulator, &folders, &files)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    emulator.stop().await;
    Ok(())
}

async fn start(arguments: &Arguments) -> io::Result<Emulator> {
    let options = Options {
        host: arguments.host,
        port: arguments.port,
        tls: tls(arguments)?,
        notification_ca: arguments.webhook_ca.clone(),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot serve on {}:{}: {error}", arguments.host, arguments.port),
        )
    })?;
    emulator.set_channel_lifetime_cap(arguments.channel_lifetime.map(Duration::from_secs));
    emulator.set_rate(arguments.rate);
    Ok(emulator)
}

/// The files given, or those of an authority of its own.
fn tls(arguments: &Arguments) -> io::Result<Option<TlsFiles>> {
    let port = arguments.tls_port;
    if let (Some(cert), Some(key)) = (arguments.tls_cert.clone(), arguments.tls_key.clone()) {
        return Ok(Some(TlsFiles { cert, key, port, name: None }));
    }
    let Some(directory) = arguments.credentials_dir.as_deref().filter(|_| arguments.tls) else {
        return Ok(None);
    };
    let names = match arguments.tls_name.as_slice() {
        [] => names_of(arguments.host),
        names => names.to_vec(),
    };
    Ok(Some(TlsFiles { port, ..TlsFiles::make(directory, &names)? }))
}

fn write_credentials(emulator: &Emulator, directory: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot make {}: {error}", directory.display()))
    })?;
    let files = [
        ("service-account.json", emulator.service_account_json()),
        ("client.json", emulator.installed_client_json()),
        ("authorized-user.json", emulator.authorized_user_json()),
    ];
    files
        .into_iter()
        .map(|(name, text)| {
            let path = directory.join(name);
            write_private(&path, &text)?;
            Ok(path)
        })
        .collect()
}

/// Plain `key: value` lines, for people and for scripts.
fn announce(emulator: &Emulator, folders: &[(String, &String)], files: &[PathBuf]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "address: {}", emulator.url())?;
    if let Some(address) = emulator.tls_url() {
        writeln!(out, "tls-address: {address}")?;
    }
    writeln!(out, "control: {}/control/", emulator.url())?;
    writeln!(out, "root: {}", emulator.root_id())?;
    for (id, name) in folders {
        writeln!(out, "folder: {id} {name}")?;
    }
    for file in files {
        writeln!(out, "credentials: {}", file.display())?;
    }
    writeln!(out, "ready: yes")?;
    out.flush()
}
