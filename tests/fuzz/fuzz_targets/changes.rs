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

/// Entries of a list that name this field.
fn named(answer: &Value, list: &str, field: &str) -> usize {
    let entries = answer[list].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter(|entry| entry[field].is_string()).count()
}

fuzz_target!(|body: &[u8]| {
    let asked = PageToken::new("asked");
    if let Ok(page) = read_changes(body, &asked) {
        // Where objects are written as arrays, there is nothing to count by.
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        if answer.is_object()
            && answer["changes"].as_array().is_none_or(|all| all.iter().all(Value::is_object))
        {
            assert_eq!(page.changes.len(), named(&answer, "changes", "fileId"), "an entry is lost");
        }
        assert!(!page.next.as_str().is_empty(), "an empty token asks for nothing");
        for change in page.changes {
            if let Entry::Present(file) = change.entry {
                check(&file);
            }
        }
    }
    if let Ok(listed) = read_listing(body) {
        assert!(listed.next.is_none_or(|next| !next.is_empty()), "an empty token begins again, for ever");
        for file in &listed.files {
            check(file);
        }
    }
});
