//! The `orderBy` parameter of `files.list`.

use std::cmp::Ordering;

use super::error::ApiError;
use crate::drive::node::Node;

#[derive(Clone, Copy, Debug)]
enum Key {
    Folder,
    Name,
    /// Numbers inside names count as numbers.
    NaturalName,
    CreatedTime,
    ModifiedTime,
    Size,
    Starred,
    ViewedByMeTime,
    /// Known to Drive, the same for every file here.
    Flat,
}

/// Keys, the most significant first, each with whether it runs downwards.
#[derive(Debug, Default)]
pub(crate) struct Order(Vec<(Key, bool)>);

impl Order {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(|key| {
            let bad = || ApiError::invalid_value("orderBy");
            let mut words = key.split_whitespace();
            let name = words.next().unwrap_or_default();
            let descending = match words.next() {
                None | Some("asc") => false,
                Some("desc") => true,
                Some(_) => return Err(bad()),
            };
            if words.next().is_some() {
                return Err(bad());
            }
            let key = match name {
                "folder" => Key::Folder,
                "name" => Key::Name,
                "name_natural" => Key::NaturalName,
                "createdTime" => Key::CreatedTime,
                "modifiedTime" | "modifiedByMeTime" | "recency" => Key::ModifiedTime,
                "quotaBytesUsed" => Key::Size,
                "starred" => Key::Starred,
                "viewedByMeTime" => Key::ViewedByMeTime,
                "sharedWithMeTime" => Key::Flat,
                _ => return Err(bad()),
            };
            Ok((key, descending))
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        Key::NaturalName => natural(&a.name).cmp(&natural(&b.name)),
        Key::Starred => a.extras.starred.cmp(&b.extras.starred),
        Key::ViewedByMeTime => a.extras.viewed.cmp(&b.extras.viewed),
        Key::Size => size(a).cmp(&size(b)),
        Key::Flat => Ordering::Equal,
    }
}

/// Pieces of a name: digits as a number, what is between them as lower-case text.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let text = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        pieces.push((number.parse().unwrap_or(0), tail[..text].to_lowercase()));
        rest = &tail[text..];
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_up_or_down_and_nothing_else() {
        for (text, is_valid) in [
            ("", true),
            ("folder,name", true),
            ("name asc, modifiedTime desc", true),
            ("name  desc", true),
            ("name up", false),
            ("name desc desc", false),
            ("colour", false),
        ] {
            assert_eq!(Order::parse(text).is_ok(), is_valid, "{text}");
        }
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["take 10", "Take 9", "take", "10", "9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["take", "Take 9", "take 10", "9", "10"]);
    }
}
