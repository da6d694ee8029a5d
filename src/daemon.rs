//! The whole program put together: built, so that everything that can fail at the start fails there; run; and brought
//! to its end in order. The only file that starts engines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, status::Live};
use crate::auth::Auth;
use crate::channel::Keeper;
use crate::channel::address::Follower;
use crate::channel::registry::Registry;
use crate::config::{Settings, follow};
use crate::delivery;
use crate::download::Downloader;
use crate::drive::Drive;
use crate::http::Http;
use crate::listen::Door;
use crate::model::channel::{Address, Known};
use crate::receiver::Receiver;
use crate::store::{Access, Store};
use crate::sync;
use crate::task::{self, Reason, StatusBoard, Step, Wake, Wakeups, status_board, wake_up};
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
    /// For asking an ngrok agent.
    neighbours: reqwest::Client,
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
    let auth = Auth::load(&settings.google, &http)?;
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
        let neighbours = Follower::client().context("the HTTP client cannot be made")?;
        Ok(Self { settings, parts, registry, public, private, admin_token, neighbours })
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
            public_url = self.settings.channel.address.fixed(),
            "started"
        );
        if self.settings.channel.address == Address::Nowhere {
            let poll_ms = self.settings.sync.poll.as_millis() as u64;
            warn!(
                poll_ms,
                "webhook.public_url is not set: Drive cannot call, new files are found by polling only"
            );
        }
    }

    fn start(self, engines_stop: &CancellationToken, doors_stop: &CancellationToken) -> Running {
        let Self { settings, parts, registry, public, private, admin_token, neighbours } = self;
        let (sync_wake, sync_wakeups) = wake_up();
        let (keeper_wake, keeper_wakeups) = wake_up();
        let (delivery_wake, delivery_wakeups) = wake_up();
        let (address_wake, address_wakeups) = wake_up();
        let (configuration_wake, configuration_wakeups) = wake_up();
        let notifications = Arc::new(Notifications::default());
        let boards = Boards::default();
        let (wanted, configured) = watch::channel(settings.channel.address.clone());
        let (known, address) = watch::channel(Known::from(&settings.channel.address));
        let live = Live {
            started: Timestamp::now(),
            address: address.clone(),
            followers: [boards.address.subscribe(), boards.configuration.subscribe()],
            sync: boards.sync.subscribe(),
            keeper: boards.channels.subscribe(),
            deliveries: boards.deliveries.subscribe(),
            notifications: notifications.clone(),
            transfers: parts.transfers.clone(),
            holds: parts.holds.clone(),
            http: parts.http.clone(),
        };
        let receiver = Receiver { registry: registry.clone(), sync: sync_wake, counters: notifications };
        let admin_router = admin::router(parts.store.clone(), live, admin_token.as_deref());
        let public_router = receiver.router(&settings.receiver);

        let (drive, store) = (parts.drive.clone(), parts.store.clone());
        let keeper = Keeper::new(drive, store, settings.channel.clone(), address, registry);
        let reader = parts.sync(&settings, delivery_wake.clone(), keeper_wake.clone());
        let deliverer = parts.deliveries(&settings, delivery_wake);
        let follower = Follower::new(neighbours, configured, known, keeper_wake);
        let configuration = follow::Follower::new(settings, wanted, address_wake, parts.downloader.limit());
        let stop = engines_stop;
        let engines = vec![
            ("channels", engine(keeper, keeper_wakeups, boards.channels, stop)),
            ("sync", engine(reader, sync_wakeups, boards.sync, stop)),
            ("deliveries", deliver(deliverer, delivery_wakeups, boards.deliveries, stop)),
            ("address", engine(follower, address_wakeups, boards.address, stop)),
            ("configuration", engine(configuration, configuration_wakeups, boards.configuration, stop)),
        ];
        let doors = vec![
            tokio::spawn(public.serve(public_router, doors_stop.clone())),
            tokio::spawn(private.serve(admin_router, doors_stop.clone())),
            tokio::spawn(listen_to_hangups(configuration_wake, doors_stop.clone())),
        ];
        Running { engines, doors, store: parts.store }
    }
}

/// Where the engines show how they are.
struct Boards {
    channels: StatusBoard,
    sync: StatusBoard,
    deliveries: StatusBoard,
    address: StatusBoard,
    configuration: StatusBoard,
}

impl Default for Boards {
    fn default() -> Self {
        Self {
            channels: status_board(),
            sync: status_board(),
            deliveries: status_board(),
            address: status_board(),
            configuration: status_board(),
        }
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<Door> {
    Door::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

/// Starts an engine.
fn engine(
    mut engine: impl Step + 'static,
    wakeups: Wakeups,
    board: StatusBoard,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move { task::run(wakeups, board, stop, &mut engine).await })
}

/// Starts the engine whose transfers outlive its steps.
fn deliver(
    mut deliveries: delivery::Engine,
    wakeups: Wakeups,
    board: StatusBoard,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        task::run(wakeups, board, stop, &mut deliveries).await;
        deliveries.stop().await;
    })
}

/// SIGHUP: read the configuration again.
async fn listen_to_hangups(configuration: Wake, stop: CancellationToken) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            warn!(%error, "SIGHUP cannot be heard; the configuration is read again only when its file changes");
            return;
        }
    };
    while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
        // Without its engine the program is ending.
        let _ = configuration.wake(Reason::Handover);
    }
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
