//! The content of a wanted file, compared with the contents of the file that the ledger knows. Values in, a value out.
//!
//! Only the newest known content says whether this one is news: when a file gets the content A, then B, then A again,
//! these are three contents, and A is delivered once more.

use std::time::Duration;

use jiff::Timestamp;

use super::rules::Existing;
use crate::model::delivery::{Cause, OnUpdate};
use crate::model::{File, RevisionId, Stage};
use crate::store::{Found, Ledger};

/// A fresh upload shows its checksum within seconds.
const UNREADY_LOOK: Duration = Duration::from_secs(5);
/// The revision of a file that has neither a revision nor a checksum yet.
const UNREADY: &str = "unready";

/// How a file was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// In a change log, or by a call for the file itself: this is its state now.
    Now,
    /// In a listing. Listings lag: this can be an earlier state.
    Listed,
    /// In the first listing of a watched folder with `existing = "ignore"`.
    Noted,
}

/// A wanted file as it was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) file: &'a File,
    pub(super) sight: Sight,
    /// When the last complete read of the log that shows it began. What was noted as existing after that may have come
    /// after the first run began.
    pub(super) read: Option<Timestamp>,
    pub(super) on_update: OnUpdate,
    pub(super) existing: Existing,
}

/// What a file's content comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It goes into the ledger.
    Record(RevisionId, Found),
    /// It is in the ledger, and stays as it is there.
    Known,
    /// The newest known content has the same bytes.
    SameBytes,
    /// The same, and the ledger waits for the size or the checksum, which are known now.
    Awaited,
    /// A listing shows another content than the newest known one, and it may be an earlier one: Drive has to be asked for
    /// the file itself.
    Unsure,
}

/// Decides about a file's content. `known`: all that the ledger knows of the file, in the order of arrival.
pub(super) fn examine(seen: Seen<'_>, known: &[Ledger], now: Timestamp) -> Finding {
    let file = seen.file;
    let revision =
        file.revision_key().filter(|_| file.size.is_some() && file.checksums.strongest().is_some());
    let Some(revision) = revision else { return not_ready(file, known, now) };
    let newest = newest(known);
    let same_revision = newest.filter(|row| row.revision == revision);
    let is_awaited = known.iter().any(|row| row.stage == Stage::Unready);
    if same_revision.is_some_and(|row| !is_news(row, &seen)) {
        return if is_awaited { Finding::Awaited } else { Finding::Known };
    }
    if let (Some(newest), None) = (newest, same_revision) {
        if holds_same_bytes(newest, file) {
            return if is_awaited { Finding::Awaited } else { Finding::SameBytes };
        }
        if seen.sight == Sight::Listed && file.modified <= newest.modified {
            return Finding::Unsure;
        }
    }
    let found = found(&seen, known);
    let is_repeated = |row: &Ledger| {
        row.stage == Stage::Skipped && matches!(&found, Found::Skipped(cause, _) if row.cause == Some(*cause))
    };
    if same_revision.is_some_and(is_repeated) { Finding::Known } else { Finding::Record(revision, found) }
}

fn found(seen: &Seen<'_>, known: &[Ledger]) -> Found {
    if seen.sight == Sight::Noted && seen.existing == Existing::Ignore {
        Found::Existing(None)
    } else if seen.file.can_download == Some(false) {
        Found::Skipped(
            Cause::Permission,
            "its owner does not allow downloads; it is downloaded when they are allowed".to_owned(),
        )
    } else if seen.on_update == OnUpdate::Ignore && known.iter().any(|row| row.stage == Stage::Done) {
        let reason = "a new content of a delivered file, and `on_update` is \"ignore\"";
        Found::Skipped(Cause::Setting, reason.to_owned())
    } else {
        Found::New
    }
}

/// The newest content. What Drive has not said the size and checksum of is not a content yet.
fn newest(known: &[Ledger]) -> Option<&Ledger> {
    known.iter().rev().find(|row| row.stage != Stage::Unready && row.revision.as_str() != UNREADY)
}

/// Whether the newest known content is to be considered again.
fn is_news(row: &Ledger, seen: &Seen<'_>) -> bool {
    let is_now = seen.sight == Sight::Now;
    match row.stage {
        Stage::Unready | Stage::Superseded => true,
        Stage::Skipped => match row.cause {
            Some(Cause::Setting) => true,
            Some(Cause::Permission) => seen.file.can_download != Some(false),
            // Drive shows the file as before. Only that it says something about the file is a reason to try again.
            Some(Cause::Refused) => is_now,
            None => false,
        },
        // It is new if such files are wanted by now, if somebody changed it after the first run began, or if it matches the
        // rules only since then.
        Stage::Existing => {
            seen.existing == Existing::Download
                || is_now && (seen.read.is_none_or(|read| read <= row.seen) || row.reason.is_some())
        }
        Stage::Pending | Stage::Downloading | Stage::Publishing | Stage::Done | Stage::Failed => false,
    }
}

/// Size or checksum are missing. The file waits in the ledger under a revision of its own until they are there.
fn not_ready(file: &File, known: &[Ledger], now: Timestamp) -> Finding {
    let revision = file.revision_key().unwrap_or_else(|| RevisionId::new(UNREADY));
    if known.iter().any(|row| row.revision == revision && row.stage != Stage::Superseded) {
        return Finding::Known;
    }
    let look = now.checked_add(UNREADY_LOOK).unwrap_or(now);
    Finding::Record(revision, Found::Unready(look))
}

/// Drive gives a new revision to an upload of the same bytes. They are at the destination, or on their way.
fn holds_same_bytes(row: &Ledger, file: &File) -> bool {
    let there = match row.stage {
        Stage::Done | Stage::Pending | Stage::Downloading | Stage::Publishing => true,
        Stage::Unready | Stage::Failed | Stage::Skipped | Stage::Superseded | Stage::Existing => false,
    };
    there && row.checksums.agree_with(&file.checksums)
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::file;
    use super::*;
    use crate::model::{ChangeLog, Checksums};

    const EARLY: i64 = 1_000;

    fn sum(letter: &str) -> Checksums {
        Checksums { sha256: Some(letter.to_owned()), ..Checksums::default() }
    }

    /// A content with these bytes; revisions are numbered.
    fn row(revision: &str, bytes: &str, stage: Stage) -> Ledger {
        Ledger {
            revision: RevisionId::new(revision),
            log: ChangeLog::User,
            seen: Timestamp::UNIX_EPOCH,
            stage,
            checksums: sum(bytes),
            modified: Timestamp::from_second(EARLY).ok(),
            cause: None,
            is_gone: false,
            reason: None,
        }
    }

    fn skipped(revision: &str, bytes: &str, cause: Option<Cause>) -> Ledger {
        Ledger { cause, ..row(revision, bytes, Stage::Skipped) }
    }

    fn video(revision: &str, bytes: &str) -> File {
        File {
            revision: Some(RevisionId::new(revision)),
            checksums: sum(bytes),
            modified: Timestamp::from_second(EARLY).ok(),
            ..file("a.mp4", "video/mp4")
        }
    }

    fn said(seen: Seen<'_>, known: &[Ledger]) -> String {
        match examine(seen, known, Timestamp::UNIX_EPOCH) {
            Finding::Record(revision, Found::Skipped(cause, _)) => format!("skip {revision}: {cause:?}"),
            Finding::Record(revision, Found::New) => format!("new {revision}"),
            Finding::Record(revision, Found::Existing(_)) => format!("note {revision}"),
            Finding::Record(revision, Found::Unready(_)) => format!("wait {revision}"),
            other => format!("{other:?}"),
        }
    }

    fn told(file: &File, known: &[Ledger]) -> String {
        let on_update = OnUpdate::Replace;
        said(
            Seen {
                file,
                sight: Sight::Now,
                read: Some(Timestamp::MAX),
                on_update,
                existing: Existing::Ignore,
            },
            known,
        )
    }

    /// What every stage of the newest content means for: its own revision, a new revision with its bytes, the content
    /// before it under its old revision, the same under a new revision, and another content.
    #[test]
    fn the_newest_content_decides() {
        let files = [video("2", "b"), video("3", "b"), video("1", "a"), video("3", "a"), video("3", "c")];
        for (stage, expected) in [
            (Stage::Pending, ["Known", "SameBytes", "new 1", "new 3", "new 3"]),
            (Stage::Downloading, ["Known", "SameBytes", "new 1", "new 3", "new 3"]),
            (Stage::Publishing, ["Known", "SameBytes", "new 1", "new 3", "new 3"]),
            (Stage::Done, ["Known", "SameBytes", "new 1", "new 3", "new 3"]),
            (Stage::Failed, ["Known", "new 3", "new 1", "new 3", "new 3"]),
            (Stage::Superseded, ["new 2", "new 3", "new 1", "new 3", "new 3"]),
            (Stage::Skipped, ["Known", "new 3", "new 1", "new 3", "new 3"]),
            (Stage::Existing, ["Known", "new 3", "new 1", "new 3", "new 3"]),
            // It is no content yet: the one before it is the newest.
            (Stage::Unready, ["new 2", "new 3", "Awaited", "Awaited", "new 3"]),
        ] {
            let known = [row("1", "a", Stage::Done), row("2", "b", stage)];
            assert_eq!(files.each_ref().map(|file| told(file, &known)), expected, "{stage:?}");
        }
    }

    /// The same for each stage of the first of two contents, while the second one is at the destination.
    #[test]
    fn whatever_became_of_an_earlier_content_it_is_new_when_it_comes_back() {
        for stage in [Stage::Superseded, Stage::Existing, Stage::Skipped, Stage::Failed, Stage::Done] {
            let known = [row("1", "a", stage), row("2", "b", Stage::Done)];
            assert_eq!(told(&video("1", "a"), &known), "new 1", "{stage:?}");
            assert_eq!(told(&video("3", "a"), &known), "new 3", "{stage:?}");
            assert_eq!(told(&video("2", "b"), &known), "Known", "{stage:?}");
        }
    }

    #[test]
    fn a_listing_that_shows_another_content_is_evidence_only_if_that_is_younger() {
        let listed = |file: &File, known: &[Ledger]| {
            let on_update = OnUpdate::Replace;
            said(
                Seen {
                    file,
                    sight: Sight::Listed,
                    read: Some(Timestamp::MAX),
                    on_update,
                    existing: Existing::Ignore,
                },
                known,
            )
        };
        let known = [row("1", "a", Stage::Done), row("2", "b", Stage::Done)];
        assert_eq!(listed(&video("1", "a"), &known), "Unsure", "known before the newest");
        assert_eq!(listed(&video("0", "z"), &known), "Unsure", "the log was read too late to tell of it");
        let younger = |file| File { modified: Timestamp::from_second(EARLY + 1).ok(), ..file };
        assert_eq!(listed(&younger(video("3", "c")), &known), "new 3");
        assert_eq!(listed(&File { modified: None, ..video("3", "c") }, &known), "Unsure");
        assert_eq!(listed(&video("2", "b"), &known), "Known");
        assert_eq!(listed(&video("3", "b"), &known), "SameBytes");
        assert_eq!(listed(&video("1", "a"), &[]), "new 1", "nothing is known of the file");
    }

    #[test]
    fn with_on_update_ignore_only_the_first_content_is_delivered() {
        let ignored = |file: &File, known: &[Ledger]| {
            let on_update = OnUpdate::Ignore;
            said(
                Seen {
                    file,
                    sight: Sight::Now,
                    read: Some(Timestamp::MAX),
                    on_update,
                    existing: Existing::Ignore,
                },
                known,
            )
        };
        let delivered = [row("1", "a", Stage::Done)];
        assert_eq!(ignored(&video("2", "b"), &delivered), "skip 2: Setting");
        assert_eq!(ignored(&video("2", "b"), &[row("1", "a", Stage::Superseded)]), "new 2");
        let after = [row("1", "a", Stage::Done), skipped("2", "b", Some(Cause::Setting))];
        assert_eq!(ignored(&video("2", "b"), &after), "Known", "nothing new to write down");
        assert_eq!(ignored(&video("3", "a"), &after), "skip 3: Setting");
        assert_eq!(told(&video("2", "b"), &after), "new 2", "the setting has changed");
    }

    #[test]
    fn what_was_skipped_is_looked_at_again_when_its_cause_may_have_gone() {
        let listed = |file: &File, known: &[Ledger]| {
            let on_update = OnUpdate::Replace;
            said(
                Seen {
                    file,
                    sight: Sight::Listed,
                    read: Some(Timestamp::MAX),
                    on_update,
                    existing: Existing::Ignore,
                },
                known,
            )
        };
        let allowed = video("1", "a");
        let forbidden = File { can_download: Some(false), ..video("1", "a") };
        assert_eq!(told(&forbidden, &[]), "skip 1: Permission");
        for (cause, expected) in [
            (Some(Cause::Permission), ["new 1", "new 1", "Known", "Known"]),
            (Some(Cause::Refused), ["new 1", "Known", "skip 1: Permission", "Known"]),
            (None, ["Known"; 4]),
        ] {
            let known = [skipped("1", "a", cause)];
            let found = [
                told(&allowed, &known),
                listed(&allowed, &known),
                told(&forbidden, &known),
                listed(&forbidden, &known),
            ];
            assert_eq!(found, expected, "{cause:?}");
        }
    }

    #[test]
    fn what_was_there_before_is_new_once_such_files_are_wanted() {
        let seen = |file, sight, existing, known: &[Ledger]| {
            let on_update = OnUpdate::Replace;
            said(Seen { file, sight, read: Some(Timestamp::MAX), on_update, existing }, known)
        };
        let (video, known) = (video("1", "a"), [row("1", "a", Stage::Existing)]);
        let forbidden = File { can_download: Some(false), ..video.clone() };
        for (sight, first) in [(Sight::Now, "new 1"), (Sight::Listed, "new 1"), (Sight::Noted, "note 1")] {
            assert_eq!(seen(&video, sight, Existing::Ignore, &[]), first, "{sight:?}");
            assert_eq!(seen(&video, sight, Existing::Ignore, &known), "Known", "{sight:?}");
            assert_eq!(seen(&video, sight, Existing::Download, &[]), "new 1", "{sight:?}");
            assert_eq!(seen(&video, sight, Existing::Download, &known), "new 1", "{sight:?}");
            assert_eq!(
                seen(&forbidden, sight, Existing::Download, &known),
                "skip 1: Permission",
                "{sight:?}"
            );
        }
        assert_eq!(
            seen(&forbidden, Sight::Noted, Existing::Ignore, &[]),
            "note 1",
            "it is not wanted later, either"
        );
    }

    #[test]
    fn a_content_without_a_checksum_waits_once() {
        let bare = File { checksums: Checksums::default(), ..video("2", "b") };
        assert_eq!(told(&bare, &[row("1", "a", Stage::Done)]), "wait 2");
        assert_eq!(told(&bare, &[row("2", "", Stage::Unready)]), "Known");
        assert_eq!(told(&bare, &[row("2", "", Stage::Superseded)]), "wait 2", "it is back from the trash");
        let nothing = File { revision: None, ..bare };
        assert_eq!(told(&nothing, &[]), "wait unready");
        let known = [row("1", "a", Stage::Done), row(UNREADY, "", Stage::Superseded)];
        assert_eq!(told(&video("1", "a"), &known), "Known", "what was waited for was no content");
    }
}
