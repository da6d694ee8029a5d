//! A page of a change log, and a page of a folder's listing: what Drive, or whatever stands between, answers.

#![no_main]

use gdrive_webhook::drive::{read_changes, read_listing};
use gdrive_webhook::model::{Entry, File, PageToken};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// What the ledger and the spool rely on.
fn check(file: &File) {
    assert!(file.size.is_none_or(|size| i64::try_from(size).is_ok()), "the ledger holds signed numbers");
    let sums = [&file.checksums.sha256, &file.checksums.sha1, &file.checksums.md5];
    for sum in sums.into_iter().flatten() {
        assert!(!sum.is_empty() && !sum.contains(|c: char| c.is_ascii_uppercase()), "{sum:?}");
    }
}

/// Entries of a list, unless one of them is about a shared drive. Where objects are written as arrays, there is nothing
/// to count by.
fn count(body: &[u8], list: &str) -> Option<usize> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let entries = answer.as_object()?.get(list)?.as_array()?;
    let counts = |entry: &Value| entry.is_object() && entry.get("changeType").is_none();
    entries.iter().all(counts).then_some(entries.len())
}

fuzz_target!(|body: &[u8]| {
    let asked = PageToken::new("asked");
    if let Ok(read) = read_changes(body, &asked) {
        let page = read.page;
        if let Some(count) = count(body, "changes") {
            assert_eq!(page.changes.len() + read.nameless, count, "an entry is lost");
        }
        assert!(!page.next.as_str().is_empty(), "an empty token asks for nothing");
        assert!(page.end || page.next != asked, "the page leads back to itself");
        for change in page.changes {
            assert!(!change.file_id.as_str().is_empty(), "an item without an id");
            if let Entry::Present(file) = change.entry {
                check(&file);
            }
        }
    }
    if let Ok(read) = read_listing(body, Some("asked")) {
        let listed = read.page;
        if let Some(count) = count(body, "files") {
            assert_eq!(listed.files.len() + listed.unclear.len() + read.nameless, count, "a file is lost");
        }
        assert!(listed.next.is_none_or(|next| !next.is_empty() && next != "asked"), "it goes on for ever");
        for file in &listed.files {
            check(file);
        }
    }
});
