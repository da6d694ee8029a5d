//! The known folders that matter to one page, and where things lie below the watched ones.

use std::collections::{HashMap, HashSet};

use super::rules::Below;
use crate::model::FileId;
use crate::store::Folder;

/// Drive limits nesting to about a hundred; more than this is a circle, which only a broken ledger could hold.
const DEPTH_LIMIT: usize = 200;

/// More folders than this are not kept from one page to the next.
const KEPT: usize = 8192;

/// Known folders with all their known ancestors.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    folders: HashMap<FileId, Folder>,
    /// Looked up, and not known.
    absent: HashSet<FileId>,
}

impl Tree {
    /// Adds folders, or what became of them.
    pub fn extend(&mut self, folders: impl IntoIterator<Item = Folder>) {
        self.folders.extend(folders.into_iter().map(|folder| (folder.id.clone(), folder)));
    }

    /// Takes a folder out, and with it what lies below it.
    pub fn remove(&mut self, id: &FileId) {
        self.folders.remove(id);
    }

    /// A known folder.
    pub fn get(&self, id: &FileId) -> Option<&Folder> {
        self.folders.get(id)
    }

    /// Those that have not been looked up yet, each once.
    pub fn unasked(&self, ids: impl IntoIterator<Item = FileId>) -> Vec<FileId> {
        let is_new = |id: &FileId| !self.folders.contains_key(id) && !self.absent.contains(id);
        let mut unasked: Vec<FileId> = ids.into_iter().filter(is_new).collect();
        unasked.sort_unstable();
        unasked.dedup();
        unasked
    }

    /// Takes over what was found when these were looked up. What comes back are the parents of what was found, to be
    /// looked up next.
    pub fn learn(&mut self, asked: Vec<FileId>, found: HashMap<FileId, Folder>) -> Vec<FileId> {
        self.absent.extend(asked.into_iter().filter(|id| !found.contains_key(id)));
        let parents: Vec<FileId> = found.values().filter_map(|folder| folder.parent.clone()).collect();
        self.folders.extend(found);
        self.unasked(parents)
    }

    /// Whether it is small enough to be kept for the next page.
    pub fn is_small(&self) -> bool {
        self.folders.len() + self.absent.len() <= KEPT
    }

    /// Where an item with this parent lies: below which watched folders, the innermost first. Empty: below none.
    pub fn places(&self, parent: Option<&FileId>) -> Vec<Below> {
        let mut places = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut here = parent;
        for _ in 0..DEPTH_LIMIT {
            let Some(folder) = here.and_then(|id| self.folders.get(id)) else { break };
            if folder.watched {
                places
                    .push(Below { watched: folder.id.clone(), path: names.iter().rev().cloned().collect() });
            }
            names.push(folder.name.clone());
            here = folder.parent.as_ref();
        }
        places
    }

    /// Whether a folder is this one or lies somewhere below it.
    pub fn is_below(&self, folder: &FileId, above: &FileId) -> bool {
        let mut here = Some(folder);
        for _ in 0..DEPTH_LIMIT {
            match here {
                Some(id) if id == above => return true,
                Some(id) => here = self.folders.get(id).and_then(|folder| folder.parent.as_ref()),
                None => return false,
            }
        }
        // A circle leads everywhere.
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::ChangeLog;
    use crate::store::Listing;

    pub(in crate::sync) fn folder(id: &str, parent: Option<&str>, watched: bool) -> Folder {
        Folder {
            id: FileId::new(id),
            log: ChangeLog::User,
            parent: parent.map(FileId::new),
            name: format!("name of {id}"),
            resource_key: None,
            watched,
            listing: Listing::Done,
            problem: None,
        }
    }

    fn places(tree: &Tree, parent: &str) -> Vec<(String, String)> {
        let places = tree.places(Some(&FileId::new(parent)));
        places.into_iter().map(|b| (b.watched.as_str().to_owned(), b.path.join("/"))).collect()
    }

    #[test]
    fn places_are_found_below_nested_watched_folders() {
        let mut tree = Tree::default();
        tree.extend([
            folder("outer", Some("unknown"), true),
            folder("a", Some("outer"), false),
            folder("inner", Some("a"), true),
            folder("b", Some("inner"), false),
        ]);
        assert_eq!(
            places(&tree, "b"),
            [
                ("inner".into(), "name of b".into()),
                ("outer".into(), "name of a/name of inner/name of b".into())
            ]
        );
        assert_eq!(places(&tree, "outer"), [("outer".into(), String::new())]);
        assert_eq!(places(&tree, "elsewhere"), []);
    }

    #[test]
    fn nothing_is_looked_up_twice() {
        let id = FileId::new;
        let mut tree = Tree::default();
        let asked = tree.unasked([id("a"), id("b"), id("a")]);
        assert_eq!(asked, [id("a"), id("b")]);
        let found = HashMap::from([(id("a"), folder("a", Some("outer"), false))]);
        assert_eq!(tree.learn(asked, found), [id("outer")]);
        assert_eq!(tree.learn(vec![id("outer")], HashMap::new()), []);
        assert_eq!(tree.unasked([id("a"), id("b"), id("outer"), id("c")]), [id("c")]);
    }

    #[test]
    fn a_circle_ends() {
        let mut tree = Tree::default();
        tree.extend([folder("a", Some("b"), true), folder("b", Some("a"), false)]);
        assert!(!places(&tree, "a").is_empty());
    }
}
