//! The emulator's floors. Its room `drive` is the emulated Drive itself: it names no other room, and knows nothing of
//! HTTP, of tokens and of faults.

use std::path::Path;

use super::{LINE_LIMIT, Source, collect, named_rooms};

/// Rooms by floor, the ground floor first. A file that stands on another floor than its room is named by itself.
const FLOORS: &[&[&str]] = &[
    &["authority", "drive", "params"],
    &["disturbance", "fault", "oauth::credentials", "oauth::identities", "oauth::tokens", "uploads"],
    &["serve", "world"],
    &["inner"],
    &["api", "notify"],
    &["oauth"],
    &["api::serve"],
    &["emulator"],
    &["conduct", "connections", "seed", "user"],
    &["sharing"],
    &["control"],
    &["front"],
    &["serve::connection"],
    &["start"],
    &["lib", "main"],
];

/// Words of what the emulated Drive knows nothing of.
const FOREIGN_TO_DRIVE: [&str; 6] = ["hyper", "reqwest", "http::", "rustls", "TcpStream", "StatusCode"];

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 30, "the emulator's sources are not where this test looks: {}", root.display());
    found
}

/// The module that a file is: `api/query/mod.rs` is `api::query`.
fn module(path: &str) -> String {
    path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// The floor of a module, or of the nearest one above it that has one.
fn floor(module: &str) -> Option<usize> {
    let own = FLOORS.iter().position(|modules| modules.contains(&module));
    own.or_else(|| floor(module.rsplit_once("::")?.0))
}

/// What a source names from higher floors, or from its own one.
fn wrong_names(source: &Source) -> Vec<String> {
    let here = module(&source.path);
    let floor_here = floor(&here).unwrap_or_else(|| panic!("{}: on no floor", source.path));
    let room = here.split("::").next();
    let mut wrong = Vec::new();
    for named in named_rooms(&source.code) {
        let named = named.trim_end_matches(':');
        if named.split("::").next() == room {
            continue;
        }
        match floor(named) {
            Some(there) if there < floor_here => {}
            Some(_) => wrong.push(format!("{} names {named}, which is not on a lower floor", source.path)),
            None => wrong.push(format!("{} names {named}, which is not a room", source.path)),
        }
    }
    wrong
}

#[test]
fn its_rooms_name_lower_floors_only() {
    let wrong: Vec<String> = sources().iter().flat_map(wrong_names).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn its_drive_knows_no_http() {
    for source in sources().iter().filter(|source| source.path.starts_with("drive/")) {
        for word in FOREIGN_TO_DRIVE {
            assert!(!source.code.contains(word), "{} contains {word}", source.path);
        }
        let rooms = named_rooms(&source.code);
        let foreign: Vec<_> = rooms.iter().filter(|room| !room.starts_with("drive::")).collect();
        assert!(foreign.is_empty(), "{} names {foreign:?}", source.path);
    }
}

#[test]
fn every_file_of_it_says_what_it_is_for_and_is_not_too_long() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{} does not begin with what it is for", source.path);
        let lines = source.text.lines().count();
        assert!(lines <= LINE_LIMIT, "{} has {lines} lines", source.path);
    }
}

#[test]
fn these_tests_can_fail() {
    let source =
        |path: &str, code: &str| Source { path: path.to_owned(), code: code.to_owned(), text: String::new() };
    assert_eq!(wrong_names(&source("drive/tree.rs", "use crate::oauth::tokens::Tokens;")).len(), 1);
    assert_eq!(wrong_names(&source("world.rs", "use crate::oauth::{tokens, endpoint};")).len(), 1);
    assert_eq!(wrong_names(&source("world.rs", "use crate::oauth::tokens::Tokens;")), Vec::<String>::new());
    assert_eq!(wrong_names(&source("api/files.rs", "use crate::serve::connection::accept;")).len(), 1);
    assert_eq!(wrong_names(&source("api/files.rs", "use crate::nowhere;")).len(), 1);
    assert_eq!(floor("api::query::parse"), floor("api"));
}
