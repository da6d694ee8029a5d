//! Paths below a destination, and the template that says where a file goes. What comes out of here is one safe name after
//! the other, none of which leads out of the destination.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::name::{Naming, safe_name, split_extension};

/// A relative path, without a mark, stays below this many bytes, so that with the destination in front it stays below
/// PATH_MAX (4096).
const PATH_LIMIT: usize = 2048;
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

    /// Reads a path that was written by `Display`, i.e. from the ledger. It names a file that is there, by rules that may
    /// have been others then, and with a mark that may have made it longer than the limit: it stays as it is, as far as it
    /// does not lead elsewhere.
    pub fn from_stored(text: &str) -> Self {
        let plain = |name: &&str| !name.is_empty();
        let kept = |name: &str| match name {
            name if name.starts_with('.') || name.contains('\0') => safe_name(name),
            name => name.to_owned(),
        };
        Self::or_nameless(text.split('/').filter(plain).map(kept).collect())
    }

    fn safe<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        let named = segments.into_iter().filter(|s| !s.as_ref().is_empty());
        Self::or_nameless(named.map(|s| safe_name(s.as_ref())).collect())
    }

    fn or_nameless(mut segments: Vec<String>) -> Self {
        if segments.is_empty() {
            segments.push("_".to_owned());
        }
        Self(segments)
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
        self.marked_as(Naming::ANY, mark, round)
    }

    /// The same where names are stricter.
    #[must_use]
    pub fn marked_as(&self, naming: Naming, mark: &str, round: u32) -> Self {
        let suffix = if round < 2 { format!(" [{mark}]") } else { format!(" [{mark}-{round}]") };
        self.with_file_name(naming.with_suffix(self.file_name(), &suffix))
    }

    /// The same place with the file's name as this file system accepts it.
    #[must_use]
    pub fn named_as(&self, naming: Naming) -> Self {
        self.with_file_name(naming.apply(self.file_name()))
    }

    fn with_file_name(&self, name: String) -> Self {
        let mut segments = self.directories().to_vec();
        segments.push(name);
        Self(segments)
    }

    /// The same path with a character more in the name of one of its directories, for when something that is no directory
    /// bears it. `round` tells several such names apart.
    #[must_use]
    pub fn with_other_directory(&self, index: usize, naming: Naming, round: u32) -> Self {
        let suffix = if round < 2 { "_".to_owned() } else { format!("_{round}") };
        self.with_directory(index, |name| naming.with_end(name, &suffix))
    }

    /// The same path with the name of one of its directories as this file system accepts it.
    #[must_use]
    pub fn directory_named_as(&self, index: usize, naming: Naming) -> Self {
        self.with_directory(index, |name| naming.apply(name))
    }

    fn with_directory(&self, index: usize, other: impl FnOnce(&str) -> String) -> Self {
        let mut segments = self.0.clone();
        let directories = self.directories().len();
        if let Some(segment) = segments[..directories].get_mut(index) {
            *segment = other(segment);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::name::NAME_LIMIT;

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
    fn a_path_from_the_ledger_stays_as_it_was_written_whatever_the_rules_are_now() {
        for written in ["a\u{200e}/COM¹.mp4", "trips./clip.mp4 ", "e\u{301}.mp4"] {
            assert_eq!(RelativePath::from_stored(written).to_string(), written);
        }
        for (written, read) in [("../x", "_/x"), ("./.gdrive-webhook/x", "_/_gdrive-webhook/x"), ("//", "_")]
        {
            assert_eq!(RelativePath::from_stored(written).to_string(), read);
        }
    }

    #[test]
    fn a_directory_whose_name_a_file_bears_gets_another_one_however_long_it_is() {
        for name in ["d".repeat(255), "d".to_owned()] {
            let path = RelativePath::from_segments([name.as_str(), "clip.mp4"]);
            let (other, third) =
                (path.with_other_directory(0, Naming::ANY, 1), path.with_other_directory(0, Naming::ANY, 2));
            assert!(
                other.directories()[0].ends_with("d_") && third.directories()[0].ends_with("d_2"),
                "{other} {third}"
            );
            assert_eq!(other.file_name(), "clip.mp4");
            assert_eq!(path.with_other_directory(1, Naming::ANY, 1), path, "that is the file's name");
        }
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
