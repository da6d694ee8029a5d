//! What a client may write by itself: new items of every kind, and what stands on them.

use std::collections::BTreeMap;

use super::content::{Checksums, Content};
use super::ids;
use super::mime;
use super::node::{Kind, Node};
use super::refusal::{Done, Refusal};
use super::report::Cause;
use super::state::State;

/// What is to stand on an item; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edit {
    /// Whose a new item of My Drive is; `None`: the owner's of its folder.
    pub(crate) owner: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) mime_type: Option<String>,
    pub(crate) created: Option<i64>,
    pub(crate) modified: Option<i64>,
    pub(crate) viewed: Option<i64>,
    pub(crate) starred: Option<bool>,
    /// Empty: none any more.
    pub(crate) description: Option<String>,
    pub(crate) folder_color: Option<String>,
    pub(crate) original_name: Option<String>,
    /// A key without a value goes.
    pub(crate) properties: BTreeMap<String, Option<String>>,
    pub(crate) app_properties: BTreeMap<String, Option<String>>,
}

/// What a new item is.
pub(crate) enum Making {
    Folder,
    /// A shortcut to this item.
    Shortcut(String),
    /// One of Google's own types without bytes.
    Document,
    Blob(Content, Checksums),
}

impl Edit {
    fn apply(&self, node: &mut Node) {
        let set = |from: &Option<String>, to: &mut String| from.iter().for_each(|text| text.clone_into(to));
        set(&self.name, &mut node.name);
        set(&self.mime_type, &mut node.mime_type);
        node.created = self.created.unwrap_or(node.created);
        node.modified = self.modified.unwrap_or(node.modified);
        if let (Some(name), Kind::Blob(blob)) = (&self.original_name, &mut node.kind) {
            name.clone_into(&mut blob.original_name);
        }
        let extras = &mut node.extras;
        extras.viewed = self.viewed.or(extras.viewed);
        extras.starred = self.starred.unwrap_or(extras.starred);
        if let Some(text) = &self.description {
            extras.description = Some(text.clone()).filter(|text| !text.is_empty());
        }
        extras.folder_color = self.folder_color.clone().or_else(|| extras.folder_color.take());
        merge(&self.properties, &mut extras.properties);
        merge(&self.app_properties, &mut extras.app_properties);
    }
}

fn merge(from: &BTreeMap<String, Option<String>>, to: &mut BTreeMap<String, String>) {
    for (key, value) in from {
        match value {
            Some(value) => to.insert(key.clone(), value.clone()),
            None => to.remove(key),
        };
    }
}

impl State {
    /// Makes an item in a folder; `None` for the id: a fresh one.
    pub(crate) fn create(
        &mut self,
        parent: &str,
        id: Option<String>,
        making: Making,
        edit: &Edit,
    ) -> Done<String> {
        let id = id.unwrap_or_else(ids::file);
        if self.nodes.contains_key(&id) {
            return Err(Refusal::IdTaken(id));
        }
        let name = edit.name.clone().unwrap_or_else(|| "Untitled".to_owned());
        let mime_type = edit.mime_type.clone();
        let (mime_type, kind) = match making {
            Making::Folder => (mime::FOLDER.to_owned(), Kind::Folder),
            Making::Shortcut(target) => {
                let target = self.known(&target)?;
                let (target, target_mime_type) = (target.id.clone(), target.mime_type.clone());
                (mime::SHORTCUT.to_owned(), Kind::Shortcut { target, target_mime_type })
            }
            Making::Document => (mime_type.unwrap_or_default(), Kind::Document),
            Making::Blob(content, checksums) => {
                let blob = self.blob(content, checksums, &name);
                (mime_type.unwrap_or_else(|| mime::of_name(&name).to_owned()), Kind::Blob(blob))
            }
        };
        let mut node = self.sprout(parent, id, name, mime_type.clone(), kind)?;
        edit.apply(&mut node);
        node.mime_type = mime_type;
        if let Some(owner) = edit.owner.as_ref().filter(|_| node.drive.is_none()) {
            node.sharing.owner = Some(owner.clone());
        }
        Ok(self.plant(node))
    }

    /// Writes on an item, as one change.
    pub(crate) fn edit(&mut self, id: &str, edit: &Edit) -> Done<()> {
        edit.apply(self.known_mut(id)?);
        self.changed(id, Cause::Updated("properties"));
        Ok(())
    }
}
