//! What is left of an answer with something in it that cannot be read. One broken name or one value of another type must
//! not cost the page that it is on: a page that is never read holds up its whole log.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::FileId;

/// The length of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// Reads an answer whose text may be broken.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(body).or_else(|error| match mended(body) {
        // The first error names what is wrong with the text as it came.
        Some(text) => serde_json::from_str(&text).map_err(|_| error),
        None => Err(error),
    })
}

/// The id of an item, if Drive can be asked for it. Drive's ids consist of these characters; another one would be lost on
/// the way into an address, and the answer would be about another item.
pub(super) fn usable(id: &str) -> Option<FileId> {
    let is_plain =
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_plain.then(|| FileId::new(id))
}

/// The id at one of these places in an entry that cannot be read.
pub(super) fn id_in(entry: &Value, places: &[&str]) -> Option<FileId> {
    places.iter().find_map(|place| usable(entry.pointer(place)?.as_str()?))
}

/// The text with U+FFFD for everything in it that is no text. `None`: there is nothing to mend.
fn mended(body: &[u8]) -> Option<String> {
    match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => without_lone_surrogates(text),
        Cow::Owned(text) => Some(without_lone_surrogates(&text).unwrap_or(text)),
    }
}

/// Escapes of half a character are well-formed JSON and no text. `None`: there are none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let mut mended = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match unit(&text[at..]) {
            Some(0xD800..=0xDBFF) if matches!(unit(&text[at + ESCAPE..]), Some(0xDC00..=0xDFFF)) => {
                at += 2 * ESCAPE;
            }
            Some(0xD800..=0xDFFF) => {
                mended.push_str(&text[kept..at]);
                mended.push_str("\\ufffd");
                at += ESCAPE;
                kept = at;
            }
            Some(_) => at += ESCAPE,
            // Another escape: the character after the backslash is not looked at, since it can be one itself.
            None => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    (kept > 0).then(|| mended + &text[kept..])
}

/// The UTF-16 unit that a text begins with as an escape.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` takes a sign, too.
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn half_characters_are_replaced_and_whole_ones_kept() {
        for (text, read_as) in [
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""a\ud83db""#, "a\u{fffd}b"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\\ud83d\\\ud83d""#, "\\ud83d\\\u{fffd}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
        ] {
            assert_eq!(read::<String>(text.as_bytes()).unwrap(), read_as, "{text}");
        }
        assert_eq!(read::<String>(b"\"a\xffb\xc3\"").unwrap(), "a\u{fffd}b\u{fffd}");
        assert_eq!(read::<String>(b"\"\xff\\udc00\"").unwrap(), "\u{fffd}\u{fffd}");
        assert!(read::<String>(b"\"\\ud83").is_err() && read::<String>(b"\"\\").is_err());
        assert!(read::<String>(b"<html>\xff").is_err());
    }

    #[test]
    fn only_ids_that_can_be_asked_for_are_used() {
        assert_eq!(usable("1AbC-_9"), Some(FileId::new("1AbC-_9")));
        assert!(["", "a b", "a/b", "\u{fffd}", "ä"].iter().all(|id| usable(id).is_none()));
        let entry = json!({"fileId": 7, "file": {"id": "1a", "size": 3}});
        assert_eq!(id_in(&entry, &["/fileId", "/file/id"]), Some(FileId::new("1a")));
        assert_eq!(id_in(&json!(["x"]), &["/fileId"]), None);
    }

    proptest! {
        #[test]
        fn what_is_no_text_is_mended_and_text_is_left_alone(parts in prop::collection::vec(
            prop_oneof![r"\\u[dD][89a-fA-F][0-9a-f]{2}", r"\\u00[2-9]1", r"\\[\\n]", "[a-zä😀]{0,3}"], 0..8
        )) {
            let text = format!("\"{}\"", parts.concat());
            let mended = without_lone_surrogates(&text);
            match serde_json::from_str::<String>(&text) {
                Ok(_) => prop_assert_eq!(mended, None),
                Err(_) => prop_assert!(serde_json::from_str::<String>(&mended.unwrap()).is_ok(), "{}", text),
            }
        }
    }
}
