//! The `orderBy` parameter of `files.list`.

use std::cmp::Ordering;

use super::error::ApiError;
use crate::drive::node::Node;

#[derive(Clone, Copy, Debug)]
enum Key {
    Folder,
    Name,
    CreatedTime,
    ModifiedTime,
    Size,
    /// Known to Drive, the same for every file here.
    Flat,
}

/// Keys, the most significant first, each with whether it runs downwards.
#[derive(Debug, Default)]
pub(crate) struct Order(Vec<(Key, bool)>);

impl Order {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(|key| {
            let (name, descending) =
                key.strip_suffix(" desc").map_or((key, false), |name| (name.trim(), true));
            let key = match name {
                "folder" => Key::Folder,
                "name" | "name_natural" => Key::Name,
                "createdTime" => Key::CreatedTime,
                "modifiedTime" | "modifiedByMeTime" | "recency" => Key::ModifiedTime,
                "quotaBytesUsed" => Key::Size,
                "sharedWithMeTime" | "starred" | "viewedByMeTime" => Key::Flat,
                _ => return Err(ApiError::invalid_value("orderBy")),
            };
            Ok((key, descending))
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// By the keys, then in the order of creation.
    pub(crate) fn compare(&self, a: &Node, b: &Node) -> Ordering {
        let by_keys = self.0.iter().map(|(key, descending)| {
            let ordering = by_key(*key, a, b);
            if *descending { ordering.reverse() } else { ordering }
        });
        by_keys.fold(Ordering::Equal, Ordering::then).then(a.sequence.cmp(&b.sequence))
    }
}

fn by_key(key: Key, a: &Node, b: &Node) -> Ordering {
    let size = |node: &Node| node.blob().map_or(0, |blob| blob.content.size());
    match key {
        Key::Folder => b.is_folder().cmp(&a.is_folder()),
        Key::Name => a.name.cmp(&b.name),
        Key::CreatedTime => a.created.cmp(&b.created),
        Key::ModifiedTime => a.modified.cmp(&b.modified),
        Key::Size => size(a).cmp(&size(b)),
        Key::Flat => Ordering::Equal,
    }
}
