//! Each `[[folder]]`, from as it is written to as it is meant.

use super::file::in_folder;
use super::keys::FOLDER;
use super::validate::Check;
use super::{bases, raw, values};
use crate::model::delivery::OnUpdate;
use crate::model::path::Template;
use crate::sync::rules::{Existing, Folder, NamePatterns};

/// Endings that mean a video, whatever type the uploader gave.
const EXTENSIONS: [&str; 20] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "wmv", "flv", "mpg", "mpeg", "mts", "m2ts", "ts", "3gp",
    "3g2", "mxf", "ogv", "vob", "asf", "f4v",
];
/// Of delivered files: the group reads them, others do not.
const FILE_MODE: u32 = 0o640;
/// Of the directories that they need.
const DIR_MODE: u32 = 0o750;

impl Check<'_> {
    /// `None` if it has no id or no destination; then there is a problem already.
    pub(super) fn folder(&mut self, index: usize, raw: &raw::Folder) -> Option<Folder> {
        let mut in_it = Section { check: self, index };
        let id = in_it.needed("id", raw.id.as_deref(), values::folder);
        let destination = in_it.needed("destination", raw.destination.as_deref(), local_directory);
        let names = |list: &Option<Vec<String>>, default: &[&str]| -> Vec<String> {
            list.clone().unwrap_or_else(|| default.iter().map(|&item| item.to_owned()).collect())
        };
        let include = names(&raw.include, &["video/*"]);
        in_it.each("include", &include, |pattern| mime_pattern(pattern).map(|()| String::new()));
        let extensions = names(&raw.extensions, &EXTENSIONS);
        let extensions = in_it.each("extensions", &extensions, extension);
        if include.is_empty() && extensions.is_empty() {
            in_it.wrong("include", "is empty, and folder.extensions as well: no file would be downloaded");
        }
        if raw.name.as_ref().is_some_and(Vec::is_empty) {
            in_it.wrong("name", "with an empty list no file would be downloaded");
        }
        let name = in_it.patterns("name", &names(&raw.name, &["*"]));
        let exclude = in_it.patterns("exclude", &names(&raw.exclude, &[]));
        let min_size = in_it.optional("min_size", raw.min_size.as_deref(), values::size).unwrap_or(1);
        let max_size = in_it.optional("max_size", raw.max_size.as_deref(), values::size);
        if max_size.is_some_and(|most| most < min_size) {
            in_it.wrong("max_size", "is smaller than folder.min_size");
        }
        let existing =
            in_it.optional("existing", raw.existing.as_deref(), existing).unwrap_or(Existing::Ignore);
        let on_update =
            in_it.optional("on_update", raw.on_update.as_deref(), on_update).unwrap_or(OnUpdate::Replace);
        let path = in_it.optional("path", Some(raw.path.as_deref().unwrap_or("{folder}/{name}")), template);
        let mode = |least| move |text: &str| values::mode(text, least);
        let file_mode =
            in_it.optional("file_mode", raw.file_mode.as_deref(), mode(0o600)).unwrap_or(FILE_MODE);
        let dir_mode = in_it.optional("dir_mode", raw.dir_mode.as_deref(), mode(0o700)).unwrap_or(DIR_MODE);
        let (id, resource_key) = id?;
        Some(Folder {
            id,
            resource_key,
            destination: self.bases.read(&destination?),
            recursive: raw.recursive.unwrap_or(true),
            include,
            extensions,
            name: name?,
            exclude: exclude?,
            min_size,
            max_size,
            existing,
            path: path?,
            on_update,
            shortcuts: raw.shortcuts.unwrap_or(true),
            file_mode,
            dir_mode,
        })
    }

    /// Two sections may take different files of one folder. The second of two equal ones is never asked.
    pub(super) fn folders_differ(&mut self, folders: &[Folder]) {
        for (index, folder) in folders.iter().enumerate() {
            let plain = |folder: &Folder| Folder {
                destination: bases::normal(&folder.destination),
                ..folder.clone()
            };
            if folders[..index].iter().any(|other| plain(other) == plain(folder)) {
                let what = format!(
                    "{} is watched already with the same destination and the same settings; remove one of the two \
                     sections, or change one of them",
                    folder.id
                );
                let place = self.place(&in_folder(index, "id"));
                self.problems.add(place, format!("{FOLDER}.id: {what}"));
            }
        }
    }

    /// Files of several folders may lie side by side: what they have in common there must not be said in two ways.
    pub(super) fn modes_agree(&mut self, folders: &[raw::Folder]) {
        for (index, folder) in folders.iter().enumerate() {
            let place = |folder: &raw::Folder| {
                folder.destination.as_ref().map(|text| bases::normal(&self.bases.read(text)))
            };
            let same = |other: &&raw::Folder| place(other).is_some() && place(other) == place(folder);
            let Some(first) = folders[..index].iter().find(same) else { continue };
            let mode = |text: &Option<String>, default| {
                text.as_deref().and_then(|text| values::mode(text, 0).ok()).unwrap_or(default)
            };
            let file = |folder: &raw::Folder| mode(&folder.file_mode, FILE_MODE);
            let directory = |folder: &raw::Folder| mode(&folder.dir_mode, DIR_MODE);
            let differ = [
                ("file_mode", file(first) != file(folder)),
                ("dir_mode", directory(first) != directory(folder)),
            ];
            for (name, _) in differ.into_iter().filter(|(_, differs)| *differs) {
                let place = self.place(&in_folder(index, name));
                let what = "differs from that of an earlier folder with the same destination; write the same one in both";
                self.problems.add(place, format!("{FOLDER}.{name}: {what}"));
            }
        }
    }
}

/// One `[[folder]]`.
struct Section<'c, 'a> {
    check: &'c mut Check<'a>,
    index: usize,
}

impl Section<'_, '_> {
    fn optional<T>(
        &mut self,
        name: &str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.check.value_at(&format!("{FOLDER}.{name}"), &in_folder(self.index, name), text, read)
    }

    fn needed<T>(
        &mut self,
        name: &str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let kept_as = in_folder(self.index, name);
        if text.is_none() && !self.check.places.contains_key(&kept_as) {
            let whole = format!("{FOLDER}[{}]", self.index);
            self.check.wrong(&format!("{FOLDER}.{name}"), &whole, "is missing");
        }
        self.optional(name, text, read)
    }

    fn each(
        &mut self,
        name: &str,
        items: &[String],
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Vec<String> {
        items.iter().filter_map(|item| self.optional(name, Some(item), &read)).collect()
    }

    fn patterns(&mut self, name: &str, patterns: &[String]) -> Option<NamePatterns> {
        match NamePatterns::new(patterns) {
            Ok(patterns) => Some(patterns),
            Err(what) => {
                self.wrong(name, &what);
                None
            }
        }
    }

    fn wrong(&mut self, name: &str, what: &str) {
        self.check.wrong(&format!("{FOLDER}.{name}"), &in_folder(self.index, name), what);
    }
}

fn local_directory(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("s3" | "gs" | "az", _)) => {
            Err("is an object store, which this version does not support".to_owned())
        }
        Some(_) => Err("is an address, not a directory".to_owned()),
        None if is_root(text) => {
            Err("is the root of the file system; files need a directory of their own".to_owned())
        }
        None => values::path(text),
    }
}

/// `/`, `//`, `/.`, `/srv/..`
fn is_root(text: &str) -> bool {
    let depth = text.split('/').fold(0_usize, |depth, part| match part {
        "" | "." => depth,
        ".." => depth.saturating_sub(1),
        _ => depth + 1,
    });
    text.starts_with('/') && depth == 0
}

fn mime_pattern(text: &str) -> Result<(), String> {
    let word = |word: &str| !word.is_empty() && !word.contains(['/', ' ']);
    match text.split_once('/') {
        Some((family, kind))
            if word(family)
                && word(kind)
                && !family.contains('*')
                && (kind == "*" || !kind.contains('*')) =>
        {
            Ok(())
        }
        _ => Err("is not a MIME type".to_owned()),
    }
}

fn extension(text: &str) -> Result<String, String> {
    let plain = text.trim_start_matches('.').to_lowercase();
    if plain.is_empty() || plain.contains(['.', '/', '*', ' ']) {
        Err("is not a file extension".to_owned())
    } else {
        Ok(plain)
    }
}

fn existing(text: &str) -> Result<Existing, String> {
    match text {
        "ignore" => Ok(Existing::Ignore),
        "download" => Ok(Existing::Download),
        _ => Err("is not known".to_owned()),
    }
}

fn on_update(text: &str) -> Result<OnUpdate, String> {
    match text {
        "replace" => Ok(OnUpdate::Replace),
        "keep-both" => Ok(OnUpdate::KeepBoth),
        "ignore" => Ok(OnUpdate::Ignore),
        _ => Err("is not known".to_owned()),
    }
}

fn template(text: &str) -> Result<Template, String> {
    if text.split('/').any(|part| matches!(part.trim(), "." | "..")) {
        return Err(
            "cannot be used: it has a part that is \".\" or \"..\"; files stay below folder.destination"
                .to_owned(),
        );
    }
    Template::parse(text).map_err(|what| format!("cannot be used: {what}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load_from;

    #[test]
    fn two_sections_may_take_different_files_of_one_folder() {
        let section = |more: &str| format!("[[folder]]\nid = \"1AbC\"\ndestination = \"videos\"\n{more}");
        let text = section("") + &section("include = [\"image/*\"]\npath = \"pictures/{name}\"\n");
        assert_eq!(load_from(&text, Path::new("a.toml"), Path::new("/here"), []).unwrap().folders.len(), 2);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        const FOLDER: &str = "[[folder]]\nid = \"1AbC\"\ndestination = \"videos\"\n";
        let load = |text: &str| load_from(text, Path::new("a.toml"), Path::new("/here"), []);
        for (text, expected) in [
            (
                "[[folder]]\nid = \"inbox\"\ndestination = \"d\"",
                "folder.id: \"inbox\" is the name of a folder rather than its id",
            ),
            (
                "[[folder]]\nid = \"1AbC\"\ndestination = \"./a/../videos/\"",
                "folder.id: 1AbC is watched already with the same destination",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"/srv/..\"",
                "folder.destination: \"/srv/..\" is the root of the file system",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\npath = \"../{name}\"",
                "folder.path: \"../{name}\" cannot be used: it has a part",
            ),
            (
                "[webhook]\npublic_url = \"https://localhost\"",
                "webhook.public_url: localhost is this machine itself: Google cannot reach it",
            ),
            (
                "[webhook]\npublic_url = \"https://[::1]:8443/x\"",
                "webhook.public_url: [::1]:8443 is this machine itself",
            ),
        ] {
            let told = load(&format!("{FOLDER}{text}\n")).unwrap_err().to_string();
            assert!(told.starts_with("a.toml:") && told.contains(expected), "{text}: {told}");
            assert_eq!(told.lines().count(), 1, "{text}: {told}");
        }
        let local =
            "[webhook]\npublic_url = \"https://localhost\"\n[google]\napi_url = \"http://127.0.0.1:1\"\n";
        assert!(load(&format!("{FOLDER}{local}")).is_ok(), "a Drive on this machine calls it");
    }
}
