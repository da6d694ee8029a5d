//! Everything that a report needs, as one text without secrets. Text in, text out.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::finding::Examination;
use super::running::Daemon;
use crate::config::{Settings, show};

/// Makes the text. E-mail addresses and the names of files and folders in Drive are replaced by numbers, the same name by the
/// same number; what looks like a token or a key is left out.
pub fn text(
    settings: &Settings,
    examination: &Examination,
    daemon: &Daemon,
    system: &str,
    now: Timestamp,
) -> String {
    let mut text = format!(
        "gdrive-webhook {}, {now}\n{system}\nE-mail addresses and names of files and folders in Drive are replaced by numbers.\n",
        examination.version
    );
    let status = daemon.json().cloned().unwrap_or_default();
    let shown = match daemon {
        Daemon::Running(_) => serde_json::to_string_pretty(&status).unwrap_or_default(),
        Daemon::Silent => "no daemon runs".to_owned(),
        Daemon::Unclear(why) => format!("no status: {why}"),
    };
    for (title, content) in [
        ("doctor", examination.text()),
        ("last failures", failures(&status)),
        ("configuration", show(settings)),
        ("status", shown),
    ] {
        // Writing into text does not fail.
        let _ = write!(text, "\n== {title} ==\n{}\n", content.trim_end());
    }
    redacted(&text, names(&status).into_iter().chain(examination.names.iter().cloned()).collect())
}

/// Files that wait or have failed, and why.
fn failures(status: &Value) -> String {
    let deliveries = status["attention"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |delivery: &Value| {
        let word = |key: &str| delivery[key].as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}\n", word("stage"), word("name"), word("reason"))
    };
    let lines: String = deliveries.iter().map(line).collect();
    if lines.is_empty() { "none".to_owned() } else { lines }
}

/// The names in a status: those of files, and of folders.
fn names(status: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in ["attention", "transfers", "folders", "audit"] {
        collect(&status[part], &mut names);
    }
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("name", Value::String(name)) => {
                        names.insert(name.clone());
                    }
                    // Of a path on this machine only the end is a name in Drive.
                    ("path", Value::String(path)) => {
                        let left = if path.starts_with('/') { 1 } else { usize::MAX };
                        names.extend(path.rsplit('/').take(left).map(str::to_owned));
                    }
                    _ => collect(value, names),
                }
            }
        }
        _ => {}
    }
}

/// A name that is shorter stands in other words as well.
const SHORTEST_NAME: usize = 3;

fn redacted(text: &str, names: BTreeSet<String>) -> String {
    let mut text = text.to_owned();
    let mut names: Vec<String> =
        names.into_iter().filter(|name| name.chars().count() >= SHORTEST_NAME).collect();
    // A name may be the beginning of another one.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for (number, name) in names.iter().enumerate() {
        let label = format!("(name {})", number + 1);
        let escaped = Value::from(name.as_str()).to_string();
        text = text.replace(escaped.trim_matches('"'), &label).replace(name.as_str(), &label);
    }
    let mut addresses = Vec::new();
    let lines = text.lines().map(|line| {
        let line = without_addresses(line, &mut addresses);
        without_secrets(&line)
    });
    lines.map(|line| line + "\n").collect()
}

/// `somebody@example.com` becomes `(e-mail 1)`.
fn without_addresses(line: &str, known: &mut Vec<String>) -> String {
    let is_part = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
    let mut line = line.to_owned();
    let mut from = 0;
    while let Some(at) = line[from..].find('@').map(|at| from + at) {
        let before = line[..at].chars().rev().take_while(|&c| is_part(c)).map(char::len_utf8).sum::<usize>();
        let after = line[at + 1..].chars().take_while(|&c| is_part(c)).map(char::len_utf8).sum::<usize>();
        if before == 0 || after == 0 {
            from = at + 1;
            continue;
        }
        let address = line[at - before..=at + after].trim_end_matches('.').to_owned();
        let number = known.iter().position(|other| *other == address).unwrap_or_else(|| {
            known.push(address.clone());
            known.len() - 1
        });
        let (start, label) = (at - before, format!("(e-mail {})", number + 1));
        line.replace_range(start..start + address.len(), &label);
        from = start + label.len();
    }
    line
}

/// Nothing that is put together here has a secret in it; what it quotes of others might.
fn without_secrets(line: &str) -> String {
    /// What access tokens, refresh tokens, assertions, resource keys, client secrets and private keys begin with.
    const SECRETS: [&str; 8] =
        ["ya29.", "1//", "eyJ", "Bearer ", "resourcekey=", "GOCSPX-", "-----BEGIN", "challenge="];
    let mut line = line.to_owned();
    for beginning in SECRETS {
        let mut from = 0;
        while let Some(at) = line[from..].find(beginning).map(|at| from + at + beginning.len()) {
            let is_end = |c: char| c.is_whitespace() || "\"'<>&,;)".contains(c);
            let end = line[at..].find(is_end).map_or(line.len(), |end| at + end);
            line.replace_range(at..end, "[hidden]");
            from = at + "[hidden]".len();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_status_are_those_of_files_and_folders() {
        let status = serde_json::json!({
            "engines": [{"name": "sync"}],
            "attention": [{"name": "a.mp4", "path": "/srv/videos/b.mp4"}],
            "audit": {"folders": [{"name": "Inbox"}], "files": [{"path": "Smith/c.mp4"}]},
        });
        let found: Vec<String> = names(&status).into_iter().collect();
        assert_eq!(found, ["Inbox", "Smith", "a.mp4", "b.mp4", "c.mp4"]);
    }

    #[test]
    fn names_addresses_and_secrets_are_left_out() {
        let names = ["clip.mp4", "clip.mp4 (1)", "a \"quoted\" one", "ab"].map(str::to_owned);
        let text = "clip.mp4 (1) and clip.mp4 of ann@example.com, bob@example.com.\n\
                    ann@example.com: \"a \\\"quoted\\\" one\" @ home, x@, ab\n\
                    id = \"https://drive.google.com/drive/folders/1a?resourcekey=0-abc\"\nBearer ya29.secret, done\n";
        assert_eq!(
            redacted(text, names.into_iter().collect()),
            "(name 2) and (name 3) of (e-mail 1), (e-mail 2).\n\
             (e-mail 1): \"(name 1)\" @ home, x@, ab\n\
             id = \"https://drive.google.com/drive/folders/1a?resourcekey=[hidden]\"\nBearer [hidden], done\n"
        );
    }
}
