//! The whole program put together: built, so that everything that can fail at the start fails there; run; and brought
//! to its end in order. The only file that starts engines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, status::Live};
use crate::auth::Auth;
use crate::channel::registry::Registry;
use crate::channel::{self, Keeper};
use crate::config::Settings;
use crate::delivery;
use crate::download::Downloader;
use crate::drive::Drive;
use crate::http::Http;
use crate::listen::Door;
use crate::receiver::Receiver;
use crate::store::{Access, Store};
use crate::sync;
use crate::task::{self, StatusBoard, Wake, Wakeups, status_board, wake_up};
use crate::telemetry::counters::Notifications;
use crate::telemetry::holds::Holds;
use crate::telemetry::systemd;
use crate::telemetry::transfers::Transfers;

/// Everything open and bound, nothing running.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    parts: Parts,
    registry: Arc<Registry>,
    public: Door,
    private: Door,
    admin_token: Option<String>,
}

/// What the engines are made of; `sync` uses them without the doors.
#[derive(Debug)]
pub struct Parts {
    /// The ledger.
    pub store: Store,
    /// Drive.
    pub drive: Drive,
    /// Downloads.
    pub downloader: Downloader,
    /// What is downloaded now.
    pub transfers: Arc<Transfers>,
    /// Destinations that cannot be used now.
    pub holds: Arc<Holds>,
    /// The HTTP clients, with the pause that all calls share.
    pub http: Arc<Http>,
}

impl Parts {
    /// Opens the ledger and reads the credentials.
    pub async fn open(settings: &Settings, access: Access) -> anyhow::Result<Self> {
        let (drive, http) = connect(settings)?;
        let store = Store::open(&settings.store, access).await?;
        let downloader = Downloader::new(drive.clone(), settings.download);
        Ok(Self { store, drive, downloader, transfers: Arc::default(), holds: Arc::default(), http })
    }

    /// The delivery engine; `wake` is its own.
    pub fn deliveries(&self, settings: &Settings, wake: Wake) -> delivery::Engine {
        delivery::Engine::new(
            self.store.clone(),
            self.downloader.clone(),
            settings.delivery,
            destinations(settings),
            self.transfers.clone(),
            self.holds.clone(),
            wake,
        )
    }

    /// The sync engine; it wakes the other two.
    pub fn sync(&self, settings: &Settings, deliveries: Wake, keeper: Wake) -> sync::Engine {
        let (drive, store) = (self.drive.clone(), self.store.clone());
        sync::Engine::new(drive, store, settings.sync, settings.folders.clone(), deliveries, keeper)
    }
}

/// The destinations of the configuration.
fn destinations(settings: &Settings) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = settings.folders.iter().map(|folder| folder.destination.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// A connection to Drive with the configured credentials.
pub fn connect(settings: &Settings) -> anyhow::Result<(Drive, Arc<Http>)> {
    let http = Arc::new(Http::new(settings.download.stall).context("the HTTP clients cannot be made")?);
    let auth = Auth::load(&settings.google, &http.api)?;
    Ok((Drive::new(&settings.drive, http.clone(), Arc::new(auth)), http))
}

impl Daemon {
    /// Opens everything that can fail: the ledger, the credentials, the destinations, both doors.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let parts = Parts::open(&settings, Access::Exclusive).await?;
        let admin_token = settings.admin.token()?;
        // Before the door opens: a notification on a channel of the last run must not be taken for a stranger's.
        let registry = Arc::new(Registry::default());
        registry.replace(&parts.store.channels().await?);
        let public = bind(settings.receiver.listen, "webhook.listen").await?;
        let private = bind(settings.admin.listen, "admin.listen").await?;
        Ok(Self { settings, parts, registry, public, private, admin_token })
    }

    /// Where notifications come in.
    pub fn public_address(&self) -> SocketAddr {
        self.public.address()
    }

    /// Where the operator asks.
    pub fn admin_address(&self) -> SocketAddr {
        self.private.address()
    }

    /// Runs until `stop`, or until an engine ends by itself, which none does: then the whole program ends, since half
    /// of it would look alive and do nothing.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let grace = self.settings.shutdown_grace;
        let engines_stop = CancellationToken::new();
        let doors_stop = CancellationToken::new();
        self.greet();
        let running = self.start(&engines_stop, &doors_stop);
        systemd::ready();
        let outcome = running.until_end(&stop).await;
        systemd::stopping();
        info!(grace_ms = grace.as_millis() as u64, "stopping");
        doors_stop.cancel();
        engines_stop.cancel();
        if tokio::time::timeout(grace, running.finish()).await.is_err() {
            warn!("not everything ended within shutdown_grace; what is cut off goes on at the next start");
        }
        outcome
    }

    fn greet(&self) {
        info!(
            version = env!("CARGO_PKG_VERSION"),
            account = self.parts.drive.describe(),
            webhook = %self.public.address(),
            admin = %self.private.address(),
            public_url = self.settings.channel.address,
            "started"
        );
        if self.settings.channel.address.is_none() {
            let poll_ms = self.settings.sync.poll.as_millis() as u64;
            warn!(
                poll_ms,
                "webhook.public_url is not set: Drive cannot call, new files are found by polling only"
            );
        }
    }

    fn start(self, engines_stop: &CancellationToken, doors_stop: &CancellationToken) -> Running {
        let Self { settings, parts, registry, public, private, admin_token } = self;
        let (sync_wake, sync_wakeups) = wake_up();
        let (keeper_wake, keeper_wakeups) = wake_up();
        let (delivery_wake, delivery_wakeups) = wake_up();
        let notifications = Arc::new(Notifications::default());
        let boards = [status_board(), status_board(), status_board()];
        let [sync_board, keeper_board, delivery_board] = &boards;
        let live = Live {
            started: Timestamp::now(),
            address: settings.channel.address.clone(),
            sync: sync_board.subscribe(),
            keeper: settings.channel.address.is_some().then(|| keeper_board.subscribe()),
            deliveries: delivery_board.subscribe(),
            notifications: notifications.clone(),
            transfers: parts.transfers.clone(),
            holds: parts.holds.clone(),
            http: parts.http.clone(),
        };
        let receiver = Receiver { registry: registry.clone(), sync: sync_wake, counters: notifications };
        let admin_router = admin::router(parts.store.clone(), live, admin_token.as_deref());
        let engines = vec![
            (
                "channels",
                keep_channels(
                    &parts,
                    settings.channel.clone(),
                    registry,
                    keeper_wakeups,
                    keeper_board,
                    engines_stop,
                ),
            ),
            (
                "sync",
                read_changes(
                    &parts,
                    &settings,
                    [&delivery_wake, &keeper_wake],
                    sync_wakeups,
                    sync_board,
                    engines_stop,
                ),
            ),
            (
                "deliveries",
                deliver(&parts, &settings, delivery_wake, delivery_wakeups, delivery_board, engines_stop),
            ),
        ];
        let doors = vec![
            tokio::spawn(public.serve(receiver.router(&settings.receiver), doors_stop.clone())),
            tokio::spawn(private.serve(admin_router, doors_stop.clone())),
        ];
        Running { engines, doors, store: parts.store }
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<Door> {
    Door::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

fn keep_channels(
    parts: &Parts,
    config: channel::Config,
    registry: Arc<Registry>,
    wakeups: Wakeups,
    board: &StatusBoard,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let mut keeper = Keeper::new(parts.drive.clone(), parts.store.clone(), config, registry);
    let (board, stop) = (board.clone(), stop.clone());
    tokio::spawn(async move { task::run(wakeups, board, stop, &mut keeper).await })
}

fn read_changes(
    parts: &Parts,
    settings: &Settings,
    [deliveries, keeper]: [&Wake; 2],
    wakeups: Wakeups,
    board: &StatusBoard,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let mut engine = parts.sync(settings, deliveries.clone(), keeper.clone());
    let (board, stop) = (board.clone(), stop.clone());
    tokio::spawn(async move { task::run(wakeups, board, stop, &mut engine).await })
}

fn deliver(
    parts: &Parts,
    settings: &Settings,
    wake: Wake,
    wakeups: Wakeups,
    board: &StatusBoard,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let mut engine = parts.deliveries(settings, wake);
    let (board, stop) = (board.clone(), stop.clone());
    tokio::spawn(async move {
        task::run(wakeups, board, stop, &mut engine).await;
        engine.stop().await;
    })
}

/// Engines and doors at work.
struct Running {
    engines: Vec<(&'static str, JoinHandle<()>)>,
    doors: Vec<JoinHandle<()>>,
    store: Store,
}

/// How often the engines are looked at for one that has ended by itself.
const LOOK: Duration = Duration::from_millis(500);

impl Running {
    async fn until_end(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            if let Some((name, _)) = self.engines.iter().find(|(_, engine)| engine.is_finished()) {
                error!(engine = name, "an engine has ended by itself; the program ends with it");
                anyhow::bail!("the engine `{name}` has ended by itself");
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn finish(self) {
        let handles = self.engines.into_iter().map(|(_, engine)| engine).chain(self.doors);
        for handle in handles {
            if let Err(error) = handle.await {
                error!(%error, "an engine ended in a fault of the program");
            }
        }
        self.store.close().await;
    }
}
