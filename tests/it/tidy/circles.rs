//! Circles between the files of one room: `sync/a.rs` names `sync/b.rs`, and that one leads back to the first.
//!
//! A file names another one by a path that begins with `crate`, `super`, `self` or the name of a module below it. A name
//! that a module takes over from another file (`pub use files::Listed`) counts as that file's. The `mod.rs` above a file
//! is not counted: it holds the words that the files of the room share, such as `Error`, and calls the files. Calls of
//! methods are not seen: a type's methods in several files are one thing.

use std::collections::{BTreeMap, BTreeSet};

use super::sources;

/// The path of a module: `sync/mod.rs` is `[sync]`, `sync/rules.rs` is `[sync, rules]`.
type Module = Vec<String>;

/// The code of every module.
struct Modules(BTreeMap<Module, String>);

impl Modules {
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let modules = files.into_iter().filter(|(path, _)| !path.ends_with("/tests.rs"));
        Self(modules.map(|(path, code)| (module(path), code.to_owned())).collect())
    }

    /// Each set of files of one room that lead to each other.
    fn circles(&self) -> Vec<BTreeSet<String>> {
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            self.0.keys().map(|file| (file, self.reached_from(file))).collect();
        let leads = |from: &Module, to: &Module| reached.get(from).is_some_and(|files| files.contains(to));
        let circles = self.0.keys().filter(|file| leads(file, file)).map(|file| {
            let others = self.0.keys().filter(|other| leads(file, other) && leads(other, file));
            others.map(|other| other.join("::")).collect()
        });
        circles.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// All files that this one leads to.
    fn reached_from(&self, file: &Module) -> BTreeSet<Module> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![file.clone()]);
        while let Some(here) = next.pop() {
            next.extend(self.neighbours(&here).into_iter().filter(|there| reached.insert(there.clone())));
        }
        reached
    }

    /// The files of the same room that this one names, except those above and below it.
    fn neighbours(&self, file: &Module) -> BTreeSet<Module> {
        let named = self.paths(file).into_iter().filter_map(|path| self.owner(&path, &mut BTreeSet::new()));
        named
            .filter(|other| other[0] == file[0] && !other.starts_with(file) && !file.starts_with(other))
            .collect()
    }

    /// The file that a path leads to.
    fn owner(&self, path: &Module, seen: &mut BTreeSet<Module>) -> Option<Module> {
        let file =
            (1..=path.len()).rev().map(|length| &path[..length]).find(|file| self.0.contains_key(*file))?;
        let Some(name) = path.get(file.len()) else { return Some(file.to_vec()) };
        // A name that this file takes over from a file below it.
        let below = self.paths(file).into_iter().filter(|taken| {
            taken.last() == Some(name) && taken.len() > file.len() + 1 && taken.starts_with(file)
        });
        let mut below = below.filter(|taken| seen.insert(taken.clone())).collect::<Vec<_>>();
        below.pop().and_then(|taken| self.owner(&taken, seen)).or_else(|| Some(file.to_vec()))
    }

    /// All paths that a file names, from the root of the crate.
    fn paths(&self, file: &[String]) -> Vec<Module> {
        let code = &self.0[file];
        let below = self.0.keys().filter(|other| other.len() == file.len() + 1 && other.starts_with(file));
        let below: Vec<&str> = below.map(|other| other[file.len()].as_str()).collect();
        let mut paths = Vec::new();
        for start in beginnings(code) {
            let mut tree = Vec::new();
            use_tree(&code[start..], &[], &mut tree);
            let first = tree[0][0].as_str();
            if matches!(first, "crate" | "super" | "self") || below.contains(&first) {
                paths.extend(tree.into_iter().map(|path| from_root(file, &path)));
            }
        }
        paths
    }
}

fn module(path: &str) -> Module {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Where a path of two or more names begins.
fn beginnings(code: &str) -> Vec<usize> {
    let mut beginnings = Vec::new();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !is_of_name(c)).map_or(0, |before| before + 1);
        if start < at && !code[..start].ends_with(':') {
            beginnings.push(start);
        }
    }
    beginnings
}

/// Reads `a::{b, c::d as e}` into `a::b` and `a::c::d`. Gives back what follows it.
fn use_tree<'a>(mut code: &'a str, before: &[String], found: &mut Vec<Module>) -> &'a str {
    let mut path = before.to_vec();
    loop {
        if let Some(mut list) = code.strip_prefix('{') {
            loop {
                list = list.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
                if list.is_empty() || list.starts_with('}') {
                    return list.strip_prefix('}').unwrap_or(list);
                }
                list = use_tree(list, &path, found);
                list = list.find([',', '}']).map_or("", |end| &list[end..]);
            }
        }
        let end = code.find(|c: char| !is_of_name(c)).unwrap_or(code.len());
        if end > 0 {
            path.push(code[..end].to_owned());
        }
        match code[end..].strip_prefix("::") {
            Some(rest) if end > 0 => code = rest,
            _ => {
                found.push(path);
                return &code[end..];
            }
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn from_root(file: &[String], path: &[String]) -> Module {
    let (mut root, mut rest) = (file.to_vec(), path);
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "crate" => root.clear(),
            "super" => root.truncate(root.len().saturating_sub(1)),
            "self" => {}
            _ => break,
        }
        rest = others;
    }
    root.extend_from_slice(rest);
    root
}

#[test]
fn files_of_a_room_do_not_lead_to_each_other_in_a_circle() {
    let sources = sources();
    let files = sources.iter().map(|source| (source.path.as_str(), source.code.as_str()));
    let circles = Modules::new(files).circles();
    assert!(circles.is_empty(), "these files lead to each other in a circle: {circles:?}");
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let circles = |files: &[(&str, &str)]| Modules::new(files.iter().copied()).circles();
    let of = |names: &[&str]| vec![names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>()];
    let both = of(&["room::a", "room::b"]);
    let words = ("room/mod.rs", "mod a;\nmod b;\npub use b::{Page, other::Word};\npub struct Error;");
    for names_b in [
        "use super::b::Thing;",
        "use super::{Error, b::{self, Thing}};",
        "fn f() { crate::room::b::g() }",
        "use super::Page;",
        "use crate::{model, room::{Error, Page as Sheet}};",
        "use super::super::room::b;",
    ] {
        assert_eq!(circles(&[words, ("room/a.rs", names_b), ("room/b.rs", "use super::a::Other;")]), both);
        assert!(circles(&[words, ("room/a.rs", names_b), ("room/b.rs", "use super::Error;")]).is_empty());
    }
    let three = [
        ("room/a.rs", "use super::b::B;"),
        ("room/b.rs", "use super::deep::C;"),
        ("room/deep/mod.rs", "mod low;"),
        ("room/deep/low.rs", "use super::super::a::A;"),
    ];
    assert!(circles(&three).is_empty(), "nothing leads from `deep` to `low`");
    let closed = [three[0], ("room/b.rs", "use super::deep::low::C;"), three[2], three[3]];
    assert_eq!(circles(&closed), of(&["room::a", "room::b", "room::deep::low"]));
    assert!(circles(&[("a/x.rs", "use crate::b::x::X;"), ("b/x.rs", "use crate::a::x::X;")]).is_empty());
}
