//! One entry of a change log or of a folder's listing, held against what is known: what it comes to. Values in, a
//! value out.

use jiff::Timestamp;

use super::contents::{Finding, Seen, Sight, examine};
use super::rules::{Below, Route, Rules, Skip};
use super::tree::Tree;
use crate::model::delivery::OnUpdate;
use crate::model::{Change, ChangeLog, Entry, File, Kind, RevisionId};
use crate::store::{Folder, Found, Ledger, Listing, NewDelivery};

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A change log: somebody did something.
    Change,
    /// A listing, whose files are new if the ledger does not have them.
    Listing,
    /// The first listing of a watched folder with `existing = "ignore"`.
    FirstListing,
    /// The listing of such a folder after `recursive` or `shortcuts` was switched on.
    WiderListing,
}

impl Origin {
    /// The origin of what is found while listing a folder.
    pub fn of(listing: Listing) -> Self {
        match listing {
            Listing::Note => Self::FirstListing,
            Listing::Deliver | Listing::Done => Self::Listing,
            Listing::Widen => Self::WiderListing,
        }
    }

    /// The origin of one entry. In a wider listing, a file that lies in the folder itself counted before; what
    /// folders and shortcuts bring is seen for the first time.
    #[must_use]
    pub fn of_entry(self, reached: Reached) -> Self {
        match (self, reached) {
            (Self::WiderListing, Reached::Directly) => Self::Listing,
            (Self::WiderListing, Reached::Through) => Self::FirstListing,
            (Self::Change | Self::Listing | Self::FirstListing, _) => self,
        }
    }
}

impl Origin {
    fn sight(self) -> Sight {
        match self {
            Self::Change => Sight::Now,
            Self::Listing => Sight::Listed,
            Self::FirstListing | Self::WiderListing => Sight::Noted,
        }
    }
}

/// How a listing comes to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It is a file in the folder itself.
    Directly,
    /// It is a folder, or what a shortcut points at.
    Through,
}

/// What an entry comes to.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A folder is below a watched one now, or has another name or place there.
    Adopt(Folder),
    /// A folder no longer is.
    Drop,
    /// A file goes into the ledger.
    Record(Box<NewDelivery>),
    /// What is open for the file is void.
    Withdraw(&'static str),
    /// Size and checksum of a file were waited for, and show that its content is a known one.
    StopWaiting,
    /// A listing shows a state of a file that may be an earlier one: Drive has to be asked for the file itself.
    Ask,
    /// A file in a watched folder is not wanted.
    Skip(Skip),
    /// Nothing is to be done.
    Nothing(Why),
}

/// Why nothing is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What it is now is not known.
    Unclear,
    /// It lies below no watched folder.
    Elsewhere,
    /// Its content is in the ledger already.
    Known,
    /// The bytes are the same as those of the newest content that is in the ledger.
    SameBytes,
}

/// Decides about one entry.
pub fn decide(
    change: &Change,
    origin: Origin,
    rules: &Rules,
    tree: &Tree,
    ledger: &[Ledger],
    now: Timestamp,
) -> Decision {
    let known_folder = tree.get(&change.file_id);
    let file = match &change.entry {
        Entry::Gone => return gone(known_folder, ledger, "it is gone from Drive"),
        Entry::Present(file) if file.trashed => return gone(known_folder, ledger, "it is in Drive's bin"),
        Entry::Present(file) => file,
        Entry::Unclear => return Decision::Nothing(Why::Unclear),
    };
    let places = tree.places(file.parent.as_ref());
    // Stop asking Drive for a file that was moved out, or that no longer matches the rules.
    let waited_for = ledger.iter().any(Ledger::is_asked_for);
    match file.kind() {
        Kind::Folder => folder(file, origin, rules, known_folder, &places),
        Kind::Binary | Kind::GoogleNative | Kind::Shortcut if places.is_empty() && waited_for => {
            Decision::Withdraw("it was moved out of the watched folders")
        }
        Kind::Binary | Kind::GoogleNative | Kind::Shortcut if places.is_empty() => {
            Decision::Nothing(Why::Elsewhere)
        }
        Kind::Binary | Kind::GoogleNative | Kind::Shortcut => match rules.route(file, &places) {
            Ok(route) => wanted(file, route, origin, tree, ledger, now),
            Err(_) if waited_for => Decision::Withdraw("it is not wanted any more"),
            Err(skip) => unwanted(file, skip, origin, &places, ledger),
        },
    }
}

fn gone(known_folder: Option<&Folder>, ledger: &[Ledger], reason: &'static str) -> Decision {
    match known_folder {
        // A watched folder stays watched: it may come back, and until then there is nothing below it.
        Some(folder) if folder.watched => Decision::Nothing(Why::Known),
        Some(_) => Decision::Drop,
        None if ledger.iter().any(|row| row.stage.is_open() || row.is_asked_for()) => {
            Decision::Withdraw(reason)
        }
        None => Decision::Nothing(Why::Elsewhere),
    }
}

fn folder(file: &File, origin: Origin, rules: &Rules, known: Option<&Folder>, places: &[Below]) -> Decision {
    let watched = known.is_some_and(|folder| folder.watched);
    if !watched && !places.iter().any(|below| rules.is_recursive(&below.watched)) {
        return if known.is_some() { Decision::Drop } else { Decision::Nothing(Why::Elsewhere) };
    }
    let listing = match (known, origin) {
        // Shared with us again, or back from the bin: what came meanwhile may have no entries of its own, and a listing
        // while it was away has shown nothing.
        (Some(folder), Origin::Change) if folder.listing == Listing::Done => Listing::Deliver,
        (Some(folder), _) => folder.listing,
        (None, Origin::FirstListing | Origin::WiderListing) => Listing::Note,
        // Its content may have no entries of its own: it was moved in, or came back from the bin.
        (None, Origin::Change | Origin::Listing) => Listing::Deliver,
    };
    Decision::Adopt(Folder {
        id: file.id.clone(),
        log: log_of(file),
        parent: file.parent.clone(),
        name: file.name.clone(),
        watched,
        listing,
        settling: known.is_some_and(|folder| folder.settling),
    })
}

fn wanted(
    file: &File,
    route: Route,
    origin: Origin,
    tree: &Tree,
    ledger: &[Ledger],
    now: Timestamp,
) -> Decision {
    let seen = Seen {
        file,
        sight: origin.sight(),
        is_settling: tree.is_settling(&route.watched),
        on_update: route.on_update,
    };
    match examine(seen, ledger, now) {
        Finding::Record(revision, found) => {
            Decision::Record(Box::new(delivery(file, revision, route, found)))
        }
        Finding::Known => Decision::Nothing(Why::Known),
        Finding::SameBytes => Decision::Nothing(Why::SameBytes),
        Finding::Awaited => Decision::StopWaiting,
        Finding::Unsure => Decision::Ask,
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

fn log_of(file: &File) -> ChangeLog {
    file.drive_id.clone().map_or(ChangeLog::User, ChangeLog::SharedDrive)
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{file, folder as rule};
    use super::super::tree::tests::folder as known;
    use super::*;
    use crate::model::file::FOLDER;
    use crate::model::{Checksums, FileId, Stage};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.extend([known("watched", None, true), known("sub", Some("watched"), false)]);
        tree
    }

    fn settling() -> Tree {
        let mut tree = tree();
        tree.extend([Folder { settling: true, ..known("watched", None, true) }]);
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
            stage,
            checksums: Checksums::default(),
            modified: None,
            cause: None,
            is_gone: false,
            reason: None,
        }
    }

    fn outcome(change: &Change, origin: Origin, tree: &Tree, ledger: &[Ledger]) -> String {
        let rules = Rules::new(vec![rule("watched")]);
        match decide(change, origin, &rules, tree, ledger, Timestamp::UNIX_EPOCH) {
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
            Decision::Ask => "ask".into(),
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
        assert_eq!(outcome(&video, Origin::Change, &settling(), &existing), "new");
        assert_eq!(outcome(&video, Origin::Listing, &settling(), &existing), "Known");
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
        assert_eq!(outcome(&gone("watched"), Origin::Change, &tree(), &[]), "Known");
    }

    #[test]
    fn an_unclear_entry_takes_nothing_away() {
        let unclear = |id: &str| Change { file_id: FileId::new(id), entry: Entry::Unclear };
        assert_eq!(outcome(&unclear("f1"), Origin::Change, &tree(), &[row("r1", Stage::Pending)]), "Unclear");
        assert_eq!(outcome(&unclear("sub"), Origin::Change, &tree(), &[]), "Unclear");
    }

    #[test]
    fn folders_come_and_go() {
        let at = |id: &str, parent: &str| {
            present(File { id: FileId::new(id), parent: Some(FileId::new(parent)), ..file("x", FOLDER) })
        };
        assert_eq!(outcome(&at("new", "sub"), Origin::Change, &tree(), &[]), "adopt Deliver");
        assert_eq!(outcome(&at("new", "sub"), Origin::FirstListing, &tree(), &[]), "adopt Note");
        assert_eq!(
            outcome(&at("sub", "watched"), Origin::Change, &tree(), &[]),
            "adopt Deliver",
            "renamed, or back from the bin"
        );
        assert_eq!(outcome(&at("sub", "other"), Origin::Change, &tree(), &[]), "drop", "moved out");
        assert_eq!(
            outcome(&at("watched", "other"), Origin::Change, &tree(), &[]),
            "adopt Deliver",
            "it is watched by id, and listed again"
        );
        assert_eq!(outcome(&at("new", "other"), Origin::Change, &tree(), &[]), "Elsewhere");
    }
}
