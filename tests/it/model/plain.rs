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
    /// It was ever in a folder that was ever below the watched one.
    pub(super) parents: BTreeSet<usize>,
    /// The user has changed or taken away what was delivered of it.
    pub(super) tampered: bool,
}

#[derive(Debug)]
pub(super) struct Plain {
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
    /// Whether the folder is below the watched one, or is it.
    pub(super) fn is_inside(&self, folder: usize) -> bool {
        let mut here = Some(folder);
        let mut below = false;
        while let Some(index) = here {
            let folder = &self.folders[index];
            if folder.trashed {
                return false;
            }
            below |= index == INBOX;
            here = folder.parent;
        }
        below
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
        for index in 0..self.folders.len() {
            if self.is_inside(index) {
                self.folders[index].visited = true;
            }
        }
        for video in &mut self.videos {
            video.parents.insert(video.parent);
        }
    }

    pub(super) fn every_folder(&self) -> Vec<usize> {
        (0..self.folders.len()).collect()
    }

    fn is_due(&self, video: &Video) -> bool {
        video.fate == Fate::There
            && !video.existing
            && !video.tampered
            && video.wanted
            && self.is_inside(video.parent)
    }

    fn is_allowed(&self, video: &Video) -> bool {
        video.wanted && video.parents.iter().any(|&parent| self.folders[parent].visited)
    }

    /// The contents that must be at the destination and are not.
    pub(super) fn missing(&self, there: &BTreeMap<String, String>) -> Vec<String> {
        self.videos
            .iter()
            .filter(|video| self.is_due(video))
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
