//! What is wanted from which folder, and where it goes. Rules are values: they are asked about one file at a time and
//! remember nothing.

use std::fmt;
use std::path::PathBuf;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::delivery::OnUpdate;
use crate::model::file::GOOGLE_VIDS;
use crate::model::path::{Facts, Template};
use crate::model::{File, FileId, Kind, RelativePath};

/// `[[folder]]` of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    /// The watched folder. `root` is My Drive's own root.
    pub id: FileId,
    /// The key that came with the folder's address, for older link-shared folders.
    pub resource_key: Option<String>,
    /// The directory that its files go to.
    pub destination: PathBuf,
    /// Whether folders below it count.
    pub recursive: bool,
    /// MIME types that are wanted: `video/mp4`, `video/*`.
    pub include: Vec<String>,
    /// Name endings that make a video of a file whose type does not say so; lower case, without the dot.
    pub extensions: Vec<String>,
    /// Names that are wanted.
    pub name: NamePatterns,
    /// Names that are not; stronger than `name`.
    pub exclude: NamePatterns,
    /// Bytes.
    pub min_size: u64,
    /// Bytes.
    pub max_size: Option<u64>,
    /// What happens to files that were there before the first run.
    pub existing: Existing,
    /// Where a file goes below the destination.
    pub path: Template,
    /// What happens to a delivered file when its content changes in Drive.
    pub on_update: OnUpdate,
    /// Whether what shortcuts point at counts.
    pub shortcuts: bool,
    /// The mode of delivered files.
    pub file_mode: u32,
    /// The mode of the directories that are made for them.
    pub dir_mode: u32,
}

/// What happens to files that were there before the first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// They stay where they are.
    Ignore,
    /// They are delivered like new ones.
    Download,
}

impl Existing {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Download => "download",
        }
    }
}

/// Globs over file names, compared without regard to case.
#[derive(Clone)]
pub struct NamePatterns {
    patterns: Vec<String>,
    set: GlobSet,
}

/// The globs are made of the patterns, and of nothing else.
impl PartialEq for NamePatterns {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl fmt::Debug for NamePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}

impl NamePatterns {
    /// Reads the globs; an error says which one is wrong and how.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = GlobBuilder::new(pattern.as_ref())
                .case_insensitive(true)
                .build()
                .map_err(|error| format!("`{}` is not a name pattern: {}", pattern.as_ref(), error.kind()))?;
            set.add(glob);
        }
        let patterns = patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect();
        set.build().map(|set| Self { patterns, set }).map_err(|error| error.to_string())
    }

    /// As they were written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    fn matches(&self, name: &str) -> bool {
        self.set.is_match(name)
    }
}

/// Where an item lies below one watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// The watched folder.
    pub watched: FileId,
    /// The names of the folders between it and the item, outermost first.
    pub path: Vec<String>,
}

/// Why a file in a watched folder is not wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Neither its type nor its ending is a video's.
    NotWanted(String),
    /// Google's own format, without bytes.
    NoBytes(String),
    /// A shortcut.
    Shortcut,
    /// No `name` matches, or an `exclude` does.
    Name,
    /// Smaller than `min_size`.
    TooSmall,
    /// Larger than `max_size`.
    TooLarge,
    /// In a folder below one that is not recursive.
    TooDeep,
    /// In a folder that was watched until a moment ago.
    NotConfigured,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWanted(mime) => write!(f, "{mime} {NO_VIDEO}"),
            Self::NoBytes(mime) if mime == GOOGLE_VIDS => {
                f.write_str("a Google Vids project has no file to download; export it as MP4 in Google Vids")
            }
            Self::NoBytes(mime) => write!(f, "{mime} {GOOGLE_FORMAT}"),
            Self::Shortcut => f.write_str("it is a shortcut, and `shortcuts` is false"),
            Self::Name => f.write_str("its name is left out by `name` or `exclude`"),
            Self::TooSmall => f.write_str("it is smaller than `min_size`"),
            Self::TooLarge => f.write_str("it is larger than `max_size`"),
            Self::TooDeep => {
                f.write_str("it lies in a folder below, and the watched folder is not recursive")
            }
            Self::NotConfigured => f.write_str("its folder is not in the configuration any more"),
        }
    }
}

/// The class of a reason that `Skip` has written: the same for all types of files.
pub(super) fn class_of(reason: &str) -> &str {
    if reason.contains(NO_VIDEO) {
        "it is no video by its type or the ending of its name"
    } else if reason.contains(GOOGLE_FORMAT) {
        "it is a Google format without a file to download"
    } else {
        reason
    }
}

const NO_VIDEO: &str = "is no video type, and the name has no video ending";
const GOOGLE_FORMAT: &str = "is a Google format without a file to download";

/// Where a wanted file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The watched folder whose rule it is.
    pub watched: FileId,
    /// The directory.
    pub destination: PathBuf,
    /// The path below it.
    pub wanted: RelativePath,
    /// What happens to an earlier content.
    pub on_update: OnUpdate,
    /// What happens to files that were there before the first run.
    pub existing: Existing,
}

/// All watched folders.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    folders: Vec<Folder>,
}

impl Rules {
    /// Rules in the order of the configuration.
    pub fn new(folders: Vec<Folder>) -> Self {
        Self { folders }
    }

    /// The watched folders.
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// Whether one of these places is in the configuration. Suspended folders are places, too.
    pub fn names_any(&self, places: &[Below]) -> bool {
        places.iter().any(|below| self.names(&below.watched))
    }

    /// Whether the configuration names this folder.
    pub fn names(&self, folder: &FileId) -> bool {
        self.folders.iter().any(|rule| rule.id == *folder)
    }

    /// Whether folders below this watched folder are of interest.
    pub fn is_recursive(&self, watched: &FileId) -> bool {
        self.folders.iter().any(|folder| folder.id == *watched && folder.recursive)
    }

    /// Whether shortcuts that lie at these places are followed.
    pub fn follow(&self, places: &[Below]) -> bool {
        let of = |below: &Below| self.folders.iter().any(|f| f.id == below.watched && f.shortcuts);
        places.iter().any(of)
    }

    /// Where the file goes. The innermost watched folder that wants it has it; of several rules for one folder the
    /// first. If none wants it, the innermost one's reason counts.
    pub fn route(&self, file: &File, places: &[Below]) -> Result<Route, Skip> {
        let mut reason = None;
        for below in places {
            for folder in self.folders.iter().filter(|folder| folder.id == below.watched) {
                match folder.wants(file, below) {
                    Ok(()) => return Ok(folder.route(file, below)),
                    Err(skip) => reason = reason.or(Some(skip)),
                }
            }
        }
        Err(reason.unwrap_or(Skip::NotConfigured))
    }
}

impl Folder {
    /// Whether Drive knows the folder under another id than the configuration.
    pub fn is_alias(&self) -> bool {
        self.id.as_str() == "root"
    }

    /// Which files are wanted, as text that changes whenever the settings do.
    pub fn filters(&self) -> String {
        let Self { include, extensions, name, exclude, min_size, max_size, existing, .. } = self;
        let existing = match existing {
            Existing::Ignore => "",
            Existing::Download => " and what was there before",
        };
        format!("{include:?} {extensions:?} {name:?} {exclude:?} {min_size} {max_size:?}{existing}")
    }

    fn wants(&self, file: &File, below: &Below) -> Result<(), Skip> {
        if !self.recursive && !below.path.is_empty() {
            return Err(Skip::TooDeep);
        }
        match file.kind() {
            Kind::Shortcut => return Err(Skip::Shortcut),
            Kind::GoogleNative | Kind::Folder => return Err(Skip::NoBytes(file.mime_type.clone())),
            Kind::Binary => {}
        }
        if !self.includes(file) {
            return Err(Skip::NotWanted(file.mime_type.clone()));
        }
        if !self.name.matches(&file.name) || self.exclude.matches(&file.name) {
            return Err(Skip::Name);
        }
        match file.size {
            Some(size) if size < self.min_size => Err(Skip::TooSmall),
            Some(size) if self.max_size.is_some_and(|most| size > most) => Err(Skip::TooLarge),
            Some(_) | None => Ok(()),
        }
    }

    /// By type or by ending: Drive keeps whatever type the uploader sent, and `.mkv` often comes as
    /// `application/octet-stream`, `.ts` as a translation file.
    fn includes(&self, file: &File) -> bool {
        let mime = file.mime_type.as_str();
        let by_type = self.include.iter().any(|pattern| match pattern.strip_suffix("/*") {
            Some(family) => mime.split_once('/').is_some_and(|(left, _)| left.eq_ignore_ascii_case(family)),
            None => pattern == "*" || pattern.eq_ignore_ascii_case(mime),
        });
        let ending = file.name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
        by_type || ending.is_some_and(|ending| self.extensions.contains(&ending))
    }

    fn route(&self, file: &File, below: &Below) -> Route {
        let wanted = self.path.render(&Facts {
            folder: &below.path,
            name: &file.name,
            id: file.id.as_str(),
            created: file.created,
            owner: file.owner.as_deref(),
        });
        Route {
            watched: self.id.clone(),
            destination: self.destination.clone(),
            wanted,
            on_update: self.on_update,
            existing: self.existing,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Checksums;

    pub(in crate::sync) fn file(name: &str, mime_type: &str) -> File {
        File {
            id: FileId::new("f1"),
            name: name.into(),
            parent: Some(FileId::new("watched")),
            size: Some(10),
            checksums: Checksums { md5: Some("00".into()), ..Checksums::default() },
            revision: Some(crate::model::RevisionId::new("r1")),
            can_download: Some(true),
            ..crate::model::file::tests::file(mime_type)
        }
    }

    pub(in crate::sync) fn folder(id: &str) -> Folder {
        Folder {
            id: FileId::new(id),
            resource_key: None,
            destination: PathBuf::from("/videos"),
            recursive: true,
            include: vec!["video/*".into()],
            extensions: vec!["mkv".into(), "ts".into()],
            name: NamePatterns::new(&["*"]).unwrap(),
            exclude: NamePatterns::new(&["*draft*"]).unwrap(),
            min_size: 1,
            max_size: Some(1000),
            existing: Existing::Ignore,
            path: Template::parse("{folder}/{name}").unwrap(),
            on_update: OnUpdate::Replace,
            shortcuts: true,
            file_mode: 0o640,
            dir_mode: 0o750,
        }
    }

    fn below(watched: &str, path: &[&str]) -> Below {
        Below { watched: FileId::new(watched), path: path.iter().map(|&s| s.into()).collect() }
    }

    #[test]
    fn a_video_is_known_by_type_or_ending() {
        let rules = Rules::new(vec![folder("watched")]);
        let route = |file: &File| rules.route(file, &[below("watched", &[])]);
        for (name, mime) in [
            ("a.mp4", "video/mp4"),
            ("a", "video/quicktime"),
            ("A.MKV", "application/octet-stream"),
            ("a.ts", "text/vnd.qt.linguist"),
        ] {
            assert!(route(&file(name, mime)).is_ok(), "{name} {mime}");
        }
        for (name, mime) in [
            ("a.txt", "text/plain"),
            ("a", "application/octet-stream"),
            ("a.mkv", "application/vnd.google-apps.vid"),
            ("a.mkv", "application/vnd.google-apps.shortcut"),
            ("my Draft.mp4", "video/mp4"),
        ] {
            assert!(route(&file(name, mime)).is_err(), "{name} {mime}");
        }
    }

    #[test]
    fn sizes_have_bounds() {
        let rules = Rules::new(vec![folder("watched")]);
        let of =
            |size| rules.route(&File { size, ..file("a.mp4", "video/mp4") }, &[below("watched", &[])]).err();
        assert_eq!(of(Some(0)), Some(Skip::TooSmall));
        assert_eq!(of(Some(1001)), Some(Skip::TooLarge));
        assert_eq!(of(None), None, "a size that is not known yet excludes nothing");
    }

    #[test]
    fn the_innermost_folder_that_wants_a_file_has_it() {
        let inner =
            Folder { destination: "/inner".into(), include: vec!["video/mp4".into()], ..folder("inner") };
        let rules = Rules::new(vec![folder("outer"), inner]);
        let places = [below("inner", &["x"]), below("outer", &["inner", "x"])];
        let mp4 = rules.route(&file("a.mp4", "video/mp4"), &places).unwrap();
        assert_eq!((mp4.destination, mp4.wanted.to_string()), ("/inner".into(), "x/a.mp4".into()));
        let mov = rules.route(&file("a.mov", "video/quicktime"), &places).unwrap();
        assert_eq!((mov.destination, mov.wanted.to_string()), ("/videos".into(), "inner/x/a.mov".into()));
    }

    #[test]
    fn a_folder_that_is_not_recursive_has_its_own_files_only() {
        let rules = Rules::new(vec![Folder { recursive: false, ..folder("watched") }]);
        let video = file("a.mp4", "video/mp4");
        assert!(rules.route(&video, &[below("watched", &[])]).is_ok());
        assert_eq!(rules.route(&video, &[below("watched", &["sub"])]), Err(Skip::TooDeep));
    }

    #[test]
    fn a_folder_without_a_rule_is_not_in_the_configuration() {
        let rules = Rules::new(vec![folder("outer")]);
        let video = file("a.mp4", "video/mp4");
        assert_eq!(rules.route(&video, &[below("former", &["sub"])]), Err(Skip::NotConfigured));
        let nested = [below("former", &[]), below("outer", &["former"])];
        assert_eq!(rules.route(&video, &nested).unwrap().watched, FileId::new("outer"));
    }

    #[test]
    fn reasons_are_counted_by_their_class() {
        let [text, image] = ["text/plain", "image/png"].map(|mime| Skip::NotWanted(mime.into()).to_string());
        assert!(text != image && class_of(&text) == class_of(&image) && class_of(&text) != text);
        let document = Skip::NoBytes("application/vnd.google-apps.document".into()).to_string();
        assert_eq!(class_of(&document), "it is a Google format without a file to download");
        assert_eq!(class_of(&Skip::Name.to_string()), Skip::Name.to_string());
    }

    #[test]
    fn a_wrong_glob_is_named() {
        assert!(NamePatterns::new(&["*.mp4", "[a"]).unwrap_err().contains("`[a`"));
    }
}
