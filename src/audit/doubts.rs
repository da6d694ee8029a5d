//! Whether something explains that a file is not known to the database yet. Values in, a value out.

use std::collections::{HashMap, HashSet};

use super::judge::Doubt;
use super::news::News;
use super::walk::Seen;
use crate::model::{ChangeLog, FileId};
use crate::store::{FolderState, LogPosition};

/// A file that a rule wants.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) seen: Seen,
    /// The number of the watched folder whose rule wants it, and that of the rule.
    pub(super) watched: usize,
    pub(super) rule: usize,
}

/// A file that the rules want, and that nothing explains.
#[derive(Clone, Debug)]
pub(super) struct Doubtful {
    pub(super) wish: Wish,
    pub(super) doubt: Doubt,
}

/// What is known when doubtful files are looked at for the second time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    /// What the logs say that is not recorded yet.
    pub(super) news: &'a News,
    /// The known folders among those that the files lie in.
    pub(super) folders: &'a HashMap<FileId, FolderState>,
    /// Items that Drive is going to be asked for.
    pub(super) asked: &'a HashSet<FileId>,
    /// How far the logs had been read at the first look, and how far they have been now.
    pub(super) before: &'a HashMap<ChangeLog, LogPosition>,
    pub(super) now: &'a HashMap<ChangeLog, LogPosition>,
}

impl Doubtful {
    /// The items that may bring the file when the daemon reads of them. `chain`: the folders it lies in, the innermost
    /// first.
    pub(super) fn items<'a>(&'a self, chain: &'a [FileId]) -> impl Iterator<Item = &'a FileId> {
        let seen = &self.wish.seen;
        [&seen.file.id].into_iter().chain(&seen.shortcut).chain(chain)
    }

    /// Why it may not be known yet, if there is a reason.
    pub(super) fn excuse(&self, chain: &[FileId], evidence: &Evidence<'_>) -> Option<String> {
        if self.doubt.stale().is_some() {
            // It is known, and whatever the daemon reads of it brings nothing.
            return None;
        }
        let Evidence { news, folders, asked, .. } = evidence;
        if self.items(chain).any(|id| news.items.contains(id)) {
            let recent = "it came a moment ago, or after Drive was last read; the running daemon, or the next \
                          `gdrive-webhook run` or `sync`, brings it";
            return Some(recent.to_owned());
        }
        if self.items(chain).any(|id| asked.contains(id)) {
            return Some("Drive is asked for it".to_owned());
        }
        let watched = chain.last().and_then(|id| folders.get(id));
        if !watched.is_some_and(|folder| folder.watched) {
            return Some("its folder is not watched yet".to_owned());
        }
        for folder in chain.iter().filter_map(|id| folders.get(id)) {
            if let Some(problem) = &folder.problem {
                return Some(format!("its folder cannot be listed: {problem}"));
            }
            if folder.is_unlisted {
                return Some("its folder still has to be listed".to_owned());
            }
            if folder.is_looked_at {
                let again = "its folder is listed once more within ten minutes while the daemon runs, since Drive's lists lag behind";
                return Some(again.to_owned());
            }
        }
        self.unread(chain, evidence)
    }

    /// Why its log may not have told of it.
    fn unread(&self, chain: &[FileId], evidence: &Evidence<'_>) -> Option<String> {
        let log = ChangeLog::of(&self.wish.seen.file);
        if let Some(why) = evidence.news.unread.get(&log) {
            return Some(why.clone());
        }
        let Some(now) = evidence.now.get(&log) else {
            return Some("its change log has not been read yet".to_owned());
        };
        if now.token.is_some() {
            return None;
        }
        // Its folders are listed at every poll. That has to have happened since the first look.
        let before = evidence.before.get(&log).map_or(now.round, |before| before.round);
        let folder = chain.iter().find_map(|id| evidence.folders.get(id));
        let is_listed = folder.is_some_and(|folder| folder.round > before);
        (!is_listed).then(|| {
            "the account is not a member of its shared drive, which is listed at every poll".to_owned()
        })
    }

    /// The items that Drive has to be asked for to bring it, with their keys: the outermost folder that is not known, the
    /// shortcut, and the file.
    pub(super) fn remedy(
        &self,
        chain: &[FileId],
        folders: &HashMap<FileId, FolderState>,
    ) -> Vec<(FileId, Option<String>)> {
        let seen = &self.wish.seen;
        let outermost = chain.iter().rev().find(|id| !folders.contains_key(*id));
        let items = outermost.into_iter().chain(&seen.shortcut).chain([&seen.file.id]);
        let key = |id: &FileId| {
            let mut keys = seen.keys.iter().filter(|(of, _)| *of == id).map(|(_, key)| key.to_owned());
            keys.next().or_else(|| seen.file.resource_key.clone().filter(|_| *id == seen.file.id))
        };
        items.map(|id| (id.clone(), key(id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::file::tests::file;
    use crate::model::{DeliveryId, File, PageToken, ResourceKeys};

    fn id(text: &str) -> FileId {
        FileId::new(text)
    }

    fn doubtful() -> Doubtful {
        let file = File { id: id("f"), resource_key: Some("0-f".into()), ..file("video/mp4") };
        let seen = Seen {
            file,
            spots: Arc::new([]),
            path: "below/a.mp4".into(),
            folder: id("below"),
            shortcut: None,
            keys: ResourceKeys::of(&id("below"), Some("0-b")),
        };
        Doubtful { wish: Wish { seen, watched: 0, rule: 0 }, doubt: Doubt::Unknown }
    }

    fn folder(watched: bool) -> FolderState {
        FolderState {
            watched,
            is_wanted: watched,
            is_unlisted: false,
            is_looked_at: false,
            problem: None,
            round: 5,
        }
    }

    fn position(token: Option<&str>, round: i64) -> HashMap<ChangeLog, LogPosition> {
        HashMap::from([(ChangeLog::User, LogPosition { token: token.map(PageToken::new), round })])
    }

    #[test]
    fn only_what_nothing_explains_is_missing() {
        let chain = ["below", "w"].map(id);
        let (news, asked, open) = (News::default(), HashSet::new(), position(Some("7"), 5));
        let folders = HashMap::from([(id("w"), folder(true)), (id("below"), folder(false))]);
        let plain = Evidence { news: &news, folders: &folders, asked: &asked, before: &open, now: &open };
        let excuse = |evidence: Evidence<'_>| doubtful().excuse(&chain, &evidence).unwrap_or_default();
        assert_eq!(excuse(plain), "");

        for item in ["f", "below", "w"] {
            let news = News { items: HashSet::from([id(item)]), ..News::default() };
            assert!(excuse(Evidence { news: &news, ..plain }).contains("a moment ago"), "{item}");
            let asked = HashSet::from([id(item)]);
            assert!(excuse(Evidence { asked: &asked, ..plain }).contains("asked for"), "{item}");
        }
        let unread = News { unread: HashMap::from([(ChangeLog::User, "why".to_owned())]), ..News::default() };
        assert_eq!(excuse(Evidence { news: &unread, ..plain }), "why");
        assert!(excuse(Evidence { now: &HashMap::new(), ..plain }).contains("has not been read yet"));

        let with = |below: FolderState| HashMap::from([(id("w"), folder(true)), (id("below"), below)]);
        let unlisted = with(FolderState { is_unlisted: true, ..folder(false) });
        assert!(excuse(Evidence { folders: &unlisted, ..plain }).contains("to be listed"));
        let again = with(FolderState { is_looked_at: true, ..folder(false) });
        assert!(excuse(Evidence { folders: &again, ..plain }).contains("once more"));
        let stale = Doubtful { doubt: Doubt::NeverPlaced(DeliveryId::new("d")), ..doubtful() };
        assert_eq!(stale.excuse(&chain, &Evidence { folders: &again, ..plain }), None, "it counts as known");
        let troubled = with(FolderState { problem: Some("no".into()), ..folder(false) });
        assert!(excuse(Evidence { folders: &troubled, ..plain }).contains("cannot be listed: no"));
        for nobody in [HashMap::new(), HashMap::from([(id("w"), folder(false))])] {
            assert!(excuse(Evidence { folders: &nobody, ..plain }).contains("not watched yet"));
        }
        let unknown = HashMap::from([(id("w"), folder(true))]);
        assert_eq!(excuse(Evidence { folders: &unknown, ..plain }), "", "nobody knows the folder below");
    }

    #[test]
    fn a_log_that_cannot_be_read_has_to_have_been_listed_since() {
        let chain = ["below", "w"].map(id);
        let (news, asked) = (News::default(), HashSet::new());
        for (before, listed, is_excused) in [(5, 5, true), (5, 6, false), (6, 6, true)] {
            let folders = HashMap::from([
                (id("w"), folder(true)),
                (id("below"), FolderState { round: listed, ..folder(false) }),
            ]);
            let (before, now) = (position(None, before), position(None, 6));
            let evidence =
                Evidence { news: &news, folders: &folders, asked: &asked, before: &before, now: &now };
            assert_eq!(doubtful().excuse(&chain, &evidence).is_some(), is_excused, "{before:?} {listed}");
        }
    }

    #[test]
    fn what_brings_it_is_the_outermost_folder_that_is_not_known() {
        let chain = ["deep", "below", "w"].map(id);
        let known = HashMap::from([(id("w"), folder(true))]);
        let items = |folders| doubtful().remedy(&chain, folders);
        let file = (id("f"), Some("0-f".to_owned()));
        assert_eq!(items(&known), [(id("below"), Some("0-b".to_owned())), file.clone()]);
        let all = chain.iter().map(|id| (id.clone(), folder(true))).collect();
        assert_eq!(items(&all), [file]);
    }
}
