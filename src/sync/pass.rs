//! One pass over one change log: what has to be listed, then the changes up to now, page by page into the ledger.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::decide::{Decision, Origin, Reached, decide};
use super::rules::Rules;
use super::shortcuts::Followed;
use super::tree::Tree;
use super::{Config, Engine, Error, Tally};
use crate::drive::{Corpus, Drive, Fault};
use crate::model::{Change, ChangeLog, Delivery, Entry, File, FileId, Kind, ResourceKeys, Stage};
use crate::store::{Folder, Found, Ledger, LogState, NewDelivery, Outcome, Store};
use crate::task::{Reason, Wake};

/// A file without size or checksum is looked at again after 5 s, 10 s, 20 s … up to this.
const UNREADY_CAP: Duration = Duration::from_mins(10);
/// A file that the account may not download is looked at again after 2 min, 4 min, 8 min … up to a day.
const SKIPPED_LOOK: Duration = Duration::from_mins(2);
const SKIPPED_CAP: Duration = Duration::from_hours(24);

/// A pass in progress. Dropping it loses nothing: each page is committed whole.
pub(super) struct Pass<'a> {
    pub(super) drive: &'a Drive,
    pub(super) store: &'a Store,
    pub(super) rules: &'a Rules,
    config: Config,
    keeper: &'a Wake,
    deliveries: &'a Wake,
    pub(super) log: &'a ChangeLog,
    /// How often in a row it went wrong before this.
    pub(super) failures: u32,
    pub(super) tally: Tally,
    /// A watched folder that Drive does not show any more.
    pub(super) lost: Option<Error>,
    /// What earlier pages had looked up of the known folders.
    tree: Tree,
    /// Whether there is a known shortcut, if that was asked.
    pub(super) there_are_shortcuts: Option<bool>,
}

impl Engine {
    pub(super) fn pass<'a>(&'a self, log: &'a ChangeLog) -> Pass<'a> {
        Pass {
            drive: &self.drive,
            store: &self.store,
            rules: &self.rules,
            config: self.config,
            keeper: &self.keeper,
            deliveries: &self.deliveries,
            log,
            failures: self.failures.count(),
            tally: Tally::default(),
            lost: None,
            tree: Tree::default(),
            there_are_shortcuts: None,
        }
    }

    /// Asks Drive for files whose size and checksum were missing, and for files that were skipped for something that may
    /// have passed.
    pub(super) async fn look_at_unready(&mut self) -> Result<usize, Error> {
        let now = Timestamp::now();
        let mut found = 0;
        for delivery in self.store.unready(now).await? {
            // Before anything can go wrong: one that cannot be looked at is not to keep the others waiting.
            let wait = until_next_look(&delivery);
            self.store
                .still_unready(&delivery.id, now.checked_add(wait).unwrap_or(now), delivery.attempt + 1)
                .await?;
            let keys = ResourceKeys::of(&delivery.file_id, delivery.resource_key.as_deref());
            let entry = match self.drive.file(&delivery.file_id, &keys).await {
                Ok(file) => Entry::Present(Box::new(file)),
                Err(error) if error.fault() == Fault::NotFound => Entry::Gone,
                Err(error) => return Err(error.into()),
            };
            let log = ChangeLog::User;
            let mut pass = self.pass(&log);
            let changes = vec![Change { file_id: delivery.file_id.clone(), entry }];
            let outcome = pass.evaluate(changes, Origin::Change).await?;
            found += pass.tally.found;
            self.store.record(&outcome, now).await?;
            self.store.settle_setting(&delivery.id).await?;
            pass.wake_deliveries(&outcome);
        }
        Ok(found)
    }
}

impl Pass<'_> {
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let state = match self.store.log_state(self.log).await? {
            Some(state) => state,
            None => self.begin("the log is read for the first time").await?,
        };
        if self.is_comparison_due(&state) {
            debug!(log = %self.log, "all folders are compared with the ledger");
            self.store.compare(self.log, Timestamp::now()).await?;
            self.forget_folders();
        }
        self.list_folders().await?;
        match self.read_changes(state.token).await {
            Err(Error::Drive(error)) if error.fault() == Fault::PageToken => {
                warn!(log = %self.log, %error, "Drive refuses the page token: all folders are listed and compared instead");
                let state = self.begin("the page token was refused").await?;
                self.list_folders().await?;
                // A new token that is refused as well is no matter of its age; that waits like any other failure.
                self.read_changes(state.token).await?;
            }
            outcome => outcome?,
        }
        // Folders that the changes brought.
        self.list_folders().await?;
        self.store.log_listed(self.log, Timestamp::now()).await?;
        Ok(())
    }

    /// Takes the token of now. It comes first: what changes while the folders are listed comes after it.
    async fn begin(&mut self, why: &str) -> Result<LogState, Error> {
        let token = self.drive.start_page_token(self.log).await?;
        self.store.begin_log(self.log, &token, Timestamp::now()).await?;
        self.forget_folders();
        info!(log = %self.log, why, "a new start page token");
        if self.keeper.wake(Reason::Handover).is_err() {
            debug!("there is no channel keeper");
        }
        Ok(LogState { token, listed: None, compared: None })
    }

    fn is_comparison_due(&self, state: &LogState) -> bool {
        let age = state.compared.map(|at| Timestamp::now().duration_since(at));
        // A comparison in the future was noted when the clock was ahead.
        age.is_some_and(|age| Duration::try_from(age).map_or(true, |age| age >= self.config.reconcile))
    }

    /// Lists folders until none is left to list.
    async fn list_folders(&mut self) -> Result<(), Error> {
        while let Some(folder) = self.store.unlisted(self.log).await? {
            let listed = self.list(&folder).await;
            self.forget_folders();
            listed?;
            self.tally.listed += 1;
        }
        Ok(())
    }

    async fn list(&mut self, folder: &Folder) -> Result<(), Error> {
        let key = self
            .rules
            .folders()
            .iter()
            .find(|rule| rule.id == folder.id)
            .and_then(|rule| rule.resource_key.clone());
        let keys = ResourceKeys::of(&folder.id, key.as_deref());
        let corpus = Corpus::Of(self.log);
        let mut seen = Vec::new();
        let mut page = None;
        loop {
            let listed = match self.drive.children(corpus, &folder.id, &keys, page.as_deref()).await {
                Ok(listed) => listed,
                Err(error) if error.fault() == Fault::NotFound => return self.gone(folder).await,
                Err(error) => return Err(error.into()),
            };
            seen.extend(listed.files.iter().flat_map(seen_by).chain(listed.unclear.iter().cloned()));
            let unclear = listed.unclear.into_iter().map(|file_id| Change { file_id, entry: Entry::Unclear });
            let changes: Vec<Change> = listed.files.into_iter().map(as_entry).chain(unclear).collect();
            let outcome = self.evaluate(changes, Origin::of(folder.listing)).await?;
            let finished = listed.next.is_none().then_some(seen.as_slice());
            self.store.commit_listing(&folder.id, &outcome, finished, Timestamp::now()).await?;
            self.wake_deliveries(&outcome);
            match listed.next {
                Some(next) => page = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// A folder that cannot be listed any more. A watched one counts as listed: what changes in its log makes it be
    /// listed again, and until then the other folders are not to wait for it.
    async fn gone(&mut self, folder: &Folder) -> Result<(), Error> {
        let now = Timestamp::now();
        if folder.watched && !self.rules.names(&folder.id) {
            debug!(folder.id = %folder.id, "Drive does not show a folder that is not in the configuration any more");
            return Ok(self.store.commit_listing(&folder.id, &Outcome::default(), Some(&[]), now).await?);
        }
        if folder.watched {
            warn!(folder.id = %folder.id, folder.name = folder.name, "Drive does not show a watched folder any more");
            let why = "Drive does not show it any more; share it with the account again, or take it out of the configuration";
            self.lost = Some(Error::Folder { id: folder.id.to_string(), why: why.to_owned() });
            return Ok(self.store.commit_listing(&folder.id, &Outcome::default(), Some(&[]), now).await?);
        }
        debug!(folder.id = %folder.id, "a folder went away before it was listed");
        let outcome = Outcome { dropped: vec![folder.id.clone()], ..Outcome::default() };
        Ok(self.store.record(&outcome, now).await?)
    }

    /// Downloads begin at once, while later pages are still read; those that are void end at once.
    pub(super) fn wake_deliveries(&self, outcome: &Outcome) {
        let has_news = outcome.found.iter().any(|new| matches!(new.found, Found::New | Found::Unready(_)));
        if (has_news || !outcome.withdrawn.is_empty()) && self.deliveries.wake(Reason::Handover).is_err() {
            debug!("there is no delivery engine");
        }
    }

    /// What was looked up of folders and shortcuts may be otherwise now.
    fn forget_folders(&mut self) {
        self.tree = Tree::default();
        self.there_are_shortcuts = None;
    }

    /// Holds entries against what is known.
    pub(super) async fn evaluate(&mut self, changes: Vec<Change>, origin: Origin) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        if changes.is_empty() {
            return Ok(outcome);
        }
        let own: HashSet<FileId> = match origin {
            Origin::WiderListing => changes.iter().filter(|c| folder_in(c).is_none()).map(id_of).collect(),
            Origin::Change | Origin::Listing | Origin::FirstListing => HashSet::new(),
        };
        let changes = self.clarify(changes).await?;
        // Without it when something goes wrong on the way: then it is looked up again.
        let tree = std::mem::take(&mut self.tree);
        let Followed { changes, mut tree } = self.follow(changes, tree, &mut outcome).await?;
        let ledger = self.ledger_of(&changes, &tree).await?;
        let now = Timestamp::now();
        let with_origin = |change: Change| {
            let reached = if own.contains(&change.file_id) { Reached::Directly } else { Reached::Through };
            (change, origin.of_entry(reached))
        };
        let mut entries: VecDeque<(Change, Origin)> = changes.into_iter().map(with_origin).collect();
        while let Some((change, origin)) = entries.pop_front() {
            let rows = ledger.get(&change.file_id).map_or(&[][..], Vec::as_slice);
            match &change.entry {
                Entry::Gone if rows.iter().any(|row| !row.is_gone) => {
                    outcome.vanished.push(change.file_id.clone());
                }
                Entry::Present(_) if rows.iter().any(|row| row.is_gone) => {
                    outcome.returned.push(change.file_id.clone());
                }
                Entry::Gone | Entry::Present(_) | Entry::Unclear => {}
            }
            match decide(&change, origin, self.rules, &tree, rows, now) {
                Decision::Adopt(folder) => {
                    tree.extend([folder.clone()]);
                    outcome.adopted.push(folder);
                }
                Decision::Drop => {
                    tree.remove(&change.file_id);
                    outcome.adopted.retain(|folder| folder.id != change.file_id);
                    outcome.dropped.push(change.file_id.clone());
                }
                Decision::Record(new) => {
                    self.tell(&new);
                    outcome.found.push(*new);
                }
                Decision::Withdraw(reason) => outcome.withdrawn.push((change.file_id.clone(), reason)),
                Decision::StopWaiting => outcome.awaited.push(change.file_id),
                Decision::Ask => {
                    let asked = Change { entry: Entry::Unclear, ..change };
                    let answered = self.clarify(vec![asked]).await?;
                    entries.extend(answered.into_iter().map(|change| (change, Origin::Change)));
                }
                Decision::Skip(skip) => tell_skipped(&change, &skip.to_string(), origin),
                Decision::Nothing(why) => debug!(file.id = %change.file_id, ?why, "nothing to do"),
            }
        }
        if outcome.moves_folders() {
            self.forget_folders();
        } else if tree.is_small() {
            self.tree = tree;
        }
        Ok(outcome)
    }

    /// Asks Drive for the items whose entries do not say what they are.
    async fn clarify(&self, mut changes: Vec<Change>) -> Result<Vec<Change>, Error> {
        for change in changes.iter_mut().filter(|change| matches!(change.entry, Entry::Unclear)) {
            debug!(file.id = %change.file_id, "an entry of the change log does not say what the item is; Drive is asked");
            change.entry = match self.drive.file(&change.file_id, &ResourceKeys::default()).await {
                Ok(file) => Entry::Present(Box::new(file)),
                Err(error) if error.fault() == Fault::NotFound => Entry::Gone,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(changes)
    }

    /// What the ledger knows of those that it is asked about: what lies elsewhere is of no interest, unless it was
    /// waited for.
    async fn ledger_of(
        &self,
        changes: &[Change],
        tree: &Tree,
    ) -> Result<HashMap<FileId, Vec<Ledger>>, Error> {
        let waiting = self.store.next_unready().await?.is_some();
        // One of them may become known by its entry in this page.
        let folders: HashSet<&FileId> = changes.iter().filter_map(folder_in).collect();
        let is_asked = |change: &Change| match &change.entry {
            Entry::Gone | Entry::Unclear => true,
            Entry::Present(file) if file.trashed || waiting => true,
            Entry::Present(file) => {
                file.parent.as_ref().is_some_and(|id| tree.get(id).is_some() || folders.contains(id))
            }
        };
        let ids: Vec<FileId> =
            changes.iter().filter(|change| is_asked(change)).map(|change| change.file_id.clone()).collect();
        Ok(self.store.ledger(&ids).await?)
    }

    fn tell(&mut self, new: &NewDelivery) {
        let (id, name) = (&new.file.id, new.file.name.as_str());
        match &new.found {
            Found::New => {
                self.tally.found += 1;
                let size_bytes = new.file.size;
                info!(file.id = %id, file.name = name, revision.id = %new.revision, size_bytes, "a new video");
            }
            Found::Unready(_) => {
                info!(file.id = %id, file.name = name, "Drive has not said its size and checksum yet");
            }
            Found::Existing(_) => debug!(file.id = %id, file.name = name, "was there before"),
            Found::Skipped(_, reason) => info!(file.id = %id, file.name = name, reason, "skipped"),
        }
    }
}

/// How long until Drive is asked about a file again, if the answer is the same.
fn until_next_look(delivery: &Delivery) -> Duration {
    let (base, cap) = match delivery.stage {
        Stage::Unready => (Duration::from_secs(10), UNREADY_CAP),
        _ => (SKIPPED_LOOK, SKIPPED_CAP),
    };
    base.saturating_mul(1 << delivery.attempt.min(16)).min(cap)
}

fn id_of(change: &Change) -> FileId {
    change.file_id.clone()
}

fn folder_in(change: &Change) -> Option<&FileId> {
    match &change.entry {
        Entry::Present(file) if file.kind() == Kind::Folder => Some(&file.id),
        Entry::Present(_) | Entry::Gone | Entry::Unclear => None,
    }
}

/// What a listing proves to be there: folders, shortcuts, and the folders that are known by a shortcut.
fn seen_by(file: &File) -> Vec<FileId> {
    match file.kind() {
        Kind::Folder => vec![file.id.clone()],
        Kind::Shortcut => file.shortcut_target.iter().cloned().chain([file.id.clone()]).collect(),
        Kind::Binary | Kind::GoogleNative => Vec::new(),
    }
}

fn as_entry(file: File) -> Change {
    Change { file_id: file.id.clone(), entry: Entry::Present(Box::new(file)) }
}

fn tell_skipped(change: &Change, reason: &str, origin: Origin) {
    let Entry::Present(file) = &change.entry else { return };
    match origin {
        // Somebody put it there just now and may wonder.
        Origin::Change => info!(file.id = %file.id, file.name = file.name, reason, "skipped"),
        Origin::Listing | Origin::FirstListing | Origin::WiderListing => {
            debug!(file.id = %file.id, file.name = file.name, reason, "skipped");
        }
    }
}
