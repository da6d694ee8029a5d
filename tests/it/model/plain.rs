//! A plain picture of the user's Drive, and what the rules say must, may and must not be at the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::world::sha256;

/// A folder of the user's. The first is My Drive, the second the watched one.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) id: String,
    pub(super) parent: Option<usize>,
    pub(super) trashed: bool,
    /// Whether it was ever below the watched folder.
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
pub(super) struct Video {
    pub(super) id: String,
    pub(super) parent: usize,
    pub(super) fate: Fate,
    /// Every name it ever had.
    pub(super) names: BTreeSet<String>,
    /// Checksums of every content it ever had, the latest last.
    pub(super) contents: Vec<String>,
    /// It lay in the watched folder before the first run, and its content is still the one of then.
    pub(super) existing: bool,
    /// Its name says that it is a video.
    pub(super) wanted: bool,
    /// Every folder that it, or a shortcut to it, ever lay in.
    pub(super) parents: BTreeSet<usize>,
    /// The user has changed or taken away what was delivered of it.
    pub(super) tampered: bool,
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
    /// Checksums of contents that the user has made of delivered files: they have to be somewhere.
    pub(super) edited: BTreeSet<String>,
    /// Whether a new content takes the place of the earlier one.
    pub(super) replaces: bool,
}

pub(super) const ROOT: usize = 0;
pub(super) const INBOX: usize = 1;

impl Plain {
    /// Which folders are below the watched one, or are it, shortcuts followed.
    pub(super) fn inside(&self) -> Vec<bool> {
        let mut inside = vec![false; self.folders.len()];
        inside[INBOX] = true;
        loop {
            let more: Vec<usize> = (0..self.folders.len())
                .filter(|&index| !inside[index] && !self.is_in_bin(index))
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

    fn is_linked(&self, target: Target, inside: &[bool]) -> bool {
        self.links.iter().any(|link| link.target == target && !link.trashed && inside[link.parent])
    }

    pub(super) fn is_in_bin(&self, folder: usize) -> bool {
        let mut here = Some(folder);
        while let Some(index) = here {
            if self.folders[index].trashed {
                return true;
            }
            here = self.folders[index].parent;
        }
        false
    }

    /// Whether the folder, or one above it, is this one.
    pub(super) fn is_below(&self, folder: usize, above: usize) -> bool {
        let mut here = Some(folder);
        while let Some(index) = here {
            if index == above {
                return true;
            }
            here = self.folders[index].parent;
        }
        false
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

    pub(super) fn every_folder(&self) -> Vec<usize> {
        (0..self.folders.len()).collect()
    }

    /// Whether a shortcut points at something below this folder. Nobody tells the daemon when a folder that it does
    /// not know goes into the bin, so that it learns of that a day later.
    pub(super) fn holds_targets(&self, folder: usize) -> bool {
        self.links.iter().any(|link| match link.target {
            Target::Folder(target) => target != folder && self.is_below(target, folder),
            Target::Video(target) => self.is_below(self.videos[target].parent, folder),
        })
    }

    fn is_due(&self, index: usize, inside: &[bool]) -> bool {
        let video = &self.videos[index];
        video.fate == Fate::There
            && !video.existing
            && !video.tampered
            && video.wanted
            && !self.is_in_bin(video.parent)
            && (inside[video.parent] || self.is_linked(Target::Video(index), inside))
    }

    fn is_allowed(&self, video: &Video) -> bool {
        video.wanted && video.parents.iter().any(|&parent| self.folders[parent].visited)
    }

    /// The contents that must be at the destination and are not.
    pub(super) fn missing(&self, there: &BTreeMap<String, String>) -> Vec<String> {
        let inside = self.inside();
        (0..self.videos.len())
            .filter(|&index| self.is_due(index, &inside))
            .map(|index| &self.videos[index])
            .filter(|video| !there.values().any(|sum| Some(sum) == video.contents.last()))
            .map(|video| format!("{:?} {} is missing", video.names, video.id))
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
            let places: Vec<_> = there.iter().filter(|(_, sum)| video.contents.contains(sum)).collect();
            let distinct: BTreeSet<_> = places.iter().map(|(_, sum)| sum).collect();
            if distinct.len() < places.len() {
                wrong.push(format!("one content, several files: {places:?}"));
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
