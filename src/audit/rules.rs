//! Whether a rule of the configuration wants a file: the audit's own reading of `[[folder]]`.

use std::path::PathBuf;

use globset::{GlobBuilder, GlobMatcher};

use super::report::LeftOut;
use crate::model::{File, FileId, Kind};

/// One `[[folder]]` of the configuration, as far as it says what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The watched folder; `root` is My Drive's own root.
    pub id: FileId,
    /// The key that came with the folder's address.
    pub resource_key: Option<String>,
    /// Where its files go.
    pub destination: PathBuf,
    /// Folders below it count.
    pub recursive: bool,
    /// What shortcuts point at counts.
    pub shortcuts: bool,
    /// What was there before the first run stays in Drive.
    pub ignores_existing: bool,
    /// MIME types.
    pub include: Vec<String>,
    /// Name endings in lower case, without the dot.
    pub extensions: Vec<String>,
    /// Globs of wanted names.
    pub name: Vec<String>,
    /// Globs of unwanted names.
    pub exclude: Vec<String>,
    /// Bytes.
    pub min_size: u64,
    /// Bytes.
    pub max_size: Option<u64>,
}

/// Where a file lies in a watched folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Directly in it.
    Direct,
    /// In a folder below it.
    Below,
}

/// A rule with its globs compiled.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) rule: Rule,
    name: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

impl Compiled {
    /// The error names the glob that is wrong; the configuration has none.
    pub(super) fn new(rule: &Rule) -> Result<Self, String> {
        Ok(Self { name: compile(&rule.name)?, exclude: compile(&rule.exclude)?, rule: rule.clone() })
    }

    /// Whether the file is wanted; why not.
    pub(super) fn wants(&self, file: &File, depth: Depth) -> Result<(), LeftOut> {
        let rule = &self.rule;
        let matches = |globs: &[GlobMatcher]| globs.iter().any(|glob| glob.is_match(&file.name));
        if depth == Depth::Below && !rule.recursive {
            return Err(LeftOut::TooDeep);
        }
        match file.kind() {
            Kind::Shortcut => return Err(LeftOut::Shortcut),
            Kind::GoogleNative | Kind::Folder => return Err(LeftOut::GoogleFormat),
            Kind::Binary => {}
        }
        if !is_video(rule, file) {
            return Err(LeftOut::Type);
        }
        if !matches(&self.name) || matches(&self.exclude) {
            return Err(LeftOut::Name);
        }
        let Some(size) = file.size else { return Ok(()) };
        if size < rule.min_size {
            return Err(LeftOut::TooSmall);
        }
        if rule.max_size.is_some_and(|most| most < size) { Err(LeftOut::TooLarge) } else { Ok(()) }
    }
}

fn compile(patterns: &[String]) -> Result<Vec<GlobMatcher>, String> {
    let glob = |pattern: &String| {
        let built = GlobBuilder::new(pattern).case_insensitive(true).build();
        built.map(|glob| glob.compile_matcher()).map_err(|error| error.to_string())
    };
    patterns.iter().map(glob).collect()
}

/// By its type, or by the ending of its name.
fn is_video(rule: &Rule, file: &File) -> bool {
    let mime = file.mime_type.to_lowercase();
    let is_of = |pattern: &String| {
        let pattern = pattern.to_lowercase();
        match pattern.strip_suffix('*') {
            Some("") => true,
            Some(family) if family.ends_with('/') => mime.starts_with(family),
            _ => pattern == mime,
        }
    };
    let name = file.name.to_lowercase();
    let ends_with =
        |ending: &String| name.strip_suffix(ending.as_str()).is_some_and(|rest| rest.ends_with('.'));
    rule.include.iter().any(is_of) || rule.extensions.iter().any(ends_with)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::file::tests::file;

    pub(in crate::audit) fn rule(id: &str) -> Rule {
        Rule {
            id: FileId::new(id),
            resource_key: None,
            destination: "/videos".into(),
            recursive: true,
            shortcuts: true,
            ignores_existing: true,
            include: vec!["video/*".into()],
            extensions: vec!["mkv".into(), "ts".into()],
            name: vec!["*".into()],
            exclude: vec!["*draft*".into()],
            min_size: 1,
            max_size: Some(1000),
        }
    }

    fn asked(rule: &Rule, name: &str, mime_type: &str, size: Option<u64>) -> Result<(), LeftOut> {
        let file = File { name: name.to_owned(), size, ..file(mime_type) };
        Compiled::new(rule).unwrap().wants(&file, Depth::Direct)
    }

    #[test]
    fn a_rule_wants_what_the_configuration_says() {
        let rule = rule("w");
        for (name, mime_type, said) in [
            ("a.mp4", "video/mp4", Ok(())),
            ("a", "VIDEO/quicktime", Ok(())),
            ("A.MKV", "application/octet-stream", Ok(())),
            ("a.b.ts", "text/vnd.qt.linguist", Ok(())),
            ("ts", "text/plain", Err(LeftOut::Type)),
            ("a.txt", "text/plain", Err(LeftOut::Type)),
            ("a", "videos/mp4", Err(LeftOut::Type)),
            ("my Draft.mp4", "video/mp4", Err(LeftOut::Name)),
            ("a.mkv", "application/vnd.google-apps.vid", Err(LeftOut::GoogleFormat)),
            ("a.mkv", "application/vnd.google-apps.shortcut", Err(LeftOut::Shortcut)),
        ] {
            assert_eq!(asked(&rule, name, mime_type, Some(10)), said, "{name} {mime_type}");
        }
        let of = |size| asked(&rule, "a.mp4", "video/mp4", size);
        assert_eq!(
            [Some(0), Some(1), Some(1000), None].map(of),
            [Err(LeftOut::TooSmall), Ok(()), Ok(()), Ok(())]
        );
        assert_eq!(of(Some(1001)), Err(LeftOut::TooLarge));
        let all = Rule { include: vec!["*".into()], ..rule.clone() };
        assert_eq!(asked(&all, "a.txt", "text/plain", Some(1)), Ok(()));
        let one = Rule { include: vec!["video/mp4".into()], ..rule };
        assert_eq!(asked(&one, "a", "video/quicktime", Some(1)), Err(LeftOut::Type));
    }

    #[test]
    fn what_lies_deeper_is_wanted_by_recursive_rules_only() {
        let flat = Compiled::new(&Rule { recursive: false, ..rule("w") }).unwrap();
        let video = file("video/mp4");
        assert_eq!(flat.wants(&video, Depth::Direct), Ok(()));
        assert_eq!(flat.wants(&video, Depth::Below), Err(LeftOut::TooDeep));
        assert_eq!(Compiled::new(&rule("w")).unwrap().wants(&video, Depth::Below), Ok(()));
        let wrong = Rule { name: vec!["[a".into()], ..rule("w") };
        assert!(Compiled::new(&wrong).is_err());
    }
}
