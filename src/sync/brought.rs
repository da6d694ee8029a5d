//! What changed settings bring: files that an earlier setting had left out, counted until all that it concerns has been
//! listed. Values in, sentences out.

use std::collections::{BTreeMap, HashMap};

use super::rules::{Existing, Rules};
use crate::model::delivery::Cause;
use crate::model::{FileId, Stage};
use crate::store::{Found, Ledger, NewDelivery};

/// Files that a changed setting brings, folder by folder.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Watched folders whose settings have changed, each with the setting that had left files out.
    changed: HashMap<FileId, &'static str>,
    counts: BTreeMap<(FileId, &'static str), usize>,
}

const EXISTING: &str = "existing = \"ignore\"";
const ON_UPDATE: &str = "on_update = \"ignore\"";

impl Brought {
    /// The settings of a folder have changed: what its listings bring, this setting had left out.
    pub(super) fn expect(&mut self, folder: FileId, setting: &'static str) {
        self.changed.insert(folder, setting);
    }

    /// Counts a file if it is in the queue because of a setting. `known`: all that the ledger knew of the file.
    pub(super) fn count(&mut self, new: &NewDelivery, known: &[Ledger], rules: &Rules, by_listing: bool) {
        if new.found != Found::New {
            return;
        }
        let newest = known.iter().rev().find(|row| row.stage != Stage::Unready);
        let setting = match newest {
            Some(row) if row.stage == Stage::Existing && wants_existing(rules, &new.watched) => EXISTING,
            Some(row) if row.stage == Stage::Skipped && row.cause == Some(Cause::Setting) => ON_UPDATE,
            None if by_listing => match self.changed.get(&new.watched) {
                Some(setting) => setting,
                None => return,
            },
            Some(_) | None => return,
        };
        *self.counts.entry((new.watched.clone(), setting)).or_default() += 1;
    }

    /// What is to be said, each with the folder and the number of files.
    pub(super) fn said(self) -> Vec<(FileId, usize, String)> {
        let nothing = self.changed.into_keys().filter(|id| !self.counts.keys().any(|(other, _)| other == id));
        let nothing = nothing.map(|id| {
            (id, 0, "no file that the earlier settings had left out is downloaded by the new ones".to_owned())
        });
        let files = |count| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        let are = |count| if count == 1 { "is" } else { "are" };
        let mut said: Vec<_> = nothing.collect();
        said.extend(self.counts.iter().map(|((id, setting), &count)| {
            (
                id.clone(),
                count,
                format!("{} that {setting} had left out {} downloaded now", files(count), are(count)),
            )
        }));
        said
    }
}

fn wants_existing(rules: &Rules, watched: &FileId) -> bool {
    let mut of_folder = rules.folders().iter().filter(|rule| rule.id == *watched);
    of_folder.any(|rule| rule.existing == Existing::Download)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::rules::Folder;
    use super::super::rules::tests::{file, folder};
    use super::*;
    use crate::model::delivery::OnUpdate;
    use crate::model::{ChangeLog, Checksums, RelativePath, RevisionId};

    fn row(stage: Stage, cause: Option<Cause>) -> Ledger {
        Ledger {
            revision: RevisionId::new("r1"),
            log: ChangeLog::User,
            seen: Timestamp::UNIX_EPOCH,
            stage,
            checksums: Checksums::default(),
            modified: None,
            cause,
            is_gone: false,
            reason: None,
        }
    }

    fn new(watched: &str, found: Found) -> NewDelivery {
        NewDelivery {
            file: Box::new(file("a.mp4", "video/mp4")),
            revision: RevisionId::new("r1"),
            watched: FileId::new(watched),
            destination: "/videos".into(),
            wanted: RelativePath::from_segments(["a.mp4"]),
            on_update: OnUpdate::Replace,
            found,
        }
    }

    #[test]
    fn files_are_counted_by_the_setting_that_had_left_them_out() {
        let download = |id| Folder { existing: Existing::Download, ..folder(id) };
        let rules = Rules::new(vec![download("a"), folder("b")]);
        let mut brought = Brought::default();
        brought.expect(FileId::new("b"), "recursive = false");
        brought.expect(FileId::new("c"), "the filters");
        let existing = [row(Stage::Existing, None)];
        let ignored = [row(Stage::Done, None), row(Stage::Skipped, Some(Cause::Setting))];
        for (watched, known, by_listing) in [
            ("a", &existing[..], true),
            ("a", &existing, true),
            ("b", &existing, true),
            ("a", &ignored, false),
            ("a", &[], true),
            ("b", &[], true),
            ("b", &[], false),
            ("b", &[row(Stage::Superseded, None)], true),
        ] {
            brought.count(&new(watched, Found::New), known, &rules, by_listing);
            brought.count(&new(watched, Found::Existing(None)), known, &rules, by_listing);
        }
        let said: Vec<String> =
            brought.said().into_iter().map(|(id, count, said)| format!("{id} {count}: {said}")).collect();
        assert_eq!(
            said,
            [
                "c 0: no file that the earlier settings had left out is downloaded by the new ones",
                "a 2: 2 files that existing = \"ignore\" had left out are downloaded now",
                "a 1: 1 file that on_update = \"ignore\" had left out is downloaded now",
                "b 1: 1 file that recursive = false had left out is downloaded now",
            ]
        );
    }
}
