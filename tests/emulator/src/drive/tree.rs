//! What a user does: every action changes the tree, writes the log and calls the channels.

use std::time::Duration;

pub(crate) use super::clock::milliseconds;
use super::content::{Checksums, Content};
use super::extras::Extras;
use super::mime;
use super::node::{Blob, Kind, Node, Quirk, Upload};
use super::refusal::Done;
pub(crate) use super::refusal::Refusal;
use super::report::Cause;
use super::role::Sharing;
use super::state::State;
use super::{clock, ids};

impl State {
    pub(crate) fn upload(&mut self, upload: Upload, checksums: Checksums) -> Done<String> {
        let mime_type = upload.mime_type.unwrap_or_else(|| mime::of_name(&upload.name).to_owned());
        let kind = if mime_type == mime::FOLDER {
            Kind::Folder
        } else if Node::is_google_type(&mime_type) {
            Kind::Document
        } else {
            Kind::Blob(self.blob(upload.content, checksums, &upload.name))
        };
        let id = upload.id.unwrap_or_else(ids::file);
        if self.nodes.contains_key(&id) {
            return Err(Refusal::IdTaken(id));
        }
        let mut node = self.sprout(&upload.parent, id, upload.name, mime_type, kind)?;
        node.quirks = upload.quirks;
        if let Some(owner) = upload.owner.filter(|_| node.drive.is_none()) {
            self.account(&owner)?;
            node.sharing.owner = Some(owner);
        }
        if let Some(time) = upload.created_time {
            node.created = clock::parse(&time).ok_or(Refusal::BadTime(time))?;
        }
        if let Some(time) = upload.modified_time {
            node.modified = clock::parse(&time).ok_or(Refusal::BadTime(time))?;
        }
        Ok(self.plant(node))
    }

    pub(crate) fn folder(&mut self, parent: &str, name: &str) -> Done<String> {
        let node =
            self.sprout(parent, ids::file(), name.to_owned(), mime::FOLDER.to_owned(), Kind::Folder)?;
        Ok(self.plant(node))
    }

    pub(crate) fn shortcut(&mut self, parent: &str, name: &str, target: &str) -> Done<String> {
        let target = self.known(target)?;
        let kind = Kind::Shortcut { target: target.id.clone(), target_mime_type: target.mime_type.clone() };
        let node = self.sprout(parent, ids::file(), name.to_owned(), mime::SHORTCUT.to_owned(), kind)?;
        Ok(self.plant(node))
    }

    /// The checksums are those of the content, made before the state was locked.
    pub(crate) fn revise(&mut self, id: &str, content: Content, checksums: Checksums) -> Done<String> {
        let now = self.now();
        let node = self.known(id)?;
        let name = node.name.clone();
        let former = node.blob().ok_or_else(|| Refusal::NotABlob(id.to_owned()))?.clone().into_former();
        let mut blob = self.blob(content, checksums, &name);
        blob.former = former;
        let revision = blob.revision.clone();
        let node = self.known_mut(id)?;
        node.kind = Kind::Blob(blob);
        node.modified = now;
        self.changed(id, Cause::Updated("content"));
        Ok(revision)
    }

    /// Makes the content of a revision the newest one again, under a new revision id.
    pub(crate) fn restore(&mut self, id: &str, revision: &str) -> Done<String> {
        let blob = self.known(id)?.blob().ok_or_else(|| Refusal::NotABlob(id.to_owned()))?;
        let (content, checksums) = if blob.revision == revision {
            (blob.content.clone(), blob.checksums.clone())
        } else {
            let former = blob.former.iter().find(|former| former.revision == revision);
            let former = former.ok_or_else(|| Refusal::NoSuchRevision(revision.to_owned()))?;
            (former.content.clone(), former.checksums.clone())
        };
        self.revise(id, content, checksums)
    }

    pub(crate) fn set_quirks(&mut self, id: &str, quirks: &[Quirk], is_told: bool) -> Done<()> {
        self.known_mut(id)?.quirks = quirks.to_vec();
        if is_told {
            self.changed(id, Cause::Updated("permissions"));
        }
        Ok(())
    }

    pub(crate) fn rename(&mut self, id: &str, name: &str) -> Done<()> {
        name.clone_into(&mut self.known_mut(id)?.name);
        self.changed(id, Cause::Updated("properties"));
        Ok(())
    }

    pub(crate) fn touch(&mut self, id: &str) -> Done<()> {
        self.known(id)?;
        self.changed(id, Cause::Updated("properties"));
        Ok(())
    }

    /// Listings do not show the item until so much later, whatever else says that it is there.
    pub(crate) fn hide_from_listings(&mut self, id: &str, lag: Duration) -> Done<()> {
        let listed_from = self.now() + milliseconds(lag);
        self.known_mut(id)?.listed_from = listed_from;
        Ok(())
    }

    pub(crate) fn set_trashed(&mut self, id: &str, trashed: bool) -> Done<()> {
        let now = self.now();
        self.below_a_root(id)?;
        let node = self.known_mut(id)?;
        node.trashed = trashed;
        node.trashed_time = trashed.then_some(now);
        self.changed(id, if trashed { Cause::Trashed } else { Cause::Untrashed });
        Ok(())
    }

    /// Into another folder; across drives the file leaves the one log for the other.
    pub(crate) fn move_to(&mut self, id: &str, parent: &str) -> Done<()> {
        let target = self.known(parent)?;
        if !target.is_folder() {
            return Err(Refusal::NotAFolder(parent.to_owned()));
        }
        let (target, drive, owner) = (target.id.clone(), target.drive.clone(), target.sharing.owner.clone());
        let node = self.below_a_root(id)?;
        if self.lineage(self.known(&target)?).any(|above| above.id == id) {
            return Err(Refusal::BelowItself(id.to_owned()));
        }
        let concerned = self.concerned(id);
        let (sequence, former_parent, former_drive) =
            (node.sequence, node.parent.clone(), node.drive.clone());
        if let Some(siblings) = former_parent.and_then(|parent| self.children.get_mut(&parent)) {
            siblings.remove(&(sequence, id.to_owned()));
        }
        self.children.entry(target.clone()).or_default().insert((sequence, id.to_owned()));
        let listed_from = self.now() + milliseconds(self.settings.listing_lag);
        let node = self.known_mut(id)?;
        node.parent = Some(target);
        node.listed_from = listed_from;
        if former_drive != drive {
            for below in self.subtree(id) {
                let node = self.known_mut(&below)?;
                node.drive.clone_from(&drive);
                node.sharing.owner.clone_from(&owner);
            }
        }
        for (id, former) in concerned {
            self.reannounce(&id, &former, Cause::Updated("parents"));
        }
        Ok(())
    }

    /// For ever, with everything below.
    pub(crate) fn delete(&mut self, id: &str) -> Done<()> {
        self.below_a_root(id)?;
        self.uproot(id);
        Ok(())
    }

    /// `id` and everything below it, parents first.
    pub(crate) fn subtree(&self, id: &str) -> Vec<String> {
        let mut found = vec![id.to_owned()];
        let mut next = 0;
        while let Some(id) = found.get(next) {
            let below =
                self.children.get(id).into_iter().flatten().map(|(_, id)| id.clone()).collect::<Vec<_>>();
            found.extend(below);
            next += 1;
        }
        found
    }

    /// The item itself, its folder, and so on up to the root of its drive.
    pub(crate) fn lineage<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        std::iter::successors(Some(node), |node| self.nodes.get(node.parent.as_ref()?))
    }

    /// The item, if it is not the root of a drive.
    fn below_a_root(&self, id: &str) -> Done<&Node> {
        let node = self.known(id)?;
        if node.parent.is_none() { Err(Refusal::IsRoot(node.id.clone())) } else { Ok(node) }
    }

    pub(crate) fn known(&self, id: &str) -> Done<&Node> {
        self.find(id).ok_or_else(|| Refusal::NoSuchFile(id.to_owned()))
    }

    pub(crate) fn known_mut(&mut self, id: &str) -> Done<&mut Node> {
        self.nodes.get_mut(id).ok_or_else(|| Refusal::NoSuchFile(id.to_owned()))
    }

    pub(super) fn blob(&self, content: Content, checksums: Checksums, name: &str) -> Blob {
        let processed = self.now() + milliseconds(self.settings.processing_delay);
        Blob {
            content,
            checksums,
            revision: ids::revision(),
            original_name: name.to_owned(),
            processed,
            former: Vec::new(),
        }
    }

    pub(super) fn sprout(
        &mut self,
        parent: &str,
        id: String,
        name: String,
        mime_type: String,
        kind: Kind,
    ) -> Done<Node> {
        let now = self.now();
        let parent = self.known(parent)?;
        if !parent.is_folder() {
            return Err(Refusal::NotAFolder(parent.id.clone()));
        }
        let (owner, drive) = (parent.sharing.owner.clone(), parent.drive.clone());
        let parent = Some(parent.id.clone());
        self.sequence += 1;
        Ok(Node {
            id,
            name,
            mime_type,
            parent,
            drive,
            created: now,
            modified: now,
            trashed: false,
            trashed_time: None,
            version: 0,
            listed_from: now + milliseconds(self.settings.listing_lag),
            sequence: self.sequence,
            quirks: Vec::new(),
            sharing: Sharing { owner, ..Sharing::default() },
            extras: Extras::default(),
            kind,
        })
    }

    pub(super) fn plant(&mut self, node: Node) -> String {
        let id = node.id.clone();
        if let Some(parent) = &node.parent {
            self.children.entry(parent.clone()).or_default().insert((node.sequence, id.clone()));
        }
        self.nodes.insert(id.clone(), node);
        self.changed(&id, Cause::Added);
        id
    }
}
