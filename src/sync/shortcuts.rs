//! Shortcuts: what one points at counts as if it lay where the shortcut lies, under the shortcut's name, unless it lies
//! in a watched folder itself.

use std::collections::HashMap;

use tracing::{debug, info, warn};

use super::Error;
use super::pass::Pass;
use super::tree::Tree;
use crate::drive::{self, Fault};
use crate::model::{Change, Entry, File, FileId, Kind};
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
    /// Puts what shortcuts point at in their place, and notes the shortcuts in `outcome`.
    pub(super) async fn follow(&self, changes: &[Change], outcome: &mut Outcome) -> Result<Followed, Error> {
        let ids: Vec<FileId> = changes.iter().map(|change| change.file_id.clone()).collect();
        let known = self.store.shortcuts(&ids).await?;
        let mut wanted: Vec<FileId> = known.iter().map(|shortcut| shortcut.parent.clone()).collect();
        wanted.extend(changes.iter().flat_map(ids_of));
        let mut followed = Followed { changes: Vec::new(), tree: self.tree_of(wanted).await? };
        // Every target once a page, however many shortcuts to it the page has.
        let mut targets: HashMap<FileId, Option<File>> = HashMap::new();
        for change in changes {
            let itself = known.iter().find(|shortcut| shortcut.id == change.file_id);
            match (&change.entry, self.shortcut_in(change, &followed.tree)) {
                (_, Some(shortcut)) => {
                    let target = self.target(&shortcut, &mut targets).await?;
                    outcome.shortcuts.push(shortcut);
                    let Some(target) = target else { continue };
                    let shortcuts = self.shortcuts_to(&target, outcome, &mut followed.tree).await?;
                    followed.changes.push(as_change(located(target, &shortcuts, &followed.tree)));
                }
                (_, None) if itself.is_some() => {
                    outcome.cut.push(change.file_id.clone());
                    if let Some(gone) = itself {
                        self.let_go(gone, outcome, &mut targets, &mut followed).await?;
                    }
                }
                (Entry::Present(file), None) => {
                    let mut all = known.iter().chain(&outcome.shortcuts);
                    let is_target = all.any(|shortcut| shortcut.target == file.id);
                    let shortcuts = if is_target {
                        self.shortcuts_to(file, outcome, &mut followed.tree).await?
                    } else {
                        Vec::new()
                    };
                    followed.changes.push(as_change(located((**file).clone(), &shortcuts, &followed.tree)));
                }
                (Entry::Gone, None) => followed.changes.push(change.clone()),
            }
        }
        Ok(followed)
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
        let target = match self.drive.file(&shortcut.target, None).await {
            Ok(file) if file.trashed => {
                debug!(file.id = %shortcut.id, "a shortcut points at something in the bin");
                None
            }
            Ok(file) => Some(file),
            Err(error) if error.fault() == Fault::NotFound => {
                info!(file.id = %shortcut.id, file.name = ?shortcut.name, reason = "Drive does not show what the shortcut points at; share that as well", "skipped");
                None
            }
            // Nobody else is to wait for a file that cannot be looked at; the daily comparison looks again.
            Err(error) if self.is_hopeless(&error) => {
                warn!(file.id = %shortcut.id, file.name = ?shortcut.name, %error, "what a shortcut points at cannot be looked at");
                None
            }
            Err(error) => return Err(error.into()),
        };
        targets.insert(shortcut.target.clone(), target.clone());
        Ok(target)
    }

    /// Whether asking again soon would most likely bring the same.
    fn is_hopeless(&self, error: &drive::Error) -> bool {
        let lasts = matches!(error.class(), Class::Permanent | Class::FileQuota)
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
        self.extend(&mut followed.tree, vec![gone.target.clone()]).await?;
        let was_by_it = followed.tree.get(&gone.target).is_some_and(|folder| !folder.watched);
        if !was_by_it {
            return Ok(());
        }
        let change = match self.target(gone, targets).await? {
            Some(target) => {
                let shortcuts = self.shortcuts_to(&target, outcome, &mut followed.tree).await?;
                as_change(located(target, &shortcuts, &followed.tree))
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
        self.extend(tree, parents.chain(target.parent.clone()).chain([target.id.clone()]).collect()).await?;
        let known_by = tree.get(&target.id).and_then(|folder| folder.parent.clone());
        all.sort_by_key(|known| Some(&known.parent) != known_by.as_ref());
        Ok(all)
    }

    async fn extend(&self, tree: &mut Tree, ids: Vec<FileId>) -> Result<(), Error> {
        let missing: Vec<FileId> = ids.into_iter().filter(|id| tree.get(id).is_none()).collect();
        if !missing.is_empty() {
            tree.merge(self.tree_of(missing).await?);
        }
        Ok(())
    }
}

fn ids_of(change: &Change) -> Vec<FileId> {
    let mut ids = vec![change.file_id.clone()];
    if let Entry::Present(file) = &change.entry {
        ids.extend(file.parent.clone());
    }
    ids
}

fn as_change(file: File) -> Change {
    Change { file_id: file.id.clone(), entry: Entry::Present(Box::new(file)) }
}

/// A file as it lies below the watched folders: where it is, or else where the first shortcut to it is.
fn located(file: File, shortcuts: &[Shortcut], tree: &Tree) -> File {
    let is_watched = tree.get(&file.id).is_some_and(|folder| folder.watched);
    if is_watched || !tree.places(file.parent.as_ref()).is_empty() {
        return file;
    }
    let usable = shortcuts.iter().find(|shortcut| {
        shortcut.target == file.id
            && !tree.places(Some(&shortcut.parent)).is_empty()
            && !tree.is_below(&shortcut.parent, &file.id)
    });
    match usable {
        Some(shortcut) => File { parent: Some(shortcut.parent.clone()), name: shortcut.name.clone(), ..file },
        None => file,
    }
}
