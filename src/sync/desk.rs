//! Where entries are held against what is known, one page at a time: what one page changes, the next one sees, whichever
//! log or listing it comes from. Nothing here waits for Drive.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard};
use tracing::{debug, info, warn};

use super::brought::Brought;
use super::decide::decide;
use super::decision::{Decision, Evidence, Origin, Reached, Trouble, Why as Unneeded};
use super::heard::{Heard, Moment};
use super::known::Known;
use super::rules::{Rules, class_of};
use super::shortcuts::{Shortcuts, Targets};
use super::tree::Tree;
use crate::model::{Change, ChangeLog, Entry, FileId, Kind};
use crate::store::{self, Found, Ledger, NewDelivery, Outcome, Question, Store, Why};
use crate::task::{Reason, Wake};

/// Why a file is left where it is that the rules want.
const BEFORE_THE_FIRST_RUN: &str = "it was there before the first run, and `existing` is \"ignore\"";

/// The desk, shared by everybody who reads from Drive.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    rules: Rules,
    deliveries: Wake,
    /// Whose Drive it is, for messages.
    account: String,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    known: Known,
    heard: Heard,
    /// Files that listings have shown and that are not wanted, counted by the class of the reason.
    left_out: BTreeMap<String, i64>,
    /// What changed settings have brought so far.
    brought: Brought,
}

/// One page at the desk. It is a lock across database calls on purpose: what is decided holds until it is recorded.
pub(super) struct Turn<'a> {
    desk: &'a Inner,
    memory: MutexGuard<'a, Memory>,
    /// What was evaluated is work for the delivery engine, and nobody has said yet that it is recorded.
    has_news: bool,
}

/// What a page comes to.
#[derive(Debug)]
pub(super) struct Evaluated {
    pub(super) outcome: Outcome,
    /// Files for the queue.
    pub(super) found: usize,
    known: Known,
}

impl Desk {
    /// A desk at which these rules hold.
    pub(super) fn new(store: Store, rules: Rules, deliveries: Wake, account: String) -> Self {
        Self(Arc::new(Inner { store, rules, deliveries, account, memory: Mutex::default() }))
    }

    /// The ledger.
    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    /// The rules.
    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Waits until no other page is at the desk.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn { desk: &self.0, memory: self.0.memory.lock().await, has_news: false }
    }

    /// Now, in the order of what logs say. Taken before a call, it tells what was said since.
    pub(super) async fn moment(&self) -> Moment {
        self.turn().await.memory.heard.now()
    }

    /// The targets of shortcuts that have to be known before the page can be evaluated.
    pub(super) async fn targets(
        &self,
        changes: &[Change],
    ) -> Result<Vec<(FileId, Option<String>)>, store::Error> {
        let mut turn = self.turn().await;
        let known = &mut turn.memory.known;
        let shortcuts = Shortcuts::of(&self.0.store, &self.0.rules, changes, known, Timestamp::now()).await?;
        Ok(shortcuts.targets(changes, &known.tree))
    }

    /// The settings of these folders have changed, each with the one that had left files out.
    pub(super) async fn expect(&self, changed: Vec<(FileId, &'static str)>) {
        let mut turn = self.turn().await;
        for (folder, setting) in changed {
            turn.memory.brought.expect(folder, setting);
        }
    }

    /// Says what changed settings have brought, once all that they concern has been listed.
    pub(super) async fn tell_what_was_brought(&self) {
        let brought = std::mem::take(&mut self.turn().await.memory.brought);
        for (folder, count, said) in brought.said() {
            info!(folder.id = %folder, count, "{said}");
        }
    }

    /// Files that listings have shown and that are left where they are, counted by the class of the reason. Those that
    /// were there before the first run are in the ledger.
    pub(super) async fn left_out(&self) -> Result<BTreeMap<String, i64>, store::Error> {
        let mut left_out = self.turn().await.memory.left_out.clone();
        for (reason, count) in self.0.store.existing().await? {
            let class = reason.as_deref().map_or(BEFORE_THE_FIRST_RUN, class_of);
            *left_out.entry(class.to_owned()).or_default() += count;
        }
        Ok(left_out)
    }

    /// What keeps a watched folder from being watched, for the user.
    pub(super) fn explain(&self, trouble: Trouble) -> String {
        explain(trouble, &self.0.account)
    }
}

impl Turn<'_> {
    /// Whether a log has spoken of an item since then.
    pub(super) fn has_heard(&self, moment: Moment, id: &FileId) -> bool {
        self.memory.heard.has_since(moment, id)
    }

    /// Whether it is not known any more what logs have said since then.
    pub(super) fn has_forgotten(&self, moment: Moment) -> bool {
        self.memory.heard.is_forgotten(moment)
    }

    /// Holds entries against what is known. Whoever has recorded the outcome says so by `recorded`.
    pub(super) async fn evaluate(
        &mut self,
        changes: Vec<Change>,
        targets: &Targets,
        evidence: &Evidence<'_>,
    ) -> Result<Evaluated, store::Error> {
        let mut outcome = Outcome::default();
        // If this is interrupted, everything is looked up again.
        let mut known = std::mem::take(&mut self.memory.known);
        if evidence.log.is_some() {
            self.memory.heard.hear(changes.iter().map(|change| change.file_id.clone()));
        }
        if changes.is_empty() {
            return Ok(Evaluated { outcome, found: 0, known });
        }
        let own = own_files(&changes, evidence.origin);
        let Inner { store, rules, .. } = self.desk;
        let shortcuts = Shortcuts::of(store, rules, &changes, &mut known, evidence.now).await?;
        let why = match evidence.origin {
            Origin::FirstListing | Origin::WiderListing => Why::NotedTarget,
            Origin::Change | Origin::Listing => Why::Target,
        };
        let changes = shortcuts.follow(changes, targets, why, &mut known, &mut outcome).await?;
        let ledger = ledger_of(store, &changes, &known.tree).await?;
        let passed = match evidence.origin {
            Origin::FirstListing | Origin::WiderListing => store.passed(&ids_of(&changes)).await?,
            Origin::Change | Origin::Listing => HashSet::new(),
        };
        for change in &changes {
            let rows = ledger.get(&change.file_id).map_or(&[][..], Vec::as_slice);
            let reached = if own.contains(&change.file_id) { Reached::Directly } else { Reached::Through };
            let mut evidence = Evidence { origin: evidence.origin.of_entry(reached), ..*evidence };
            if passed.contains(&change.file_id) {
                // Its log has told of it since the first run began, when nobody knew that it lies here.
                evidence.origin = Origin::Listing;
            }
            let decision = decide(change, &evidence, rules, &known.tree, rows);
            if let Decision::Record(new) = &decision {
                self.memory.brought.count(new, rows, rules, evidence.log.is_none());
            }
            outcome.moved.extend(moved(change, rows));
            match &change.entry {
                Entry::Gone if rows.iter().any(|row| !row.is_gone && evidence.is_about(&row.log)) => {
                    outcome.vanished.push(change.file_id.clone());
                }
                Entry::Present(_) if rows.iter().any(|row| row.is_gone) => {
                    outcome.returned.push(change.file_id.clone());
                }
                Entry::Gone | Entry::Present(_) | Entry::Unclear => {}
            }
            self.note(change, decision, &evidence, &mut known.tree, &mut outcome);
        }
        if !outcome.passed.is_empty() && !store.is_noting().await? {
            outcome.passed.clear();
        }
        let found = outcome.found.iter().filter(|new| new.found == Found::New).count();
        let is_news = |new: &NewDelivery| matches!(new.found, Found::New | Found::Unready(_));
        self.has_news |= outcome.found.iter().any(is_news) || !outcome.withdrawn.is_empty();
        Ok(Evaluated { outcome, found, known })
    }

    /// Notes in the outcome what an entry comes to.
    fn note(
        &mut self,
        change: &Change,
        decision: Decision,
        evidence: &Evidence<'_>,
        tree: &mut Tree,
        outcome: &mut Outcome,
    ) {
        let id = &change.file_id;
        let mut ask = |why| {
            let key = tree.get(id).and_then(|folder| folder.resource_key.clone());
            let question =
                Question { file_id: id.clone(), resource_key: key, why, attempt: 0, since: evidence.now };
            outcome.questions.push(question);
        };
        match decision {
            Decision::Adopt(folder) => {
                tree.extend([folder.clone()]);
                outcome.adopted.push(folder);
            }
            Decision::Drop => {
                tree.remove(id);
                outcome.adopted.retain(|folder| folder.id != *id);
                outcome.dropped.push(id.clone());
            }
            Decision::Trouble(trouble) => {
                ask(Why::Watched);
                let why = explain(trouble, &self.desk.account);
                if let Some(folder) = tree.get(id)
                    && folder.problem.as_ref() != Some(&why)
                {
                    warn!(folder.id = %id, folder.name = folder.name, why, "a folder cannot be watched");
                }
                outcome.troubled.push((id.clone(), why));
            }
            Decision::Ask(why) => {
                debug!(file.id = %id, ?why, "Drive is asked for it");
                ask(why);
            }
            Decision::Record(new) => {
                tell(&new);
                outcome.found.push(*new);
            }
            Decision::StopWaiting => outcome.awaited.push(id.clone()),
            Decision::Withdraw(reason) => outcome.withdrawn.push((id.clone(), reason)),
            Decision::Skip(skip) => {
                let reason = skip.to_string();
                if evidence.origin != Origin::Change {
                    *self.memory.left_out.entry(class_of(&reason).to_owned()).or_default() += 1;
                }
                tell_skipped(change, &reason, evidence.origin);
            }
            Decision::Nothing(why) => {
                debug!(file.id = %id, ?why, "nothing to do");
                if why == Unneeded::Elsewhere && evidence.log.is_some() {
                    outcome.passed.push(id.clone());
                }
            }
        }
    }

    /// The outcome is in the ledger. Downloads begin at once; those that are void end at once.
    pub(super) fn recorded(&mut self, evaluated: Evaluated) {
        let Evaluated { outcome, known, .. } = evaluated;
        if !outcome.moves_folders() && outcome.troubled.is_empty() && known.tree.is_small() {
            self.memory.known = known;
        }
        self.tell_deliveries();
    }

    fn tell_deliveries(&mut self) {
        if std::mem::take(&mut self.has_news) && self.desk.deliveries.wake(Reason::Handover).is_err() {
            debug!("the delivery engine has stopped");
        }
    }
}

/// Whoever is interrupted while the ledger records a page does not learn whether it was recorded: the delivery engine looks.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.tell_deliveries();
    }
}

/// The files among the entries of a listing that lie in the folder itself, where that matters.
fn own_files(changes: &[Change], origin: Origin) -> HashSet<FileId> {
    let files = changes.iter().filter(|change| folder_in(change).is_none() && !is_shortcut(change));
    match origin {
        Origin::WiderListing => files.map(|change| change.file_id.clone()).collect(),
        Origin::Change | Origin::Listing | Origin::FirstListing => HashSet::new(),
    }
}

fn ids_of(changes: &[Change]) -> Vec<FileId> {
    changes.iter().map(|change| change.file_id.clone()).collect()
}

/// What the ledger knows of those that it is asked about: what lies elsewhere is of no interest, unless it was waited for or
/// has failed.
async fn ledger_of(
    store: &Store,
    changes: &[Change],
    tree: &Tree,
) -> Result<HashMap<FileId, Vec<Ledger>>, store::Error> {
    let waiting = store.is_waiting().await?;
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
    store.ledger(&ids).await
}

/// The log that a file is on now, if the ledger has another one.
fn moved(change: &Change, rows: &[Ledger]) -> Option<(FileId, ChangeLog)> {
    let Entry::Present(file) = &change.entry else { return None };
    let log = ChangeLog::of(file);
    let moved = rows.iter().any(|row| row.log != log);
    moved.then(|| (change.file_id.clone(), log))
}

fn folder_in(change: &Change) -> Option<&FileId> {
    match &change.entry {
        Entry::Present(file) if file.kind() == Kind::Folder => Some(&file.id),
        Entry::Present(_) | Entry::Gone | Entry::Unclear => None,
    }
}

fn is_shortcut(change: &Change) -> bool {
    matches!(&change.entry, Entry::Present(file) if file.kind() == Kind::Shortcut)
}

fn explain(trouble: Trouble, account: &str) -> String {
    const AGAIN: &str = "A new folder of the same name has another id: write that one into the configuration";
    match trouble {
        Trouble::Trashed => {
            format!("it is in Drive's trash: restore it there, or take it out of the configuration. {AGAIN}")
        }
        Trouble::NotShown => format!(
            "Drive does not show it to {account}: it was deleted, or is not shared with that account any more. Share it \
             again, or take it out of the configuration. {AGAIN}"
        ),
    }
}

fn tell(new: &NewDelivery) {
    let (id, name) = (&new.file.id, new.file.name.as_str());
    match &new.found {
        Found::New => {
            let size_bytes = new.file.size;
            info!(file.id = %id, file.name = name, revision.id = %new.revision, size_bytes, "a new file");
        }
        Found::Unready(_) => {
            info!(file.id = %id, file.name = name, "Drive has not said its size and checksum yet");
        }
        Found::Existing(_) => debug!(file.id = %id, file.name = name, "was there before"),
        Found::Skipped(_, reason) => info!(file.id = %id, file.name = name, reason, "skipped"),
    }
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
