//! The report of `status`: collected from the ledger, and from the running program if there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::folders::{self, FoldersReport};
use super::health::{self, Facts, is_live, not_ready};
use super::login::{self, LoginReport};
use super::{audits, deliveries};
use crate::audit;
use crate::auth::Auth;
use crate::channel::registry::Registry;
use crate::http::Http;
use crate::model::channel::Known;
use crate::model::{Channel, ChannelState, Delivery, Stage};
use crate::process;
use crate::store::{self, Store, Troubled};
use crate::task;
use crate::telemetry::counters::{Connections, Notifications};
use crate::telemetry::holds::{Hold, Holds};
use crate::telemetry::transfers::Transfers;

/// Waiting and failed deliveries shown at most; the counts say how many there are.
const SHOWN: i64 = 100;
/// Skipped ones are news for as long.
const SKIPPED_SHOWN: Duration = Duration::from_hours(7 * 24);

/// The observable state of the running program.
#[derive(Clone, Debug)]
pub struct Live {
    /// When it started.
    pub started: Timestamp,
    /// Where Drive is to call.
    pub address: watch::Receiver<Known>,
    /// The engines that find the public address and read the configuration again.
    pub followers: [watch::Receiver<task::Status>; 2],
    /// The sync engine.
    pub sync: watch::Receiver<task::Status>,
    /// The channel keeper.
    pub keeper: watch::Receiver<task::Status>,
    /// The delivery engine.
    pub deliveries: watch::Receiver<task::Status>,
    /// The engine that makes audits.
    pub auditor: watch::Receiver<task::Status>,
    /// Where audits are asked for.
    pub audits: audit::Desk,
    /// What came to the public door.
    pub notifications: Arc<Notifications>,
    /// The channels, and when Google last called on each.
    pub registry: Arc<Registry>,
    /// Connections at the webhook address and at the admin address.
    pub connections: Vec<Arc<Connections>>,
    /// What is downloaded now.
    pub transfers: Arc<Transfers>,
    /// Destinations that cannot be used now.
    pub holds: Arc<Holds>,
    /// The HTTP clients, with the pause that all calls share.
    pub http: Arc<Http>,
    /// The credentials.
    pub auth: Arc<Auth>,
}

impl Live {
    /// An engine that is stuck, if there is one. While calls to Drive pause, an engine that waits for a call is not stuck.
    pub fn stuck(&self) -> Option<&'static str> {
        let paused = self.http.gate.is_troubled();
        let [address, configuration] = &self.followers;
        let boards = [
            ("deliveries", &self.deliveries, false),
            ("configuration", configuration, false),
            ("address", address, false),
            ("sync", &self.sync, paused),
            ("channels", &self.keeper, paused),
            ("audit", &self.auditor, paused),
        ];
        let stuck = boards.into_iter().find(|(_, board, excused)| !excused && board.borrow().is_stuck());
        stuck.map(|(name, ..)| name)
    }

    /// Whether something has changed since the last call.
    pub fn has_news(&mut self) -> bool {
        let boards = [&mut self.sync, &mut self.keeper, &mut self.deliveries, &mut self.auditor].into_iter();
        let boards = boards.chain(&mut self.followers);
        let seen: Vec<bool> = boards
            .map(|board| {
                let is_news = board.has_changed().unwrap_or(false);
                board.mark_unchanged();
                is_news
            })
            .collect();
        // Downloads progress without a step of an engine.
        seen.contains(&true) || !self.transfers.snapshot().is_empty()
    }
}

/// The state of the program in one line.
pub fn summary(live: &Live, not_ready: &[String], channels: &[Channel], now: Timestamp) -> String {
    let transfers: Vec<(u64, u64)> =
        live.transfers.snapshot().iter().map(|(_, transfer)| (transfer.received(), transfer.size)).collect();
    health::summary(&health::Work {
        not_ready,
        is_refused: live.followers[1].borrow().outcome.as_ref().is_some_and(Result::is_err),
        is_called: *live.address.borrow() != Known::Nowhere,
        channels: channels.iter().filter(|channel| is_live(channel, now)).count(),
        transfers: &transfers,
        waiting: live.transfers.next.load(Ordering::Relaxed),
    })
}

/// Everything that `status` shows. Times are RFC 3339, sizes are bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// The file of the database.
    #[serde(default)]
    pub database: PathBuf,
    /// Absent when the program does not run.
    pub process: Option<Process>,
    /// Why it is not ready; empty when it is.
    pub not_ready: Vec<String>,
    /// Channels that Drive calls us on, or did until lately.
    pub channels: Vec<ChannelReport>,
    /// The engines.
    pub engines: Vec<EngineReport>,
    /// What is downloaded now.
    pub transfers: Vec<TransferReport>,
    /// Deliveries by stage.
    pub deliveries: BTreeMap<String, i64>,
    /// Those that wait, have failed, or were skipped lately, and why.
    pub attention: Vec<DeliveryReport>,
    /// Folders that wait or cannot be watched.
    #[serde(default)]
    pub folders: FoldersReport,
    /// Destinations that cannot be used now, and why.
    pub destinations: Vec<DestinationReport>,
    /// What the last audit found.
    #[serde(default)]
    pub audit: Option<audit::Report>,
    /// The login, if Google has said when it ends.
    #[serde(default)]
    pub login: Option<LoginReport>,
}

/// The running program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// The address that Drive is to call.
    pub address: Option<String>,
    /// Notifications on our channels.
    pub notifications_accepted: u64,
    /// Other requests.
    pub notifications_refused: u64,
    /// The last notification on one of our channels.
    pub last_notification: Option<Timestamp>,
    /// All calls to Drive pause, and why.
    pub calls_paused: Option<PauseReport>,
    /// Its addresses, and whether they are full.
    #[serde(default)]
    pub addresses: Vec<AddressReport>,
    /// Open files and connections.
    #[serde(default)]
    pub open_files: Option<usize>,
    /// How many may be open.
    #[serde(default)]
    pub open_files_limit: u64,
    /// The number of tasks in the program.
    pub tasks: usize,
}

/// One address that the program listens on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddressReport {
    /// `webhook`, `admin`.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Connections that are open.
    pub connections: usize,
    /// How many may be open.
    pub limit: usize,
    /// Since when connections are closed to make room for new ones; absent when there is room.
    pub full_since: Option<Timestamp>,
    /// Connections that were closed to make room.
    pub closed_for_room: u64,
}

/// A pause of all calls to Drive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PauseReport {
    /// Why.
    pub reason: String,
    /// The next call is made then.
    pub until: Timestamp,
}

/// One destination that cannot be used now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationReport {
    /// The directory.
    pub path: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is checked again.
    pub next: Timestamp,
}

/// One channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelReport {
    /// Its id.
    pub id: String,
    /// `user`, or `drive:` and a shared drive's id.
    pub log: String,
    /// `opening`, `live`, `replaced`, `ended`.
    pub state: String,
    /// What Drive calls.
    pub address: String,
    /// Its end.
    pub expires: Timestamp,
    /// Seconds until its end; negative after it.
    pub seconds_left: i64,
    /// Whether Google has called on it: it has been able to reach the address.
    #[serde(default)]
    pub confirmed: bool,
    /// When Google last called on it. While the program does not run, as far as that was written down: calls are noted in
    /// the database at least every hour.
    #[serde(default)]
    pub last_call: Option<Timestamp>,
}

/// One engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineReport {
    /// `sync`, `channels`, `deliveries`, `address`, `configuration`, `audit`.
    pub name: String,
    /// Whether it runs a step now.
    pub running: bool,
    /// Steps so far.
    pub steps: u64,
    /// Failed steps since the last good one.
    pub failures: u32,
    /// What the last step did.
    pub done: Option<String>,
    /// What went wrong in the last step.
    pub error: Option<String>,
    /// The end of the last step that went well.
    pub succeeded: Option<Timestamp>,
    /// When it runs next without being woken.
    pub due: Option<Timestamp>,
}

/// One running download.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TransferReport {
    /// The delivery.
    pub id: String,
    /// The file's name in Drive.
    pub name: String,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are there.
    pub received: u64,
    /// When this attempt began.
    pub began: Timestamp,
}

/// One delivery that waits or has failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// Its id.
    pub id: String,
    /// The file in Drive.
    pub file_id: String,
    /// Its name there.
    pub name: String,
    /// How far it is.
    pub stage: String,
    /// Failed attempts so far.
    pub attempt: u32,
    /// Why it waits, or why it failed and what to do.
    pub reason: Option<String>,
    /// The next attempt.
    pub next: Option<Timestamp>,
    /// The command that tries it again, if it does not come by itself.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// What the database says about readiness.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The channels.
    pub channels: Vec<Channel>,
    /// Folders that cannot be watched or listed.
    troubled: Vec<Troubled>,
    /// Files that have failed, and what to do.
    failed: Option<String>,
    /// What the last audit found.
    audit: Option<audit::Report>,
}

impl Recorded {
    /// Reads it.
    pub async fn read(store: &Store) -> Result<Self, store::Error> {
        Ok(Self {
            channels: store.channels().await?,
            troubled: store.troubled(folders::SHOWN).await?,
            failed: store.given_up().await?.map(|(count, last)| deliveries::failed(count, &last)),
            audit: audits::last_audit(store).await?,
        })
    }
}

/// Gathers the report.
pub async fn report(store: &Store, live: Option<&Live>) -> Result<Report, store::Error> {
    let now = Timestamp::now();
    let mut recorded = Recorded::read(store).await?;
    if let Some(live) = live {
        live.registry.complete(&mut recorded.channels);
    }
    let attention = store.attention(now.checked_sub(SKIPPED_SHOWN).unwrap_or(now), SHOWN).await?;
    let counts = store.counts().await?;
    Ok(Report {
        version: env!("GDRIVE_WEBHOOK_VERSION").to_owned(),
        database: store.path().to_owned(),
        process: live.map(process),
        not_ready: live.map(|live| readiness(live, &recorded, now)).unwrap_or_default(),
        channels: recorded
            .channels
            .iter()
            .filter(|channel| channel.state != ChannelState::Ended)
            .map(|channel| channel_report(channel, now))
            .collect(),
        engines: live.map(engines).unwrap_or_default(),
        transfers: live.map(transfers).unwrap_or_default(),
        deliveries: as_seen(counts, live.map_or(0, |live| live.transfers.next.load(Ordering::Relaxed))),
        attention: attention.iter().map(delivery_report).collect(),
        folders: folders::report(store).await?,
        destinations: live.map(destinations).unwrap_or_default(),
        audit: recorded.audit,
        login: live.and_then(|live| login::report(&live.auth, now)),
    })
}

/// Counts deliveries that were claimed in advance as waiting, although the ledger has them as claimed.
fn as_seen(counts: store::Counts, next: usize) -> BTreeMap<String, i64> {
    let mut seen: BTreeMap<String, i64> =
        counts.into_iter().map(|(stage, count)| (stage.to_owned(), count)).collect();
    if let Some(downloading) = seen.get_mut(Stage::Downloading.as_str()) {
        let next = i64::try_from(next).unwrap_or(i64::MAX).min(*downloading);
        *downloading -= next;
        *seen.entry(Stage::Pending.as_str().to_owned()).or_default() += next;
    }
    seen.retain(|_, count| *count > 0);
    seen
}

/// Why the program is not ready.
pub fn readiness(live: &Live, recorded: &Recorded, now: Timestamp) -> Vec<String> {
    let sync = live.sync.borrow().outcome.clone();
    let keeper = live.keeper.borrow().outcome.clone();
    let address = live.address.borrow().clone();
    let follower = live.followers[0].borrow().outcome.clone();
    let deliveries = live.deliveries.borrow().outcome.clone();
    let mut channels = recorded.channels.clone();
    live.registry.complete(&mut channels);
    not_ready(&Facts {
        sync: sync.as_ref(),
        address: &address,
        follower: follower.as_ref(),
        channels: &channels,
        keeper: keeper.as_ref(),
        deliveries: deliveries.as_ref(),
        folders: &folders::reasons(&recorded.troubled),
        failed: recorded.failed.as_deref(),
        missing: recorded.audit.as_ref().and_then(audit::Report::complaint).as_deref(),
        holds: &live.holds.snapshot(),
        stuck: live.stuck(),
        now,
    })
}

fn process(live: &Live) -> Process {
    Process {
        pid: std::process::id(),
        started: live.started,
        address: live.address.borrow().address().map(str::to_owned),
        notifications_accepted: live.notifications.accepted(),
        notifications_refused: live.notifications.refused(),
        last_notification: live.notifications.last_accepted(),
        calls_paused: live.http.gate.pause().map(|(wait, cause)| PauseReport {
            reason: cause.as_str().to_owned(),
            until: Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX),
        }),
        addresses: live.connections.iter().map(|connections| address_report(connections)).collect(),
        open_files: process::open_files(),
        open_files_limit: process::open_files_limit(),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
    }
}

fn address_report(connections: &Connections) -> AddressReport {
    AddressReport {
        name: connections.name().to_owned(),
        address: connections.address().to_string(),
        connections: connections.open(),
        limit: connections.limit(),
        full_since: connections.full_since(Timestamp::now()),
        closed_for_room: connections.closed_for_room(),
    }
}

fn destinations(live: &Live) -> Vec<DestinationReport> {
    let held = live.holds.snapshot().into_iter();
    held.map(|(path, Hold { why, since, next })| DestinationReport { path, problem: why, since, next })
        .collect()
}

fn channel_report(channel: &Channel, now: Timestamp) -> ChannelReport {
    let expired = channel.state == ChannelState::Live && !is_live(channel, now);
    ChannelReport {
        id: channel.id.to_string(),
        log: channel.log.to_string(),
        state: if expired { "expired" } else { channel.state.as_str() }.to_owned(),
        address: channel.address.clone(),
        expires: channel.expires,
        seconds_left: channel.expires.as_second() - now.as_second(),
        confirmed: channel.called.is_some(),
        last_call: channel.called,
    }
}

fn engines(live: &Live) -> Vec<EngineReport> {
    let [address, configuration] = &live.followers;
    let boards = [
        ("sync", &live.sync),
        ("channels", &live.keeper),
        ("deliveries", &live.deliveries),
        ("address", address),
        ("configuration", configuration),
        ("audit", &live.auditor),
    ];
    boards.into_iter().map(|(name, board)| engine(name, &board.borrow())).collect()
}

fn engine(name: &str, status: &task::Status) -> EngineReport {
    EngineReport {
        name: name.to_owned(),
        running: status.running,
        steps: status.steps,
        failures: status.failures,
        done: status.outcome.clone().and_then(Result::ok),
        error: status.outcome.clone().and_then(Result::err),
        succeeded: status.succeeded,
        due: status.due,
    }
}

fn transfers(live: &Live) -> Vec<TransferReport> {
    let running = live.transfers.snapshot().into_iter();
    running
        .map(|(id, transfer)| TransferReport {
            id,
            name: transfer.name.clone(),
            size: transfer.size,
            received: transfer.received(),
            began: transfer.began,
        })
        .collect()
}

fn delivery_report(delivery: &Delivery) -> DeliveryReport {
    DeliveryReport {
        id: delivery.id.to_string(),
        file_id: delivery.file_id.to_string(),
        name: delivery.name.clone(),
        stage: delivery.stage.as_str().to_owned(),
        attempt: delivery.attempt,
        reason: delivery.reason.clone(),
        next: delivery.stage.is_open().then_some(delivery.run_at),
        remedy: deliveries::remedy(delivery),
    }
}
