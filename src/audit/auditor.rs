//! One audit, from the first folder to the report.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tracing::debug;

use super::desk::{Desk, Progress};
use super::doubts::{Doubtful, Evidence, Wish};
use super::judge::Doubt;
use super::news::News;
use super::report::{FolderReport, Outcome, Report, Tally};
use super::rules::{Compiled, Rule};
use super::walk::{Walk, Watched, concerns_all, is_hidden, patiently};
use super::work::Work;
use super::{Error, Scope, Waits};
use crate::drive::Drive;
use crate::model::{ChangeLog, File, FileId, Kind, ResourceKeys};
use crate::store::{LogPosition, Store};
use crate::task::{Reason, Wake};

/// So many doubtful files are remembered; then they are looked at again before the audit goes on.
const DOUBTS: usize = 2_000;
/// So many of them are looked at together.
const TOGETHER: usize = 200;

/// How much an audit hurries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Somebody waits for it.
    Asked,
    /// Nobody does: it leaves as much time to others as it takes.
    Unasked,
}

/// What an audit is made with.
#[derive(Debug)]
pub struct Auditor<'a> {
    /// Drive.
    pub drive: &'a Drive,
    /// The database.
    pub store: &'a Store,
    /// The watched folders, in the order of the configuration.
    pub rules: &'a [Rule],
    /// What it does.
    pub scope: Scope,
    /// Waits.
    pub waits: Waits,
    /// How much it hurries.
    pub pace: Pace,
    /// The engine that reads Drive, if it runs.
    pub reader: Option<&'a Wake>,
    /// Where it shows how far it is.
    pub desk: Option<&'a Desk>,
}

impl Auditor<'_> {
    /// Makes an audit, and keeps its report in the database. It changes nothing else, unless it is to fix what it finds.
    pub async fn run(&self) -> Result<Report, Error> {
        let mut report = Report::new(Timestamp::now(), self.scope.checksums);
        let watched = self.watched(&mut report).await?;
        let mut work = Work::new(self.store, &watched, report);
        let mut walk = Walk::begin(self.drive, &watched).await?;
        loop {
            let began = std::time::Instant::now();
            let Some(page) = walk.next().await? else { break };
            work.take(page).await?;
            self.show(&walk, &work);
            if work.doubts.len() >= DOUBTS {
                self.settle(&walk, &mut work).await?;
            }
            if self.pace == Pace::Unasked {
                tokio::time::sleep(began.elapsed()).await;
            }
        }
        self.settle(&walk, &mut work).await?;
        let mut report = work.report;
        report.ended = Timestamp::now();
        self.store.keep_audit(report.began, &serde_json::to_string(&report)?).await?;
        Ok(report)
    }

    fn show(&self, walk: &Walk<'_>, work: &Work<'_>) {
        if let Some(desk) = self.desk {
            let (folders, doubtful) = (walk.folders(), work.doubts.len() as u64);
            desk.show(Progress { folders, files: work.files, doubtful });
        }
    }

    /// The folders of the configuration that Drive shows, each with its rules.
    async fn watched(&self, report: &mut Report) -> Result<Vec<Watched>, Error> {
        let mut all: Vec<Watched> = Vec::new();
        // By the id that the configuration has: `root` is an alias.
        let mut ids: HashMap<&FileId, Option<FileId>> = HashMap::new();
        for rule in self.rules {
            if !ids.contains_key(&rule.id) {
                let found = self.look_up(rule, report).await?;
                ids.insert(&rule.id, found.as_ref().map(|(folder, _)| folder.id.clone()));
                if let Some((folder, keys)) = found
                    && !all.iter().any(|watched| watched.folder.id == folder.id)
                {
                    report.folders.push(FolderReport {
                        id: folder.id.clone(),
                        name: folder.name.clone(),
                        destination: rule.destination.clone(),
                        tally: Tally::default(),
                    });
                    all.push(Watched { folder, keys, rules: Vec::new() });
                }
            }
            let id = ids.get(&rule.id).cloned().flatten();
            if let Some(watched) = all.iter_mut().find(|watched| Some(&watched.folder.id) == id.as_ref()) {
                watched.rules.push(Compiled::new(rule).map_err(Error::Rule)?);
            }
        }
        Ok(all)
    }

    /// A folder of the configuration. `None`: it cannot be audited, which is a problem.
    async fn look_up(&self, rule: &Rule, report: &mut Report) -> Result<Option<(File, ResourceKeys)>, Error> {
        let mut keys = ResourceKeys::of(&rule.id, rule.resource_key.as_deref());
        let id = &rule.id;
        let why = match patiently(|| self.drive.file(id, &keys)).await {
            Ok(folder) if folder.trashed => format!("the folder {} ({id}) is in Drive's trash", folder.name),
            Ok(folder) if folder.kind() != Kind::Folder => format!("{} ({id}) is not a folder", folder.name),
            Ok(folder) => {
                keys.extend(folder.resource_key.clone().map(|key| (folder.id.clone(), key)));
                return Ok(Some((folder, keys)));
            }
            Err(error) if concerns_all(&error) => return Err(error.into()),
            Err(error) => format!("the folder {id} cannot be looked at: {error}"),
        };
        report.problem(why);
        Ok(None)
    }

    /// Looks at doubtful files again, when the logs had time to tell of them.
    async fn settle(&self, walk: &Walk<'_>, work: &mut Work<'_>) -> Result<(), Error> {
        if work.doubts.is_empty() {
            return Ok(());
        }
        debug!(count = work.doubts.len(), "files that the database may not know yet are looked at again");
        let before = self.store.log_positions().await?;
        self.have_read();
        tokio::time::sleep(match self.pace {
            Pace::Asked => self.waits.settle_asked,
            Pace::Unasked => self.waits.settle,
        })
        .await;
        let doubts = std::mem::take(&mut work.doubts);
        let logs = self.store.log_positions().await?;
        let interest: HashSet<FileId> = doubts
            .iter()
            .flat_map(|doubtful| {
                let chain = walk.chain(&doubtful.wish.seen.folder);
                doubtful.items(&chain).cloned().collect::<Vec<_>>()
            })
            .collect();
        // Before the rows: what the logs do not say any more is in them.
        let news = News::read(self.drive, &logs, &interest).await?;
        if !news.items.is_empty() {
            self.have_read();
        }
        let mut wishes = doubts.into_iter().map(|doubtful| doubtful.wish).peekable();
        while wishes.peek().is_some() {
            let together: Vec<Wish> = wishes.by_ref().take(TOGETHER).collect();
            let doubts = work.weigh(together).await?;
            self.conclude(walk, work, doubts, &news, [&before, &logs]).await?;
        }
        Ok(())
    }

    /// What is doubtful for the second time and not excused is missing, if Drive still shows it.
    async fn conclude(
        &self,
        walk: &Walk<'_>,
        work: &mut Work<'_>,
        doubts: Vec<Doubtful>,
        news: &News,
        [before, now]: [&HashMap<ChangeLog, LogPosition>; 2],
    ) -> Result<(), Error> {
        let chains: Vec<Vec<FileId>> =
            doubts.iter().map(|doubtful| walk.chain(&doubtful.wish.seen.folder)).collect();
        let around: HashSet<&FileId> = chains.iter().flatten().collect();
        let folders = self.store.folder_states(&around.into_iter().cloned().collect::<Vec<_>>()).await?;
        let items: HashSet<&FileId> =
            doubts.iter().zip(&chains).flat_map(|(doubtful, chain)| doubtful.items(chain)).collect();
        let asked = self.store.questions_among(&items.into_iter().cloned().collect::<Vec<_>>()).await?;
        let evidence = Evidence { news, folders: &folders, asked: &asked, before, now };
        for (doubtful, chain) in doubts.iter().zip(&chains) {
            if let Some(excuse) = doubtful.excuse(chain, &evidence) {
                work.count(&doubtful.wish, Outcome::Waiting, excuse);
            } else if let Some((outcome, reason)) = self.look_again(doubtful).await? {
                if outcome == Outcome::Missing && self.scope.fix {
                    let remedy = doubtful.remedy(chain, &folders);
                    self.store.bring(doubtful.doubt.stale(), &remedy, Timestamp::now()).await?;
                    work.report.queued += 1;
                    work.count(
                        &doubtful.wish,
                        Outcome::Waiting,
                        "this audit has put it in the queue".to_owned(),
                    );
                } else {
                    work.count(&doubtful.wish, outcome, reason);
                }
            }
        }
        if work.report.queued > 0 {
            self.have_read();
        }
        Ok(())
    }

    /// Has Drive read now, if somebody is there who does.
    fn have_read(&self) {
        if self.reader.is_some_and(|reader| reader.wake(Reason::Handover).is_err()) {
            debug!("the engine that reads Drive has stopped");
        }
    }

    /// Asks Drive for the file itself: a listing may show what has gone, or an earlier content. `None`: it is not wanted any
    /// more.
    async fn look_again(&self, doubtful: &Doubtful) -> Result<Option<(Outcome, String)>, Error> {
        let seen = &doubtful.wish.seen;
        let mut keys = seen.keys.clone();
        keys.extend(seen.file.resource_key.clone().map(|key| (seen.file.id.clone(), key)));
        let file = match patiently(|| self.drive.file(&seen.file.id, &keys)).await {
            Ok(file) => file,
            Err(error) if is_hidden(&error) => return Ok(None),
            Err(error) if concerns_all(&error) => return Err(error.into()),
            Err(error) => {
                return Ok(Some((Outcome::Waiting, format!("Drive does not describe it: {error}"))));
            }
        };
        if file.trashed || file.parent != seen.file.parent {
            return Ok(None);
        }
        if file.revision_key() != seen.file.revision_key() {
            return Ok(Some((Outcome::Waiting, "its content has just changed".to_owned())));
        }
        let reason = match &doubtful.doubt {
            Doubt::Unknown if file.size.is_none() => {
                "the database does not know it; Drive has not said its size".to_owned()
            }
            doubt => doubt.reason(),
        };
        Ok(Some((Outcome::Missing, reason)))
    }
}
