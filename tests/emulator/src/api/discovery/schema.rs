//! The members of Google's resources and their types.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Of each schema: its members, each with its type; `[]` at the end of a type means a list.
static SCHEMAS: LazyLock<HashMap<&str, HashMap<&str, &str>>> = LazyLock::new(|| {
    let mut schemas: HashMap<&str, HashMap<&str, &str>> = HashMap::new();
    let mut current = "";
    let mut words = include_str!("schemas.txt").split_whitespace().peekable();
    while let Some(word) = words.next() {
        if words.next_if_eq(&"=").is_some() {
            current = word;
        } else if let Some((name, kind)) = word.split_once(':') {
            schemas.entry(current).or_default().insert(name, kind);
        }
    }
    schemas
});

/// The type of a schema's member; `None` if it has no such member.
pub(crate) fn member(schema: &str, name: &str) -> Option<&'static str> {
    SCHEMAS.get(schema)?.get(name).copied()
}

/// The schema inside a type: a name of one, `*` for a map with free keys, nothing for a plain value.
pub(crate) fn inner(kind: &'static str) -> &'static str {
    let kind = kind.trim_end_matches("[]");
    if kind == "*" || SCHEMAS.contains_key(kind) { kind } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_types_and_lists_have_items() {
        assert_eq!(member("File", "size"), Some("int64"));
        assert_eq!(member("File", "owners").map(inner), Some("User"));
        assert_eq!(member("File", "parents").map(inner), Some(""));
        assert_eq!(member("File", "appProperties").map(inner), Some("*"));
        assert_eq!(member("File.shortcutDetails", "targetId"), Some("string"));
        assert_eq!(member("File", "colour"), None);
        assert_eq!(member("Colour", "red"), None);
    }
}
