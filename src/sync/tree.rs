//! The known folders that matter to one page, and where things lie below the watched ones.

use std::collections::HashMap;

use super::rules::Below;
use crate::model::FileId;
use crate::store::Folder;

/// Drive limits nesting to about a hundred; more than this is a circle, which only a broken ledger could hold.
const DEPTH_LIMIT: usize = 200;

/// Known folders with all their known ancestors.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    folders: HashMap<FileId, Folder>,
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

    /// Parents that are named but not here, to be looked up.
    pub fn missing_parents(&self) -> Vec<FileId> {
        let mut missing: Vec<FileId> = self
            .folders
            .values()
            .filter_map(|folder| folder.parent.as_ref())
            .filter(|parent| !self.folders.contains_key(parent))
            .cloned()
            .collect();
        missing.sort();
        missing.dedup();
        missing
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

    /// Takes over what another tree knows.
    pub fn merge(&mut self, other: Self) {
        self.folders.extend(other.folders);
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

    /// Whether the existing files of a watched folder have been noted, but changes since then are still unread.
    pub fn is_settling(&self, watched: &FileId) -> bool {
        self.folders.get(watched).is_some_and(|folder| folder.settling)
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
            watched,
            listing: Listing::Done,
            settling: false,
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
        assert_eq!(tree.missing_parents(), [FileId::new("unknown")]);
    }

    #[test]
    fn a_circle_ends() {
        let mut tree = Tree::default();
        tree.extend([folder("a", Some("b"), true), folder("b", Some("a"), false)]);
        assert!(!places(&tree, "a").is_empty());
    }
}
