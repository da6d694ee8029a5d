//! What the user does to files and folders in Drive.

use std::collections::BTreeSet;

use drive_emulator::{Content, Upload};
use sha2::{Digest, Sha256};

use super::plain::{Fate, Folder, GIVEN, Link, Realm, Target, Video};
use super::play::Play;

/// Few names, so that they clash.
pub(super) const NAMES: [&str; 6] = ["a.mp4", "b.mp4", "film.mov", "Film.mov", "take 1.mkv", "notes.txt"];
const FOLDERS: [&str; 3] = ["Trip", "2026", "a.mp4"];
const FOLDERS_AT_MOST: usize = 20;
const VIDEOS_AT_MOST: usize = 100;

/// When something is put into Drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    BeforeTheFirstRun,
    Now,
}

impl Play {
    pub(super) fn user(&mut self) {
        match self.luck.below(27) {
            0..6 => self.put(Moment::Now),
            6 | 7 => self.revise(),
            8 => self.restore(),
            9 => self.rename(),
            10 | 11 => self.relocate(),
            12 => self.trash(),
            13 => self.delete(),
            14 | 15 => self.make_folder(),
            16 | 17 => self.relocate_folder(),
            18 => self.trash_folder(),
            19 => self.trash_watched(),
            20 => self.delete_folder(),
            21 | 22 => self.link(),
            23 => self.change_link(),
            _ => self.permit(),
        }
    }

    pub(super) fn content(&mut self) -> (Content, String) {
        self.contents += 1;
        let size = match self.luck.below(8) {
            0 => 1 + self.luck.below(3),
            1 => 400_000 + self.luck.below(2_000_000),
            _ => 1_000 + self.luck.below(60_000),
        };
        let content = Content::pattern(self.seed.wrapping_mul(1000) + self.contents, size + 8);
        let sum = Sha256::digest(content.slice(0, (size + 8) as usize));
        (content, sum.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn put(&mut self, when: Moment) {
        // What there is stays the same, however long it goes on.
        if self.plain.videos.iter().filter(|video| video.fate != Fate::Deleted).count() > VIDEOS_AT_MOST {
            return self.delete();
        }
        let folders = self.plain.every_folder();
        let likely: Vec<usize> = folders
            .iter()
            .copied()
            .filter(|&folder| self.plain.folders[folder].watched || folder + 1 == self.plain.folders.len())
            .collect();
        let parent = if self.luck.once_in(4) || likely.is_empty() {
            *self.luck.pick(&folders)
        } else {
            *self.luck.pick(&likely)
        };
        let name = (*self.luck.pick(&NAMES)).to_owned();
        let (content, sum) = self.content();
        self.upload(parent, name, content, sum, when);
    }

    /// Puts a file into a folder. Returns its number.
    pub(super) fn upload(
        &mut self,
        parent: usize,
        name: String,
        content: Content,
        sum: String,
        when: Moment,
    ) -> usize {
        let upload = Upload::new(&self.plain.folders[parent].id, &name, content);
        let id = match self.plain.realm(parent) {
            Realm::Theirs => self.other.upload(upload),
            Realm::Ours | Realm::Nobody => self.world.drive.upload(upload),
        };
        self.tell(format!("upload {id} {name} into folder {parent} {sum}"));
        self.plain.videos.push(Video {
            id,
            parent,
            fate: Fate::There,
            wanted: !name.ends_with(".txt"),
            downloadable: true,
            names: BTreeSet::from([name]),
            contents: vec![sum],
            existing: when == Moment::BeforeTheFirstRun && self.plain.inside()[parent],
            parents: BTreeSet::from([parent]),
            tampered: false,
            beforehand: false,
        });
        self.plain.videos.len() - 1
    }

    /// One of the files that still are.
    pub(super) fn one(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.plain.videos.len())
            .filter(|&index| self.plain.videos[index].fate != Fate::Deleted)
            .collect();
        (!live.is_empty()).then(|| *self.luck.pick(&live))
    }

    fn revise(&mut self) {
        let Some(index) = self.one() else { return };
        let (content, sum) = self.content();
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("revise {id} {sum}"));
        self.world.drive.revise(&id, content);
        self.plain.videos[index].contents.push(sum);
        self.plain.videos[index].existing = false;
    }

    /// Brings an earlier content back.
    fn restore(&mut self) {
        let Some(index) = self.one() else { return };
        let id = self.plain.videos[index].id.clone();
        let revisions = self.world.drive.revisions(&id);
        assert_eq!(revisions.len(), self.plain.videos[index].contents.len(), "{id}");
        let number = self.luck.below(revisions.len() as u64) as usize;
        let sum = self.plain.videos[index].contents[number].clone();
        self.tell(format!("restore {id} {sum}"));
        self.world.drive.restore(&id, &revisions[number]);
        self.plain.videos[index].contents.push(sum);
        self.plain.videos[index].existing = false;
    }

    fn rename(&mut self) {
        let Some(index) = self.one() else { return };
        // What is no video stays none, so that what was noted and what is wanted cannot get mixed up.
        let wanted = self.plain.videos[index].wanted;
        let name = *self.luck.pick(&NAMES[..NAMES.len() - 1]);
        if !wanted {
            return;
        }
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("rename {id} {name}"));
        self.world.drive.rename(&id, name);
        self.plain.videos[index].names.insert(name.to_owned());
    }

    fn relocate(&mut self) {
        let Some(index) = self.one() else { return };
        let Some(to) = self.neighbour(self.plain.videos[index].parent) else { return };
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("move {id} to folder {to}"));
        self.world.drive.move_to(&id, &self.plain.folders[to].id);
        self.plain.videos[index].parent = to;
    }

    /// A folder that something in this folder can be moved to.
    fn neighbour(&mut self, folder: usize) -> Option<usize> {
        let realm = self.plain.realm(folder);
        let folders = self.plain.folders_of(realm);
        (realm != Realm::Nobody && !folders.is_empty()).then(|| *self.luck.pick(&folders))
    }

    fn trash(&mut self) {
        let Some(index) = self.one() else { return };
        let video = &mut self.plain.videos[index];
        let trashed = video.fate == Fate::There;
        video.fate = if trashed { Fate::Trashed } else { Fate::There };
        let id = video.id.clone();
        self.tell(format!("trash {id}: {trashed}"));
        if trashed { self.world.drive.trash(&id) } else { self.world.drive.untrash(&id) }
    }

    fn delete(&mut self) {
        let Some(index) = self.one() else { return };
        self.plain.videos[index].fate = Fate::Deleted;
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("delete {id}"));
        self.world.drive.delete(&id);
    }

    fn make_folder(&mut self) {
        if self.plain.folders.len() > FOLDERS_AT_MOST {
            return;
        }
        let folders = self.plain.every_folder();
        let parent = *self.luck.pick(&folders);
        let name = *self.luck.pick(&FOLDERS);
        self.folder_in(parent, name);
    }

    /// Makes a folder in this one. Returns its number.
    pub(super) fn folder_in(&mut self, parent: usize, name: &str) -> usize {
        let id = match self.plain.realm(parent) {
            Realm::Theirs => self.other.folder(&self.plain.folders[parent].id, name),
            Realm::Ours | Realm::Nobody => self.world.drive.folder(&self.plain.folders[parent].id, name),
        };
        self.tell(format!("folder {} is {id} {name} in {parent}", self.plain.folders.len()));
        self.plain.folder_names.insert(name.to_owned());
        self.plain.folders.push(Folder {
            id,
            parent: Some(parent),
            fate: Fate::There,
            hidden: false,
            watched: false,
            visited: false,
        });
        self.plain.folders.len() - 1
    }

    /// One of the folders that the user has made.
    fn one_folder(&mut self) -> Option<usize> {
        let folders: Vec<usize> =
            self.plain.every_folder().into_iter().filter(|&folder| folder >= GIVEN).collect();
        (!folders.is_empty()).then(|| *self.luck.pick(&folders))
    }

    fn relocate_folder(&mut self) {
        let Some(index) = self.one_folder() else { return };
        let id = self.plain.folders[index].id.clone();
        if self.luck.once_in(3) {
            let name = *self.luck.pick(&FOLDERS);
            self.tell(format!("rename folder {index} {name}"));
            self.world.drive.rename(&id, name);
            self.plain.folder_names.insert(name.to_owned());
            return;
        }
        let Some(to) = self.neighbour(index).filter(|&to| !self.plain.is_below(to, index)) else { return };
        self.tell(format!("move folder {index} to {to}"));
        self.world.drive.move_to(&id, &self.plain.folders[to].id);
        self.plain.folders[index].parent = Some(to);
    }

    fn trash_folder(&mut self) {
        if let Some(index) = self.one_folder() {
            self.trash_or_not(index);
        }
    }

    pub(super) fn one_watched(&mut self) -> Option<usize> {
        let folders = self.plain.every_folder();
        let watched: Vec<usize> =
            folders.into_iter().filter(|&folder| self.plain.folders[folder].watched).collect();
        (!watched.is_empty()).then(|| *self.luck.pick(&watched))
    }

    /// Puts a watched folder into the trash, or takes it out.
    fn trash_watched(&mut self) {
        if let Some(index) = self.one_watched() {
            self.trash_or_not(index);
        }
    }

    fn trash_or_not(&mut self, index: usize) {
        if self.plain.holds_targets(index) {
            return;
        }
        let folder = &mut self.plain.folders[index];
        let trashed = folder.fate == Fate::There;
        folder.fate = if trashed { Fate::Trashed } else { Fate::There };
        let id = folder.id.clone();
        self.tell(format!("trash folder {index}: {trashed}"));
        if trashed { self.world.drive.trash(&id) } else { self.world.drive.untrash(&id) }
    }

    /// Deletes a folder and what is below it, now and then a watched one.
    fn delete_folder(&mut self) {
        let index = if self.luck.once_in(6) { self.one_watched() } else { self.one_folder() };
        let Some(index) = index else { return };
        self.tell(format!("delete folder {index}"));
        self.world.drive.delete(&self.plain.folders[index].id);
        self.plain.delete_folder(index);
    }

    /// Makes a shortcut to a folder or a file.
    fn link(&mut self) {
        let folders = self.plain.folders_of(Realm::Ours);
        let parent = *self.luck.pick(&folders);
        let (target, id, name) = if self.luck.once_in(2) {
            let Some(folder) = self.one_folder() else { return };
            (Target::Folder(folder), self.plain.folders[folder].id.clone(), *self.luck.pick(&FOLDERS))
        } else {
            let Some(video) = self.one().filter(|&video| self.plain.videos[video].wanted) else { return };
            (Target::Video(video), self.plain.videos[video].id.clone(), NAMES[self.luck.below(5) as usize])
        };
        if matches!(target, Target::Video(video) if self.plain.videos[video].fate != Fate::There)
            || !self.plain.is_shown(self.place_of(target))
            || self.plain.realm(self.place_of(target)) != Realm::Ours
        {
            return;
        }
        let link = self.world.drive.shortcut(&self.plain.folders[parent].id, name, &id);
        self.tell(format!("shortcut {link} {name} in folder {parent} to {target:?}"));
        match target {
            Target::Folder(_) => {
                self.plain.folder_names.insert(name.to_owned());
            }
            Target::Video(video) => {
                self.plain.videos[video].names.insert(name.to_owned());
            }
        }
        self.plain.links.push(Link { id: link, parent, target, trashed: false });
    }

    fn place_of(&self, target: Target) -> usize {
        match target {
            Target::Folder(folder) => folder,
            Target::Video(video) => self.plain.videos[video].parent,
        }
    }

    /// Moves a shortcut, or puts it into the trash or takes it out.
    fn change_link(&mut self) {
        if self.plain.links.is_empty() {
            return;
        }
        let index = self.luck.below(self.plain.links.len() as u64) as usize;
        let neighbour = self.neighbour(self.plain.links[index].parent);
        let moves = self.luck.once_in(2);
        let link = &mut self.plain.links[index];
        let id = link.id.clone();
        if moves {
            let Some(to) = neighbour else { return };
            link.parent = to;
            self.world.drive.move_to(&id, &self.plain.folders[to].id);
            self.tell(format!("move shortcut {id} to folder {to}"));
            return;
        }
        link.trashed = !link.trashed;
        let trashed = link.trashed;
        if trashed {
            self.world.drive.trash(&id);
        } else {
            self.world.drive.untrash(&id);
        }
        self.tell(format!("trash shortcut {id}: {trashed}"));
    }
}
