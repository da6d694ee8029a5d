//! The channel keeper: keeps a live push channel for every watched log, without a gap, and says when Google does not call.

pub mod address;
pub mod calls;
pub mod finds;
pub mod plan;
pub mod registry;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::checkpoint::{Point, reached};
use crate::drive::{self, Drive};
use crate::http::jitter;
use crate::model::channel::{Address, Known};
use crate::model::{ChangeLog, Channel, ChannelId, ChannelState, ChannelToken, PageToken};
use crate::retry::{Class, Policy as RetryPolicy};
use crate::store::{self, Store};
use crate::task::{Activation, Next, Reason, Step, Wake};
use finds::Finds;
use plan::{Action, Policy, plan};
use registry::Registry;
use tokio::time::Instant;
use waits::{Failure, Waits};

/// `[channel]` of the configuration, and the address for notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `webhook.public_url` and `webhook.path` together.
    pub address: Address,
    /// The lifetime that is asked for; what Drive grants is what counts.
    pub lifetime: Duration,
    /// A channel is replaced this long before its end, but never later than at half its life.
    pub renew_before: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self { address: Address::Nowhere, lifetime: 7 * DAY, renew_before: DAY }
    }
}

/// Drive's default when it does not say when a channel ends.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);
/// The longest time between two plans.
const LOOK: Duration = Duration::from_hours(1);
/// A new channel writes several rows in a row; wake-ups within this time are gathered.
const SETTLE: Duration = Duration::from_millis(100);

/// Why the keeper could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Drive did not do what was asked.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Asking again and again would not help.
    #[error("Drive granted a channel that has already expired; check this machine's clock")]
    EndsAtOnce,
}

/// The keeper.
#[derive(Debug)]
pub struct Keeper {
    drive: Drive,
    store: Store,
    /// The current settings; the address in them is not used here.
    config: watch::Receiver<Config>,
    /// Where Drive is to call, now.
    address: watch::Receiver<Known>,
    registry: Arc<Registry>,
    /// What was found that Google had not announced.
    finds: Arc<Finds>,
    /// The sync engine: it polls more often while Google is silent.
    reader: Wake,
    started: Timestamp,
    /// The logs that Google is silent about, with the addresses that it was told.
    silent: BTreeMap<ChangeLog, String>,
    /// The addresses of which that was said.
    said: BTreeSet<String>,
    waits: Waits,
    last_error: Option<String>,
}

/// For `status`.
fn summary(address: &Known, logs: &[ChangeLog], channels: &[Channel]) -> String {
    if *address == Known::Nowhere {
        return "no public address; polling only".to_owned();
    }
    let live = channels.iter().filter(|channel| channel.state == ChannelState::Live);
    let uncalled = live.clone().filter(|channel| channel.called.is_none()).count();
    let calls = match uncalled {
        0 => String::new(),
        _ => format!("; Google has not called on {uncalled} of them yet"),
    };
    format!("{} of {} change logs have a push channel{calls}", live.count(), logs.len())
}

impl Keeper {
    /// Ready for its first step.
    pub fn new(
        drive: Drive,
        store: Store,
        config: watch::Receiver<Config>,
        address: watch::Receiver<Known>,
        finds: Arc<Finds>,
        reader: Wake,
    ) -> Self {
        let registry = finds.registry().clone();
        Self {
            drive,
            store,
            config,
            address,
            registry,
            finds,
            reader,
            started: Timestamp::now(),
            silent: BTreeMap::new(),
            said: BTreeSet::new(),
            waits: Waits::default(),
            last_error: None,
        }
    }

    /// Acts until nothing is left to do now: a new channel, for one, makes an old one ready to be stopped.
    async fn keep(&mut self) -> Result<Kept, Error> {
        let mut opened: Vec<(ChangeLog, Known)> = Vec::new();
        loop {
            let mut channels = self.store.channels().await?;
            self.note_calls(&mut channels).await?;
            self.registry.replace(&channels);
            let logs = self.store.watched_logs().await?;
            let names: Vec<ChangeLog> = logs.iter().map(|(log, _)| log.clone()).collect();
            let (unannounced, judged) = self.finds.judge(&names, &channels, Timestamp::now());
            let mut plan = self.plan(&names, &channels, &unannounced);
            let address = self.address.borrow().clone();
            self.waits.keep_to(&plan.actions, &address);
            let now = Instant::now();
            plan.actions.retain(|action| !self.waits.hold(action, &address, now));
            if plan.actions.is_empty() {
                let heard = self.tell_silence(&channels);
                let next = [plan.next, judged, heard].into_iter().flatten().min();
                return Ok(Kept { said: summary(&address, &names, &channels), due: until(next) });
            }
            // A failure on one log must not leave the others without a channel.
            for action in plan.actions {
                let outcome = match &action {
                    Action::Open(log) if opened.contains(&(log.clone(), address.clone())) => {
                        Err(Error::EndsAtOnce)
                    }
                    _ => self.act(action.clone(), &logs, &channels).await,
                };
                match outcome {
                    Ok(()) => {
                        self.waits.done(&action);
                        if let Action::Open(log) = action {
                            self.tell_unannounced(&log, &unannounced);
                            opened.push((log, address.clone()));
                        }
                    }
                    Err(error @ Error::Store(_)) => return Err(error),
                    Err(error) => {
                        let wait =
                            self.waits.failed(&action, &address, failure(&error), Instant::now(), jitter());
                        debug!(?action, %error, wait_ms = wait.as_millis() as u64, "it is tried again later");
                    }
                }
            }
        }
    }

    /// Writes down when Google has called. It was heard by the receiver, which does not wait for the ledger.
    async fn note_calls(&self, channels: &mut [Channel]) -> Result<(), Error> {
        for channel in channels {
            let heard = self.registry.called(&channel.id);
            if heard > channel.called
                && let Some(at) = heard
            {
                self.store.channel_called(&channel.id, at).await?;
                channel.called = heard;
            }
        }
        Ok(())
    }

    /// Says which addresses Google does not call, and when it calls them; each once. What comes back is when the minute of
    /// another channel is over.
    fn tell_silence(&mut self, channels: &[Channel]) -> Option<Timestamp> {
        let now = Timestamp::now();
        let silence = calls::silence(channels, now);
        let address_of = |channel: &&Channel| (channel.log.clone(), channel.address.clone());
        let silent: BTreeMap<_, _> = silence.channels.iter().map(address_of).collect();
        let before = std::mem::replace(&mut self.silent, silent);
        self.finds.set_silent(self.silent.keys().cloned().collect());
        // The first message on another channel may be on its way.
        let overdue: Vec<&Channel> =
            silence.channels.iter().copied().filter(|channel| calls::is_overdue(channel, now)).collect();
        for (address, said) in calls::explain(&overdue, channels) {
            if self.said.insert(address.clone()) {
                error!(address, "{said}");
            }
        }
        if self.silent.keys().any(|log| !before.contains_key(log)) {
            // Without the engine the program is ending.
            let _ = self.reader.wake(Reason::Handover);
        }
        let is_heard = |channel: &&Channel| {
            channel.state == ChannelState::Live
                && channel.called.is_some()
                && before.contains_key(&channel.log)
        };
        let heard: BTreeSet<&str> =
            channels.iter().filter(is_heard).map(|channel| channel.address.as_str()).collect();
        for address in
            heard.into_iter().filter(|address| self.silent.values().all(|silent| silent != address))
        {
            self.said.remove(address);
            info!(address, "Google calls this address now: notifications arrive");
        }
        silence.next
    }

    /// A channel was opened; says so if it was for what is found without a call.
    fn tell_unannounced(&self, log: &ChangeLog, unannounced: &[ChangeLog]) {
        if unannounced.contains(log) {
            self.finds.renewed(log, Timestamp::now());
            warn!(
                log = %log,
                "three reads in a row have found new files that no notification had announced: the push channel was replaced"
            );
        }
    }

    fn plan(&self, logs: &[ChangeLog], channels: &[Channel], unannounced: &[ChangeLog]) -> plan::Plan {
        let address = self.address.borrow().clone();
        if address == Known::NotYet {
            // The current channels stay until the public address is known.
            return plan::Plan { actions: Vec::new(), next: None };
        }
        let renew_before = self.config.borrow().renew_before;
        let started = self.started;
        let policy = Policy { address: address.address(), renew_before, unannounced, started };
        plan(logs, channels, &policy, Timestamp::now())
    }

    async fn act(
        &self,
        action: Action,
        logs: &[(ChangeLog, PageToken)],
        channels: &[Channel],
    ) -> Result<(), Error> {
        match action {
            Action::Open(log) => match logs.iter().find(|(name, _)| *name == log) {
                Some((log, token)) => self.open(log, token).await,
                None => Ok(()),
            },
            Action::Stop(id) => match channels.iter().find(|channel| channel.id == id) {
                Some(channel) => self.stop(channel).await,
                None => Ok(()),
            },
            Action::End(id) => {
                debug!(channel.id = %id, "a push channel has ended");
                Ok(self.store.set_channel_state(&id, ChannelState::Ended).await?)
            }
            Action::Forget(id) => Ok(self.store.forget_channel(&id).await?),
        }
    }

    /// Opens a channel. Its row and its place in the registry come first: its first message can be here before
    /// Drive's answer is.
    async fn open(&self, log: &ChangeLog, from: &PageToken) -> Result<(), Error> {
        let Some(address) = self.address.borrow().address().map(str::to_owned) else { return Ok(()) };
        let now = Timestamp::now();
        let asked = now.checked_add(self.config.borrow().lifetime).unwrap_or(now);
        let token = ChannelToken::random();
        let channel = Channel {
            id: ChannelId::random(),
            log: log.clone(),
            address,
            token_hash: token.hash(),
            resource_id: None,
            state: ChannelState::Opening,
            created: now,
            opened: None,
            called: None,
            expires: asked,
        };
        self.store.add_channel(&channel).await?;
        self.registry.add(&channel);
        reached(Point::ChannelPlanned);
        let granted = match self.drive.watch(log, from, &channel.id, &token, &channel.address, asked).await {
            Ok(granted) => granted,
            Err(error) => {
                self.failed(&channel.id, &error).await?;
                return Err(error.into());
            }
        };
        reached(Point::ChannelOpened);
        let expires = granted.expires.or_else(|| now.checked_add(DEFAULT_LIFETIME).ok()).unwrap_or(asked);
        let opened = Timestamp::now();
        self.store.channel_opened(&channel.id, log, &granted.resource_id, opened, expires).await?;
        info!(channel.id = %channel.id, log = %log, address = channel.address, expires = %expires, "a push channel was opened");
        Ok(())
    }

    /// Drive did not open it. Where Drive has said so, nothing will ever come on it; without an answer it may be open all
    /// the same.
    async fn failed(&self, id: &ChannelId, error: &drive::Error) -> Result<(), Error> {
        let is_refused = error.status().is_some_and(|status| (400..500).contains(&status));
        if is_refused {
            return Ok(self.store.forget_channel(id).await?);
        }
        Ok(self.store.set_channel_state(id, ChannelState::Ended).await?)
    }

    async fn stop(&self, channel: &Channel) -> Result<(), Error> {
        stop(&self.drive, &self.store, channel).await
    }

    fn went_wrong(&mut self, said: String, wait: Duration) -> Next {
        if self.last_error.as_ref() != Some(&said) {
            error!(
                error = said,
                retry_ms = wait.as_millis() as u64,
                "no push channel; new files are found by polling until there is one"
            );
        }
        self.last_error = Some(said.clone());
        // A wake-up means a change: another address or another log.
        Next { due: Some(wait), settle: SETTLE, outcome: Err(said) }
    }
}

/// What was done, and when there is something to do again.
struct Kept {
    said: String,
    due: Duration,
}

fn failure(error: &Error) -> Failure {
    let (class, retry_after) = match error {
        Error::Drive(error) => (error.class(), error.retry_after()),
        // It would be the same again; only a person can set the clock.
        Error::EndsAtOnce => (Class::Permanent, None),
        Error::Store(_) => (Class::Transient, None),
    };
    Failure { class, retry_after, said: error.to_string() }
}

impl Step for Keeper {
    /// One step: whatever the plan says now.
    async fn step(&mut self, _: Activation) -> Next {
        match self.keep().await {
            Ok(Kept { said, due }) => match self.waits.next(Instant::now()) {
                None => {
                    self.last_error = None;
                    Next { due: Some(due), settle: SETTLE, outcome: Ok(said) }
                }
                Some((said, wait)) => self.went_wrong(said, wait.min(due)),
            },
            Err(error) => self.went_wrong(error.to_string(), RetryPolicy::CALL.cap),
        }
    }
}

/// How long until the next moment of the plan.
fn until(next: Option<Timestamp>) -> Duration {
    next.map_or(LOOK, |next| {
        Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO).min(LOOK)
    })
}

/// Tells Drive to stop calling on a channel.
pub async fn stop(drive: &Drive, store: &Store, channel: &Channel) -> Result<(), Error> {
    if let Some(resource_id) = &channel.resource_id {
        drive.stop(&channel.id, resource_id).await?;
        info!(channel.id = %channel.id, log = %channel.log, "a push channel was stopped");
    } else {
        warn!(channel.id = %channel.id, "a push channel cannot be stopped: Drive has not sent its resource ID");
    }
    Ok(store.set_channel_state(&channel.id, ChannelState::Ended).await?)
}
