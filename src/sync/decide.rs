//! One entry of a change log or of a folder's listing, held against what is known: what it comes to. Values in, a
//! value out.

use super::contents::{Finding, Seen, examine};
use super::decision::{Decision, Evidence, Origin, Trouble, Why};
use super::rules::{Below, Existing, Route, Rules, Skip};
use super::tree::Tree;
use crate::model::delivery::OnUpdate;
use crate::model::{Change, ChangeLog, Entry, File, Kind, RevisionId, Stage};
use crate::store::{Folder, Found, Ledger, Listing, NewDelivery, Why as Asked};

/// Decides about one entry.
pub fn decide(
    change: &Change,
    evidence: &Evidence<'_>,
    rules: &Rules,
    tree: &Tree,
    ledger: &[Ledger],
) -> Decision {
    let known_folder = tree.get(&change.file_id);
    let is_suspended = known_folder.is_some_and(|folder| folder.watched && !rules.names(&folder.id));
    let file = match &change.entry {
        // It stays known for a while, in case that the configuration names it again.
        Entry::Gone | Entry::Unclear if is_suspended => return Decision::Nothing(Why::Known),
        Entry::Present(file) if is_suspended && file.trashed => return Decision::Nothing(Why::Known),
        Entry::Unclear => return Decision::Ask(Asked::Unclear),
        Entry::Gone => return gone(known_folder, evidence, ledger),
        Entry::Present(file) if file.trashed => return trashed(known_folder, ledger),
        Entry::Present(file) => file,
    };
    let places = tree.places(file.parent.as_ref());
    // Stop asking Drive for a file that was moved out, or that no longer matches the rules. One that has failed need not
    // be tried again then.
    let waited_for = ledger.iter().any(|row| row.is_asked_for() || row.stage == Stage::Failed);
    match file.kind() {
        Kind::Folder => folder(file, evidence.origin, rules, known_folder, &places),
        Kind::Binary | Kind::GoogleNative | Kind::Shortcut if places.is_empty() && waited_for => {
            Decision::Withdraw("it was moved out of the watched folders")
        }
        Kind::Binary | Kind::GoogleNative | Kind::Shortcut if places.is_empty() => {
            Decision::Nothing(Why::Elsewhere)
        }
        Kind::Binary | Kind::GoogleNative | Kind::Shortcut => match rules.route(file, &places) {
            Ok(route) => wanted(file, route, evidence, ledger),
            Err(_) if waited_for => Decision::Withdraw("it is not wanted any more"),
            Err(skip) => unwanted(file, skip, evidence.origin, &places, ledger),
        },
    }
}

/// Deleted, no longer ours to see, or moved to another log.
fn gone(known: Option<&Folder>, evidence: &Evidence<'_>, ledger: &[Ledger]) -> Decision {
    let mut open = ledger.iter().filter(|row| is_awaited(row)).peekable();
    match known {
        Some(folder) if folder.watched && evidence.log.is_some() => Decision::Ask(Asked::Watched),
        Some(folder) if folder.watched => Decision::Trouble(Trouble::NotShown),
        Some(folder) if evidence.is_about(&folder.log) => Decision::Drop,
        Some(_) => Decision::Ask(Asked::Removed),
        None if open.peek().is_none() => Decision::Nothing(Why::Elsewhere),
        None if open.all(|row| evidence.is_about(&row.log)) => Decision::Withdraw("it is gone from Drive"),
        None => Decision::Ask(Asked::Removed),
    }
}

/// Whether something is still to come of it, or a person is asked to do something about it.
fn is_awaited(row: &Ledger) -> bool {
    row.stage.is_open() || row.stage == Stage::Failed || row.is_asked_for()
}

fn trashed(known: Option<&Folder>, ledger: &[Ledger]) -> Decision {
    match known {
        Some(folder) if folder.watched => Decision::Trouble(Trouble::Trashed),
        Some(_) => Decision::Drop,
        None if ledger.iter().any(is_awaited) => Decision::Withdraw("it is in Drive's trash"),
        None => Decision::Nothing(Why::Elsewhere),
    }
}

fn folder(file: &File, origin: Origin, rules: &Rules, known: Option<&Folder>, places: &[Below]) -> Decision {
    let watched = known.is_some_and(|folder| folder.watched);
    if !watched && !places.iter().any(|below| rules.is_recursive(&below.watched)) {
        return if known.is_some() { Decision::Drop } else { Decision::Nothing(Why::Elsewhere) };
    }
    let listing = match (known, origin) {
        (None, Origin::FirstListing | Origin::WiderListing) => Listing::Note,
        // Its content may have no entries of its own: it was moved in, or came back from the trash.
        (None, Origin::Change | Origin::Listing) => Listing::Deliver,
        // What came while it could not be listed, or on its way to another log, may have no entries that are read.
        (Some(folder), _) if folder.problem.is_some() || folder.log != ChangeLog::of(file) => {
            Listing::Deliver
        }
        (Some(folder), _) if differs(folder, file) => Listing::Done,
        // Nothing visible has changed. It may have been in the trash or not shared with us since the log was last read,
        // and what happened in it meanwhile has no entries.
        (Some(_), Origin::Change) => Listing::Compare,
        (Some(_), _) => return Decision::Nothing(Why::Known),
    };
    Decision::Adopt(Folder {
        id: file.id.clone(),
        log: ChangeLog::of(file),
        parent: file.parent.clone(),
        name: file.name.clone(),
        resource_key: file.resource_key.clone().or_else(|| known?.resource_key.clone()),
        watched,
        listing,
        problem: known.and_then(|folder| folder.problem.clone()),
    })
}

fn differs(folder: &Folder, file: &File) -> bool {
    folder.name != file.name
        || folder.parent != file.parent
        || (file.resource_key.is_some() && folder.resource_key != file.resource_key)
}

fn wanted(file: &File, route: Route, evidence: &Evidence<'_>, ledger: &[Ledger]) -> Decision {
    let (on_update, existing) = (route.on_update, route.existing);
    let seen = Seen { file, sight: evidence.origin.sight(), read: evidence.read, on_update, existing };
    match examine(seen, ledger, evidence.now) {
        Finding::Record(revision, found) => {
            Decision::Record(Box::new(delivery(file, revision, route, found)))
        }
        Finding::Known => Decision::Nothing(Why::Known),
        Finding::SameBytes => Decision::Nothing(Why::SameBytes),
        Finding::Awaited => Decision::StopWaiting,
        Finding::Unsure => Decision::Ask(Asked::Unclear),
    }
}

/// A file is noted on the first listing even if it is not wanted: widening the rules later does not make it new.
fn unwanted(file: &File, skip: Skip, origin: Origin, places: &[Below], ledger: &[Ledger]) -> Decision {
    let noted = origin == Origin::FirstListing && file.kind() == Kind::Binary && ledger.is_empty();
    match (noted, file.revision_key(), places.first()) {
        (true, Some(revision), Some(below)) => {
            let route = Route {
                watched: below.watched.clone(),
                destination: std::path::PathBuf::new(),
                wanted: crate::model::RelativePath::from_segments([&file.name]),
                on_update: OnUpdate::Replace,
                existing: Existing::Ignore,
            };
            Decision::Record(Box::new(delivery(
                file,
                revision,
                route,
                Found::Existing(Some(skip.to_string())),
            )))
        }
        _ => Decision::Skip(skip),
    }
}

fn delivery(file: &File, revision: RevisionId, route: Route, found: Found) -> NewDelivery {
    NewDelivery {
        file: Box::new(file.clone()),
        revision,
        watched: route.watched,
        destination: route.destination,
        wanted: route.wanted,
        on_update: route.on_update,
        found,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::decision::Reached;
    use super::super::rules::tests::{file, folder as rule};
    use super::super::tree::tests::folder as known;
    use super::*;
    use crate::model::file::FOLDER;
    use crate::model::{Checksums, FileId};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.extend([known("watched", None, true), known("sub", Some("watched"), false)]);
        tree
    }

    fn present(file: File) -> Change {
        Change { file_id: file.id.clone(), entry: Entry::Present(Box::new(file)) }
    }

    fn video() -> File {
        file("a.mp4", "video/mp4")
    }

    fn row(revision: &str, stage: Stage) -> Ledger {
        Ledger {
            revision: RevisionId::new(revision),
            log: ChangeLog::User,
            seen: at(10),
            stage,
            checksums: Checksums::default(),
            modified: None,
            cause: None,
            is_gone: false,
            reason: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn outcome(change: &Change, origin: Origin, tree: &Tree, ledger: &[Ledger]) -> String {
        let log = (origin == Origin::Change).then_some(&ChangeLog::User);
        told(change, &Evidence { origin, log, read: Some(at(20)), now: at(30) }, tree, ledger)
    }

    fn told(change: &Change, evidence: &Evidence<'_>, tree: &Tree, ledger: &[Ledger]) -> String {
        let rules = Rules::new(vec![rule("watched")]);
        match decide(change, evidence, &rules, tree, ledger) {
            Decision::Trouble(trouble) => format!("{trouble:?}"),
            Decision::Ask(why) => format!("ask {why:?}"),
            Decision::Adopt(folder) => format!("adopt {:?}", folder.listing),
            Decision::Drop => "drop".into(),
            Decision::Record(new) => match new.found {
                Found::New => "new".into(),
                Found::Unready(_) => "unready".into(),
                Found::Existing(reason) => format!("existing {}", reason.is_some()),
                Found::Skipped(..) => "skipped".into(),
            },
            Decision::Withdraw(_) => "withdraw".into(),
            Decision::StopWaiting => "stop waiting".into(),
            Decision::Skip(_) => "skip".into(),
            Decision::Nothing(why) => format!("{why:?}"),
        }
    }

    #[test]
    fn a_content_is_new_once() {
        let video = present(video());
        for (stage, expected) in [
            (None, "new"),
            (Some(Stage::Pending), "Known"),
            (Some(Stage::Downloading), "Known"),
            (Some(Stage::Publishing), "Known"),
            (Some(Stage::Done), "Known"),
            (Some(Stage::Failed), "Known"),
            (Some(Stage::Existing), "Known"),
            (Some(Stage::Superseded), "new"),
            (Some(Stage::Unready), "new"),
        ] {
            let ledger: Vec<_> = stage.map(|stage| row("r1", stage)).into_iter().collect();
            assert_eq!(outcome(&video, Origin::Change, &tree(), &ledger), expected, "{stage:?}");
        }
        assert_eq!(
            outcome(&video, Origin::Change, &tree(), &[row("r0", Stage::Done)]),
            "new",
            "another content"
        );
    }

    #[test]
    fn the_same_bytes_under_a_new_revision_are_not_new() {
        let same = |stage| Ledger { checksums: video().checksums, ..row("r0", stage) };
        assert_eq!(outcome(&present(video()), Origin::Change, &tree(), &[same(Stage::Done)]), "SameBytes");
        assert_eq!(outcome(&present(video()), Origin::Change, &tree(), &[same(Stage::Existing)]), "new");
    }

    #[test]
    fn what_was_there_before_stays_unless_it_came_while_the_first_listing_ran() {
        let video = present(video());
        let existing = [row("r1", Stage::Existing)];
        assert_eq!(outcome(&video, Origin::FirstListing, &tree(), &[]), "existing false");
        assert_eq!(outcome(&video, Origin::Change, &tree(), &existing), "Known");
        for (read, expected) in [(None, "new"), (Some(at(10)), "new"), (Some(at(11)), "Known")] {
            let log = Some(&ChangeLog::User);
            let evidence = Evidence { origin: Origin::Change, log, read, now: at(30) };
            assert_eq!(told(&video, &evidence, &tree(), &existing), expected, "noted at 10, {read:?}");
        }
        let listed = Evidence::of(Origin::Listing, at(30));
        assert_eq!(told(&video, &listed, &tree(), &existing), "Known");
        let unwanted_then = [Ledger { reason: Some("its name".into()), ..row("r1", Stage::Existing) }];
        assert_eq!(
            outcome(&video, Origin::Change, &tree(), &unwanted_then),
            "new",
            "renamed to a wanted name"
        );
        assert_eq!(
            outcome(&video, Origin::Listing, &tree(), &unwanted_then),
            "Known",
            "the rules were widened"
        );
        let text = present(file("a.txt", "text/plain"));
        assert_eq!(outcome(&text, Origin::FirstListing, &tree(), &[]), "existing true");
    }

    #[test]
    fn a_wider_listing_notes_what_it_brings_anew_and_no_more() {
        let origin = |reached| Origin::of(Listing::Widen).of_entry(reached);
        assert_eq!(
            outcome(&present(video()), origin(Reached::Directly), &tree(), &[]),
            "new",
            "the log never told it"
        );
        assert_eq!(outcome(&present(video()), origin(Reached::Through), &tree(), &[]), "existing false");
        let below = File { id: FileId::new("new"), ..file("x", FOLDER) };
        assert_eq!(outcome(&present(below), origin(Reached::Through), &tree(), &[]), "adopt Note");
        assert_eq!(Origin::Listing.of_entry(Reached::Through), Origin::Listing);
    }

    #[test]
    fn places_and_kinds() {
        let elsewhere = present(File { parent: Some(FileId::new("other")), ..video() });
        assert_eq!(outcome(&elsewhere, Origin::Change, &tree(), &[]), "Elsewhere");
        let deeper = present(File { parent: Some(FileId::new("sub")), ..video() });
        assert_eq!(outcome(&deeper, Origin::Change, &tree(), &[]), "new");
        assert_eq!(outcome(&present(file("a.txt", "text/plain")), Origin::Change, &tree(), &[]), "skip");
        let forbidden = present(File { can_download: Some(false), ..video() });
        assert_eq!(outcome(&forbidden, Origin::Change, &tree(), &[]), "skipped");
        let unready = present(File { checksums: Checksums::default(), ..video() });
        assert_eq!(outcome(&unready, Origin::Change, &tree(), &[]), "unready");
        assert_eq!(outcome(&unready, Origin::Change, &tree(), &[row("r1", Stage::Unready)]), "Known");
    }

    #[test]
    fn what_was_only_waited_for_is_let_go_when_it_is_not_wanted_any_more() {
        let waiting = [row("unready", Stage::Unready)];
        let moved = present(File { parent: Some(FileId::new("other")), ..video() });
        assert_eq!(outcome(&moved, Origin::Change, &tree(), &waiting), "withdraw");
        assert_eq!(
            outcome(&present(file("a.txt", "text/plain")), Origin::Change, &tree(), &waiting),
            "withdraw"
        );
        assert_eq!(outcome(&moved, Origin::Change, &tree(), &[row("r1", Stage::Pending)]), "Elsewhere");
    }

    #[test]
    fn a_file_that_failed_and_is_not_wanted_any_more_need_not_be_tried_again() {
        let failed = [row("r1", Stage::Failed)];
        let change = |file| outcome(&present(file), Origin::Change, &tree(), &failed);
        assert_eq!(change(video()), "Known");
        assert_eq!(change(File { parent: Some(FileId::new("other")), ..video() }), "withdraw");
        assert_eq!(change(File { trashed: true, ..video() }), "withdraw");
        assert_eq!(change(file("my draft.mp4", "video/mp4")), "withdraw");
        let gone = Change { file_id: FileId::new("f1"), entry: Entry::Gone };
        assert_eq!(outcome(&gone, Origin::Change, &tree(), &failed), "withdraw");
    }

    #[test]
    fn what_goes_away_is_withdrawn_or_dropped() {
        let trashed = present(File { trashed: true, ..video() });
        let gone = |id: &str| Change { file_id: FileId::new(id), entry: Entry::Gone };
        assert_eq!(outcome(&trashed, Origin::Change, &tree(), &[row("r1", Stage::Pending)]), "withdraw");
        assert_eq!(outcome(&trashed, Origin::Change, &tree(), &[row("r1", Stage::Done)]), "Elsewhere");
        assert_eq!(
            outcome(&gone("f1"), Origin::Change, &tree(), &[row("r1", Stage::Downloading)]),
            "withdraw"
        );
        assert_eq!(outcome(&gone("sub"), Origin::Change, &tree(), &[]), "drop");
        assert_eq!(outcome(&gone("watched"), Origin::Change, &tree(), &[]), "ask Watched");
        assert_eq!(outcome(&gone("watched"), Origin::Listing, &tree(), &[]), "NotShown");
        let watched = File { id: FileId::new("watched"), trashed: true, ..file("x", FOLDER) };
        assert_eq!(outcome(&present(watched), Origin::Change, &tree(), &[]), "Trashed");
        let mut suspended = tree();
        suspended.extend([known("former", None, true)]);
        assert_eq!(outcome(&gone("former"), Origin::Change, &suspended, &[]), "Known");
    }

    #[test]
    fn an_unclear_entry_takes_nothing_away() {
        let unclear = |id: &str| Change { file_id: FileId::new(id), entry: Entry::Unclear };
        let ledger = [row("r1", Stage::Pending)];
        assert_eq!(outcome(&unclear("f1"), Origin::Change, &tree(), &ledger), "ask Unclear");
        assert_eq!(outcome(&unclear("sub"), Origin::Change, &tree(), &[]), "ask Unclear");
    }

    #[test]
    fn only_the_log_that_an_item_is_on_says_that_it_is_gone() {
        let gone = |id: &str| Change { file_id: FileId::new(id), entry: Entry::Gone };
        let drive = ChangeLog::SharedDrive("d".into());
        let said = |log| Evidence { origin: Origin::Change, log, read: None, now: at(30) };
        let ledger = [row("r1", Stage::Pending)];
        for (log, file, folder) in [
            (Some(&drive), "ask Removed", "ask Removed"),
            (Some(&ChangeLog::User), "withdraw", "drop"),
            (None, "withdraw", "drop"),
        ] {
            assert_eq!(told(&gone("f1"), &said(log), &tree(), &ledger), file, "{log:?}");
            assert_eq!(told(&gone("sub"), &said(log), &tree(), &[]), folder, "{log:?}");
        }
        let done = [Ledger { log: drive.clone(), ..row("r1", Stage::Done) }];
        assert_eq!(told(&gone("f1"), &said(Some(&ChangeLog::User)), &tree(), &done), "Elsewhere");
    }

    #[test]
    fn what_a_change_of_a_known_folder_has_listed_depends_on_what_it_explains() {
        let sub = |parent: &str, name: &str| File {
            id: FileId::new("sub"),
            parent: Some(FileId::new(parent)),
            ..file(name, FOLDER)
        };
        let same = sub("watched", "name of sub");
        let change = |file: &File| outcome(&present(file.clone()), Origin::Change, &tree(), &[]);
        assert_eq!(change(&sub("watched", "other")), "adopt Done", "renamed");
        assert_eq!(change(&same), "adopt Compare", "it may have been away");
        assert_eq!(change(&File { drive_id: Some("d".into()), ..same.clone() }), "adopt Deliver");
        assert_eq!(outcome(&present(same.clone()), Origin::Listing, &tree(), &[]), "Known");
        let mut troubled = tree();
        let problem = Some("it was in the trash".into());
        troubled.extend([Folder { problem, ..known("sub", Some("watched"), false) }]);
        assert_eq!(outcome(&present(same), Origin::Change, &troubled, &[]), "adopt Deliver");
    }

    #[test]
    fn folders_come_and_go() {
        let at = |id: &str, parent: &str| {
            present(File { id: FileId::new(id), parent: Some(FileId::new(parent)), ..file("x", FOLDER) })
        };
        assert_eq!(outcome(&at("new", "sub"), Origin::Change, &tree(), &[]), "adopt Deliver");
        assert_eq!(outcome(&at("new", "sub"), Origin::FirstListing, &tree(), &[]), "adopt Note");
        assert_eq!(outcome(&at("sub", "watched"), Origin::Change, &tree(), &[]), "adopt Done", "renamed");
        assert_eq!(outcome(&at("sub", "other"), Origin::Change, &tree(), &[]), "drop", "moved out");
        assert_eq!(
            outcome(&at("watched", "other"), Origin::Change, &tree(), &[]),
            "adopt Done",
            "it is watched by id"
        );
        assert_eq!(outcome(&at("new", "other"), Origin::Change, &tree(), &[]), "Elsewhere");
    }
}
