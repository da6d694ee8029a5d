//! Shortcuts: what one points at counts as if it lay where the shortcut lies, under the shortcut's name, unless it lies
//! in a watched folder itself. Drive is asked for the targets of a page before the page is evaluated; a target that Drive
//! does not answer for becomes a question, so that nothing else waits for it.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::known::Known;
use super::rules::Rules;
use super::tree::Tree;
use crate::model::{Change, Entry, File, FileId, Kind};
use crate::store::{self, Outcome, Question, Shortcut, Store, Why};

/// What Drive says of the targets of shortcuts.
pub(super) type Targets = HashMap<FileId, Target>;

/// What Drive says of what a shortcut points at.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// It is there.
    Shown(Box<File>),
    /// It is in the trash.
    Trashed,
}

/// The shortcuts that matter to one page.
#[derive(Debug)]
pub(super) struct Shortcuts<'a> {
    store: &'a Store,
    rules: &'a Rules,
    /// Those that entries are about, and those that point at what entries are about.
    known: Vec<Shortcut>,
    now: Timestamp,
}

impl<'a> Shortcuts<'a> {
    /// Looks up what is known of shortcuts and folders that the entries are about.
    pub(super) async fn of(
        store: &'a Store,
        rules: &'a Rules,
        changes: &[Change],
        known: &mut Known,
        now: Timestamp,
    ) -> Result<Self, store::Error> {
        let ids: Vec<FileId> = changes.iter().map(|change| change.file_id.clone()).collect();
        let shortcuts = known.shortcuts(store, &ids).await?;
        let wanted = changes.iter().flat_map(folders_of);
        let around = shortcuts.iter().flat_map(|shortcut| [shortcut.parent.clone(), shortcut.target.clone()]);
        known.extend(store, wanted.chain(around)).await?;
        Ok(Self { store, rules, known: shortcuts, now })
    }

    /// The targets that have to be known before the page can be evaluated, each with its key.
    pub(super) fn targets(&self, changes: &[Change], tree: &Tree) -> Vec<(FileId, Option<String>)> {
        let mut targets: Vec<(FileId, Option<String>)> = Vec::new();
        for change in changes {
            let shortcut = self.shortcut_in(change, tree);
            let gone = self.known_as(&change.file_id).filter(|gone| self.is_held_by(gone, tree));
            let asked = shortcut.as_ref().or(gone);
            if let Some(Shortcut { target, target_key, .. }) = asked
                && !matches!(change.entry, Entry::Unclear)
                && !targets.iter().any(|(id, _)| id == target)
            {
                targets.push((target.clone(), target_key.clone()));
            }
        }
        targets
    }

    /// Puts what shortcuts point at in their place, and notes the shortcuts in `outcome`. What comes back are entries
    /// about the things themselves.
    pub(super) async fn follow(
        &self,
        changes: Vec<Change>,
        targets: &Targets,
        why: Why,
        known: &mut Known,
        outcome: &mut Outcome,
    ) -> Result<Vec<Change>, store::Error> {
        let mut followed = Vec::with_capacity(changes.len());
        let mut pointed_at: HashSet<FileId> =
            self.known.iter().map(|shortcut| shortcut.target.clone()).collect();
        for change in changes {
            if matches!(change.entry, Entry::Unclear) {
                followed.push(change);
            } else if let Some(shortcut) = self.shortcut_in(&change, &known.tree) {
                pointed_at.insert(shortcut.target.clone());
                let target = targets.get(&shortcut.target).cloned();
                let question = self.question(&shortcut, why);
                if !self.known.contains(&shortcut) {
                    outcome.shortcuts.push(shortcut);
                }
                match target {
                    Some(Target::Shown(target)) => {
                        followed.push(self.place(*target, known, outcome).await?);
                    }
                    Some(Target::Trashed) => {}
                    None => outcome.questions.push(question),
                }
            } else if let Some(gone) = self.known_as(&change.file_id) {
                outcome.cut.push(change.file_id);
                if !self.is_held_by(gone, &known.tree) {
                    continue;
                }
                match targets.get(&gone.target).cloned() {
                    Some(Target::Shown(target)) => {
                        followed.push(self.place(*target, known, outcome).await?);
                    }
                    Some(Target::Trashed) => {
                        followed.push(Change { file_id: gone.target.clone(), entry: Entry::Gone });
                    }
                    None => outcome.questions.push(self.question(gone, Why::Missing)),
                }
            } else {
                followed.push(match change.entry {
                    Entry::Present(file) if pointed_at.contains(&file.id) => {
                        self.place(*file, known, outcome).await?
                    }
                    // Without a shortcut to it, it lies where it is.
                    entry => Change { file_id: change.file_id, entry },
                });
            }
        }
        Ok(followed)
    }

    fn question(&self, shortcut: &Shortcut, why: Why) -> Question {
        Question {
            file_id: shortcut.target.clone(),
            resource_key: shortcut.target_key.clone(),
            why,
            attempt: 0,
            since: self.now,
        }
    }

    fn known_as(&self, id: &FileId) -> Option<&Shortcut> {
        self.known.iter().find(|shortcut| shortcut.id == *id)
    }

    /// Whether a folder may be known only by this shortcut.
    fn is_held_by(&self, shortcut: &Shortcut, tree: &Tree) -> bool {
        tree.get(&shortcut.target).is_some_and(|folder| !self.rules.names(&folder.id))
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
            target_key: file.shortcut_target_key.clone(),
            parent: file.parent.clone()?,
            name: file.name.clone(),
        })
    }

    /// Puts a file where it lies below the folders of the configuration, or else where the first shortcut to it lies.
    async fn place(&self, file: File, known: &mut Known, outcome: &Outcome) -> Result<Change, store::Error> {
        let shortcuts = self.shortcuts_to(&file, known, outcome).await?;
        let file = located(file, &shortcuts, &known.tree, self.rules);
        Ok(Change { file_id: file.id.clone(), entry: Entry::Present(Box::new(file)) })
    }

    /// The shortcuts to something, those of this page included and those that are gone left out; the one that it is
    /// known by comes first. The tree learns what is needed to tell where they lie.
    async fn shortcuts_to(
        &self,
        target: &File,
        known: &mut Known,
        outcome: &Outcome,
    ) -> Result<Vec<Shortcut>, store::Error> {
        let mut all = self.store.shortcuts(std::slice::from_ref(&target.id)).await?;
        all.retain(|known| !outcome.shortcuts.iter().any(|newer| newer.id == known.id));
        all.extend(outcome.shortcuts.iter().cloned());
        all.retain(|known| known.target == target.id && !outcome.cut.contains(&known.id));
        let parents = all.iter().map(|known| known.parent.clone());
        known.extend(self.store, parents.chain(target.parent.clone()).chain([target.id.clone()])).await?;
        let known_by = known.tree.get(&target.id).and_then(|folder| folder.parent.clone());
        all.sort_by_key(|known| Some(&known.parent) != known_by.as_ref());
        Ok(all)
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
