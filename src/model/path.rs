//! Names from Drive as names on disk, and the template that says where a file goes. Drive accepts any text as a
//! name; what comes out of here is one plain segment after the other, none of which leads out of the destination.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_normalization::UnicodeNormalization;

/// The longest name that common file systems take, in bytes.
const NAME_LIMIT: usize = 255;
/// A relative path, without a mark, stays below this many bytes, so that with the destination in front it stays below
/// PATH_MAX (4096).
const PATH_LIMIT: usize = 2048;
/// An ending longer than this is no ending but part of the name.
const EXTENSION_LIMIT: usize = 16;
/// Names that DOS devices still claim on shares served to Windows.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A path below a destination: at least one segment, each of them safe.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RelativePath(Vec<String>);

impl RelativePath {
    /// Makes every segment safe. Empty segments are dropped; with none left the path is `_`. Of a path that is too long
    /// the outermost directories are dropped.
    pub fn from_segments<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        let mut path = Self::safe(segments);
        while path.0.len() > 1 && path.0.iter().map(|s| s.len() + 1).sum::<usize>() > PATH_LIMIT {
            path.0.remove(0);
        }
        path
    }

    /// Reads a path that was written by `Display`, i.e. from the ledger. A mark may have made it longer than the limit:
    /// it names a file that is there, so nothing is dropped.
    pub fn from_stored(text: &str) -> Self {
        Self::safe(text.split('/'))
    }

    fn safe<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        let mut safe: Vec<String> =
            segments.into_iter().filter(|s| !s.as_ref().is_empty()).map(|s| safe_name(s.as_ref())).collect();
        if safe.is_empty() {
            safe.push("_".to_owned());
        }
        Self(safe)
    }

    /// The directories that lead to the file, outermost first.
    pub fn directories(&self) -> &[String] {
        self.0.split_last().map_or(&[], |(_, directories)| directories)
    }

    /// The name of the file itself.
    pub fn file_name(&self) -> &str {
        self.0.last().map_or("_", String::as_str)
    }

    /// The same place under another name: `clip.mp4` with the mark `1AbC` becomes `clip [1AbC].mp4`, and if that is
    /// taken as well `clip [1AbC-2].mp4`.
    #[must_use]
    pub fn marked(&self, mark: &str, round: u32) -> Self {
        let suffix = if round < 2 { format!(" [{mark}]") } else { format!(" [{mark}-{round}]") };
        let (stem, extension) = split_extension(self.file_name());
        let room = NAME_LIMIT.saturating_sub(suffix.len() + extension.len());
        let mut segments = self.0.clone();
        segments.pop();
        // The mark is made of an id, which is Drive's own text.
        segments.push(safe_name(&format!("{}{suffix}{extension}", cut(stem, room).trim_end())));
        Self(segments)
    }

    /// The same path with another name for one of its directories, for when something that is no directory bears it.
    #[must_use]
    pub fn with_directory(&self, index: usize, name: &str) -> Self {
        let mut segments = self.0.clone();
        if let Some(segment) = segments.get_mut(index) {
            *segment = safe_name(name);
        }
        Self(segments)
    }

    /// As a path below `base`.
    pub fn under(&self, base: &Path) -> PathBuf {
        self.0.iter().fold(base.to_owned(), |path, segment| path.join(segment))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Where a delivered file goes below its destination: `{folder}/{name}` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Separator,
    Folder,
    Name,
    Stem,
    Extension,
    Id,
    Date,
    Owner,
}

/// What a template may name.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Names of the folders between the watched folder and the file, outermost first.
    pub folder: &'a [String],
    /// The file's name in Drive.
    pub name: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Its creation time; the date is in UTC.
    pub created: Option<Timestamp>,
    /// Its owner's address.
    pub owner: Option<&'a str>,
}

impl fmt::Display for Template {
    /// The template as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| {
            f.write_str(match piece {
                Piece::Text(text) => text,
                Piece::Separator => "/",
                Piece::Folder => "{folder}",
                Piece::Name => "{name}",
                Piece::Stem => "{stem}",
                Piece::Extension => "{ext}",
                Piece::Id => "{id}",
                Piece::Date => "{date}",
                Piece::Owner => "{owner}",
            })
        })
    }
}

impl Template {
    /// The placeholders, for messages.
    pub const PLACEHOLDERS: &'static str = "{folder} {name} {stem} {ext} {id} {date} {owner}";

    /// Reads a template; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['{', '/', '}']).unwrap_or(rest.len());
            if end > 0 {
                pieces.push(Piece::Text(rest[..end].to_owned()));
                rest = &rest[end..];
            } else if let Some(after) = rest.strip_prefix('/') {
                pieces.push(Piece::Separator);
                rest = after;
            } else {
                let (piece, after) = placeholder(rest)?;
                pieces.push(piece);
                rest = after;
            }
        }
        let named = pieces.iter().any(|p| matches!(p, Piece::Name | Piece::Stem | Piece::Id));
        if !named {
            return Err(format!("`{text}` gives every file the same name; use {{name}}, {{stem}} or {{id}}"));
        }
        if matches!(pieces.last(), Some(Piece::Separator | Piece::Folder)) {
            return Err(format!(
                "`{text}` ends in a folder; the last part is the file's name, e.g. {{folder}}/{{name}}"
            ));
        }
        Ok(Self(pieces))
    }

    /// The place of one file.
    pub fn render(&self, facts: &Facts<'_>) -> RelativePath {
        let (stem, extension) = split_extension(facts.name);
        let mut segments = vec![String::new()];
        let mut add = |text: &str, new_segment: bool| match segments.last_mut() {
            Some(last) if !new_segment => last.push_str(text),
            _ => segments.push(text.to_owned()),
        };
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => add(text, false),
                Piece::Separator => add("", true),
                Piece::Folder => {
                    for (index, folder) in facts.folder.iter().enumerate() {
                        add(folder, index > 0);
                    }
                }
                Piece::Name => add(facts.name, false),
                Piece::Stem => add(stem, false),
                Piece::Extension => add(extension.trim_start_matches('.'), false),
                Piece::Id => add(facts.id, false),
                Piece::Date => add(&date(facts.created), false),
                Piece::Owner => add(facts.owner.unwrap_or("unknown"), false),
            }
        }
        RelativePath::from_segments(segments)
    }
}

fn placeholder(rest: &str) -> Result<(Piece, &str), String> {
    let inside = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
    let Some((word, after)) = inside else {
        return Err(format!("a single `{}`; placeholders are {}", &rest[..1], Template::PLACEHOLDERS));
    };
    let piece = match word {
        "folder" => Piece::Folder,
        "name" => Piece::Name,
        "stem" => Piece::Stem,
        "ext" => Piece::Extension,
        "id" => Piece::Id,
        "date" => Piece::Date,
        "owner" => Piece::Owner,
        _ => return Err(format!("unknown placeholder {{{word}}}; there are {}", Template::PLACEHOLDERS)),
    };
    Ok((piece, after))
}

fn date(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "undated".to_owned(), |t| TimeZone::UTC.to_datetime(t).date().to_string())
}

/// One name made safe: NFC, no separators, no control or direction characters, no leading dot, no device name,
/// at most 255 bytes with its ending kept. A safe name stays as it is.
pub fn safe_name(name: &str) -> String {
    let mut name = name.to_owned();
    loop {
        // Cutting can bare a new end (a blank, half a composed character), so it goes on until nothing changes; each
        // round either changes nothing or leaves less to change.
        let next = safer_name(&name);
        if next == name {
            return name;
        }
        name = next;
    }
}

fn safer_name(name: &str) -> String {
    let clean: String = name.nfc().map(|c| if is_unwelcome(c) { '_' } else { c }).collect();
    let mut clean = clean.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace()).to_owned();
    if clean.is_empty() {
        return "_".to_owned();
    }
    if clean.starts_with('.') {
        clean.replace_range(0..1, "_");
    }
    let (stem, extension) = split_extension(&clean);
    if DEVICES.contains(&stem.to_ascii_lowercase().as_str()) {
        clean = format!("{stem}_{extension}");
    }
    shorten(&clean)
}

/// Separators, control characters, and the marks that make `exe.4pm` read as `mp4.exe` on a screen.
fn is_unwelcome(c: char) -> bool {
    matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || c.is_control()
}

fn shorten(name: &str) -> String {
    if name.len() <= NAME_LIMIT {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    format!("{}{extension}", cut(stem, NAME_LIMIT - extension.len()))
}

/// At most `limit` bytes, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `clip.mp4` as `clip` and `.mp4`. A name that only starts with a dot has no ending, nor has one whose "ending" is long.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_LIMIT => name.split_at(dot),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_become_one_plain_segment() {
        for (name, safe) in [
            ("../../x.mp4", "_._.._x.mp4"),
            ("/abs.mp4", "_abs.mp4"),
            ("a/b.mp4", "a_b.mp4"),
            ("..", "_"),
            (".", "_"),
            ("", "_"),
            ("   ", "_"),
            (".gdrive-webhook", "_gdrive-webhook"),
            ("a\u{0}b\nc.mp4", "a_b_c.mp4"),
            ("CON.mp4", "CON_.mp4"),
            ("movie.mp4. ", "movie.mp4"),
            ("e\u{301}.mp4", "é.mp4"),
            ("x\u{202e}4pm.exe", "x_4pm.exe"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    #[test]
    fn long_names_keep_their_ending() {
        let safe = safe_name(&format!("{}.mp4", "é".repeat(300)));
        assert!(safe.len() <= 255 && safe.ends_with("é.mp4"), "{safe}");
        let marked = RelativePath::from_segments([safe]).marked("1AbCdEfG", 12);
        assert!(marked.file_name().len() <= 255 && marked.file_name().ends_with(" [1AbCdEfG-12].mp4"));
    }

    #[test]
    fn a_path_that_is_too_long_loses_its_outermost_directories_and_no_more() {
        let longest = || vec!["d".repeat(255); 8];
        let path = RelativePath::from_segments(longest());
        assert_eq!((path.directories().len(), path.to_string().len()), (7, 2047));
        for name in ["e", "clip.mp4"] {
            let path = RelativePath::from_segments([longest(), vec![name.to_owned()]].concat());
            assert_eq!((path.directories().len(), path.file_name()), (7, name));
        }
    }

    #[test]
    fn a_mark_takes_as_much_of_a_long_name_as_it_needs() {
        let long = RelativePath::from_segments([format!("{}.mp4", "x".repeat(251))]);
        for (round, ending) in [(0, " [1AbC].mp4"), (1, " [1AbC].mp4"), (2, " [1AbC-2].mp4")] {
            let marked = long.marked("1AbC", round);
            let name = marked.file_name();
            assert!(name.len() == 255 && name.ends_with(ending), "{name}");
        }
    }

    #[test]
    fn a_marked_path_is_read_from_the_ledger_as_it_was_written() {
        let mut names = vec!["d".repeat(255); 7];
        names.extend(["e".repeat(240), "clip.mp4".to_owned()]);
        let path = RelativePath::from_segments(names);
        assert_eq!(path.directories().len(), 8, "as long as a path can be");
        let marked = path.marked("1AbC", 1);
        assert_eq!(RelativePath::from_stored(&marked.to_string()), marked);
    }

    #[test]
    fn a_mark_leads_nowhere_else() {
        let path = RelativePath::from_segments(["trips", "clip.mp4"]);
        assert_eq!(path.marked("../\u{0}1", 1).to_string(), "trips/clip [..__1].mp4");
    }

    #[test]
    fn templates_place_files() {
        let facts = Facts {
            folder: &["Trips".into(), "a/b".into()],
            name: "clip.mp4",
            id: "1AbC",
            created: Some("2026-03-04T23:59:59Z".parse().unwrap()),
            owner: None,
        };
        for (template, path) in [
            ("{folder}/{name}", "Trips/a_b/clip.mp4"),
            ("{date}/{stem}-{id}.{ext}", "2026-03-04/clip-1AbC.mp4"),
            ("by {owner}/{folder}/{name}", "by unknown/Trips/a_b/clip.mp4"),
            ("{folder} copy/{name}", "Trips/a_b copy/clip.mp4"),
            ("of {folder}/{name}", "of Trips/a_b/clip.mp4"),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&facts).to_string(), path, "{template}");
        }
        let bare = Facts { name: ".mp4", ..facts.clone() };
        let path = Template::parse("{id}-{stem}-{ext}").unwrap().render(&bare).to_string();
        assert_eq!(path, "1AbC-.mp4-", "a dot at the beginning begins no ending");
        let at_root = Facts { folder: &[], ..facts };
        assert_eq!(Template::parse("{folder}/{name}").unwrap().render(&at_root).to_string(), "clip.mp4");
    }

    #[test]
    fn wrong_templates_say_why() {
        for (template, word) in
            [("{nmae}", "{nmae}"), ("{name", "single"), ("x.mp4", "same name"), ("{name}/", "folder")]
        {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(word), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_safe_and_stays_so(name in ".{0,400}") {
            let safe = safe_name(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= 255);
            prop_assert!(!safe.contains('/') && !safe.starts_with('.') && !safe.chars().any(char::is_control));
            prop_assert_eq!(safe_name(&safe), safe.clone());
            let path = RelativePath::from_segments([safe.as_str(), safe.as_str()]);
            prop_assert_eq!(RelativePath::from_stored(&path.to_string()), path);
        }

        #[test]
        fn any_file_has_a_safe_place(
            pieces in prop::collection::vec("(\\{(folder|name|stem|ext|id|date|owner)\\}|/|[. a-z]{1,3})", 0..6),
            folder in prop::collection::vec(".{0,300}", 0..12),
            (name, id, owner) in ("(?s).{0,300}", "(.{1,60}|[A-Za-z0-9_-]{33})", prop::option::of(".{0,20}")),
            seconds in prop::option::of(-10_000_000_000_i64..10_000_000_000),
        ) {
            let text = format!("{}{{name}}", pieces.concat());
            let template = Template::parse(&text).unwrap();
            prop_assert_eq!(template.to_string(), text);
            let created = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
            let facts = Facts { folder: &folder, name: &name, id: &id, created, owner: owner.as_deref() };
            let path = template.render(&facts);
            let mark: String = id.chars().take(8).collect();
            for path in [path.clone(), path.marked(&mark, 1), path.marked(&mark, 12)] {
                for name in path.directories().iter().map(String::as_str).chain([path.file_name()]) {
                    prop_assert_eq!(safe_name(name), name);
                }
                prop_assert_eq!(path.under(Path::new("/d")).components().count(), path.directories().len() + 3);
                prop_assert!(path.to_string().len() < PATH_LIMIT + NAME_LIMIT);
                prop_assert_eq!(RelativePath::from_stored(&path.to_string()), path);
            }
        }
    }
}
