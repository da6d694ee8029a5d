//! Shortcuts: what one points at counts as if it lay where the shortcut lies, under the shortcut's name, unless it lies
//! in a watched folder itself.

use std::collections::{HashMap, HashSet};

use tracing::{debug, info, warn};

use super::Error;
use super::pass::Pass;
use super::rules::Rules;
use super::tree::Tree;
use crate::drive::{self, Fault};
use crate::model::{Change, Entry, File, FileId, Kind, ResourceKeys};
use crate::retry::Class;
use crate::store::{Outcome, Shortcut};

/// A server error about one file that comes so often in a row is about that file.
const PATIENCE: u32 = 5;

/// What a page's entries come to once shortcuts are followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// The entries, each about the thing itself.
    pub(super) changes: Vec<Change>,
    /// The known folders that matter to them.
    pub(super) tree: Tree,
}

impl Pass<'_> {
    /// Puts what shortcuts point at in their place, and notes the shortcuts in `outcome`. The tree is what is known of
    /// folders already.
    pub(super) async fn follow(
        &mut self,
        changes: Vec<Change>,
        mut tree: Tree,
        outcome: &mut Outcome,
    ) -> Result<Followed, Error> {
        let known = self.known_shortcuts(&changes).await?;
        let wanted = changes.iter().flat_map(folders_of);
        self.extend(&mut tree, wanted.chain(known.iter().map(|shortcut| shortcut.parent.clone()))).await?;
        let mut followed = Followed { changes: Vec::with_capacity(changes.len()), tree };
        let by_id: HashMap<&FileId, &Shortcut> =
            known.iter().map(|shortcut| (&shortcut.id, shortcut)).collect();
        let mut pointed_at: HashSet<FileId> = known.iter().map(|shortcut| shortcut.target.clone()).collect();
        // Every target once a page, however many shortcuts to it the page has.
        let mut targets: HashMap<FileId, Option<File>> = HashMap::new();
        for change in changes {
            if let Some(shortcut) = self.shortcut_in(&change, &followed.tree) {
                let target = self.target(&shortcut, &mut targets).await?;
                pointed_at.insert(shortcut.target.clone());
                outcome.shortcuts.push(shortcut);
                let Some(target) = target else { continue };
                let shortcuts = self.shortcuts_to(&target, outcome, &mut followed.tree).await?;
                followed.changes.push(as_change(located(target, &shortcuts, &followed.tree, self.rules)));
            } else if let Some(gone) = by_id.get(&change.file_id) {
                outcome.cut.push(change.file_id);
                self.let_go(gone, outcome, &mut targets, &mut followed).await?;
            } else {
                followed.changes.push(match change.entry {
                    Entry::Present(file) if pointed_at.contains(&file.id) => {
                        let shortcuts = self.shortcuts_to(&file, outcome, &mut followed.tree).await?;
                        as_change(located(*file, &shortcuts, &followed.tree, self.rules))
                    }
                    // Without a shortcut to it, it lies where it is.
                    Entry::Present(file) => Change { file_id: file.id.clone(), entry: Entry::Present(file) },
                    Entry::Gone | Entry::Unclear => change,
                });
            }
        }
        Ok(followed)
    }

    /// The known shortcuts that entries are about, or the targets of.
    async fn known_shortcuts(&mut self, changes: &[Change]) -> Result<Vec<Shortcut>, Error> {
        let there_are = match self.there_are_shortcuts {
            Some(known) => known,
            None => *self.there_are_shortcuts.insert(self.store.has_shortcuts().await?),
        };
        if !there_are {
            return Ok(Vec::new());
        }
        let ids: Vec<FileId> = changes.iter().map(|change| change.file_id.clone()).collect();
        Ok(self.store.shortcuts(&ids).await?)
    }

    /// The shortcut that the entry is about, if it lies where shortcuts are followed.
    fn shortcut_in(&self, change: &Change, tree: &Tree) -> Option<Shortcut> {
        let Entry::Present(file) = &change.entry else { return None };
        let places = tree.places(file.parent.as_ref());
        if file.trashed || file.kind() != Kind::Shortcut || !self.rules.follow(&places) {
            return None;
        }
        Some(Shortcut {
            id: file.id.clone(),
            target: file.shortcut_target.clone()?,
            parent: file.parent.clone()?,
            name: file.name.clone(),
        })
    }

    /// What a shortcut points at; `None` if Drive does not show it, or if there is nothing to follow.
    async fn target(
        &self,
        shortcut: &Shortcut,
        targets: &mut HashMap<FileId, Option<File>>,
    ) -> Result<Option<File>, Error> {
        if let Some(known) = targets.get(&shortcut.target) {
            return Ok(known.clone());
        }
        let target = match self.drive.file(&shortcut.target, &ResourceKeys::default()).await {
            Ok(file) if file.trashed => {
                debug!(file.id = %shortcut.id, "a shortcut points at something in the bin");
                None
            }
            Ok(file) => Some(file),
            Err(error) if error.fault() == Fault::NotFound => {
                info!(file.id = %shortcut.id, file.name = shortcut.name, reason = "Drive does not show what the shortcut points at; share that as well", "skipped");
                None
            }
            // Nobody else is to wait for a file that cannot be looked at; the daily comparison looks again.
            Err(error) if self.is_hopeless(&error) => {
                warn!(file.id = %shortcut.id, file.name = shortcut.name, %error, "what a shortcut points at cannot be looked at");
                None
            }
            Err(error) => return Err(error.into()),
        };
        targets.insert(shortcut.target.clone(), target.clone());
        Ok(target)
    }

    /// Whether asking again soon would most likely bring the same.
    fn is_hopeless(&self, error: &drive::Error) -> bool {
        let lasts = matches!(error.class(), Class::Permanent | Class::Permission | Class::FileQuota)
            || matches!(error.fault(), Fault::Forbidden | Fault::BadRequest);
        lasts || (error.fault() == Fault::Server && self.failures >= PATIENCE)
    }

    /// A shortcut is gone: a folder that was known only by it is known no longer.
    async fn let_go(
        &self,
        gone: &Shortcut,
        outcome: &Outcome,
        targets: &mut HashMap<FileId, Option<File>>,
        followed: &mut Followed,
    ) -> Result<(), Error> {
        self.extend(&mut followed.tree, [gone.target.clone()]).await?;
        let was_by_it = followed.tree.get(&gone.target).is_some_and(|folder| !self.rules.names(&folder.id));
        if !was_by_it {
            return Ok(());
        }
        let change = match self.target(gone, targets).await? {
            Some(target) => {
                let shortcuts = self.shortcuts_to(&target, outcome, &mut followed.tree).await?;
                as_change(located(target, &shortcuts, &followed.tree, self.rules))
            }
            None => Change { file_id: gone.target.clone(), entry: Entry::Gone },
        };
        followed.changes.push(change);
        Ok(())
    }

    /// The shortcuts to something, those of this page included and those that are gone left out; the one that it is
    /// known by comes first. The tree learns what is needed to tell where they lie.
    async fn shortcuts_to(
        &self,
        target: &File,
        outcome: &Outcome,
        tree: &mut Tree,
    ) -> Result<Vec<Shortcut>, Error> {
        let mut all = self.store.shortcuts(std::slice::from_ref(&target.id)).await?;
        all.retain(|known| !outcome.shortcuts.iter().any(|newer| newer.id == known.id));
        all.extend(outcome.shortcuts.iter().cloned());
        all.retain(|known| known.target == target.id && !outcome.cut.contains(&known.id));
        let parents = all.iter().map(|known| known.parent.clone());
        self.extend(tree, parents.chain(target.parent.clone()).chain([target.id.clone()])).await?;
        let known_by = tree.get(&target.id).and_then(|folder| folder.parent.clone());
        all.sort_by_key(|known| Some(&known.parent) != known_by.as_ref());
        Ok(all)
    }

    /// Has the tree know these folders, as far as they are known, with all their known ancestors.
    async fn extend(&self, tree: &mut Tree, ids: impl IntoIterator<Item = FileId>) -> Result<(), Error> {
        let mut ids = tree.unasked(ids);
        while !ids.is_empty() {
            let known = self.store.folders(&ids).await?;
            ids = tree.learn(ids, known);
        }
        Ok(())
    }
}

/// The folders that matter to an entry: the one it lies in, and the thing itself if it may be a known one.
fn folders_of(change: &Change) -> Vec<FileId> {
    match &change.entry {
        Entry::Present(file) if !file.trashed && file.kind() != Kind::Folder => {
            file.parent.iter().cloned().collect()
        }
        Entry::Present(file) => file.parent.iter().cloned().chain([file.id.clone()]).collect(),
        Entry::Gone | Entry::Unclear => vec![change.file_id.clone()],
    }
}

fn as_change(file: File) -> Change {
    Change { file_id: file.id.clone(), entry: Entry::Present(Box::new(file)) }
}

/// A file as it lies below the folders of the configuration: where it is, or else where the first shortcut to it is.
fn located(file: File, shortcuts: &[Shortcut], tree: &Tree, rules: &Rules) -> File {
    if rules.names(&file.id) || rules.names_any(&tree.places(file.parent.as_ref())) {
        return file;
    }
    let usable = shortcuts.iter().find(|shortcut| {
        shortcut.target == file.id
            && rules.names_any(&tree.places(Some(&shortcut.parent)))
            && !tree.is_below(&shortcut.parent, &file.id)
    });
    match usable {
        Some(shortcut) => File { parent: Some(shortcut.parent.clone()), name: shortcut.name.clone(), ..file },
        None => file,
    }
}
