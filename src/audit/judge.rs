//! What the database says of a file that the rules want. Values in, a value out: the audit's own reading of the rows.

use super::report::Outcome;
use crate::model::delivery::Cause;
use crate::model::{Delivery, DeliveryId, File, FileId, Stage};
use crate::store::Content;

/// What the rows of a file say of the content that Drive has now.
#[derive(Clone, Debug)]
pub(super) enum Verdict<'a> {
    /// It was delivered; the disk tells the rest.
    Delivered(&'a Delivery),
    /// There is a reason why it is not at its place.
    Explained(Outcome, String),
    /// It was there before the first run, and is left in Drive.
    Existing,
    /// Nothing explains why it is not at its place.
    Doubtful(Doubt),
}

/// Why a file is doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The database does not know the file.
    Unknown,
    /// The database knows the file, and another content of it.
    OtherContent,
    /// The database has let it go.
    LetGo(String),
    /// It is said to be delivered, but not where.
    NeverPlaced(DeliveryId),
    /// It was noted as there before the first run, and is wanted.
    Existing(DeliveryId),
}

impl Doubt {
    /// For the user.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unknown => "the database does not know it".to_owned(),
            Self::OtherContent => "the database knows only other content of it".to_owned(),
            Self::LetGo(why) => format!("the database no longer wants it: {why}"),
            Self::NeverPlaced(_) => "it counts as delivered, but the database does not know where".to_owned(),
            Self::Existing(_) => {
                "it was there before the first run, and `existing` is \"download\" now".to_owned()
            }
        }
    }

    /// The row that keeps it from being delivered anew.
    pub(super) fn stale(&self) -> Option<&DeliveryId> {
        match self {
            Self::NeverPlaced(id) | Self::Existing(id) => Some(id),
            Self::Unknown | Self::OtherContent | Self::LetGo(_) => None,
        }
    }
}

/// `known`: all rows of the file in the order of arrival. `ignores_existing`: whether what was there before the first run
/// stays in Drive, for the watched folder that it was noted in.
pub(super) fn judge<'a>(
    file: &File,
    known: &'a [Content],
    ignores_existing: impl Fn(&FileId) -> bool,
) -> Verdict<'a> {
    let Some(content) = current(file, known) else {
        let unready = known.iter().rev().find(|content| content.delivery.stage == Stage::Unready);
        return match unready {
            Some(content) => explained(Outcome::Waiting, &content.delivery),
            None if known.is_empty() => Verdict::Doubtful(Doubt::Unknown),
            None => Verdict::Doubtful(Doubt::OtherContent),
        };
    };
    let delivery = &content.delivery;
    match delivery.stage {
        Stage::Done if delivery.published.is_some() => Verdict::Delivered(delivery),
        Stage::Done => Verdict::Doubtful(Doubt::NeverPlaced(delivery.id.clone())),
        Stage::Unready | Stage::Pending | Stage::Downloading | Stage::Publishing => {
            explained(Outcome::Waiting, delivery)
        }
        Stage::Failed => explained(Outcome::Failed, delivery),
        Stage::Skipped => explained(Outcome::Skipped, delivery),
        Stage::Superseded => Verdict::Doubtful(Doubt::LetGo(delivery.reason.clone().unwrap_or_default())),
        Stage::Existing if ignores_existing(&content.watched) => Verdict::Existing,
        Stage::Existing => Verdict::Doubtful(Doubt::Existing(delivery.id.clone())),
    }
}

fn explained(outcome: Outcome, delivery: &Delivery) -> Verdict<'static> {
    let otherwise = match delivery.stage {
        Stage::Pending => "it is in the queue",
        Stage::Downloading => "it is being downloaded",
        Stage::Publishing => "it is being moved to its place",
        _ => "no reason is known",
    };
    let mut reason = delivery.reason.clone().unwrap_or_else(|| otherwise.to_owned());
    // Where a setting is to be changed, the reason says so, and another attempt alone would fail again.
    if outcome == Outcome::Failed && delivery.cause != Some(Cause::Setting) {
        reason += &format!("; `gdrive-webhook retry {}` tries it again", delivery.id);
    }
    Verdict::Explained(outcome, reason)
}

/// The row of the content that Drive has. It has to be the newest one: what came later would have taken its place.
fn current<'a>(file: &File, known: &'a [Content]) -> Option<&'a Content> {
    let key = file.revision_key();
    let newest = known.iter().rev().find(|content| {
        let delivery = &content.delivery;
        // Without a checksum it is no content yet.
        delivery.checksums.strongest().is_some() || Some(&delivery.revision) == key.as_ref()
    })?;
    let delivery = &newest.delivery;
    let is_on_its_way =
        matches!(delivery.stage, Stage::Done | Stage::Pending | Stage::Downloading | Stage::Publishing);
    let has_same_bytes = delivery.checksums.agree_with(&file.checksums);
    let is_it = Some(&delivery.revision) == key.as_ref() || is_on_its_way && has_same_bytes;
    is_it.then_some(newest)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use jiff::Timestamp;

    use super::*;
    use crate::model::delivery::{Identity, OnUpdate, PublishedFile};
    use crate::model::file::tests::file;
    use crate::model::{Checksums, RelativePath, RevisionId};

    fn sums(bytes: &str) -> Checksums {
        Checksums { md5: (!bytes.is_empty()).then(|| bytes.to_owned()), ..Checksums::default() }
    }

    fn content(revision: &str, bytes: &str, stage: Stage) -> Content {
        let published = PublishedFile {
            path: RelativePath::from_stored("a.mp4"),
            identity: Identity::File { inode: 1, modified_ns: 1 },
            size: 1,
            checksum: None,
            replaces: false,
            adopted: false,
        };
        let delivery = Delivery {
            id: DeliveryId::new(format!("d{revision}")),
            file_id: FileId::new("f"),
            revision: RevisionId::new(revision),
            name: "a.mp4".into(),
            mime_type: "video/mp4".into(),
            size: Some(1),
            checksums: sums(bytes),
            modified: None,
            resource_key: None,
            destination: PathBuf::from("/videos"),
            wanted: RelativePath::from_stored("a.mp4"),
            on_update: OnUpdate::Replace,
            stage,
            attempt: 0,
            run_at: Timestamp::UNIX_EPOCH,
            reason: None,
            cause: None,
            look_at: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
            published: (stage == Stage::Done).then_some(published),
        };
        Content { delivery, watched: FileId::new("w") }
    }

    fn said(revision: &str, bytes: &str, known: &[Content]) -> String {
        let file =
            File { revision: Some(RevisionId::new(revision)), checksums: sums(bytes), ..file("video/mp4") };
        match judge(&file, known, |_| true) {
            Verdict::Delivered(delivery) => format!("delivered {}", delivery.id),
            Verdict::Explained(outcome, _) => format!("{outcome:?}"),
            Verdict::Existing => "existing".to_owned(),
            Verdict::Doubtful(doubt) => format!("{doubt:?}"),
        }
    }

    #[test]
    fn each_stage_of_the_content_that_drive_has() {
        for (stage, expected) in [
            (Stage::Done, "delivered d1"),
            (Stage::Unready, "Waiting"),
            (Stage::Pending, "Waiting"),
            (Stage::Downloading, "Waiting"),
            (Stage::Publishing, "Waiting"),
            (Stage::Failed, "Failed"),
            (Stage::Skipped, "Skipped"),
            (Stage::Superseded, "LetGo(\"\")"),
            (Stage::Existing, "existing"),
        ] {
            assert_eq!(said("1", "x", &[content("1", "x", stage)]), expected);
        }
        assert_eq!(said("1", "x", &[]), "Unknown");
        let mut placeless = content("1", "x", Stage::Done);
        placeless.delivery.published = None;
        assert_eq!(said("1", "x", &[placeless]), "NeverPlaced(DeliveryId(\"d1\"))");
        let noted = [content("1", "x", Stage::Existing)];
        let file = File { revision: Some(RevisionId::new("1")), ..file("video/mp4") };
        let Verdict::Doubtful(doubt) = judge(&file, &noted, |_| false) else { panic!("it is wanted") };
        assert_eq!(doubt.stale(), Some(&DeliveryId::new("d1")));
    }

    #[test]
    fn a_failed_file_comes_with_the_command_that_tries_it_again() {
        let mut failed = content("1", "x", Stage::Failed);
        failed.delivery.reason = Some("why".to_owned());
        let reason = |delivery: &Delivery| match explained(Outcome::Failed, delivery) {
            Verdict::Explained(_, reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(&failed.delivery), "why; `gdrive-webhook retry d1` tries it again");
        failed.delivery.cause = Some(Cause::Setting);
        assert_eq!(reason(&failed.delivery), "why", "the setting has to be changed");
    }

    #[test]
    fn only_the_newest_content_counts() {
        let (a, b) = (content("1", "x", Stage::Done), content("2", "y", Stage::Done));
        assert_eq!(said("2", "y", &[a.clone(), b.clone()]), "delivered d2");
        assert_eq!(said("1", "x", &[a.clone(), b]), "OtherContent", "the later one took its place");
        assert_eq!(said("3", "z", std::slice::from_ref(&a)), "OtherContent");
        assert_eq!(said("3", "x", std::slice::from_ref(&a)), "delivered d1", "the same bytes uploaded again");
        assert_eq!(
            said("3", "x", &[content("1", "x", Stage::Existing)]),
            "OtherContent",
            "that is a new content"
        );
        let waiting = content("unready", "", Stage::Unready);
        assert_eq!(said("3", "", &[a.clone(), waiting.clone()]), "Waiting");
        assert_eq!(said("1", "x", &[a, waiting]), "delivered d1");
    }
}
