//! What a user of the emulated Drive does, callable from any thread. An unknown id panics: it is the test's mistake.

use std::time::Duration;

use serde_json::Value;

use crate::api::resource;
use crate::drive::account;
use crate::drive::content::Content;
use crate::drive::node::{Quirk, Upload};
use crate::drive::tree::Refusal;
use crate::emulator::Emulator;
use crate::world::World;

impl Emulator {
    /// The root folder of My Drive.
    pub fn root_id(&self) -> String {
        self.inner.state().root.clone()
    }

    /// Makes a folder and returns its id.
    pub fn folder(&self, parent: &str, name: &str) -> String {
        done(self.inner.state().folder(parent, name))
    }

    /// Puts a file into the Drive and returns its id.
    pub fn upload(&self, upload: Upload) -> String {
        done(self.try_upload(upload))
    }

    /// Gives a file new content and returns its new head revision id.
    pub fn revise(&self, id: &str, content: impl Into<Content>) -> String {
        done(self.try_revise(id, content.into()))
    }

    /// Gives a file the content of an earlier revision, as restoring a version does, and returns the new head revision's id.
    pub fn restore(&self, id: &str, revision: &str) -> String {
        done(self.try_restore(id, revision))
    }

    /// Makes a file unhealthy in these ways and no others, with an entry in the change log, as when its owner forbids
    /// downloads or allows them again.
    pub fn set_quirks(&self, id: &str, quirks: &[Quirk]) {
        done(self.inner.state().set_quirks(id, quirks, true));
    }

    /// The same without an entry in the change log, as when a checksum is there at last.
    pub fn set_quirks_silently(&self, id: &str, quirks: &[Quirk]) {
        done(self.inner.state().set_quirks(id, quirks, false));
    }

    /// Gives a file another name.
    pub fn rename(&self, id: &str, name: &str) {
        done(self.inner.state().rename(id, name));
    }

    /// Puts a file into another folder, of another drive even.
    pub fn move_to(&self, id: &str, parent: &str) {
        done(self.inner.state().move_to(id, parent));
    }

    /// Into the bin.
    pub fn trash(&self, id: &str) {
        done(self.inner.state().set_trashed(id, true));
    }

    /// Out of the bin.
    pub fn untrash(&self, id: &str) {
        done(self.inner.state().set_trashed(id, false));
    }

    /// For ever, with everything below.
    pub fn delete(&self, id: &str) {
        done(self.inner.state().delete(id));
    }

    /// Makes a shortcut to `target` and returns its id.
    pub fn shortcut(&self, parent: &str, name: &str, target: &str) -> String {
        done(self.inner.state().shortcut(parent, name, target))
    }

    /// `files.list` does not show this item for so long, although `files.get` and the change log do; see
    /// [`set_listing_lag`](Self::set_listing_lag).
    pub fn hide_from_listings(&self, id: &str, lag: Duration) {
        done(self.inner.state().hide_from_listings(id, lag));
    }

    /// A change of metadata alone: the version grows, the head revision stays.
    pub fn touch(&self, id: &str) {
        done(self.inner.state().touch(id));
    }

    /// Makes a shared drive, whose id is also that of its root folder and the name of its own change log.
    pub fn shared_drive(&self, name: &str) -> String {
        done(self.inner.state().shared_drive(name, account::FIRST))
    }

    /// Everything Drive says about a file, as with `fields=*`.
    pub fn file_json(&self, id: &str) -> Option<Value> {
        let state = self.inner.state();
        state.find(id).map(|node| resource::file(&state, node))
    }

    /// The digest of a file's content, lower-case hex, whether or not Drive publishes it yet.
    pub fn content_sha256(&self, id: &str) -> Option<String> {
        Some(self.inner.state().find(id)?.blob()?.checksums.sha256.clone())
    }

    /// A file's content.
    pub fn content(&self, id: &str) -> Option<Content> {
        Some(self.inner.state().find(id)?.blob()?.content.clone())
    }

    /// A file's head revision.
    pub fn head_revision_id(&self, id: &str) -> Option<String> {
        Some(self.inner.state().find(id)?.blob()?.revision.clone())
    }

    /// The ids of a file's revisions, the head last.
    pub fn revisions(&self, id: &str) -> Vec<String> {
        let state = self.inner.state();
        let Some(blob) = state.find(id).and_then(|node| node.blob()) else { return Vec::new() };
        blob.former.iter().map(|former| &former.revision).chain([&blob.revision]).cloned().collect()
    }

    pub(crate) fn try_upload(&self, upload: Upload) -> Result<String, Refusal> {
        let checksums = upload.content.checksums();
        let id = self.inner.state().upload(upload, checksums)?;
        self.inner.follow_up(&id);
        Ok(id)
    }

    pub(crate) fn try_revise(&self, id: &str, content: Content) -> Result<String, Refusal> {
        let checksums = content.checksums();
        let revision = self.inner.state().revise(id, content, checksums)?;
        self.inner.follow_up(id);
        Ok(revision)
    }

    pub(crate) fn try_restore(&self, id: &str, revision: &str) -> Result<String, Refusal> {
        let revision = self.inner.state().restore(id, revision)?;
        self.inner.follow_up(id);
        Ok(revision)
    }

    pub(crate) fn with_state<T>(&self, action: impl FnOnce(&mut World) -> T) -> T {
        action(&mut self.inner.state())
    }
}

#[track_caller]
pub(crate) fn done<T>(result: Result<T, Refusal>) -> T {
    match result {
        Ok(value) => value,
        Err(refusal) => panic!("{refusal}"),
    }
}
