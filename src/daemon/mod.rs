//! The complete program. `build` opens everything that can fail at the start; `run` starts the engines and stops them in
//! order. The only room that starts engines.

mod confinement;
mod hearing;
mod report;
mod tasks;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, status::Live};
use crate::audit;
use crate::auth::Auth;
use crate::channel::Keeper;
use crate::channel::address::Follower;
use crate::channel::finds::Finds;
use crate::channel::registry::Registry;
use crate::config::{Settings, follow};
use crate::delivery;
use crate::download::Downloader;
use crate::drive::Drive;
use crate::http::Http;
use crate::listen::Door;
use crate::listen::challenge::Challenges;
use crate::model::channel::{Address, Known};
use crate::receiver::{self, Receiver};
use crate::sandbox::Sandbox;
use crate::store::{Access, Store};
use crate::sync;
use crate::task::{self, Reason, StatusBoard, Step, Wake, Wakeups, status_board, wake_up};
use crate::telemetry::counters::Notifications;
use crate::telemetry::holds::Holds;
use crate::telemetry::log::Level;
use crate::telemetry::systemd;
use crate::telemetry::transfers::Transfers;
use tasks::Tasks;

/// Everything open and bound, nothing running.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    instruments: Instruments,
    registry: Arc<Registry>,
    /// The first one is the webhook address of the configuration.
    public: Vec<Door>,
    private: Door,
    admin_token: Option<String>,
    /// For asking an ngrok agent.
    neighbours: reqwest::Client,
    surroundings: Surroundings,
}

/// Prepared before there is a second thread.
#[derive(Debug)]
pub struct Surroundings {
    /// The webhook address, if systemd listens on it.
    pub sockets: Vec<TcpListener>,
    /// The directories that may be written to.
    pub sandbox: Sandbox,
    /// The level of the log.
    pub level: Level,
    /// SIGHUP: read the configuration again.
    pub hangups: Option<Signal>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { sockets: Vec::new(), sandbox: Sandbox::default(), level: Level::none(), hangups: None }
    }
}

/// What the engines are made of; `sync` uses them without the doors.
#[derive(Debug)]
pub struct Instruments {
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

impl Instruments {
    /// Opens the ledger and reads the credentials.
    pub async fn open(settings: &Settings, access: Access) -> anyhow::Result<Self> {
        let (drive, http) = connect(settings)?;
        let store = Store::open(&settings.store, access).await?;
        let drive = drive.guarded_by(Arc::new(sync::account::AccountCheck::new(store.clone())));
        let downloader = Downloader::new(drive.clone(), settings.download);
        Ok(Self { store, drive, downloader, transfers: Arc::default(), holds: Arc::default(), http })
    }

    /// The delivery engine; `wake` is its own.
    pub fn deliveries(&self, wanted: watch::Receiver<delivery::Wanted>, wake: Wake) -> delivery::Engine {
        delivery::Engine::new(
            self.store.clone(),
            self.downloader.clone(),
            wanted,
            self.transfers.clone(),
            self.holds.clone(),
            wake,
        )
    }

    /// The sync engine; it wakes the other two.
    pub fn sync(
        &self,
        wanted: watch::Receiver<sync::Wanted>,
        deliveries: Wake,
        keeper: Wake,
    ) -> sync::Engine {
        sync::Engine::new(self.drive.clone(), self.store.clone(), wanted, deliveries, keeper)
    }

    /// The engine that makes audits; it wakes the sync engine.
    pub fn auditor(
        &self,
        wanted: watch::Receiver<audit::Wanted>,
        desk: audit::Desk,
        reader: Wake,
        waits: audit::Waits,
    ) -> audit::Engine {
        audit::Engine::new(self.drive.clone(), self.store.clone(), wanted, desk, reader, waits)
    }
}

/// A connection to Drive with the configured credentials.
pub fn connect(settings: &Settings) -> anyhow::Result<(Drive, Arc<Http>)> {
    let http = Arc::new(Http::new(settings.download.stall).context("cannot create the HTTP clients")?);
    let auth = Auth::load(&settings.google, &http)?;
    Ok((Drive::new(&settings.drive, http.clone(), Arc::new(auth)), http))
}

impl Daemon {
    /// Opens everything that can fail: the ledger, the credentials, the destinations, both doors.
    pub async fn build(mut settings: Settings, mut surroundings: Surroundings) -> anyhow::Result<Self> {
        let instruments = Instruments::open(&settings, Access::Exclusive).await?;
        let admin_token = settings.admin.token()?;
        // Before the door opens: notifications on a channel of the last run must be recognised.
        let registry = Arc::new(Registry::default());
        registry.replace(&instruments.store.channels().await?);
        let sockets = std::mem::take(&mut surroundings.sockets);
        let public = listen(sockets, settings.receiver.listen)?;
        if let (Address::Ngrok { port, .. }, Some(door)) = (&mut settings.channel.address, public.first()) {
            *port = door.address().port();
        }
        let private = bind(settings.admin.listen, "admin.listen")?.with_limits(admin::limits());
        let neighbours = Follower::client().context("cannot create the HTTP client")?;
        Ok(Self { settings, instruments, registry, public, private, admin_token, neighbours, surroundings })
    }

    /// The webhook address.
    pub fn public_address(&self) -> SocketAddr {
        self.public.first().map_or(self.settings.receiver.listen, Door::address)
    }

    /// The admin address.
    pub fn admin_address(&self) -> SocketAddr {
        self.private.address()
    }

    /// Runs until `stop`, or until an engine ends unexpectedly. Then the whole program stops: it must not look alive while a
    /// part of it does nothing.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let grace = self.settings.shutdown_grace;
        let engines_stop = CancellationToken::new();
        let doors_stop = CancellationToken::new();
        self.greet();
        let mut tasks = self.start(&engines_stop, &doors_stop);
        systemd::ready();
        let outcome = tasks.until_end(&stop).await;
        systemd::stopping();
        info!(grace_ms = grace.as_millis() as u64, "stopping");
        doors_stop.cancel();
        tasks.finish(&engines_stop, grace).await;
        outcome
    }

    fn greet(&self) {
        info!(
            version = env!("GDRIVE_WEBHOOK_VERSION"),
            account = self.instruments.drive.describe(),
            webhook = %self.public_address(),
            admin = %self.private.address(),
            public_url = self.settings.channel.address.fixed(),
            "started"
        );
        if self.settings.channel.address == Address::Nowhere {
            let poll_ms = self.settings.sync.poll.as_millis() as u64;
            warn!(
                poll_ms,
                "webhook.public_url is not set: Drive cannot send notifications; new files are found by polling only"
            );
        }
    }

    fn start(self, engines_stop: &CancellationToken, doors_stop: &CancellationToken) -> Tasks {
        let Self { settings, instruments, registry, public, private, admin_token, neighbours, surroundings } =
            self;
        let (port, sandbox) = (public.first().map_or(0, |door| door.address().port()), surroundings.sandbox);
        let (sync_wake, sync_wakeups) = wake_up();
        let (keeper_wake, keeper_wakeups) = wake_up();
        let (delivery_wake, delivery_wakeups) = wake_up();
        let (address_wake, address_wakeups) = wake_up();
        let (configuration_wake, configuration_wakeups) = wake_up();
        let (audit_wake, audit_wakeups) = wake_up();
        let notifications = Arc::new(Notifications::default());
        let boards = Boards::default();
        let (address_wanted, configured) = watch::channel(settings.channel.address.clone());
        let (channel_wanted, channel_config) = watch::channel(settings.channel.clone());
        let (sync_wanted, to_sync) = watch::channel(follow::to_sync(&settings));
        let (delivery_wanted, to_deliver) = watch::channel(follow::to_deliver(&settings));
        let (audit_wanted, to_audit) = watch::channel(follow::to_audit(&settings));
        let audits = audit::Desk::new(audit_wake);
        let outdated = tokio::spawn(confinement::until_outdated(sandbox.clone(), to_deliver.clone()));
        let (known, address) = watch::channel(Known::from(&settings.channel.address));
        let live = Live {
            started: Timestamp::now(),
            address: address.clone(),
            followers: [boards.address.subscribe(), boards.configuration.subscribe()],
            sync: boards.sync.subscribe(),
            keeper: boards.channels.subscribe(),
            deliveries: boards.deliveries.subscribe(),
            auditor: boards.audit.subscribe(),
            audits: audits.clone(),
            notifications: notifications.clone(),
            registry: registry.clone(),
            connections: public.iter().chain([&private]).map(Door::connections).collect(),
            transfers: instruments.transfers.clone(),
            holds: instruments.holds.clone(),
            http: instruments.http.clone(),
            auth: instruments.drive.auth(),
        };
        let followers = follow::Followers {
            address: address_wanted,
            channel: channel_wanted,
            sync: sync_wanted,
            delivery: delivery_wanted,
            audit: audit_wanted,
            downloader: instruments.downloader.clone(),
            level: surroundings.level,
            wakes: vec![address_wake, keeper_wake.clone(), sync_wake.clone(), delivery_wake.clone()],
        };
        let auditor = instruments.auditor(to_audit, audits, sync_wake.clone(), audit::Waits::default());
        let finds = Arc::new(Finds::new(registry.clone(), keeper_wake.clone()));
        let challenges = Challenges::default();
        let receiver = Receiver {
            registry,
            sync: sync_wake.clone(),
            keeper: keeper_wake.clone(),
            counters: notifications,
            challenges: challenges.clone(),
        };
        let public_router = receiver.router(&settings.receiver);
        let wakes =
            admin::Wakes { configuration: configuration_wake.clone(), deliveries: delivery_wake.clone() };
        let admin_router =
            admin::router(instruments.store.clone(), live.clone(), wakes, challenges, admin_token.as_deref());

        let (drive, store) = (instruments.drive.clone(), instruments.store.clone());
        let keeper = Keeper::new(drive, store, channel_config, address, finds.clone(), sync_wake);
        let reader = instruments.sync(to_sync, delivery_wake.clone(), keeper_wake.clone()).hearing(finds);
        let deliverer = instruments.deliveries(to_deliver, delivery_wake);
        let follower = Follower::new(neighbours, configured, known, keeper_wake);
        let configuration = follow::Follower::new(settings, followers, sandbox, port);
        let stop = engines_stop;
        let engines = vec![
            ("channels", engine(keeper, keeper_wakeups, boards.channels, stop)),
            ("sync", engine(reader, sync_wakeups, boards.sync, stop)),
            ("deliveries", deliver(deliverer, delivery_wakeups, boards.deliveries, stop)),
            ("address", engine(follower, address_wakeups, boards.address, stop)),
            ("configuration", engine(configuration, configuration_wakeups, boards.configuration, stop)),
            ("audit", engine(auditor, audit_wakeups, boards.audit, stop)),
        ];
        let public = public
            .into_iter()
            .map(|door| tokio::spawn(door.serve(public_router.clone(), doors_stop.clone())))
            .collect::<Vec<_>>();
        let mut doors = vec![
            tokio::spawn(private.serve(admin_router, doors_stop.clone())),
            tokio::spawn(listen_to_hangups(surroundings.hangups, configuration_wake, doors_stop.clone())),
            tokio::spawn(report::to_systemd(instruments.store.clone(), live, doors_stop.clone())),
        ];
        doors.extend(public);
        Tasks { engines, doors, outdated, store: instruments.store }
    }
}

/// The status boards of the engines.
struct Boards {
    channels: StatusBoard,
    sync: StatusBoard,
    deliveries: StatusBoard,
    address: StatusBoard,
    configuration: StatusBoard,
    audit: StatusBoard,
}

impl Default for Boards {
    fn default() -> Self {
        Self {
            channels: status_board(),
            sync: status_board(),
            deliveries: status_board(),
            address: status_board(),
            configuration: status_board(),
            audit: status_board(),
        }
    }
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<Door> {
    Door::bind(address).with_context(|| format!("{key}: cannot listen on {address}"))
}

/// The webhook address: the sockets of systemd, which accept connections while the program restarts, else a socket of the
/// program. The sockets of systemd take precedence over the configuration.
fn listen(sockets: Vec<TcpListener>, configured: SocketAddr) -> anyhow::Result<Vec<Door>> {
    if sockets.is_empty() {
        return Ok(vec![bind(configured, "webhook.listen")?.with_limits(receiver::limits())]);
    }
    let (mut doors, mut limits) = (Vec::new(), receiver::limits());
    limits.connections = (limits.connections / sockets.len()).max(1);
    for socket in sockets {
        let door = Door::adopt(socket).context("cannot use the socket from systemd")?;
        doors.push(door.with_limits(limits));
    }
    let addresses: Vec<String> = doors.iter().map(|door| door.address().to_string()).collect();
    if !addresses.contains(&configured.to_string()) {
        warn!(
            sockets = addresses.join(", "),
            configured = %configured,
            "webhook.listen is ignored: the socket unit sets the webhook address. Change ListenStream= with `systemctl edit \
             gdrive-webhook.socket`, or set webhook.listen to the same address"
        );
    }
    Ok(doors)
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
async fn listen_to_hangups(hangups: Option<Signal>, configuration: Wake, stop: CancellationToken) {
    let Some(mut hangups) = hangups else { return };
    while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
        // If the engine has ended, the program is stopping.
        let _ = configuration.wake(Reason::Handover);
    }
}
