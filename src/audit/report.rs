//! What an audit has found, in numbers and by name.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::model::FileId;
use crate::model::name::printable;
use crate::store::Store;

/// So many files of each outcome are named; the numbers count all.
const NAMED: usize = 100;
/// So many missing files are named in a sentence.
const IN_A_SENTENCE: usize = 3;

/// What became of a file that the rules want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// At its place, as it was delivered.
    Here,
    /// Somebody has taken it away since it was delivered.
    TakenAway,
    /// Somebody has changed it since it was delivered.
    Changed,
    /// It was never at its place, and nothing explains that.
    Missing,
    /// In the queue, or waiting for something that comes by itself.
    Waiting,
    /// Given up.
    Failed,
    /// Not delivered, for a reason that may pass.
    Skipped,
    /// Its destination cannot be looked at now.
    Unseen,
}

/// Why the rules do not want a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// Neither its type nor its ending is a video's.
    Type,
    /// Google's own format, without bytes.
    GoogleFormat,
    /// A shortcut that is not followed.
    Shortcut,
    /// A shortcut to something that Drive does not show.
    Dangling,
    /// `name` or `exclude`.
    Name,
    /// `min_size`.
    TooSmall,
    /// `max_size`.
    TooLarge,
    /// In a folder below one that is not recursive.
    TooDeep,
    /// It was there before the first run, and `existing` is "ignore".
    Existing,
}

impl LeftOut {
    /// In words, after a number.
    pub fn words(self) -> &'static str {
        match self {
            Self::Type => "no video by type or name ending",
            Self::GoogleFormat => "in a Google format without a file to download",
            Self::Shortcut => "shortcuts that are not followed",
            Self::Dangling => "shortcuts to something that Drive does not show",
            Self::Name => "left out by `name` or `exclude`",
            Self::TooSmall => "smaller than `min_size`",
            Self::TooLarge => "larger than `max_size`",
            Self::TooDeep => "in folders below one that is not recursive",
            Self::Existing => "there before the first run, and `existing` is \"ignore\"",
        }
    }
}

/// Numbers of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// The rules want them: the sum of all that follow.
    pub wanted: u64,
    /// At their places, as they were delivered.
    pub here: u64,
    /// Taken away since they were delivered.
    pub taken_away: u64,
    /// Changed since they were delivered.
    pub changed: u64,
    /// Never at their places, and nothing explains that.
    pub missing: u64,
    /// In the queue, or waiting for something that comes by itself.
    pub waiting: u64,
    /// Given up.
    pub failed: u64,
    /// Not delivered, for a reason that may pass.
    pub skipped: u64,
    /// At destinations that cannot be looked at now.
    pub unseen: u64,
    /// What the rules do not want.
    pub left_out: BTreeMap<LeftOut, u64>,
}

impl Tally {
    fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Here => &mut self.here,
            Outcome::TakenAway => &mut self.taken_away,
            Outcome::Changed => &mut self.changed,
            Outcome::Missing => &mut self.missing,
            Outcome::Waiting => &mut self.waiting,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Unseen => &mut self.unseen,
        }
    }

    fn count(&mut self, outcome: Outcome) {
        self.wanted += 1;
        *self.of(outcome) += 1;
    }

    fn leave_out(&mut self, why: LeftOut) {
        *self.left_out.entry(why).or_default() += 1;
    }
}

/// One watched folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderReport {
    /// Its id in Drive.
    pub id: FileId,
    /// Its name there.
    pub name: String,
    /// Where its files go, by its first rule.
    pub destination: PathBuf,
    /// Its files.
    #[serde(flatten)]
    pub tally: Tally,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// What became of it.
    pub outcome: Outcome,
    /// Its id in Drive.
    pub file_id: FileId,
    /// Its path below the watched folder.
    pub path: String,
    /// The watched folder.
    pub folder: FileId,
    /// Why.
    pub reason: String,
    /// Drive may show it only to those who have a resource key. Nothing else is known of a report of an earlier version.
    #[serde(default = "yes")]
    pub needs_key: bool,
}

fn yes() -> bool {
    true
}

/// What an audit has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Whether every file was read.
    pub checksums: bool,
    /// How many missing files it has put in the queue; they count as waiting.
    pub queued: u64,
    /// All folders together.
    pub total: Tally,
    /// Folder by folder.
    pub folders: Vec<FolderReport>,
    /// Files by name: not those that are here, and a hundred of each other outcome at most.
    pub files: Vec<Named>,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

impl Report {
    /// Nothing has been looked at yet.
    pub(super) fn new(began: Timestamp, checksums: bool) -> Self {
        Self {
            began,
            ended: began,
            checksums,
            queued: 0,
            total: Tally::default(),
            folders: Vec::new(),
            files: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Counts a file of the folder with this number.
    pub(super) fn count(&mut self, folder: usize, file: Named) {
        self.total.count(file.outcome);
        self.folders[folder].tally.count(file.outcome);
        if file.outcome != Outcome::Here && self.named(file.outcome).count() < NAMED {
            self.files.push(file);
        }
    }

    /// Counts what the rules of the folder with this number do not want.
    pub(super) fn leave_out(&mut self, folder: usize, why: LeftOut) {
        self.total.leave_out(why);
        self.folders[folder].tally.leave_out(why);
    }

    /// Something could not be looked at.
    pub(super) fn problem(&mut self, what: String) {
        if self.problems.len() < NAMED {
            self.problems.push(what);
        }
    }

    /// The files with this outcome that have a name.
    pub fn named(&self, outcome: Outcome) -> impl Iterator<Item = &Named> {
        self.files.iter().filter(move |file| file.outcome == outcome)
    }

    /// Whether everything was looked at, and nothing is missing.
    pub fn is_well(&self) -> bool {
        self.total.missing == 0 && self.total.unseen == 0 && self.problems.is_empty()
    }

    /// What is missing, in a sentence.
    pub fn complaint(&self) -> Option<String> {
        let count = self.total.missing;
        let names: Vec<&str> =
            self.named(Outcome::Missing).map(|file| file.path.as_str()).take(IN_A_SENTENCE).collect();
        let more = if count > names.len() as u64 {
            format!(" and {} more", count - names.len() as u64)
        } else {
            String::new()
        };
        let files = if count == 1 { "1 file is" } else { &format!("{count} files are") };
        (count > 0).then(|| {
            format!(
                "{files} in Drive and never arrived ({}{more}); `gdrive-webhook audit --fix` puts missing files in the \
                 queue; otherwise they come with the next daily comparison and the audit after it",
                printable(&names.join(", "))
            )
        })
    }

    /// These files are not wanted any more: if they were missing, they do not count.
    pub(super) fn let_go(&mut self, gone: &HashSet<FileId>) {
        let is_gone = |file: &Named| file.outcome == Outcome::Missing && gone.contains(&file.file_id);
        for file in self.files.extract_if(.., |file| is_gone(file)) {
            let folder = self.folders.iter_mut().filter(|folder| folder.id == file.folder);
            for tally in folder.map(|folder| &mut folder.tally).chain([&mut self.total]) {
                tally.missing = tally.missing.saturating_sub(1);
                tally.wanted = tally.wanted.saturating_sub(1);
            }
        }
    }

    /// These files were recorded after the audit: they are not missing any more.
    fn found(&mut self, brought: &HashSet<FileId>) {
        for file in self.files.iter_mut().filter(|file| file.outcome == Outcome::Missing) {
            if !brought.contains(&file.file_id) {
                continue;
            }
            file.outcome = Outcome::Waiting;
            "it has come into the queue since the audit".clone_into(&mut file.reason);
            let folder = self.folders.iter_mut().filter(|folder| folder.id == file.folder);
            for tally in folder.map(|folder| &mut folder.tally).chain([&mut self.total]) {
                tally.missing = tally.missing.saturating_sub(1);
                tally.waiting += 1;
            }
        }
    }
}

/// The last audit. What was missing and has been recorded since is not missing any more, nor is what lies in a folder that
/// is no longer watched.
pub async fn last(store: &Store) -> Result<Option<Report>, Error> {
    let Some(text) = store.audit().await? else { return Ok(None) };
    let mut report: Report = serde_json::from_str(&text)?;
    let missing: Vec<Named> = report.named(Outcome::Missing).cloned().collect();
    if !missing.is_empty() {
        let ids: Vec<FileId> = missing.iter().map(|file| file.file_id.clone()).collect();
        let brought = store.recorded_since(&ids, report.began).await?;
        report.found(&brought);
        let folders: HashSet<FileId> = missing.iter().map(|file| file.folder.clone()).collect();
        let states = store.folder_states(&folders.into_iter().collect::<Vec<_>>()).await?;
        let is_wanted = |folder: &FileId| states.get(folder).is_some_and(|state| state.is_wanted);
        let unwanted = missing.into_iter().filter(|file| !is_wanted(&file.folder));
        report.let_go(&unwanted.map(|file| file.file_id).collect());
    }
    Ok(Some(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(outcome: Outcome, id: &str) -> Named {
        Named {
            outcome,
            file_id: FileId::new(id),
            path: format!("{id}.mp4"),
            folder: FileId::new("w"),
            reason: "why".to_owned(),
            needs_key: false,
        }
    }

    fn report() -> Report {
        let mut report = Report::new(Timestamp::UNIX_EPOCH, false);
        let folder = |id: &str| FolderReport {
            id: FileId::new(id),
            name: id.to_owned(),
            destination: "/videos".into(),
            tally: Tally::default(),
        };
        report.folders.extend([folder("w"), folder("other")]);
        report
    }

    #[test]
    fn files_are_counted_by_folder_and_in_all_and_those_that_matter_are_named() {
        let mut report = report();
        for outcome in [Outcome::Here, Outcome::TakenAway, Outcome::Changed, Outcome::Unseen] {
            report.count(0, named(outcome, "a"));
        }
        for number in 0..NAMED + 5 {
            report.count(1, named(Outcome::Waiting, &number.to_string()));
        }
        report.leave_out(0, LeftOut::Type);
        assert_eq!(
            (report.total.wanted, report.total.waiting, report.folders[0].tally.wanted),
            (109, 105, 4)
        );
        assert_eq!((report.files.len(), report.named(Outcome::Waiting).count()), (NAMED + 3, NAMED));
        assert_eq!(report.folders[0].tally.left_out, BTreeMap::from([(LeftOut::Type, 1)]));
        assert!(!report.is_well() && report.complaint().is_none());
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains("\"left_out\":{\"type\":1}"), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn what_was_missing_and_came_since_is_not_missing_any_more() {
        let mut report = report();
        assert!(report.is_well());
        for id in ["a", "b", "c", "d"] {
            report.count(0, named(Outcome::Missing, id));
        }
        let said = report.complaint().unwrap();
        assert!(
            said.starts_with("4 files are") && said.contains("(a.mp4, b.mp4, c.mp4 and 1 more)"),
            "{said}"
        );
        report.found(&HashSet::from(["a", "b", "c"].map(FileId::new)));
        assert_eq!((report.total.missing, report.total.waiting, report.folders[0].tally.missing), (1, 3, 1));
        assert!(report.complaint().unwrap().starts_with("1 file is in Drive and never arrived (d.mp4)"));
        let mut gone = report.clone();
        gone.let_go(&HashSet::from(["a", "d"].map(FileId::new)));
        assert_eq!((gone.total.wanted, gone.total.missing, gone.total.waiting), (3, 0, 3), "a waits");
        assert_eq!((gone.folders[0].tally.wanted, gone.files.len()), (3, 3));
        report.found(&HashSet::from([FileId::new("d")]));
        assert!(report.is_well() && report.complaint().is_none());
    }

    #[test]
    fn no_name_begins_a_line_or_moves_the_cursor() {
        let mut report = report();
        report.count(0, named(Outcome::Missing, "a\n\u{1b}[2J"));
        let said = report.complaint().unwrap();
        assert!(!said.contains(char::is_control), "{said:?}");
    }
}
