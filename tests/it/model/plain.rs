//! A plain picture of the user's Drive, and what the rules say must, may and must not be at the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::world::sha256;

/// A folder. The first ones are there from the beginning.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) id: String,
    /// Absent for one that is not below a folder of this picture.
    pub(super) parent: Option<usize>,
    pub(super) fate: Fate,
    /// The daemon's account has no permission for it, nor for what is below it.
    pub(super) hidden: bool,
    /// Whether the configuration names it.
    pub(super) watched: bool,
    /// Whether it was ever watched, or below a watched folder.
    pub(super) visited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    There,
    Trashed,
    Deleted,
}

/// A file of the user's.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Video {
    pub(super) id: String,
    pub(super) parent: usize,
    pub(super) fate: Fate,
    /// Every name it ever had.
    pub(super) names: BTreeSet<String>,
    /// Checksums of every content it ever had, the latest last. One that was restored is there twice.
    pub(super) contents: Vec<String>,
    /// It lay in the watched folder before the first run, and its content is still the one of then.
    pub(super) existing: bool,
    /// Its name says that it is a video.
    pub(super) wanted: bool,
    /// Whether its owner lets anybody download it.
    pub(super) downloadable: bool,
    /// Every folder that it, or a shortcut to it, ever lay in.
    pub(super) parents: BTreeSet<usize>,
    /// The user has changed or taken away what was delivered of it.
    pub(super) tampered: bool,
    /// The user had put its first content there before it was in Drive, under a name that no other file has.
    pub(super) beforehand: bool,
}

impl Video {
    /// Whether what lay there beforehand must have been adopted: it had one content, one name and one place.
    fn is_adopted(&self) -> bool {
        let Self { contents, names, parents, .. } = self;
        self.beforehand && !self.tampered && [contents.len(), names.len(), parents.len()] == [1; 3]
    }
}

/// A shortcut of the user's.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: String,
    pub(super) parent: usize,
    pub(super) target: Target,
    pub(super) trashed: bool,
}

/// What a shortcut points at, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Folder(usize),
    Video(usize),
}

#[derive(Debug)]
pub(super) struct Plain {
    pub(super) links: Vec<Link>,
    pub(super) folders: Vec<Folder>,
    pub(super) videos: Vec<Video>,
    /// Every name a folder ever had.
    pub(super) folder_names: BTreeSet<String>,
    /// Files at the destination that are the user's own, by path: these bytes have to stay there.
    pub(super) own: BTreeMap<String, String>,
    /// Links at the destination that are the user's own. Nothing is delivered through them, and what they lead to is nothing
    /// that was delivered.
    pub(super) own_links: BTreeSet<String>,
    /// Checksums of contents that the user has made of delivered files: they have to be somewhere.
    pub(super) edited: BTreeSet<String>,
    /// Whether a new content takes the place of the earlier one.
    pub(super) replaces: bool,
}

/// My Drive, and its watched folder below it.
pub(super) const ROOT: usize = 0;
/// A shared drive that the daemon's account is a member of or was one, with a watched folder below it.
pub(super) const TEAM: usize = 2;
/// A watched folder of another account, shared with the daemon's or not.
pub(super) const SHARED: usize = 4;
/// A watched folder of another account's shared drive, of which the daemon's account is no member.
pub(super) const FOREIGN: usize = 5;
/// The number of folders that are there from the beginning. The last one is the other account's, shared with nobody.
pub(super) const GIVEN: usize = 7;

/// Whose folders something can be moved between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// The daemon's account: its My Drive, and the shared drive while it is a member.
    Ours,
    /// The other account.
    Theirs,
    /// The shared drive while the daemon's account is no member.
    Nobody,
}

impl Plain {
    /// Which folders are watched, or below one that is, shortcuts followed.
    pub(super) fn inside(&self) -> Vec<bool> {
        let watched = |(index, folder): (usize, &Folder)| folder.watched && self.is_shown(index);
        let mut inside: Vec<bool> = self.folders.iter().enumerate().map(watched).collect();
        loop {
            let more: Vec<usize> = (0..self.folders.len())
                .filter(|&index| !inside[index] && self.is_shown(index))
                .filter(|&index| {
                    self.folders[index].parent.is_some_and(|parent| inside[parent])
                        || self.is_linked(Target::Folder(index), &inside)
                })
                .collect();
            if more.is_empty() {
                return inside;
            }
            for index in more {
                inside[index] = true;
            }
        }
    }

    pub(super) fn is_linked(&self, target: Target, inside: &[bool]) -> bool {
        self.links.iter().any(|link| link.target == target && !link.trashed && inside[link.parent])
    }

    /// The folder and those above it.
    fn lineage(&self, folder: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(folder), |&index| self.folders[index].parent)
    }

    /// Whether the daemon's account sees it, and neither it nor a folder above it is in the trash or deleted.
    pub(super) fn is_shown(&self, folder: usize) -> bool {
        self.lineage(folder)
            .map(|index| &self.folders[index])
            .all(|folder| folder.fate == Fate::There && !folder.hidden)
    }

    /// Who can move what is in this folder.
    pub(super) fn realm(&self, folder: usize) -> Realm {
        match self.lineage(folder).last() {
            Some(TEAM) if self.folders[TEAM].hidden => Realm::Nobody,
            Some(ROOT | TEAM) => Realm::Ours,
            _ => Realm::Theirs,
        }
    }

    /// All folders of a realm that something can be put into.
    pub(super) fn folders_of(&self, realm: Realm) -> Vec<usize> {
        self.every_folder().into_iter().filter(|&folder| self.realm(folder) == realm).collect()
    }

    /// Whether the folder, or one above it, is this one.
    pub(super) fn is_below(&self, folder: usize, above: usize) -> bool {
        self.lineage(folder).any(|index| index == above)
    }

    /// Notes which folders and files have been where, after something has moved.
    pub(super) fn note(&mut self) {
        let inside = self.inside();
        for (folder, is_inside) in self.folders.iter_mut().zip(inside) {
            folder.visited |= is_inside;
        }
        for link in &self.links {
            if let Target::Video(video) = link.target {
                self.videos[video].parents.insert(link.parent);
            }
        }
        for video in &mut self.videos {
            video.parents.insert(video.parent);
        }
    }

    /// All folders that something can be put into.
    pub(super) fn every_folder(&self) -> Vec<usize> {
        (0..self.folders.len()).filter(|&folder| self.folders[folder].fate != Fate::Deleted).collect()
    }

    /// Deletes a folder with everything below it.
    pub(super) fn delete_folder(&mut self, folder: usize) {
        let below: Vec<bool> = (0..self.folders.len()).map(|other| self.is_below(other, folder)).collect();
        for video in self.videos.iter_mut().filter(|video| below[video.parent]) {
            video.fate = Fate::Deleted;
        }
        self.links.retain(|link| !below[link.parent]);
        for (folder, _) in self.folders.iter_mut().zip(below).filter(|(_, below)| *below) {
            folder.fate = Fate::Deleted;
        }
    }

    /// Whether a shortcut points at something below this folder. Drive does not tell the daemon when a folder that it
    /// does not know goes into the trash: it learns of that from its daily comparison.
    pub(super) fn holds_targets(&self, folder: usize) -> bool {
        self.links.iter().any(|link| match link.target {
            Target::Folder(target) => target != folder && self.is_below(target, folder),
            Target::Video(target) => self.is_below(self.videos[target].parent, folder),
        })
    }

    pub(super) fn is_due(&self, index: usize, inside: &[bool]) -> bool {
        let video = &self.videos[index];
        video.fate == Fate::There
            && !video.existing
            && !video.tampered
            && video.wanted
            && video.downloadable
            && self.is_shown(video.parent)
            && (inside[video.parent] || self.is_linked(Target::Video(index), inside))
    }

    fn is_allowed(&self, video: &Video) -> bool {
        video.wanted && video.parents.iter().any(|&parent| self.folders[parent].visited)
    }

    /// How many files may still be waited for that the daemon's account does not see any more: Drive is asked for them again
    /// for minutes.
    pub(super) fn hidden(&self) -> usize {
        self.videos.iter().filter(|video| !self.is_shown(video.parent)).count()
    }

    /// What is there by itself, and not by a link of the user's.
    fn without_links(&self, there: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let is_linked = |path: &String| {
            let below = |link: &String| path.strip_prefix(link).is_some_and(|rest| rest.starts_with('/'));
            self.own_links.contains(path) || self.own_links.iter().any(below)
        };
        there
            .iter()
            .filter(|(path, _)| !is_linked(path))
            .map(|(path, sum)| (path.clone(), sum.clone()))
            .collect()
    }

    /// The contents that must be at the destination and are not.
    pub(super) fn missing(&self, there: &BTreeMap<String, String>) -> Vec<String> {
        let there = self.without_links(there);
        let inside = self.inside();
        (0..self.videos.len())
            .filter(|&index| self.is_due(index, &inside))
            .map(|index| &self.videos[index])
            .filter(|video| !there.values().any(|sum| Some(sum) == video.contents.last()))
            .map(|video| format!("missing: {} {:?}", video.id, video.names))
            .collect()
    }

    /// Everything that is wrong with the destination.
    pub(super) fn wrong(&self, there: &BTreeMap<String, String>) -> Vec<String> {
        let mut wrong = self.missing(there);
        for (path, sum) in &self.own {
            if there.get(path) != Some(sum) {
                wrong.push(format!("the user's own {path} is not as it was"));
            }
        }
        for (path, sum) in there.iter().filter(|(path, _)| !self.own.contains_key(*path)) {
            if self.own_links.iter().any(|link| path.starts_with(&format!("{link}/"))) {
                wrong.push(format!("{path} ({sum}) was put through a link"));
            }
        }
        let there = &self.without_links(there);
        for sum in &self.edited {
            if !there.values().any(|other| other == sum) {
                wrong.push(format!("an edited file ({sum}) is gone"));
            }
        }
        for (path, sum) in there {
            if self.own.get(path) == Some(sum) || self.edited.contains(sum) {
                continue;
            }
            let Some(video) = self.videos.iter().find(|video| video.contents.contains(sum)) else {
                wrong.push(format!("{path} is no content that ever was"));
                continue;
            };
            if !self.is_allowed(video) {
                wrong.push(format!("{path} was never wanted"));
            }
            if video.existing {
                wrong.push(format!("{path} was there before the first run"));
            }
            if !self.is_named_well(path, video) {
                wrong.push(format!("{path} bears a name that {:?} never had", video.names));
            }
        }
        for video in &self.videos {
            let mut places: Vec<_> = there.iter().filter(|(_, sum)| video.contents.contains(sum)).collect();
            let all = places.len();
            // What somebody else has put there is nobody's to replace.
            places.retain(|(path, sum)| self.own.get(*path) != Some(sum));
            if all > places.len() && video.is_adopted() && !places.is_empty() {
                wrong.push(format!("what was there already was downloaded all the same: {places:?}"));
            }
            for sum in &video.contents {
                let files = places.iter().filter(|(_, other)| *other == sum).count();
                if files > video.contents.iter().filter(|other| *other == sum).count() {
                    wrong.push(format!("one content, several files: {places:?}"));
                }
            }
            if self.replaces && !video.tampered && places.len() > 1 {
                wrong.push(format!("a new content lies beside an untouched earlier one: {places:?}"));
            }
        }
        wrong
    }

    /// A name it has had, with a mark if need be, below folders that have been.
    fn is_named_well(&self, path: &str, video: &Video) -> bool {
        let (directories, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        let leaf_is_right = video.names.iter().any(|name| {
            let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
            leaf == name || (leaf.starts_with(&format!("{stem} [")) && leaf.ends_with(&format!("].{ending}")))
        });
        let known = |name: &str| self.folder_names.contains(name.trim_end_matches('_'));
        leaf_is_right && directories.split('/').all(|name| name.is_empty() || known(name))
    }
}

/// What is at the destination: path and checksum.
pub(super) fn look(root: &Path, paths: &[String]) -> BTreeMap<String, String> {
    paths.iter().map(|path| (path.clone(), sha256(&root.join(path)))).collect()
}
