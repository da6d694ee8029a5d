//! Lists one folder. A folder that cannot be listed waits alone, with its own retry; only what concerns every call comes
//! back as an error.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::decision::{Evidence, Origin, Trouble};
use super::desk::Desk;
use super::error::{Error, concerns_all, is_hidden};
use super::shortcuts::Targets;
use super::targets;
use super::waits::{Waits, after};
use crate::drive::{self, Corpus, Drive, Fault, Listed};
use crate::model::{Change, ChangeLog, Entry, File, FileId, Kind, ResourceKeys};
use crate::store::{DueFolder, Finished, Listing, Outcome, Question, Why};

/// More pages than this do not belong to a folder: Drive allows half a million items.
const PAGES: usize = 5_000;
/// A folder that fails as often as this in a row is named to the user. A watched one is named at once.
const NAMED_AFTER: u32 = 3;

/// The listing of one folder.
#[derive(Debug)]
pub(super) struct Lister<'a> {
    pub(super) drive: &'a Drive,
    pub(super) desk: &'a Desk,
    pub(super) waits: &'a Waits,
    pub(super) due: &'a DueFolder,
}

/// What became of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Whether it was listed to its end.
    pub(super) is_finished: bool,
    /// Files for the queue.
    pub(super) found: usize,
}

/// What `files.get` says of the folder itself.
enum Look {
    /// It can be listed.
    There,
    /// It is not listed now; what is to be done about it is in the ledger.
    Settled,
}

impl Lister<'_> {
    /// Lists the folder to its end. Dropping it loses nothing: each page is recorded whole.
    pub(super) async fn list(&self) -> Result<Done, Error> {
        let folder = &self.due.folder;
        let mut done = Done::default();
        let keys = self.keys().await?;
        if folder.watched && matches!(self.look(&keys).await?, Look::Settled) {
            return Ok(done);
        }
        match self.pages(&keys, &mut done).await {
            Err(Error::Drive(error)) if is_hidden(&error) => {
                if folder.watched || matches!(self.look(&keys).await?, Look::There) {
                    self.failed(&error, &format!("Drive does not let it be listed: {error}")).await?;
                }
            }
            Err(Error::Drive(error)) => {
                self.failed(&error, &format!("it cannot be listed: {error}")).await?;
                if concerns_all(&error) {
                    return Err(error.into());
                }
            }
            Err(error @ Error::Endless { .. }) => {
                self.wait(self.waits.failed(self.due.attempt), Some(&error.to_string())).await?;
            }
            outcome => outcome?,
        }
        Ok(done)
    }

    /// The keys that the folder and those above it ask for. The key that the configuration has comes first.
    async fn keys(&self) -> Result<ResourceKeys, Error> {
        let id = &self.due.folder.id;
        let rule = self.desk.rules().folders().iter().find(|rule| rule.id == *id);
        let mut keys = ResourceKeys::of(id, rule.and_then(|rule| rule.resource_key.as_deref()));
        for (id, key) in self.desk.store().resource_keys(id).await?.iter() {
            keys.add(id.clone(), key.to_owned());
        }
        Ok(keys)
    }

    async fn pages(&self, keys: &ResourceKeys, done: &mut Done) -> Result<(), Error> {
        let folder = &self.due.folder;
        let is_open = self.desk.store().log_state(&folder.log).await?.is_some_and(|log| log.token.is_some());
        let corpus = if is_open { Corpus::Of(&folder.log) } else { Corpus::Visible };
        let mut seen = Vec::new();
        let (mut page, mut asked): (Option<String>, HashSet<String>) = (None, HashSet::new());
        loop {
            let moment = self.desk.moment().await;
            let Listed { files, unclear, next } =
                self.drive.children(corpus, &folder.id, keys, page.as_deref()).await?;
            seen.extend(files.iter().flat_map(seen_by).chain(unclear.iter().cloned()));
            let unclear = unclear.into_iter().map(|file_id| Change { file_id, entry: Entry::Unclear });
            let mut changes: Vec<Change> = files.into_iter().map(as_entry).chain(unclear).collect();
            let targets = targets::look_up(self.drive, self.desk, &changes).await?;
            let now = Timestamp::now();
            let mut turn = self.desk.turn().await;
            if turn.has_forgotten(moment) {
                debug!(folder.id = %folder.id, "too much has changed since this page was asked for; the folder is listed again");
                return Ok(());
            }
            // A log may have said meanwhile that an item has moved away.
            changes.retain(|change| !turn.has_heard(moment, &change.file_id));
            let evidence = Evidence::of(Origin::of(folder.listing), now);
            let evaluated = turn.evaluate(changes, &targets, &evidence).await?;
            let finished = next.is_none().then(|| Finished {
                due: self.due,
                seen: &seen,
                look_at: after(now, self.waits.look(self.due.looks)),
            });
            let is_last = finished.is_some();
            self.desk.store().commit_listing(&evaluated.outcome, finished, now).await?;
            done.found += evaluated.found;
            turn.recorded(evaluated);
            drop(turn);
            if is_last {
                done.is_finished = true;
                if folder.problem.is_some() {
                    info!(folder.id = %folder.id, folder.name = folder.name, "a folder can be listed again");
                }
                return Ok(());
            }
            if let Some(next) = &next
                && (asked.len() >= PAGES || !asked.insert(next.clone()))
            {
                return Err(Error::Endless { what: format!("list the folder {}", folder.name) });
            }
            page = next;
        }
    }

    /// Asks Drive for the folder itself.
    async fn look(&self, keys: &ResourceKeys) -> Result<Look, Error> {
        let folder = &self.due.folder;
        let moment = self.desk.moment().await;
        let file = match self.drive.file(&folder.id, keys).await {
            Ok(file) => file,
            Err(error) if is_hidden(&error) => return self.hidden().await,
            Err(error) => {
                self.failed(&error, &format!("it cannot be looked at: {error}")).await?;
                return if concerns_all(&error) { Err(error.into()) } else { Ok(Look::Settled) };
            }
        };
        if file.trashed && folder.watched {
            self.troubled(Trouble::Trashed).await?;
            return Ok(Look::Settled);
        }
        let is_same_log = ChangeLog::of(&file) == folder.log;
        let mut turn = self.desk.turn().await;
        if turn.has_heard(moment, &folder.id) {
            return Ok(Look::Settled);
        }
        let now = Timestamp::now();
        let evidence = Evidence::of(Origin::Listing, now);
        let mut evaluated = turn.evaluate(vec![as_entry(file)], &Targets::new(), &evidence).await?;
        if is_same_log {
            // It is about to be listed.
            evaluated.outcome.adopted.iter_mut().for_each(|folder| folder.listing = Listing::Done);
        }
        let stays = evaluated.outcome.dropped.is_empty();
        self.desk.store().record(&evaluated.outcome, now).await?;
        turn.recorded(evaluated);
        // A folder that is on another log now is listed when that log has begun.
        Ok(if stays && is_same_log { Look::There } else { Look::Settled })
    }

    /// Drive does not show the folder. A permission may take effect late: it is dropped when Drive has said so for a while.
    async fn hidden(&self) -> Result<Look, Error> {
        let folder = &self.due.folder;
        if folder.watched {
            self.troubled(Trouble::NotShown).await?;
        } else if let Some(wait) = self.waits.hidden(self.due.attempt) {
            debug!(folder.id = %folder.id, folder.name = folder.name, "Drive does not show a folder; it is asked for again");
            self.wait(wait, None).await?;
        } else {
            let change = Change { file_id: folder.id.clone(), entry: Entry::Gone };
            let now = Timestamp::now();
            let mut turn = self.desk.turn().await;
            let evaluated =
                turn.evaluate(vec![change], &Targets::new(), &Evidence::of(Origin::Listing, now)).await?;
            self.desk.store().record(&evaluated.outcome, now).await?;
            turn.recorded(evaluated);
        }
        Ok(Look::Settled)
    }

    /// A watched folder cannot be watched: it is named, and asked for until it can.
    async fn troubled(&self, trouble: Trouble) -> Result<(), Error> {
        let folder = &self.due.folder;
        let (now, why) = (Timestamp::now(), self.desk.explain(trouble));
        if folder.problem.as_ref() != Some(&why) {
            warn!(folder.id = %folder.id, folder.name = folder.name, why, "a folder cannot be watched");
        }
        let question = Question {
            file_id: folder.id.clone(),
            resource_key: folder.resource_key.clone(),
            why: Why::Watched,
            attempt: 0,
            since: now,
        };
        self.desk.store().record(&Outcome { questions: vec![question], ..Outcome::default() }, now).await?;
        self.wait(self.waits.watched(self.due.attempt), Some(&why)).await
    }

    async fn failed(&self, error: &drive::Error, why: &str) -> Result<(), Error> {
        let folder = &self.due.folder;
        let is_named = folder.watched || self.due.attempt + 1 >= NAMED_AFTER;
        if is_named && folder.problem.is_none() {
            warn!(folder.id = %folder.id, folder.name = folder.name, why, "a folder cannot be listed");
        }
        let wait = error.retry_after().unwrap_or_default().max(self.waits.failed(self.due.attempt));
        // A page token of a listing that is refused has grown too old; the listing begins again. One that is refused at
        // once again is no matter of its age.
        let is_old = error.fault() == Fault::PageToken && self.due.attempt == 0;
        let wait = if is_old { Duration::ZERO } else { wait };
        self.wait(wait, is_named.then_some(why)).await
    }

    async fn wait(&self, wait: Duration, problem: Option<&str>) -> Result<(), Error> {
        let now = Timestamp::now();
        self.desk.store().folder_failed(self.due, after(now, wait), problem, now).await?;
        Ok(())
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
