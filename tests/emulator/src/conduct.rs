//! How the emulated Drive behaves, and what it saw.

use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;

use crate::disturbance::{Disturbance, NotificationRecord};
use crate::drive::channel::Channel;
use crate::drive::state::{Descendants, Listings};
use crate::drive::tree::milliseconds;
use crate::emulator::Emulator;
use crate::fault::Fault;
use crate::oauth::credentials;
use crate::serve::record::RequestRecord;

/// A push channel that a client opened. Times are milliseconds since 1970 by the emulator's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRecord {
    /// Chosen by the client.
    pub id: String,
    /// Chosen by Drive.
    pub resource_id: String,
    /// Where notifications go.
    pub address: String,
    /// What each notification repeats.
    pub token: Option<String>,
    /// `user` for the first account's own log, the address for another account's, a shared drive's id, or `file:` and a
    /// file's id.
    pub log: String,
    /// When it was opened.
    pub created: i64,
    /// When it ends by itself.
    pub expires: i64,
    /// When it was stopped.
    pub stopped: Option<i64>,
}

impl Emulator {
    /// `false`: changes call nobody, and new channels get no `sync` message.
    pub fn set_notifications(&self, on: bool) {
        self.with_state(|state| state.settings.notifications = on);
    }

    /// The next `times` notifications are disturbed; `u32::MAX`: until [`clear_faults`](Self::clear_faults).
    pub fn disturb_notifications(&self, disturbance: Disturbance, times: u32) {
        self.with_state(|state| state.disturbances.add(disturbance, times));
    }

    /// `true`: the `sync` message arrives before the answer to `watch`.
    pub fn set_sync_before_answer(&self, before: bool) {
        self.with_state(|state| state.settings.sync_before_answer = before);
    }

    /// How many notifications still come on a channel after it was stopped.
    pub fn set_notifications_after_stop(&self, count: u32) {
        self.with_state(|state| state.settings.stragglers = count);
    }

    /// Channels live no longer than this, whatever is asked for; `None`: Google's own limits.
    pub fn set_channel_lifetime_cap(&self, cap: Option<Duration>) {
        self.with_state(|state| state.settings.channel_lifetime_cap = cap);
    }

    /// Channels that are open now end this long from now at the latest, whatever was promised.
    pub fn shorten_channels(&self, left: Duration) {
        self.with_state(|state| {
            let end = state.now() + milliseconds(left);
            state.channels.shorten(end);
        });
    }

    /// The next matching requests fail.
    pub fn fail(&self, fault: Fault) {
        self.with_state(|state| state.faults.add(fault));
    }

    /// Requests and notifications succeed again.
    pub fn clear_faults(&self) {
        self.with_state(|state| {
            state.faults.clear();
            state.disturbances.clear();
        });
    }

    /// Media comes at this many bytes per second on each connection; `None`: as fast as it goes.
    pub fn set_rate(&self, bytes_per_second_per_connection: Option<u64>) {
        self.with_state(|state| state.service.rate = bytes_per_second_per_connection);
    }

    /// A round trip takes this long: a new connection waits for one before it is served, two with TLS, and every answer
    /// begins one later. What `/control/` answers does not wait.
    pub fn set_latency(&self, round_trip: Duration) {
        self.with_state(|state| state.service.latency = round_trip);
    }

    /// Metadata-only changes that follow each upload or revision, 100 ms apart, as Drive makes them.
    pub fn set_noise(&self, changes: u32) {
        self.with_state(|state| state.settings.noise = changes);
    }

    /// A change is listed this long after it happened and was announced.
    pub fn set_change_delay(&self, delay: Duration) {
        self.with_state(|state| state.settings.change_delay = delay);
    }

    /// `files.list` shows an item only this long after it was created or moved, by the emulator's clock: it passes with
    /// real time and with [`move_clock`](Self::move_clock). `files.get` and the change log show the item at once.
    pub fn set_listing_lag(&self, lag: Duration) {
        self.with_state(|state| state.settings.listing_lag = lag);
    }

    /// `true`: each page of `files.list` counts its offset in the folder as it is then, so that an item is missed or
    /// comes twice when the folder changes between two pages.
    pub fn set_shifting_listings(&self, on: bool) {
        self.with_state(|state| {
            state.settings.listings = if on { Listings::Shifting } else { Listings::Stable }
        });
    }

    /// `true`: when a folder moves to another drive or changes its permissions, all that is below it gets change entries
    /// too. Normally only the folder does.
    pub fn set_descendant_entries(&self, on: bool) {
        let descendants = if on { Descendants::Reported } else { Descendants::Silent };
        self.with_state(|state| state.settings.descendants = descendants);
    }

    /// The log that an item leaves, for another drive's or because it is not shared any more, reports that so much later
    /// than its new log reports it present; zero: before.
    pub fn set_removal_lag(&self, lag: Duration) {
        self.with_state(|state| state.settings.removal_lag = lag);
    }

    /// New content has no size, checksums and video metadata for this long; then they appear, with a change.
    pub fn set_processing_delay(&self, delay: Duration) {
        self.with_state(|state| state.settings.processing_delay = delay);
    }

    /// Every second page of `changes.list` is empty, with a `nextPageToken`.
    pub fn set_empty_pages(&self, on: bool) {
        self.with_state(|state| state.settings.empty_pages = on);
    }

    /// How long new access tokens hold; normally 3599 s.
    pub fn set_access_token_lifetime(&self, lifetime: Duration) {
        self.with_state(|state| state.service.access_token_lifetime = lifetime);
    }

    /// Moves the emulator's clock by so many milliseconds: times it writes, and the ends of channels and tokens.
    pub fn move_clock(&self, milliseconds: i64) {
        self.inner.clock.move_by(milliseconds);
        self.with_state(|state| state.settle());
    }

    /// The emulator's time in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.inner.clock.now()
    }

    /// Every page token of `changes` issued until now is refused from now on.
    pub fn refuse_page_tokens_before_now(&self) {
        self.with_state(|state| state.logs.values_mut().for_each(crate::drive::log::Log::refuse_issued));
    }

    /// The scopes that the user ticks on the consent page from now on, if they are asked for; `None`: all of them. What
    /// was granted holds for every access token that comes of it.
    pub fn set_consented_scopes(&self, scopes: Option<&[&str]>) {
        let scopes = scopes.map(|scopes| scopes.iter().map(|&scope| scope.to_owned()).collect());
        self.with_state(|state| state.tokens.consented = scopes);
    }

    /// The consent page shows its buttons from now on, and waits until somebody presses one; `false`: it grants at once.
    pub fn set_asking_for_consent(&self, asks: bool) {
        self.with_state(|state| state.tokens.asks = asks);
    }

    /// Logins from now on end after this long, as those of an app in "Testing" do, and say so; `None`: they do not end.
    pub fn set_refresh_token_lifetime(&self, lifetime: Option<Duration>) {
        self.with_state(|state| state.service.refresh_token_lifetime = lifetime);
    }

    /// Every refresh token issued until now is dead: `invalid_grant`.
    pub fn revoke_refresh_tokens(&self) {
        self.with_state(|state| state.tokens.revoke_all_refresh());
    }

    /// Every access token issued until now is refused: 401.
    pub fn expire_access_tokens(&self) {
        self.with_state(|state| state.tokens.expire_all_access());
    }

    /// The requests so far, the last hundred thousand at most; those of `/control/` are not among them.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.inner.records.all()
    }

    /// How many requests there were of one operation.
    pub fn count(&self, operation: &str) -> usize {
        self.inner.records.count(operation)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.inner.records.clear();
    }

    /// Every attempt at a notification so far.
    pub fn notifications(&self) -> Vec<NotificationRecord> {
        self.inner.notifications.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Every channel ever opened.
    pub fn channels(&self) -> Vec<ChannelRecord> {
        self.with_state(|state| state.channels.all().iter().map(record).collect())
    }

    /// One `change` on every live channel, even while notifications are off.
    pub fn push_now(&self) {
        self.with_state(|state| {
            let now = state.now();
            let messages = state.channels.messages(now, "change", None, |_| true);
            state.send(messages);
        });
    }

    /// A service account's key file. The signature of what it signs is verified.
    pub fn service_account_json(&self) -> String {
        credentials::service_account(&self.inner.clients_url())
    }

    /// A desktop client's file, as downloaded from the Cloud console.
    pub fn installed_client_json(&self) -> String {
        credentials::installed_client(&self.inner.clients_url())
    }

    /// What `gcloud auth application-default login` leaves behind, with a refresh token that holds.
    pub fn authorized_user_json(&self) -> String {
        let refresh_token = self.with_state(|state| state.tokens.ready_made());
        credentials::authorized_user(&self.inner.clients_url(), &refresh_token)
    }

    /// A workload identity configuration whose subject token comes from such a source. It stands for the same account as
    /// the service account's key file.
    pub fn external_account_json(&self, credential_source: &serde_json::Value) -> String {
        credentials::external_account(&self.inner.clients_url(), credential_source)
    }

    /// The subject token that the token exchange takes.
    pub fn subject_token(&self) -> &'static str {
        credentials::SUBJECT_TOKEN
    }

    /// An access token for the full Drive scope that holds now, for tests that do without OAuth.
    pub fn access_token(&self) -> String {
        self.access_token_for(credentials::DEFAULT_SCOPE)
    }

    /// The same for other scopes, between spaces.
    pub fn access_token_for(&self, scope: &str) -> String {
        self.with_state(|state| {
            let (now, lifetime) = (state.now(), state.service.access_token_lifetime);
            state.tokens.issue_access(scope, now, lifetime)
        })
    }
}

fn record(channel: &Channel) -> ChannelRecord {
    use crate::drive::channel::Target;
    ChannelRecord {
        id: channel.id.clone(),
        resource_id: channel.resource_id.clone(),
        address: channel.address.clone(),
        token: channel.token.clone(),
        log: match &channel.target {
            Target::Log(log) => log.clone(),
            Target::File(id) => format!("file:{id}"),
        },
        created: channel.created,
        expires: channel.expires,
        stopped: channel.stopped,
    }
}
