//! Pages of change logs and of listings. An entry that cannot be read becomes a question about its item, and the others
//! count: a page that cannot be read would hold up its whole log.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::odd::{self, id_in, usable};
use super::wire::{Unreadable, WireFile};
use crate::model::{Change, Entry, File, FileId, Page, PageToken};

/// A page, and how many of its entries are about an item that they do not name.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// What can be used of it.
    pub page: T,
    /// Entries of which nothing can be used.
    pub nameless: usize,
}

/// A page of what is in a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Files, folders and shortcuts.
    pub files: Vec<File>,
    /// What is in it as well, but cannot be read: only `Drive::file` tells what these are.
    pub unclear: Vec<FileId>,
    /// Where to go on; lives a few hours only, so it is never stored.
    pub next: Option<String>,
}

/// Reads a page of a change log that was asked for with this token. An entry that cannot be read is unclear; the others
/// count.
pub fn read_changes(body: &[u8], asked: &PageToken) -> Result<Read<Page>, Unreadable> {
    let told = |all: WireChanges<WireChange>| {
        (all.next_page_token, all.new_start_page_token, sorted(all.changes, WireChange::told))
    };
    let told_one_by_one = |all: WireChanges<Value>| {
        (
            all.next_page_token,
            all.new_start_page_token,
            sorted(all.changes, |entry| WireChange::told_by(&entry)),
        )
    };
    let read = serde_json::from_slice(body).map(told);
    let (next, start, (changes, nameless)) = read.or_else(|_| odd::read(body).map(told_one_by_one))?;
    let (next, end) = match (onward(next, Some(asked.as_str()))?, given(start)) {
        (Some(next), _) => (PageToken::new(next), false),
        (None, Some(start)) => (PageToken::new(start), true),
        // Every page has one of them. An answer without both comes from somebody else, and says nothing of the log.
        (None, None) => return Err(Unreadable::NotAPage("the next page token")),
    };
    Ok(Read { page: Page { changes, next, end }, nameless })
}

/// Reads a page of a folder's listing that was asked for with this token. A file that cannot be read is only named; the
/// others count.
pub fn read_listing(body: &[u8], asked: Option<&str>) -> Result<Read<Listed>, Unreadable> {
    let told = |all: WireFiles<WireFile>| {
        let is_error = all.is_error();
        (is_error, all.next_page_token, sorted(all.files, WireFile::told))
    };
    let told_one_by_one = |all: WireFiles<Value>| {
        let is_error = all.is_error();
        (is_error, all.next_page_token, sorted(all.files, |entry| WireFile::told_by(&entry)))
    };
    let read = serde_json::from_slice(body).map(told);
    let (is_error, next, (told, nameless)) = read.or_else(|_| odd::read(body).map(told_one_by_one))?;
    if is_error {
        return Err(Unreadable::NotAPage("the list of files"));
    }
    let mut listed =
        Listed { files: Vec::with_capacity(told.len()), unclear: Vec::new(), next: onward(next, asked)? };
    for file in told {
        match file {
            Ok(file) => listed.files.push(file),
            Err(id) => listed.unclear.push(id),
        }
    }
    Ok(Read { page: listed, nameless })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireChanges<Entry> {
    changes: Option<Vec<Entry>>,
    next_page_token: Option<String>,
    new_start_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireChange {
    change_type: Option<String>,
    file_id: Option<String>,
    removed: Option<bool>,
    file: Option<WireFile>,
}

/// What an entry of a list tells.
enum Told<T> {
    /// Something about an item.
    This(T),
    /// Nothing of an item, and is not meant to.
    Nothing,
    /// Something about an item, but not which one.
    Nameless,
}

impl WireChange {
    fn told(self) -> Told<Change> {
        let id = self.file_id.as_deref().and_then(usable);
        let told_of = self.file.as_ref().map(|file| FileId::new(file.id.as_str()));
        let change = match (id, self.file) {
            (Some(file_id), _) if self.removed == Some(true) => Change { file_id, entry: Entry::Gone },
            (Some(file_id), Some(file)) if told_of.as_ref() == Some(&file_id) => {
                Change { file_id, entry: Entry::Present(Box::new(file.into())) }
            }
            // Without the file, or with another one: this is no word on whether it is gone.
            (Some(file_id), _) => unclear(file_id),
            (None, _) if self.file_id.is_none() && self.change_type.as_deref() == Some("drive") => {
                return Told::Nothing;
            }
            (None, file) => match file.and_then(|file| usable(&file.id)) {
                Some(file_id) => unclear(file_id),
                None => return Told::Nameless,
            },
        };
        Told::This(change)
    }

    fn told_by(entry: &Value) -> Told<Change> {
        match Self::deserialize(entry) {
            Ok(change) => change.told(),
            Err(_) => {
                id_in(entry, &["/fileId", "/file/id"]).map_or(Told::Nameless, |id| Told::This(unclear(id)))
            }
        }
    }
}

fn unclear(file_id: FileId) -> Change {
    Change { file_id, entry: Entry::Unclear }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFiles<Entry> {
    files: Option<Vec<Entry>>,
    next_page_token: Option<String>,
    error: Option<IgnoredAny>,
}

impl<Entry> WireFiles<Entry> {
    /// Whether it is an error that came with the status of a success.
    fn is_error(&self) -> bool {
        self.files.is_none() && self.error.is_some()
    }
}

impl WireFile {
    fn told(self) -> Told<Result<File, FileId>> {
        match usable(&self.id) {
            Some(_) => Told::This(Ok(self.into())),
            None => Told::Nameless,
        }
    }

    fn told_by(entry: &Value) -> Told<Result<File, FileId>> {
        match Self::deserialize(entry) {
            Ok(file) => file.told(),
            Err(_) => id_in(entry, &["/id"]).map_or(Told::Nameless, |id| Told::This(Err(id))),
        }
    }
}

/// A token that leads somewhere: asking with an empty one would begin again, without an end.
fn given(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}

/// The token of the next page, unless that is the page which was asked for.
fn onward(token: Option<String>, asked: Option<&str>) -> Result<Option<String>, Unreadable> {
    let next = given(token);
    if next.is_some() && next.as_deref() == asked { Err(Unreadable::Circular) } else { Ok(next) }
}

/// What the entries tell, and how many of them do not say of which item.
fn sorted<E, T>(entries: Option<Vec<E>>, told: impl Fn(E) -> Told<T>) -> (Vec<T>, usize) {
    let entries = entries.unwrap_or_default();
    let (mut all, mut nameless) = (Vec::with_capacity(entries.len()), 0);
    for entry in entries {
        match told(entry) {
            Told::This(one) => all.push(one),
            Told::Nothing => {}
            Told::Nameless => nameless += 1,
        }
    }
    (all, nameless)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Value, json};

    use super::*;

    /// A page of changes that is a page of a listing as well.
    fn page() -> Value {
        let file = json!({
            "id": "1AbC", "name": "clip.mp4", "mimeType": "video/mp4", "parents": ["1Folder"], "size": "1000",
            "md5Checksum": "AB", "sha1Checksum": "CD", "sha256Checksum": "", "headRevisionId": "r1",
            "createdTime": "2026-03-04T23:59:59.123Z", "modifiedTime": "2026-03-05T00:00:00Z", "trashed": false,
            "driveId": "0A", "resourceKey": "0-k", "shortcutDetails": {"targetId": "1Other", "targetResourceKey": "0-t"},
            "capabilities": {"canDownload": true}, "owners": [{"emailAddress": "ann@example.com"}],
        });
        json!({
            "nextPageToken": "7", "newStartPageToken": "8", "files": [file],
            "changes": [{"fileId": "1AbC", "removed": false, "file": file}, {"fileId": "1Gone", "removed": true}],
        })
    }

    /// Where the values are, as JSON pointers.
    fn pointers(value: &Value, here: &str) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect()
            }
            _ => Vec::new(),
        };
        let below = below.into_iter().flat_map(|(name, value)| pointers(value, &format!("{here}/{name}")));
        std::iter::once(here.to_owned()).chain(below).collect()
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(|number| Value::from(number.to_string())),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-zA-Z]{1,8}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    fn read_both(page: &Value) -> (Result<Page, Unreadable>, Result<Listed, Unreadable>) {
        let body = page.to_string().into_bytes();
        let changes = read_changes(&body, &PageToken::new("asked")).map(|read| read.page);
        (changes, read_listing(&body, Some("asked")).map(|read| read.page))
    }

    /// What a page of changes tells, and how many entries do not say of which item.
    fn told(body: &[u8]) -> (Vec<String>, usize) {
        let read = read_changes(body, &PageToken::new("asked")).unwrap();
        let word = |change: Change| {
            let what = match change.entry {
                Entry::Present(file) => format!("named {}", file.name),
                Entry::Gone => "gone".to_owned(),
                Entry::Unclear => "unclear".to_owned(),
            };
            format!("{}: {what}", change.file_id)
        };
        (read.page.changes.into_iter().map(word).collect(), read.nameless)
    }

    proptest! {
        #[test]
        fn any_page_is_survived(slips in prop::collection::vec((any::<Index>(), any_json()), 1..4)) {
            let mut page = page();
            for (at, slip) in slips {
                let all = pointers(&page, "");
                *page.pointer_mut(&all[at.index(all.len())]).unwrap() = slip;
            }
            let (changes, listed) = read_both(&page);
            let mut files = listed.as_ref().map_or(&[][..], |listed| &listed.files).to_vec();
            if let Ok(page) = changes {
                prop_assert!(!page.next.as_str().is_empty());
                files.extend(page.changes.into_iter().filter_map(|change| match change.entry {
                    Entry::Present(file) => Some(*file),
                    Entry::Gone | Entry::Unclear => None,
                }));
            }
            prop_assert!(!listed.is_ok_and(|listed| listed.next.is_some_and(|next| next.is_empty())));
            for file in files {
                prop_assert!(file.size.is_none_or(|size| i64::try_from(size).is_ok()));
                let sums = [file.checksums.sha256, file.checksums.sha1, file.checksums.md5];
                prop_assert!(sums.iter().flatten().all(|sum| !sum.is_empty() && *sum == sum.to_ascii_lowercase()));
            }
        }

        #[test]
        fn nothing_but_an_id_has_to_be_there(at in any::<Index>(), text in ".{0,12}", how in 0..3) {
            let mut page = page();
            let optional: Vec<String> = pointers(&page, "")
                .into_iter()
                .filter(|at| !at.is_empty() && !at.ends_with("/id") && !at.ends_with(char::is_numeric))
                .collect();
            let at = at.get(&optional);
            let (above, name) = at.rsplit_once('/').unwrap();
            let members = page.pointer_mut(above).unwrap().as_object_mut().unwrap();
            match how {
                0 => drop(members.remove(name)),
                1 => members[name] = Value::Null,
                _ if members[name].is_string() => members[name] = Value::from(text),
                _ => {}
            }
            let (changes, listed) = read_both(&page);
            prop_assert!(changes.is_ok() && listed.is_ok(), "{at}: {:?} {:?}", changes.err(), listed.err());
        }
    }

    proptest! {
        #[test]
        fn an_odd_entry_costs_no_other(at in any::<Index>(), slip in any_json()) {
            let file = page()["files"][0].clone();
            let entry = json!({"fileId": "1AbC", "file": file});
            let mut page = json!({
                "newStartPageToken": "8", "changes": [entry, entry, entry], "files": [file, file, file],
            });
            let odd = at.get(&pointers(&page["changes"][1], "")).clone();
            *page.pointer_mut(&format!("/changes/1{odd}")).unwrap() = slip.clone();
            if let Some(odd) = odd.strip_prefix("/file").filter(|odd| !odd.starts_with("Id")) {
                *page.pointer_mut(&format!("/files/1{odd}")).unwrap() = slip;
            }
            let (changes, listed) = read_both(&page);
            let (changes, listed) = (changes.unwrap().changes, listed.unwrap());
            let ours = |change: &&Change| change.file_id.as_str() == "1AbC";
            let is_whole = |change: &&Change| ours(change) && matches!(change.entry, Entry::Present(_));
            prop_assert!(changes.iter().filter(is_whole).count() >= 2 && listed.files.len() >= 2);
            let named = usize::from(page.pointer("/changes/1/fileId").is_some_and(|id| id == "1AbC"));
            prop_assert!(changes.iter().filter(ours).count() >= 2 + named);
        }
    }

    #[test]
    fn an_entry_that_does_not_say_what_its_item_is_asks_for_it() {
        let whole = br#"{"fileId":"w","file":{"id":"w","name":"whole"}}"#;
        for (entry, told_of) in [
            (&br#"{"fileId":"f"}"#[..], Some("f: unclear")),
            (br#"{"fileId":"f","removed":false,"file":null}"#, Some("f: unclear")),
            (br#"{"fileId":"f","removed":true}"#, Some("f: gone")),
            (br#"{"fileId":"f","removed":"yes"}"#, Some("f: unclear")),
            (br#"{"fileId":"f","file":{"id":"f","size":7}}"#, Some("f: unclear")),
            (br#"{"fileId":"f","file":{"id":"f","parents":"p"}}"#, Some("f: unclear")),
            (br#"{"fileId":"f","file":[]}"#, Some("f: unclear")),
            (br#"{"fileId":"f","fileId":"f","removed":true}"#, Some("f: gone")),
            (br#"{"fileId":"f","file":{"id":"other"}}"#, Some("f: unclear")),
            (br#"{"file":{"id":"f"}}"#, Some("f: unclear")),
            (br#"{"fileId":7,"file":{"id":"f"}}"#, Some("f: unclear")),
            (br#"{"fileId":"f","file":{"id":"f","name":"a\ud800b"}}"#, Some("f: named a\u{fffd}b")),
            (b"{\"fileId\":\"f\",\"file\":{\"id\":\"f\",\"name\":\"\xff\"}}", Some("f: named \u{fffd}")),
            (br#"{"fileId":"\ud800","removed":true}"#, None),
            (br#"{"fileId":"","removed":true}"#, None),
            (br#"{"removed":true}"#, None),
            (b"7", None),
            (b"null", None),
        ] {
            let begin = &b"{\"newStartPageToken\":\"8\",\"changes\":["[..];
            let body = [begin, whole, b",", entry, b",", whole, b"]}"].concat();
            let expected = ["w: named whole"].into_iter().chain(told_of).chain(["w: named whole"]);
            let expected: Vec<_> = expected.map(str::to_owned).collect();
            let shown = String::from_utf8_lossy(entry);
            assert_eq!(told(&body), (expected, usize::from(told_of.is_none())), "{shown}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_its_neighbours_are_listed() {
        let body = br#"{"files":[{"id":"a"},{"id":"b","size":7},{"size":7},{"id":"c","name":"\udc00"},{"id":"../d"}]}"#;
        let read = read_listing(body, None).unwrap();
        let names: Vec<_> = read.page.files.iter().map(|file| format!("{} {}", file.id, file.name)).collect();
        assert_eq!(names, ["a ", "c \u{fffd}"]);
        assert_eq!((read.page.unclear, read.nameless), (vec![FileId::new("b")], 2));
    }

    #[test]
    fn a_page_that_leads_back_to_itself_is_refused() {
        let with_more = r#"{"nextPageToken":"7","newStartPageToken":"9","changes":[7]}"#;
        for text in [r#"{"nextPageToken":"7"}"#, with_more] {
            let read = read_changes(text.as_bytes(), &PageToken::new("7"));
            assert!(matches!(read, Err(Unreadable::Circular)), "{read:?}");
            let read = read_listing(text.as_bytes(), Some("7"));
            assert!(matches!(read, Err(Unreadable::Circular)), "{read:?}");
            assert!(read_listing(text.as_bytes(), None).is_ok());
        }
        let read = read_changes(br#"{"newStartPageToken":"7"}"#, &PageToken::new("7"));
        assert!(read.unwrap().page.end, "nothing new");
    }

    #[test]
    fn an_empty_token_is_none() {
        let (changes, listed) = read_both(&json!({"nextPageToken": "", "newStartPageToken": ""}));
        assert!(matches!(changes, Err(Unreadable::NotAPage(_))), "{changes:?}");
        assert_eq!(listed.unwrap().next, None);
    }

    #[test]
    fn an_answer_that_is_no_page_is_refused() {
        for text in [r#"{"error":{"code":500}}"#, r#"{"error":"no","nextPageToken":null}"#] {
            let (changes, listed) = read_both(&serde_json::from_str(text).unwrap());
            assert!(matches!(changes, Err(Unreadable::NotAPage(_))), "{changes:?}");
            assert!(matches!(listed, Err(Unreadable::NotAPage(_))), "{listed:?}");
        }
        for text in ["{}", r#"{"changes":[],"files":[]}"#, r#"{"changes":[{"fileId":"f","removed":true}]}"#] {
            let (changes, listed) = read_both(&serde_json::from_str(text).unwrap());
            assert!(matches!(changes, Err(Unreadable::NotAPage(_))), "{changes:?}");
            assert!(listed.unwrap().files.is_empty(), "an empty folder");
        }
    }

    #[test]
    fn entries_of_drives_and_removals() {
        let of = |entry: &str| told(format!(r#"{{"newStartPageToken":"8","changes":[{entry}]}}"#).as_bytes());
        assert_eq!(of(r#"{"changeType":"drive","driveId":"d"}"#), (vec![], 0));
        assert_eq!(of(r#"{"fileId":"f","removed":true}"#), (vec!["f: gone".to_owned()], 0));
        assert_eq!(of(r#"{"fileId":"f","file":{"id":"f"}}"#), (vec!["f: named ".to_owned()], 0));
    }
}
