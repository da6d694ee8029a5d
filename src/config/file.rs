//! Reads the configuration file against the list of keys: what has its place and its kind goes on, with the line it
//! stands on; everything else is a problem, and none of them hides another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::keys::{self, FOLDER, Key, Shape};
use super::problem::{Place, Problems, quoted};

/// Where each key stands, right or wrong: `download.stall`, `folder[0].id`, and `folder[0]` for a folder as a whole.
pub(super) type Places = HashMap<String, Place>;

/// The file without what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) table: Table,
    pub(super) places: Places,
    pub(super) problems: Problems,
    /// It is no TOML at all: nothing else can be said about it.
    pub(super) unreadable: bool,
}

/// Reads the text of a file.
pub(super) fn read(text: &str, file: &Path) -> Written {
    let mut reader = Reader { lines: Lines::of(text), file: file.to_owned(), written: Written::default() };
    match DeTable::parse(text) {
        Ok(tree) => reader.root(tree.get_ref()),
        Err(error) => {
            let (line, column) = reader.lines.at(error.span().map_or(0, |span| span.start));
            let place = Place::Line { file: file.to_owned(), line, column: Some(column) };
            let told = error.message().lines().collect::<Vec<_>>().join("; ");
            reader.written.problems.add(place, format!("this is not valid TOML: {told}"));
            reader.written.unreadable = true;
        }
    }
    reader.written
}

/// The name under which the place of a key of the `index`th folder is kept.
pub(super) fn in_folder(index: usize, name: &str) -> String {
    format!("{FOLDER}[{index}].{name}")
}

struct Reader<'a> {
    lines: Lines<'a>,
    file: PathBuf,
    written: Written,
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

impl Reader<'_> {
    fn root(&mut self, tree: &DeTable<'_>) {
        for (name, value) in tree {
            let place = self.place(name.span().start);
            match name.get_ref().as_ref() {
                FOLDER => self.folders(place, value.get_ref()),
                section if keys::is_section(section) => match value.get_ref() {
                    DeValue::Table(entries) => {
                        let kept = self.section(section, entries, |name| format!("{section}.{name}"));
                        self.written.table.insert(section.to_owned(), Value::Table(kept));
                    }
                    _ => self.problem(
                        place,
                        format!("{section} is a section; write [{section}] and its keys below"),
                    ),
                },
                section if value.get_ref().is_table() && keys::find(section).is_none() => {
                    self.problem(
                        place,
                        format!("unknown section [{section}]; {}", keys::section_hint(section)),
                    );
                }
                top => {
                    if let Some(kept) = self.entry(top, top.to_owned(), (name, value)) {
                        self.written.table.insert(top.to_owned(), kept);
                    }
                }
            }
        }
    }

    fn folders(&mut self, place: Place, value: &DeValue<'_>) {
        // Whatever is wrong with it: something was written, and that none was is not to be said as well.
        self.written.places.insert(FOLDER.to_owned(), place.clone());
        let DeValue::Array(folders) = value else {
            return self
                .problem(place, "each folder is a section of its own; write [[folder]], with two brackets");
        };
        if folders.is_empty() {
            self.written.places.remove(FOLDER);
        }
        let mut kept = Vec::new();
        for folder in folders {
            let DeValue::Table(entries) = folder.get_ref() else {
                self.problem(
                    place.clone(),
                    "a folder has an id and a destination; write [[folder]] and its keys below",
                );
                continue;
            };
            let index = kept.len();
            let here = self.place(folder.span().start);
            self.written.places.insert(format!("{FOLDER}[{index}]"), here);
            kept.push(Value::Table(self.section(FOLDER, entries, |name| in_folder(index, name))));
        }
        self.written.table.insert(FOLDER.to_owned(), Value::Array(kept));
    }

    fn section(&mut self, section: &str, entries: &DeTable<'_>, kept_as: impl Fn(&str) -> String) -> Table {
        let mut kept = Table::new();
        for (name, value) in entries {
            let text = name.get_ref().as_ref();
            if let Some(value) = self.entry(&format!("{section}.{text}"), kept_as(text), (name, value)) {
                kept.insert(text.to_owned(), value);
            }
        }
        kept
    }

    fn entry(&mut self, path: &str, kept_as: String, (name, value): Entry<'_, '_>) -> Option<Value> {
        let place = self.place(name.span().start);
        let Some(key) = keys::find(path) else {
            self.problem(place, format!("unknown key {path}; {}", keys::hint(path)));
            return None;
        };
        self.written.places.insert(kept_as, place.clone());
        match shaped(key, value.get_ref()) {
            Ok(value) => Some(value),
            Err(what) => {
                self.problem(place, format!("{path}: {what}; write {}", key.want));
                None
            }
        }
    }

    fn place(&self, offset: usize) -> Place {
        Place::Line { file: self.file.clone(), line: self.lines.at(offset).0, column: None }
    }

    fn problem(&mut self, place: Place, text: impl Into<String>) {
        self.written.problems.add(place, text);
    }
}

/// The value if it is of the kind that the key takes. A number or a flag may stand in quotes, as it does in the
/// environment.
fn shaped(key: &Key, value: &DeValue<'_>) -> Result<Value, String> {
    match (key.shape, value) {
        (Shape::Text | Shape::Size, DeValue::String(text)) => Ok(Value::String(text.to_string())),
        (Shape::Size | Shape::Number, DeValue::Integer(_)) => {
            let number = integer(value)?;
            Ok(if key.shape == Shape::Size {
                Value::String(number.to_string())
            } else {
                Value::Integer(number)
            })
        }
        (Shape::Number | Shape::Flag, DeValue::String(text)) => {
            fits(key.shape, text).map(|()| Value::String(text.to_string()))
        }
        (Shape::Flag, DeValue::Boolean(flag)) => Ok(Value::Boolean(*flag)),
        (Shape::List, DeValue::Array(items)) => {
            let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::String(text) => Ok(Value::String(text.to_string())),
                other => Err(format!("{} in the list is not text", shown(other))),
            };
            items.iter().map(text).collect::<Result<_, _>>().map(Value::Array)
        }
        (shape, other) => Err(format!("{} is not {}", shown(other), word(shape))),
    }
}

/// Whether the text of a variable, which is always text, can be what the key takes.
pub(super) fn fits(shape: Shape, text: &str) -> Result<(), String> {
    let fits = match shape {
        Shape::Number => text.parse::<i64>().is_ok(),
        Shape::Flag => {
            ["true", "false", "yes", "no", "on", "off", "1", "0"].contains(&text.to_lowercase().as_str())
        }
        Shape::Text | Shape::Size => true,
        Shape::List => false,
    };
    if fits { Ok(()) } else { Err(format!("{} is not {}", quoted(text), word(shape))) }
}

fn integer(value: &DeValue<'_>) -> Result<i64, String> {
    let DeValue::Integer(integer) = value else { return Err(format!("{} is not a number", shown(value))) };
    i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| format!("{integer} is out of range"))
}

fn word(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text in quotes",
        Shape::Size => "a size",
        Shape::Number => "a number",
        Shape::Flag => "true or false",
        Shape::List => "a list",
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

/// Finds the line of an offset.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column, both from 1; columns count characters.
    fn at(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        read(text, Path::new("a.toml"))
            .problems
            .or(())
            .map_or_else(|problems| problems.to_string(), |()| String::new())
    }

    #[test]
    fn wrong_kinds_are_named_with_their_lines() {
        for (text, expected) in [
            (
                "\n[download]\nconcurrency = \"many\"",
                "a.toml:3: download.concurrency: \"many\" is not a number; write a whole number from 1 to 64",
            ),
            (
                "[download]\nconcurrency = 1.5",
                "a.toml:2: download.concurrency: 1.5 is not a number; write a whole number from 1 to 64",
            ),
            (
                "[download]\nconcurrency = 99999999999999999999",
                "a.toml:2: download.concurrency: 99999999999999999999 is out of range; write a whole number from 1 to 64",
            ),
            (
                "download.acknowledge_abuse = 3",
                "a.toml:1: download.acknowledge_abuse: 3 is not true or false; write true or false",
            ),
            ("log = \"info\"", "a.toml:1: log is a section; write [log] and its keys below"),
            (
                "[log]\nlevel = true",
                "a.toml:2: log.level: true is not text in quotes; write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
            ),
            (
                "[log.level]\nx = 1",
                "a.toml:1: log.level: a section is not text in quotes; write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
            ),
            (
                "[shutdown_grace]",
                "a.toml:1: shutdown_grace: a section is not text in quotes; write a duration such as \"90s\", \"10m\", \"1h 30m\" or \"7d\"",
            ),
            (
                "[folder]\nid = \"x\"",
                "a.toml:1: each folder is a section of its own; write [[folder]], with two brackets",
            ),
            (
                "folder = [1]",
                "a.toml:1: a folder has an id and a destination; write [[folder]] and its keys below",
            ),
            (
                "[[folder]]\ninclude = \"video/*\"",
                "a.toml:2: folder.include: \"video/*\" is not a list; write a list of MIME types such as [\"video/*\"]",
            ),
            (
                "[[folder]]\nname = [\"*\", 1]",
                "a.toml:2: folder.name: 1 in the list is not text; write a list of name patterns such as [\"*\"]",
            ),
            ("[downlod]\nx = 1", "a.toml:1: unknown section [downlod]; did you mean [download]?"),
            (
                "[hook]\nurl = 1",
                "a.toml:1: unknown section [hook]; the sections are google, webhook, channel, sync, folder, download, state, admin, log",
            ),
            (
                "[download]\n\nconcurency = 4",
                "a.toml:3: unknown key download.concurency; did you mean download.concurrency?",
            ),
            (
                "verbose = 1",
                "a.toml:1: unknown key verbose; the sections are google, webhook, channel, sync, folder, download, state, admin, log",
            ),
        ] {
            assert_eq!(problems(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_right_is_kept_with_its_place() {
        let written = read(
            "shutdown_grace = '5s'\n[download]\nconcurrency = \"4\"\n[[folder]]\nid = 'a'\n\n[[folder]]\nmin_size = 5\n",
            Path::new("a.toml"),
        );
        assert_eq!(written.problems.count(), 0);
        assert_eq!(written.table["folder"][1]["min_size"].as_str(), Some("5"));
        let line = |key: &str| match &written.places[key] {
            Place::Line { line, .. } => *line,
            other => panic!("{other:?}"),
        };
        for (key, expected) in [
            ("shutdown_grace", 1),
            ("download.concurrency", 3),
            ("folder[0]", 4),
            ("folder[0].id", 5),
            ("folder[1]", 7),
            ("folder[1].min_size", 8),
        ] {
            assert_eq!(line(key), expected, "{key}");
        }
    }

    #[test]
    fn a_slip_of_syntax_has_line_and_column() {
        assert!(
            problems("[download]\nstall = \n").starts_with("a.toml:2:9: this is not valid TOML: "),
            "{}",
            problems("[download]\nstall = \n")
        );
        assert!(problems("[log]\n[log]\n").starts_with("a.toml:2:"), "{}", problems("[log]\n[log]\n"));
    }
}
