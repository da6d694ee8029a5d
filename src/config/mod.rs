//! The configuration: found, read, laid under the environment, and checked, with every mistake told at once. The only
//! room that knows files and variables; all others have a `Config` struct of their own.

mod bases;
mod dotenv;
mod file;
mod folders;
pub mod follow;
pub mod former;
mod keys;
mod mend;
mod overlay;
mod problem;
mod raw;
pub mod secrets;
mod show;
pub mod systemd;
pub mod there;
mod validate;
mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use bases::homeless;
pub use problem::{Lines, Problems};
pub use show::show;

use crate::owner::{Want, explain};
use crate::sync::rules;
use crate::telemetry::log;
use crate::{admin, auth, channel, delivery, download, drive, receiver, store, sync};
use bases::{Bases, directory_of};
use dotenv::Dotenv;
use overlay::{FILE_VARIABLE, Variable};
use problem::Place;

/// The configuration as it is meant.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file it was read from.
    pub source: PathBuf,
    /// Where the program keeps what it writes for itself: the database, the login.
    pub state_dir: PathBuf,
    /// Whether the file was named by `--config`: then no `.env` counts.
    pub is_named: bool,
    /// Why a `.env` file does not count, if there is one that does not.
    pub ignored: Option<String>,
    /// How long the end may take.
    pub shutdown_grace: Duration,
    /// Who we are to Google.
    pub google: auth::Config,
    /// Where Drive is.
    pub drive: drive::Config,
    /// The public door.
    pub receiver: receiver::Config,
    /// Push channels.
    pub channel: channel::Config,
    /// How often to look.
    pub sync: sync::Config,
    /// The watched folders.
    pub folders: Vec<rules::Folder>,
    /// One download.
    pub download: download::Config,
    /// All downloads together.
    pub delivery: delivery::Config,
    /// The ledger.
    pub store: store::Config,
    /// The private door.
    pub admin: admin::Config,
    /// The log.
    pub log: log::Config,
    /// Where each key stands.
    pub lines: Lines,
}

/// Where a configuration is looked for when none is named.
const PLACES: [&str; 2] = ["gdrive-webhook.toml", "/etc/gdrive-webhook/gdrive-webhook.toml"];

/// Finds and reads the configuration: the named file, else `$GDRIVE_WEBHOOK_CONFIG`, else the usual places; with the
/// environment and `.env` over it.
pub fn load(named: Option<&Path>) -> Result<Settings, Problems> {
    match load_leniently(named) {
        (settings, None) => Ok(settings),
        (_, Some(problems)) => Err(problems),
    }
}

/// Reads the file of these settings again, and what was laid over it.
pub fn load_again(settings: &Settings) -> Result<Settings, Problems> {
    let (settings, problems) = read(Some(&settings.source), settings.is_named);
    problems.map_or(Ok(settings), Err)
}

/// The same for those who only ask the running daemon: what is right counts, whatever is wrong with the rest, and the
/// defaults stand in for it. With problems nothing may be started by it.
pub fn load_leniently(named: Option<&Path>) -> (Settings, Option<Problems>) {
    read(named, named.is_some())
}

fn read(named: Option<&Path>, is_named: bool) -> (Settings, Option<Problems>) {
    let Dotenv { mut variables, mut problems, ignored } = dotenv::read(Path::new("."), is_named);
    let (process, unreadable) = process_variables(std::env::vars_os());
    variables.extend(process);
    problems.append(unreadable);
    let text =
        find(named, &variables).map_err(|problems| (PathBuf::from(PLACES[1]), problems)).and_then(|path| {
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(error) => {
                    let why = format!("cannot be read: {}", explain(&error, &path, Want::Read));
                    let problems = Problems::one(Place::File(path.clone()), why);
                    Err((path, problems))
                }
            }
        });
    let (mut settings, more) = match text {
        Ok((path, text)) => assemble(&text, &path, &directory_of(&path), variables),
        Err((path, unread)) => {
            let mut settings = assemble("", &path, &directory_of(&path), variables).0;
            hold_back_token(&mut settings, true);
            (settings, unread)
        }
    };
    hold_back_token(&mut settings, problems.concern("admin"));
    (settings.ignored, settings.is_named) = (ignored, is_named);
    problems.append(more);
    (settings, problems.some())
}

/// Reads a configuration from its text, and from the variables that are given; relative paths are relative to `here`.
pub fn load_from(
    text: &str,
    path: &Path,
    here: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Problems> {
    let variables = variables.into_iter().map(|(name, value)| Variable::of_process(name, value)).collect();
    let (settings, problems) = assemble(text, path, here, variables);
    problems.or(settings)
}

/// What is right, and what is not.
fn assemble(text: &str, path: &Path, here: &Path, variables: Vec<Variable>) -> (Settings, Problems) {
    let bases = Bases::of(here, &variables);
    let mut written = file::read(text, path);
    if !written.unreadable {
        let raw = overlay::lay(&mut written, variables, path);
        let (mut settings, problems) = validate::settings(&raw, written, path, &bases);
        hold_back_token(&mut settings, problems.concern("admin"));
        return (settings, problems);
    }
    // Nothing that is missed in the rest is a mistake: it may stand in the lines that cannot be read.
    let mut problems = std::mem::take(&mut written.problems);
    let mended = mend::mended(text);
    written = file::read(&mended.text, path);
    written.problems = Problems::default();
    let raw = overlay::lay(&mut written, variables, path);
    problems.append(std::mem::take(&mut written.problems));
    let (mut settings, more) = validate::settings(&raw, written, path, &bases);
    let is_doubtful = !mended.is_admin_whole || problems.concern("admin") || more.concern("admin.listen");
    hold_back_token(&mut settings, is_doubtful);
    (settings, problems)
}

/// A mistake may have changed where the daemon is looked for, and whoever answers there need not be the daemon.
fn hold_back_token(settings: &mut Settings, is_doubtful: bool) {
    if is_doubtful {
        settings.admin.token_file = None;
    }
}

/// Our own variables among those of the process. Others are nobody's business here, whatever is in them.
fn process_variables(all: impl Iterator<Item = (OsString, OsString)>) -> (Vec<Variable>, Problems) {
    let (mut ours, mut problems) = (Vec::new(), Problems::default());
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| overlay::is_ours(name) || bases::is_base(name)) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => ours.push(Variable::of_process(name.to_owned(), value)),
            Err(_) => problems.add(Place::Variable(name.to_owned()), "is not valid UTF-8; set it again"),
        }
    }
    (ours, problems)
}

fn find(named: Option<&Path>, variables: &[Variable]) -> Result<PathBuf, Problems> {
    let by_variable =
        variables.iter().rev().find(|variable| variable.name == FILE_VARIABLE && !variable.value.is_empty());
    if let Some(path) =
        named.map(Path::to_owned).or_else(|| by_variable.map(|variable| PathBuf::from(&variable.value)))
    {
        return Ok(path);
    }
    // One that cannot be looked for is there: reading it says why not.
    let found = PLACES.iter().map(Path::new).find(|path| path.try_exists().unwrap_or(true));
    let found = found.ok_or_else(|| {
        Problems::one(
            Place::Nowhere,
            format!(
                "no configuration: there is neither {}; write one (config/default.toml in the sources holds every key with \
                 its meaning), or name it with --config or {FILE_VARIABLE}",
                PLACES.join(" nor ")
            ),
        )
    })?;
    match dotenv::distrust_found(found) {
        Some(why) if found.is_relative() => {
            let what = format!(
                "{why}, so it is not read from the working directory; name it with --config if it is the right one"
            );
            Err(Problems::one(Place::File(found.to_owned()), what))
        }
        _ => Ok(found.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: &str = include_str!("../../config/default.toml");
    pub(super) const FOLDER: &str = "[[folder]]\nid = \"1AbC\"\ndestination = \"videos\"\n";

    pub(super) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load_from(text, Path::new("a.toml"), Path::new("/here"), variables)
            .map_err(|problems| problems.to_string())
    }

    pub(super) fn problems(text: &str) -> Vec<String> {
        load(&format!("{FOLDER}{text}"), &[]).unwrap_err().lines().map(str::to_owned).collect()
    }

    /// Everything but where it came from.
    fn essence(settings: &Settings) -> String {
        show(settings).split_once('\n').unwrap().1.to_owned()
    }

    /// The default file with every key in effect.
    fn every_key() -> String {
        let keys = |line: &str| {
            line.split_once(" = ").is_some_and(|(name, _)| keys::KEYS.iter().any(|k| k.name() == name))
        };
        let effective = |line: &'static str| {
            line.strip_prefix("# ").filter(|rest| keys(rest) || *rest == "[[folder]]").unwrap_or(line)
        };
        DEFAULT.lines().map(effective).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_default_file_says_what_the_code_does() {
        let bare = load(&DEFAULT.replace("# [[folder]]", FOLDER), &[]).unwrap();
        let minimal = load(FOLDER, &[]).unwrap();
        assert_eq!(essence(&bare), essence(&minimal));

        let uncommented: String = every_key()
            .lines()
            .filter(|line| !line.starts_with("max_size"))
            .map(|line| format!("{line}\n"))
            .collect();
        let folder = "[[folder]]\nid = \"1AbCdEfGhIjKlMnOpQrStUvWxYz\"\ndestination = \"/srv/videos\"\n";
        let full = load(&uncommented, &[]).unwrap();
        let same = load(folder, &[]).unwrap();
        let folders = |settings: &Settings| {
            essence(settings).split("[[folder]]").nth(1).unwrap().split("\n[").next().unwrap().to_owned()
        };
        assert_eq!(folders(&full), folders(&same));
        for key in keys::KEYS {
            let count = DEFAULT
                .lines()
                .filter(|line| line.trim_start_matches("# ").starts_with(&format!("{} = ", key.name())))
                .count();
            assert!(count >= 1, "{} is not in config/default.toml", key.path);
        }
    }

    #[test]
    fn what_is_shown_can_be_loaded_again() {
        let text = format!(
            "{FOLDER}name = [\"*.mp4\"]\nmax_size = \"2GiB\"\nonce = 1\n[webhook]\npublic_url = \"https://x.example/y/\"\n[sync]\npoll = \"90s\"\n"
        )
        .replace("once = 1\n", "on_update = \"keep-both\"\npath = \"{date}/{stem}-{id}.{ext}\"\n");
        let first = load(&text, &[("GDRIVE_WEBHOOK__DOWNLOAD__CONCURRENCY", "9")]).unwrap();
        assert_eq!(first.channel.address.fixed(), Some("https://x.example/y/webhook"));
        assert_eq!(first.delivery.concurrency, 9);
        let second = load(&show(&first), &[]).unwrap();
        assert_eq!(essence(&first), essence(&second));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        assert_eq!(
            problems("[download]\nconcurency = 3\nstall = \"soon\"\n"),
            [
                "a.toml:5: unknown key download.concurency; did you mean download.concurrency?",
                "a.toml:6: download.stall: \"soon\" is not a duration; write a duration from \"1s\"",
            ]
        );
    }

    #[test]
    fn each_value_has_its_rule() {
        for (text, expected) in [
            (
                "[google]\napi_url = \"http://example.com\"",
                "google.api_url: \"http://example.com\" is not encrypted",
            ),
            ("[google]\nimpersonate = \"bob\"", "google.impersonate: \"bob\" is not the address of a user"),
            ("[webhook]\npublic_url = \"grok\"", "webhook.public_url: \"grok\" is not an address"),
            ("[webhook]\nngrok_api = \"4040\"", "webhook.ngrok_api: \"4040\" is not an address"),
            ("[webhook]\nngrok_api = \"http://ngrok:4040/api\"", "is not a host and a port alone"),
            (
                "[webhook]\npath = \"/google1.html\"\nsite_verification = \"google1.html\"",
                "webhook.path: \"/google1.html\" is the path",
            ),
            (
                "[webhook]\nlisten = \"0.0.0.0:8081\"",
                "admin.listen: 127.0.0.1:8081 is taken by webhook.listen",
            ),
            ("[google]\ntoken = \"~/token.json\"", "google.token: \"~/token.json\" begins with ~"),
            ("[state]\nurl = \"sqlite::memory:\"", "state.url: \"sqlite::memory:\" is a database in memory"),
            (
                "[state]\nurl = \"sqlite://:memory:\"",
                "state.url: \"sqlite://:memory:\" is a database in memory",
            ),
            ("[state]\nurl = \"sqlite://~/s.db\"", "state.url: \"sqlite://~/s.db\" begins with ~"),
            ("[state]\nurl = \"sqlite:a\\tb\"", "state.url: \"sqlite:a\\tb\" contains ?"),
            ("[[folder]]\nid = \"1x\"\ndestination = \"~/v\"", "folder.destination: \"~/v\" begins with ~"),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\nname = []",
                "folder.name: with an empty list no file would be downloaded",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\ninclude = []\nextensions = []",
                "folder.include: is empty, and folder.extensions as well",
            ),
            ("[webhook]\npath = \"hook\"", "webhook.path: \"hook\" does not begin with /"),
            ("[webhook]\nlisten = \"8080\"", "webhook.listen: \"8080\" is not an address to listen on"),
            ("[channel]\nlifetime = \"30d\"", "channel.lifetime: \"30d\" is longer than Drive grants"),
            ("[sync]\npoll = \"0s\"", "sync.poll: \"0s\" is zero"),
            ("[download]\nconcurrency = 0", "download.concurrency: 0 is out of range"),
            (
                "[state]\nurl = \"postgres://x\"",
                "state.url: \"postgres://x\" is not supported by this version",
            ),
            ("[admin]\nlisten = \"0.0.0.0:8081\"", "set admin.token_file, or use a loopback address"),
            (
                "[admin]\nlisten = \"127.0.0.1:8080\"",
                "admin.listen: 127.0.0.1:8080 is taken by webhook.listen",
            ),
            ("[log]\nlevel = \"loud\"", "log.level: \"loud\" is not a log level"),
            ("[log]\nformat = \"xml\"", "log.format: \"xml\" is not a log format"),
            ("[[folder]]\nid = \"x y\"\ndestination = \"d\"", "folder.id: \"x y\" is not the id of a folder"),
            ("[[folder]]\nid = \"1x\"", "folder.destination: is missing"),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"s3://b\"",
                "folder.destination: \"s3://b\" is an object store",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\nmin_size = \"2B\"\nmax_size = 1",
                "folder.max_size: is smaller",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\nexclude = [\"[a\"]",
                "folder.exclude: `[a` is not a name pattern",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\ninclude = [\"video\"]",
                "folder.include: \"video\" is not a MIME type",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\npath = \"{nmae}\"",
                "folder.path: \"{nmae}\" cannot be used: unknown placeholder",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\nexisting = \"yes\"",
                "folder.existing: \"yes\" is not known",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"d\"\nfile_mode = \"0666\"",
                "folder.file_mode: \"0666\" lets every user",
            ),
            (
                "[[folder]]\nid = \"1x\"\ndestination = \"./a/../videos/\"\ndir_mode = \"0755\"",
                "folder.dir_mode: differs from that of an earlier folder",
            ),
            ("[download]\nstreams = 17", "download.streams: 17 is out of range"),
        ] {
            let told = problems(text);
            assert_eq!(told.len(), 1, "{text}: {told:?}");
            assert!(told[0].contains(expected) && told[0].starts_with("a.toml:"), "{text}: {}", told[0]);
        }
        assert!(load("", &[]).unwrap_err().contains("no folder to watch"));
        let both = load("[[folder]\n", &[("GDRIVE_WEBHOOK__SYNC__POL", "1s")]).unwrap_err();
        assert!(both.contains("a.toml:1:") && both.contains("did you mean sync.poll?"), "{both}");
    }

    #[test]
    fn variables_are_stronger_than_the_file_and_checked_like_it() {
        let text = format!("{FOLDER}[google]\ntoken = \"a\"\n[download]\nconcurrency = 2\n");
        let settings = load(
            &text,
            &[
                ("GDRIVE_WEBHOOK__GOOGLE__TOKEN", "0123"),
                ("GDRIVE_WEBHOOK__DOWNLOAD__CONCURRENCY", "7"),
                ("GDRIVE_WEBHOOK__WEBHOOK__PUBLIC_URL", ""),
                ("OTHER", "x"),
            ],
        )
        .unwrap();
        assert_eq!(settings.google.token, Path::new("/here/0123"), "text stays text");
        assert_eq!(
            (settings.delivery.concurrency, settings.channel.address),
            (7, crate::model::channel::Address::Nowhere)
        );
        for (name, value, expected) in [
            (
                "GDRIVE_WEBHOOK__DOWNLOAD__CONCURENCY",
                "4",
                "unknown key download.concurency; did you mean download.concurrency?",
            ),
            (
                "GDRIVE_WEBHOOK__DOWNLOAD__CONCURRENCY",
                "many",
                "download.concurrency: \"many\" is not a number",
            ),
            ("GDRIVE_WEBHOOK__SYNC__POLL", "never", "sync.poll: \"never\" is not a duration"),
            ("GDRIVE_WEBHOOK__FOLDER__ID", "x", "folders cannot be set in the environment"),
        ] {
            let told = load(&text, &[(name, value)]).unwrap_err();
            assert!(
                told.starts_with(&format!("environment variable {name}: ")) && told.contains(expected),
                "{told}"
            );
        }
    }

    #[test]
    fn variables_that_are_no_text_matter_only_if_they_are_ours() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![0xff]);
        let all = [
            ("BAD".into(), bad()),
            (bad(), "x".into()),
            ("GDRIVE_WEBHOOK__SYNC__POLL".into(), "9s".into()),
            ("GDRIVE_WEBHOOK__LOG__LEVEL".into(), bad()),
        ];
        let (ours, problems) = process_variables(all.into_iter());
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].value, "9s");
        assert!(
            problems.to_string().contains("GDRIVE_WEBHOOK__LOG__LEVEL: is not valid UTF-8"),
            "{problems}"
        );
    }

    #[test]
    fn secrets_in_addresses_are_not_repeated() {
        for text in [
            "[webhook]\npublic_url = \"https://u:s3cret@x.example\"",
            "[state]\nurl = \"postgres://u:s3cret@h/d\"",
        ] {
            let told = problems(text).join("\n");
            assert!(!told.contains("s3cret") && told.contains("a.toml:"), "{told}");
        }
        assert!(load("folder = []\n", &[]).unwrap_err().contains("no folder to watch"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(?s).{0,200}") {
            let _ = load(&text, &[]);
        }

        #[test]
        fn any_slip_in_a_right_file_is_answered(
            at in any::<prop::sample::Index>(),
            gone in 0_usize..3,
            slip in "[\\[\\]{}\"'=#.,:/a-z0-9\n ]{0,3}",
        ) {
            let lines = every_key();
            let mut text: String =
                lines.lines().filter(|line| !line.starts_with("# ")).map(|line| format!("{line}\n")).collect();
            let at = at.index(text.len());
            text.replace_range(at..(at + gone).min(text.len()), &slip);
            if let Ok(settings) = load(&text, &[]) {
                let again = load(&show(&settings), &[]);
                prop_assert_eq!(again.map(|again| essence(&again)), Ok(essence(&settings)));
            }
        }
    }
}
