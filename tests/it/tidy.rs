//! The house rules that the compiler does not know: floors, pure files, first lines, sizes.

mod circles;
mod emulator;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rooms by floor, the ground floor first. A room may name rooms on lower floors only.
const FLOORS: [&[&str]; 11] = [
    &["checkpoint", "model", "owner", "process", "retry", "sandbox", "task", "telemetry"],
    &["http", "listen", "spool", "store"],
    &["auth", "destination"],
    &["drive"],
    &["audit", "channel", "download", "sync"],
    &["admin", "delivery", "receiver"],
    &["config"],
    &["daemon", "doctor"],
    &["demo"],
    &["cli"],
    &["build", "main"],
];

/// What a room may not name although it stands lower.
const FORBIDDEN: [(&str, &[&str]); 11] = [
    ("store", &["http", "listen"]),
    ("spool", &["http", "listen"]),
    ("drive", &["store", "spool", "destination"]),
    ("destination", &["store", "http", "auth"]),
    ("download", &["store", "destination"]),
    ("sync", &["spool", "destination"]),
    // It would not see what they do wrong.
    ("audit", &["spool", "destination"]),
    ("admin", &["destination", "drive", "sync", "download"]),
    ("channel", &["spool", "destination"]),
    ("delivery", &["drive::Drive", "auth", "sync", "channel"]),
    ("receiver", &["store", "drive", "http", "sync"]),
];

/// Files that decide: values in, values out.
const PURE: [&str; 28] = [
    "model/",
    "retry.rs",
    "audit/doubts.rs",
    "audit/judge.rs",
    "audit/rules.rs",
    "sync/contents.rs",
    "sync/decide.rs",
    "sync/decision.rs",
    "sync/heard.rs",
    "sync/rules.rs",
    "sync/tree.rs",
    "channel/calls.rs",
    "channel/plan.rs",
    "delivery/load.rs",
    "delivery/reaction.rs",
    "download/plan.rs",
    "download/streams.rs",
    "download/trickle.rs",
    "receiver/notification.rs",
    "spool/ranges.rs",
    "admin/health.rs",
    "admin/origin.rs",
    "drive/error.rs",
    "drive/odd.rs",
    "drive/pages.rs",
    "drive/wire.rs",
    "config/folders.rs",
    "config/validate.rs",
];

/// What a deciding file may not touch. Identifiers are random by nature: `model/id.rs` may ask for one.
const IMPURE: [(&str, &[&str]); 6] = [
    ("clock", &["Timestamp::now", "Instant::now", "SystemTime::now"]),
    ("disk", &["std::fs", "File::open", "tokio::fs", "rustix"]),
    ("network", &["reqwest", "TcpStream", "TcpListener", "hyper"]),
    ("random numbers", &["uuid::", "jitter()", "rand::"]),
    ("async", &["async ", ".await", "tokio::"]),
    ("ledger", &["sqlx"]),
];

const LINE_LIMIT: usize = 500;

struct Source {
    path: String,
    code: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 30, "the sources are not where this test looks: {}", root.display());
    found
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = production_code(&text);
            found.push(Source {
                path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
                code,
                text,
            });
        }
    }
}

/// The code without comments and without the unit tests at its end.
fn production_code(text: &str) -> String {
    let code =
        text.split("#[cfg(test)]\nmod tests").next().unwrap().split("#[cfg(test)]\npub").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a piece of code names, each with what follows it: `drive::Drive`.
fn named_rooms(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().unwrap();
            named.extend(list.split(',').map(|item| item.trim().to_owned()));
        } else {
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            named.push(rest[..end].to_owned());
        }
    }
    named
}

#[test]
fn rooms_name_lower_floors_only() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.room() != "lib") {
        let here = floor(source.room()).unwrap_or_else(|| panic!("{}: on no floor", source.path));
        for named in named_rooms(&source.code) {
            let room = named.split("::").next().unwrap();
            if room == source.room() {
                continue;
            }
            match floor(room) {
                Some(there) if there < here => {}
                Some(_) => {
                    wrong.push(format!("{} names {named}, which is not on a lower floor", source.path));
                }
                None => wrong.push(format!("{} names {named}, which is not a room", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_keep_to_their_own() {
    let forbidden: BTreeMap<_, _> = FORBIDDEN.into_iter().collect();
    let mut wrong = Vec::new();
    // Tests make what a room is given by others.
    for source in sources().into_iter().filter(|source| !source.path.ends_with("tests.rs")) {
        for named in named_rooms(&source.code) {
            let rooms = forbidden.get(source.room()).copied().unwrap_or_default();
            if rooms.iter().any(|room| named == *room || named.starts_with(&format!("{room}::"))) {
                wrong.push(format!("{} names {named}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_store_speaks_sql_and_only_the_daemon_starts_engines() {
    for source in sources() {
        if source.room() != "store" {
            // The name under which sqlx logs is no SQL.
            let code = source.code.replace("\"sqlx::query\"", "");
            assert!(!code.contains("sqlx::"), "{} speaks SQL", source.path);
        }
        if !source.path.ends_with("tests.rs")
            && !matches!(source.room(), "daemon" | "delivery" | "listen" | "cli" | "demo" | "auth" | "http")
        {
            assert!(!source.code.contains("tokio::spawn"), "{} starts a task", source.path);
        }
    }
}

#[test]
fn deciding_files_touch_nothing() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
            continue;
        }
        seen += 1;
        for (what, words) in IMPURE {
            for word in words.iter().filter(|word| source.code.contains(**word)) {
                if !(source.path == "model/id.rs" && what == "random numbers") {
                    wrong.push(format!("{} touches the {what}: {word}", source.path));
                }
            }
        }
    }
    assert!(seen >= PURE.len(), "a deciding file is missing: {seen} found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_is_not_too_long() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{} does not begin with what it is for", source.path);
        let lines = source.text.lines().count();
        assert!(lines <= LINE_LIMIT, "{} has {lines} lines", source.path);
    }
}

/// The rows of all tables in a text, without their headings.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines = text.lines().filter(|line| line.starts_with('|')).map(cells);
    let rows: Vec<_> = lines.collect();
    let is_rule = |row: &Vec<String>| row.iter().all(|cell| cell.chars().all(|c| c == '-'));
    (0..rows.len())
        .filter(|&n| !is_rule(&rows[n]) && !rows.get(n + 1).is_some_and(is_rule))
        .map(|n| rows[n].clone())
        .collect()
}

#[test]
fn every_promise_names_a_fault_and_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("src/proofs.md")).unwrap();
    let rows = rows(&text);
    assert!(rows.len() > 40, "the tables are not where this test looks");
    for row in &rows {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        for proof in row[2].split('`').skip(1).step_by(2) {
            let is_there = if let Some((module, test)) = proof.rsplit_once("::") {
                let file = root.join("tests/it").join(module.replace("::", "/"));
                let texts = [file.with_extension("rs"), file.join("mod.rs")];
                texts
                    .iter()
                    .filter_map(|path| std::fs::read_to_string(path).ok())
                    .any(|text| text.contains(&format!("fn {test}()")))
            } else {
                root.join(proof).is_file()
            };
            assert!(is_there, "there is no {proof}");
        }
    }
    for promise in 1..=10 {
        assert!(rows.iter().any(|row| row[0].starts_with(&format!("P{promise} "))), "P{promise} has no row");
    }
}

#[test]
fn this_test_can_fail() {
    assert_eq!(rows("| a | b |\n|---|---|\n| c | d |\n\ntext\n").len(), 1);
    assert_eq!(
        named_rooms("use crate::{auth, drive::Drive};\ncrate::http::jitter()"),
        ["auth", "drive::Drive", "http::jitter"]
    );
    assert!(
        !production_code("// crate::cli\nfn a() {}\n#[cfg(test)]\nmod tests { crate::cli }").contains("cli")
    );
}
