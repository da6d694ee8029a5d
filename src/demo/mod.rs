//! `demo`: an emulated Drive and the real daemon on this machine, and a video that is uploaded every few seconds. It
//! shows on the terminal how each one travels.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use drive_emulator::{Content, Emulator, Upload};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::daemon::{Daemon, Surroundings};
use crate::model::{Delivery, FileId};
use crate::owner::{self, Absent};
use crate::store::{Access, Store};
use crate::telemetry::log;

/// How the demo goes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Exit after this many uploads [default: continue until Ctrl-C]
    #[arg(long, value_name = "N")]
    uploads: Option<u64>,
    /// Seconds between uploads
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    every: u64,
}

/// A video of four seconds, made for this demo.
const CLIP: &[u8] = include_bytes!("clip.mp4");
/// How long to wait for a video.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the ledger is read.
const LOOK: Duration = Duration::from_millis(2);

/// Runs until `stop`, or until the wanted number of videos has been delivered.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    log::start(&log::Config { level: "warn".to_owned(), format: log::Format::Auto });
    let home = std::env::temp_dir().join(format!("gdrive-webhook-demo-{}", std::process::id()));
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let drive = Emulator::start(drive_emulator::Options::default())
        .await
        .context("the emulated Drive cannot start")?;
    let inbox = drive.folder(&drive.root_id(), "Inbox");
    let config = configure(&home, &drive, &inbox)?;
    let settings = config::load_from(&std::fs::read_to_string(&config)?, &config, &home, [])?;
    let daemon = Daemon::build(settings.clone(), Surroundings::default()).await?;
    let store = Store::open(&settings.store, Access::Shared).await?;
    introduce(&drive, &daemon, &config);

    let end = CancellationToken::new();
    let running = tokio::spawn(daemon.run(end.clone()));
    let shown = stop.run_until_cancelled(upload_and_show(&options, &drive, &inbox, &store)).await;
    end.cancel();
    running.await??;
    store.close().await;
    drive.stop().await;
    println!("\nThe files stay in {} until you delete it.", home.display());
    shown.unwrap_or(Ok(()))
}

/// Writes what a user would write: credentials, and a configuration.
fn configure(home: &Path, drive: &Emulator, inbox: &str) -> anyhow::Result<PathBuf> {
    let credentials = home.join("service-account.json");
    // A secret, as a real one would be.
    owner::open(&credentials, Absent::Make)?.write_all(drive.service_account_json().as_bytes())?;
    let (public, private) = (free_port()?, free_port()?);
    let path = home.join("gdrive-webhook.toml");
    let text = format!(
        "[google]\ncredentials = {credentials:?}\napi_url = {api:?}\n\n\
         [webhook]\nlisten = \"127.0.0.1:{public}\"\npublic_url = \"http://127.0.0.1:{public}\"\n\n\
         [[folder]]\nid = {inbox:?}\ndestination = {videos:?}\n\n\
         [state]\nurl = \"sqlite:{state}\"\n\n\
         [admin]\nlisten = \"127.0.0.1:{private}\"\n",
        api = drive.url(),
        videos = home.join("videos"),
        state = home.join("state.db").display(),
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A port that is free now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn introduce(drive: &Emulator, daemon: &Daemon, config: &Path) {
    println!(
        "An emulated Google Drive is at {}, the daemon's webhook at http://{}/webhook.",
        drive.url(),
        daemon.public_address()
    );
    println!("Its status: http://{}/api/status, or in another terminal", daemon.admin_address());
    // Nothing is installed yet when this is tried.
    let program = std::env::current_exe().unwrap_or_else(|_| "gdrive-webhook".into());
    println!("  {} --config {} status\n", owner::shell(&program), owner::shell(config));
    println!(
        "Drive notifies the daemon over HTTP; the daemon lists the changes, downloads the files, verifies them, and moves them to\n\
         their places.\n"
    );
}

async fn upload_and_show(
    options: &Options,
    drive: &Emulator,
    inbox: &str,
    store: &Store,
) -> anyhow::Result<()> {
    wait_until_called(drive).await?;
    println!("  {:<16} {:>11} {:>13} {:>12}  place", "uploaded", "notified", "found", "in place");
    let mut number = 0;
    loop {
        number += 1;
        let name = format!("clip-{number:03}.mp4");
        show_one(drive, inbox, store, &name).await?;
        if options.uploads.is_some_and(|uploads| number >= uploads) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(options.every)).await;
    }
}

async fn show_one(drive: &Emulator, inbox: &str, store: &Store, name: &str) -> anyhow::Result<()> {
    let notified_before = drive.notifications().len();
    let uploaded = Timestamp::now();
    let id = FileId::new(drive.upload(Upload::new(inbox, name, Content::Bytes(CLIP.into()))));
    let delivery = wait_for(store, &id, name).await?;
    let sent = drive.notifications();
    let notified =
        sent.iter().skip(notified_before).find(|sent| sent.state == "change").map(|sent| sent.time);
    let after = |time: Timestamp| format!("{} ms", time.as_millisecond() - uploaded.as_millisecond());
    let place =
        delivery.published.as_ref().map_or(&delivery.wanted, |file| &file.path).under(&delivery.destination);
    println!(
        "  {name:<16} {:>11} {:>13} {:>12}  {}",
        notified
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map_or_else(|| "by poll".to_owned(), after),
        after(delivery.created),
        after(delivery.updated),
        place.display()
    );
    Ok(())
}

async fn wait_for(store: &Store, id: &FileId, name: &str) -> anyhow::Result<Delivery> {
    let began = Instant::now();
    loop {
        if let Some(delivery) = store.delivered(std::slice::from_ref(id)).await?.remove(id) {
            return Ok(delivery);
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "{name} has not arrived within {} s", PATIENCE.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}

/// The channel's first message makes the daemon look once; what comes right behind it would wait for that to settle.
const SETTLED: Duration = Duration::from_millis(600);

/// Waits until the daemon has its push channel and has calmed down.
async fn wait_until_called(drive: &Emulator) -> anyhow::Result<()> {
    let began = Instant::now();
    while drive.channels().is_empty() {
        anyhow::ensure!(began.elapsed() < PATIENCE, "the daemon has not opened a push channel");
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLED).await;
    Ok(())
}
