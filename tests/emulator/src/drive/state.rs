//! Everything the emulated Drive consists of, and how it behaves.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;

use super::account::Account;
use super::channel::{Channels, Errand, Message, Outgoing};
use super::clock::Clock;
use super::extras::Extras;
use super::late::PermissionLag;
use super::log::Log;
use super::node::{Kind, Node};
use super::role::{SharedDrive, Sharing};
use super::{ids, mime};

/// What a page of `files.list` after the first one is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listings {
    /// What the first page found.
    Stable,
    /// What is there now, from the same offset on.
    Shifting,
}

/// Whether what is below a folder gets change entries of its own when the folder changes its drive or its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descendants {
    Silent,
    Reported,
}

/// What one who is no member is told about a shared drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriveRefusal {
    /// 404 `notFound`.
    #[default]
    NotFound,
    /// 403 `teamDriveMembershipRequired`.
    MembershipRequired,
}

/// Where the changes of a shared drive's items are told to those who see them without being members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutsiderEntries {
    UserLog,
    Nowhere,
}

/// How the emulator behaves when nothing in particular fails.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) notifications: bool,
    pub(crate) sync_before_answer: bool,
    /// Messages that still come after `channels.stop`.
    pub(crate) stragglers: u32,
    pub(crate) channel_lifetime_cap: Option<Duration>,
    /// Metadata-only changes that follow each upload or revision.
    pub(crate) noise: u32,
    /// How long a change stays out of `changes.list`.
    pub(crate) change_delay: Duration,
    /// How long a new or moved item stays out of `files.list`.
    pub(crate) listing_lag: Duration,
    pub(crate) listings: Listings,
    pub(crate) descendants: Descendants,
    /// How much later the log that an item has left says so than its new log reports it present.
    pub(crate) removal_lag: Duration,
    pub(crate) permission_lag: PermissionLag,
    pub(crate) drive_refusal: DriveRefusal,
    pub(crate) outsider_entries: OutsiderEntries,
    /// How long a new revision has neither size nor checksums.
    pub(crate) processing_delay: Duration,
    pub(crate) empty_pages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            notifications: true,
            sync_before_answer: false,
            stragglers: 0,
            channel_lifetime_cap: None,
            noise: 0,
            change_delay: Duration::ZERO,
            listing_lag: Duration::ZERO,
            listings: Listings::Stable,
            descendants: Descendants::Silent,
            removal_lag: Duration::ZERO,
            permission_lag: PermissionLag::default(),
            drive_refusal: DriveRefusal::NotFound,
            outsider_entries: OutsiderEntries::UserLog,
            processing_delay: Duration::ZERO,
            empty_pages: false,
        }
    }
}

/// An item about which a log has something to say.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) log: String,
    pub(crate) id: String,
}

/// Whose root folder it is.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    Account(String),
    SharedDrive,
}

/// A listing under way: Drive's list tokens die after hours, these after some hundred newer listings.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) token: String,
    pub(crate) ids: Arc<Vec<String>>,
    pub(crate) offset: usize,
}

pub(crate) struct State {
    pub(crate) clock: Arc<Clock>,
    /// By address.
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) nodes: HashMap<String, Node>,
    /// Children of each folder in the order of their creation.
    pub(crate) children: HashMap<String, BTreeSet<(u64, String)>>,
    pub(crate) drives: BTreeMap<String, SharedDrive>,
    pub(crate) logs: HashMap<String, Log>,
    pub(crate) channels: Channels,
    pub(crate) cursors: VecDeque<Cursor>,
    pub(crate) settings: Settings,
    /// The account that is there from the beginning.
    pub(crate) first: Account,
    /// Its My Drive.
    pub(crate) root: String,
    pub(crate) sequence: u64,
    /// Items that a log reports later, by the time at which it does.
    pub(crate) due: BTreeMap<i64, Vec<Report>>,
    outbox: UnboundedSender<Errand>,
}

impl State {
    pub(crate) fn new(clock: Arc<Clock>, outbox: UnboundedSender<Errand>) -> Self {
        let first = Account::first();
        let mut state = Self {
            clock,
            accounts: BTreeMap::new(),
            nodes: HashMap::new(),
            children: HashMap::new(),
            drives: BTreeMap::new(),
            logs: HashMap::new(),
            channels: Channels::default(),
            cursors: VecDeque::new(),
            settings: Settings::default(),
            root: first.root.clone(),
            first: first.clone(),
            sequence: 0,
            due: BTreeMap::new(),
            outbox,
        };
        state.add_account(first);
        state
    }

    /// As new.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.clock.clone(), self.outbox.clone());
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Opens an account with an empty My Drive and a change log.
    pub(crate) fn add_account(&mut self, account: Account) {
        self.plant_root(account.root.clone(), "My Drive", Home::Account(account.address.clone()));
        self.logs.insert(account.log.clone(), Log::new(100_000 + ids::below(50_000)));
        self.accounts.insert(account.address.clone(), account);
    }

    /// The root folder of My Drive or of a shared drive; makes no change entry.
    pub(crate) fn plant_root(&mut self, id: String, name: &str, home: Home) {
        let now = self.now();
        self.sequence += 1;
        let (owner, drive) = match home {
            Home::Account(address) => (Some(address), None),
            Home::SharedDrive => (None, Some(id.clone())),
        };
        let node = Node {
            id: id.clone(),
            name: name.to_owned(),
            mime_type: mime::FOLDER.to_owned(),
            parent: None,
            drive,
            created: now,
            modified: now,
            trashed: false,
            trashed_time: None,
            version: 1,
            listed_from: now,
            sequence: self.sequence,
            quirks: Vec::new(),
            sharing: Sharing { owner, ..Sharing::default() },
            extras: Extras::default(),
            kind: Kind::Folder,
        };
        self.nodes.insert(id, node);
    }

    /// Looks a file up by the id a client wrote, `root` included.
    pub(crate) fn find(&self, id: &str) -> Option<&Node> {
        self.nodes.get(if id == "root" { self.root.as_str() } else { id })
    }

    /// Trashed itself or below something trashed.
    pub(crate) fn is_trashed(&self, node: &Node) -> bool {
        self.lineage(node).any(|node| node.trashed)
    }

    pub(crate) fn log(&mut self, name: &str) -> Option<&mut Log> {
        self.logs.get_mut(name)
    }

    /// Hands messages to the task that delivers them, if Google is talking at all.
    pub(crate) fn announce(&self, messages: Vec<Message>) {
        if self.settings.notifications {
            self.send(messages);
        }
    }

    pub(crate) fn send(&self, messages: Vec<Message>) {
        for message in messages {
            self.post(Outgoing::plain(message));
        }
    }

    pub(crate) fn post(&self, outgoing: Outgoing) {
        self.ask(Errand::Deliver(Box::new(outgoing)));
    }

    pub(crate) fn ask(&self, errand: Errand) {
        // The receiving task ends only with the emulator itself.
        let _ = self.outbox.send(errand);
    }
}
