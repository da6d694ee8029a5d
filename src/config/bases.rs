//! Where relative paths begin. What is read begins at the directory of the file, what is written in the state directory;
//! the directory that a command is started in does not matter.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::overlay::Variable;
use super::problem::Place;
use crate::owner::SYSTEM_STATE;

/// systemd names the directories of `StateDirectory=` here, with a colon between several.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
/// systemd names the directory of `LoadCredential=` here.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Where a system's configuration is; nothing is written there.
const CONFIGURATIONS: &str = "/etc";

/// Where relative paths begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bases {
    /// The directory of the file.
    pub(super) file: PathBuf,
    /// The state directory, unless the file names another one.
    pub(super) state: PathBuf,
    /// What systemd has loaded: the directory, and the names in it.
    loaded: Option<(PathBuf, Vec<OsString>)>,
}

impl Bases {
    /// For a file in this directory.
    pub(super) fn of(directory: &Path, variables: &[Variable]) -> Self {
        let value = |name: &str| {
            // Only the process's own: systemd sets them, nobody else has to.
            let is_set = |variable: &&Variable| {
                matches!(variable.place, Place::Variable(_))
                    && variable.name == name
                    && !variable.value.is_empty()
            };
            variables.iter().rev().find(is_set).map(|variable| variable.value.as_str())
        };
        // A relative one would depend on where a command is started, and is none of systemd's.
        let by_systemd =
            value(STATE_DIRECTORY).and_then(|list| list.split(':').find(|path| path.starts_with('/')));
        let state = match by_systemd {
            Some(path) => PathBuf::from(path),
            None if directory.starts_with(CONFIGURATIONS) => PathBuf::from(SYSTEM_STATE),
            None => directory.to_owned(),
        };
        let loaded = value(CREDENTIALS_DIRECTORY).map(PathBuf::from).map(|directory| {
            let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name()).collect();
            (directory, names)
        });
        Self { file: directory.to_owned(), state, loaded }
    }

    /// The path of something that is read.
    pub(super) fn read(&self, text: &str) -> PathBuf {
        self.file.join(text)
    }

    /// The path of a secret that is read: one that systemd has loaded under this name comes first.
    pub(super) fn secret(&self, text: &str) -> PathBuf {
        let path = Path::new(text);
        match (&self.loaded, path.file_name()) {
            (Some((directory, names)), Some(name))
                if path.is_relative() && names.iter().any(|n| n == name) =>
            {
                directory.join(name)
            }
            _ => self.read(text),
        }
    }
}

/// Where relative paths in a file begin: the directory of the file itself, whichever way leads to it. Another way must not
/// lead to another state directory, where everything would be delivered once more.
pub(super) fn directory_of(file: &Path) -> PathBuf {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let directory = |path: &Path| path.parent().map_or(path.to_owned(), Path::to_owned);
    // What is not there, or cannot be seen, has the directory that it would be in.
    let found = whole.canonicalize().map(|target| directory(&target));
    found.or_else(|_| directory(&whole).canonicalize()).unwrap_or_else(|_| directory(&whole))
}

/// A path without `.` and `..`, and without links as far as it is there: two spellings of one place are one.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
        if let Ok(target) = normal.canonicalize() {
            normal = target;
        }
    }
    normal
}

/// Why nothing can be kept there: a configuration that comes through a pipe lies in no directory.
pub fn homeless(state_dir: &Path, source: &Path) -> Option<String> {
    let is_below = |place| state_dir.starts_with(place);
    (["/dev", "/proc"].into_iter().any(is_below) && !is_below("/dev/shm")).then(|| {
        let (file, place) = (source.display(), state_dir.display());
        format!(
            "{file} is not in a directory in which files can be stored (state.dir would be {place}); set state.dir, or name a \
             regular file"
        )
    })
}

/// Whether a variable of the process says where things lie.
pub(super) fn is_base(name: &str) -> bool {
    [STATE_DIRECTORY, CREDENTIALS_DIRECTORY].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, value: &str) -> Variable {
        Variable::of_process(name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_is_written_lies_in_the_state_directory() {
        for (directory, variables, state) in [
            ("/home/me", vec![], "/home/me"),
            ("/etc/gdrive-webhook", vec![], "/var/lib/gdrive-webhook"),
            ("/etcetera", vec![], "/etcetera"),
            ("/etc/gdrive-webhook", vec![variable(STATE_DIRECTORY, "/var/lib/a:/var/lib/b")], "/var/lib/a"),
            ("/home/me", vec![variable(STATE_DIRECTORY, "")], "/home/me"),
            ("/home/me", vec![variable(STATE_DIRECTORY, "state:/var/lib/a")], "/var/lib/a"),
            ("/home/me", vec![variable(STATE_DIRECTORY, "./state")], "/home/me"),
        ] {
            assert_eq!(Bases::of(Path::new(directory), &variables).state, Path::new(state), "{directory}");
        }
        let file = Place::DotEnv { file: ".env".into(), line: 1 };
        let elsewhere = Variable { place: file, ..variable(STATE_DIRECTORY, "/tmp") };
        assert_eq!(Bases::of(Path::new("/home/me"), &[elsewhere]).state, Path::new("/home/me"));
    }

    #[test]
    fn every_way_to_a_file_leads_to_one_directory() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("conf")).unwrap();
        std::fs::create_dir_all(home.join("other")).unwrap();
        std::fs::write(home.join("conf/a.toml"), "").unwrap();
        std::os::unix::fs::symlink(home.join("conf"), home.join("link")).unwrap();
        std::os::unix::fs::symlink("../conf/a.toml", home.join("other/b.toml")).unwrap();
        for way in ["conf/a.toml", "other/../conf/a.toml", "link/a.toml", "other/b.toml", "link/none.toml"] {
            assert_eq!(directory_of(&home.join(way)), home.join("conf"), "{way}");
        }
        assert_eq!(homeless(&home, Path::new("a.toml")), None);
        assert!(homeless(Path::new("/dev"), Path::new("/dev/stdin")).unwrap().contains("set state.dir"));
        assert!(homeless(Path::new("/proc/self/fd"), Path::new("x")).is_some());
        assert_eq!(homeless(Path::new("/dev/shm/x"), Path::new("x")), None);
    }

    #[test]
    fn what_systemd_has_loaded_comes_before_a_file_of_that_name() {
        let loaded = tempfile::tempdir().unwrap();
        std::fs::write(loaded.path().join("key.json"), "{}").unwrap();
        let variable = variable(CREDENTIALS_DIRECTORY, loaded.path().to_str().unwrap());
        let bases = Bases::of(Path::new("/etc/gdrive-webhook"), &[variable]);
        assert_eq!(bases.secret("key.json"), loaded.path().join("key.json"));
        assert_eq!(bases.secret("keys/key.json"), loaded.path().join("key.json"));
        assert_eq!(bases.secret("other.json"), Path::new("/etc/gdrive-webhook/other.json"));
        assert_eq!(
            bases.secret("/srv/key.json"),
            Path::new("/srv/key.json"),
            "an absolute path means that file"
        );
    }
}
