//! Resource keys: what Drive wants to see besides the permission, for older items that are shared by link. Each item has
//! a key of its own, and so has every folder on the way to it.

use std::fmt;

use super::FileId;

/// Resource keys by item, each item once, in the order of adding. Who knows a key may read the item: never logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResourceKeys(Vec<(FileId, String)>);

impl ResourceKeys {
    /// The key of one item, if it has one.
    pub fn of(id: &FileId, key: Option<&str>) -> Self {
        key.map(|key| (id.clone(), key.to_owned())).into_iter().collect()
    }

    /// Adds a key. An item that has a key already keeps that one.
    pub fn add(&mut self, id: FileId, key: String) {
        if !self.0.iter().any(|(known, _)| *known == id) {
            self.0.push((id, key));
        }
    }

    /// The keys in the order of adding.
    pub fn iter(&self) -> impl Iterator<Item = (&FileId, &str)> {
        self.0.iter().map(|(id, key)| (id, key.as_str()))
    }
}

impl Extend<(FileId, String)> for ResourceKeys {
    fn extend<T: IntoIterator<Item = (FileId, String)>>(&mut self, keys: T) {
        for (id, key) in keys {
            self.add(id, key);
        }
    }
}

impl FromIterator<(FileId, String)> for ResourceKeys {
    fn from_iter<T: IntoIterator<Item = (FileId, String)>>(keys: T) -> Self {
        let mut all = Self::default();
        all.extend(keys);
        all
    }
}

impl fmt::Debug for ResourceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceKeys({} hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_one_key_and_none_is_shown() {
        let id = FileId::new;
        let mut keys = ResourceKeys::of(&id("a"), Some("0-secret"));
        keys.extend([(id("b"), "0-other".to_owned()), (id("a"), "0-third".to_owned())]);
        let all: Vec<_> = keys.iter().map(|(id, key)| (id.as_str(), key)).collect();
        assert_eq!(all, [("a", "0-secret"), ("b", "0-other")]);
        assert_eq!(format!("{keys:?}"), "ResourceKeys(2 hidden)");
        assert_eq!(ResourceKeys::of(&id("a"), None), ResourceKeys::default());
    }
}
