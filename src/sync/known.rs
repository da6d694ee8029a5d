//! The known folders, as far as they were looked up: kept from one page to the next, until one of them changes.

use crate::model::FileId;
use crate::store::{self, Shortcut, Store};

use super::tree::Tree;

/// What was looked up in the ledger.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Folders with their ancestors.
    pub(super) tree: Tree,
    /// Whether there is a known shortcut, if that was asked.
    there_are_shortcuts: Option<bool>,
}

impl Known {
    /// Looks these folders up, as far as they are known, with all their known ancestors.
    pub(super) async fn extend(
        &mut self,
        store: &Store,
        ids: impl IntoIterator<Item = FileId>,
    ) -> Result<(), store::Error> {
        let mut ids = self.tree.unasked(ids);
        while !ids.is_empty() {
            let known = store.folders(&ids).await?;
            ids = self.tree.learn(ids, known);
        }
        Ok(())
    }

    /// The known shortcuts among these items, and those that point at one of them.
    pub(super) async fn shortcuts(
        &mut self,
        store: &Store,
        ids: &[FileId],
    ) -> Result<Vec<Shortcut>, store::Error> {
        let there_are = match self.there_are_shortcuts {
            Some(known) => known,
            None => *self.there_are_shortcuts.insert(store.has_shortcuts().await?),
        };
        if there_are { store.shortcuts(ids).await } else { Ok(Vec::new()) }
    }
}
