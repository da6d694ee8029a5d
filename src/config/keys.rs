//! Every key there is, what kind of value it takes and what that looks like: the one list that files, variables,
//! messages and tests are held against.

/// A key of the configuration.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.name`; keys above the first section have no dot. `folder.…` stands in each `[[folder]]`.
    pub(super) path: &'static str,
    /// What it takes.
    pub(super) shape: Shape,
    /// What would be right, as the end of "write …".
    pub(super) want: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text in quotes.
    Text,
    /// Text in quotes, or a plain number of bytes.
    Size,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of texts.
    List,
}

/// The section that there may be several of.
pub(super) const FOLDER: &str = "folder";

const DURATION: &str = "a duration such as \"90s\", \"10m\", \"1h 30m\" or \"7d\"";
const SIZE: &str = "a size such as \"500MB\", \"1GiB\" or a plain number of bytes";
const ADDRESS: &str = "an IP address and a port such as \"127.0.0.1:8080\"";
const FLAG: &str = "true or false";

/// All of them, in the order in which they are shown.
pub(super) const KEYS: &[Key] = &[
    key("shutdown_grace", Shape::Text, DURATION),
    key("google.credentials", Shape::Text, "the path of a credentials file"),
    key("google.token", Shape::Text, "the path of a file"),
    key("google.impersonate", Shape::Text, "the address of a user such as \"user@example.com\""),
    key("google.api_url", Shape::Text, "an https address such as \"https://www.googleapis.com\""),
    key("webhook.listen", Shape::Text, ADDRESS),
    key("webhook.path", Shape::Text, "a path such as \"/webhook\""),
    key(
        "webhook.public_url",
        Shape::Text,
        "an https address such as \"https://videos.example.com\", or \"ngrok\"",
    ),
    key("webhook.ngrok_api", Shape::Text, "an address such as \"http://127.0.0.1:4040\""),
    key("webhook.site_verification", Shape::Text, "a file name such as \"google0123456789abcdef.html\""),
    key("channel.lifetime", Shape::Text, "a duration up to \"7d\""),
    key("channel.renew_before", Shape::Text, DURATION),
    key("sync.poll", Shape::Text, "a duration from \"1s\""),
    key("sync.reconcile", Shape::Text, "a duration from \"1m\""),
    key("folder.id", Shape::Text, "the folder's id, its address from the browser, or \"root\""),
    key("folder.destination", Shape::Text, "the path of a directory such as \"/srv/videos\""),
    key("folder.recursive", Shape::Flag, FLAG),
    key("folder.include", Shape::List, "a list of MIME types such as [\"video/*\"]"),
    key("folder.extensions", Shape::List, "a list of file extensions such as [\"mp4\", \"mkv\"]"),
    key("folder.name", Shape::List, "a list of name patterns such as [\"*\"]"),
    key("folder.exclude", Shape::List, "a list of name patterns such as [\"*draft*\"]"),
    key("folder.min_size", Shape::Size, SIZE),
    key("folder.max_size", Shape::Size, SIZE),
    key("folder.existing", Shape::Text, "\"ignore\" or \"download\""),
    key("folder.path", Shape::Text, "a path such as \"{folder}/{name}\""),
    key("folder.on_update", Shape::Text, "\"replace\", \"keep-both\" or \"ignore\""),
    key("folder.shortcuts", Shape::Flag, FLAG),
    key("folder.file_mode", Shape::Text, "a mode such as \"0640\""),
    key("folder.dir_mode", Shape::Text, "a mode such as \"0750\""),
    key("download.concurrency", Shape::Number, "a whole number from 1 to 64"),
    key("download.streams", Shape::Number, "a whole number from 1 to 16"),
    key("download.stall", Shape::Text, "a duration from \"1s\""),
    key("download.rate_limit", Shape::Size, "bytes per second such as \"5MB\", or \"0\" for no limit"),
    key("download.reserve", Shape::Size, SIZE),
    key("download.acknowledge_abuse", Shape::Flag, FLAG),
    key("state.dir", Shape::Text, "the path of a directory such as \"/var/lib/gdrive-webhook\""),
    key("state.url", Shape::Text, "\"sqlite:\" and the path of a file such as \"sqlite:state.db\""),
    key("admin.listen", Shape::Text, ADDRESS),
    key("admin.token_file", Shape::Text, "the path of a file"),
    key("log.level", Shape::Text, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\""),
    key("log.format", Shape::Text, "\"auto\", \"text\" or \"json\""),
];

const fn key(path: &'static str, shape: Shape, want: &'static str) -> Key {
    Key { path, shape, want }
}

impl Key {
    /// The section it stands in; empty above the first section.
    pub(super) fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    pub(super) fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// The key with this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether there is a section of this name.
pub(super) fn is_section(name: &str) -> bool {
    !name.is_empty() && KEYS.iter().any(|key| key.section() == name)
}

/// The end of a message about an unknown key: the nearest known one, or all of its section.
pub(super) fn hint(path: &str) -> String {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let of = |key: &Key| distance(path, key.path);
    let moved = |key: &&Key| key.name() == name && key.section() != FOLDER;
    let near = KEYS.iter().min_by_key(|key| of(key)).filter(|key| of(key) <= tolerance(name));
    if let Some(key) = near.or_else(|| KEYS.iter().find(moved)) {
        return format!("did you mean {}?", key.path);
    }
    let names: Vec<_> = KEYS.iter().filter(|key| key.section() == section).map(Key::name).collect();
    if section.is_empty() || names.is_empty() {
        format!("the sections are {}", sections().join(", "))
    } else {
        format!("{section} has {}", names.join(", "))
    }
}

/// The end of a message about an unknown section.
pub(super) fn section_hint(name: &str) -> String {
    let brackets = |name: &str| if name == FOLDER { format!("[[{name}]]") } else { format!("[{name}]") };
    match sections().into_iter().min_by_key(|known| distance(name, known)) {
        Some(known) if distance(name, known) <= tolerance(name) => {
            format!("did you mean {}?", brackets(known))
        }
        _ => format!("the sections are {}", sections().join(", ")),
    }
}

fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(Key::section).filter(|section| !section.is_empty()).collect();
    sections.dedup();
    sections
}

/// How many slips still count as the same word: one in a short one, three in a long one.
fn tolerance(word: &str) -> usize {
    (word.chars().count() / 3).clamp(1, 3)
}

/// Letters to insert, remove or change until one word is the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, b) in right.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_letters() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("poll", "pol", 1),
            ("kitten", "sitting", 3),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn the_nearest_key_is_named() {
        for (written, expected) in [
            ("download.concurency", "did you mean download.concurrency?"),
            ("folder.recursiv", "did you mean folder.recursive?"),
            ("webhook.poll", "did you mean sync.poll?"),
            ("shutdown_grase", "did you mean shutdown_grace?"),
            ("concurrency", "did you mean download.concurrency?"),
            ("sync.frobnicate", "sync has poll, reconcile"),
            ("zzz", "the sections are google, webhook, channel, sync, folder, download, state, admin, log"),
        ] {
            assert_eq!(hint(written), expected, "{written}");
        }
        assert_eq!(section_hint("downlod"), "did you mean [download]?");
        assert_eq!(section_hint("folders"), "did you mean [[folder]]?");
        assert!(section_hint("quux").starts_with("the sections are google"));
    }
}
