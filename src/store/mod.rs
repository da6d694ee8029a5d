//! The ledger: page tokens, known folders, deliveries and channels. The only place with SQL, and it decides nothing.
//!
//! SQLite through sqlx's `Any`, in WAL mode with `synchronous = FULL`: what a transaction has committed survives a
//! power cut. One connection serves the program; a second process may read beside it.

mod accounts;
mod again;
mod audit;
mod channels;
mod contents;
mod deliveries;
mod destinations;
mod folders;
mod history;
mod listings;
mod logs;
mod look;
#[cfg(test)]
mod older;
mod pages;
mod past;
mod questions;
mod settings;
mod shortcuts;
mod sql;
mod steps;
mod watched;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::{AnyPool, Executor, Row};
use tokio::sync::OnceCell;
use tracing::info;

use crate::owner::{self, Absent, Want};
pub use accounts::Bound;
pub use again::{Asked, Retried};
pub use audit::{ComparisonState, Content, FolderState, LogPosition};
pub use contents::{Found, NewDelivery};
pub use deliveries::{Counts, Ending, Ledger};
pub use folders::{Folder, Listing};
pub use history::{Position, Pruned};
pub use listings::{DueFolder, Finished, Troubled, Urgency};
pub use logs::{ClosedLog, LogState};
pub use pages::{Outcome, Passage};
pub use past::{Earlier, Past, Which};
pub use questions::{Question, Why};
pub use settings::{Comparison, Settings};
pub use shortcuts::Shortcut;
pub use watched::{Scope, Watched};

/// `[state]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `sqlite:` and a path.
    pub url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: "sqlite:state.db".to_owned() }
    }
}

impl Config {
    /// The file of the database.
    pub fn path(&self) -> PathBuf {
        let path = self.url.strip_prefix("sqlite:").unwrap_or(&self.url);
        PathBuf::from(path.strip_prefix("//").unwrap_or(path))
    }

    /// The same without links: whichever way leads to it, there is one lock beside it. Root follows no link in a directory
    /// of somebody else's.
    pub fn target(&self) -> PathBuf {
        let mut path = self.path();
        for _ in 0..LINKS {
            match std::fs::read_link(&path) {
                Ok(target) if owner::heir(owner::parent(&path)).is_none() => {
                    path = owner::parent(&path).join(target);
                }
                Ok(_) | Err(_) => break,
            }
        }
        match (owner::parent(&path).canonicalize(), path.file_name()) {
            (Ok(directory), Some(name)) => directory.join(name),
            _ => path,
        }
    }
}

/// The system follows no more links after each other.
const LINKS: usize = 40;

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory or file cannot be used.
    #[error("cannot open the database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The system does not let us at its file, its lock or its directory.
    #[error("cannot {doing} the database {path}: {why}")]
    Denied {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not, and what helps.
        why: String,
    },
    /// There is none.
    #[error("there is no database at {path}; `gdrive-webhook run` and `gdrive-webhook sync` make one")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error(
        "the database {path} is in use by another gdrive-webhook; stop it first. `gdrive-webhook status` shows what it does"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error(
        "the database {path} has schema {found}, this program knows up to {known}; use the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// Written by an older program, and only looked at.
    #[error(
        "the database {path} has schema {found}, this program reads {known}; the next `gdrive-webhook run` or \
         `gdrive-webhook sync` brings it up to date"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A statement failed.
    #[error("the database failed")]
    Sql(#[from] sqlx::Error),
    /// A value in it is none that this program writes.
    #[error("the database holds `{value}` as {what}, which this program does not know")]
    Value {
        /// The column, in words.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

impl Error {
    fn denied(doing: &'static str, path: &Path, error: &std::io::Error) -> Self {
        let want = if ["read", "look for"].contains(&doing) { Want::Read } else { Want::Write };
        Self::Denied { doing, path: path.to_owned(), why: owner::explain(error, path, want) }
    }

    /// The same once more, for another delivery that it concerns.
    #[must_use]
    pub fn again(&self) -> Self {
        let why = match self {
            Self::Sql(error) => error.to_string(),
            other => other.to_string(),
        };
        Self::Sql(sqlx::Error::Protocol(why))
    }
}

/// What the opener does with the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The one engine room: keeps every other one out, and makes what is missing.
    Exclusive,
    /// A correction while nothing else is there: keeps every other one out, and makes nothing.
    Existing,
    /// A look from the side, which changes nothing.
    Shared,
}

/// The open ledger.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    path: PathBuf,
    /// As it was first read.
    own_id: Arc<OnceCell<String>>,
    /// Held as long as any clone lives.
    _lock: Option<Arc<File>>,
}

/// Schemas in order. A published one is never edited: a change is a new entry.
const MIGRATIONS: [&str; 13] = [
    include_str!("schema.sql"),
    include_str!("destinations.sql"),
    include_str!("shortcuts.sql"),
    include_str!("indexes.sql"),
    include_str!("suspended.sql"),
    include_str!("contents.sql"),
    include_str!("sizes.sql"),
    include_str!("account.sql"),
    include_str!("folders.sql"),
    include_str!("channels.sql"),
    include_str!("audit.sql"),
    include_str!("places.sql"),
    include_str!("calls.sql"),
];
const KNOWN: i64 = MIGRATIONS.len() as i64;

impl Store {
    /// Opens the database. Whoever keeps others out brings its schema up to date.
    pub async fn open(config: &Config, access: Access) -> Result<Self, Error> {
        let store = Self::connect(config, access).await?;
        match access {
            Access::Exclusive | Access::Existing => store.migrate().await?,
            Access::Shared => store.check_schema().await?,
        }
        Ok(store)
    }

    async fn connect(config: &Config, access: Access) -> Result<Self, Error> {
        if access == Access::Exclusive {
            let path = config.path();
            owner::make_room(owner::parent(&path))
                .map_err(|error| Error::denied("make the directory of", &path, &error))?;
        }
        let path = config.target();
        let lock = prepare(&path, access)?.map(Arc::new);
        let open = |source| Error::Open { path: path.clone(), source };
        install_default_drivers();
        let (mode, pragmas) = match access {
            Access::Exclusive | Access::Existing => {
                // What SQLite sorts stays in memory: there may be no other directory that can be written to.
                ("rw", "pragma journal_mode = wal; pragma synchronous = full; pragma temp_store = memory")
            }
            Access::Shared => ("ro", ""),
        };
        let options =
            AnyConnectOptions::from_str(&format!("sqlite:{}?mode={mode}", escaped(&path))).map_err(open)?;
        let pool = AnyPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // A file needs no question whether it is still there.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute("pragma busy_timeout = 10000; pragma foreign_keys = on").await?;
                    connection.execute(pragmas).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(open)?;
        Ok(Self { pool, path, own_id: Arc::default(), _lock: lock })
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a copy of the ledger, whatever its schema is, into a new file, which nobody else can read.
    pub async fn copy(config: &Config, to: &Path) -> Result<(), Error> {
        let store = Self::connect(config, Access::Shared).await?;
        // SQLite takes an empty file for none.
        owner::open(to, Absent::Make).map_err(|error| Error::denied("copy", to, &error))?;
        sqlx::query("vacuum into $1").bind(to.display().to_string()).execute(&store.pool).await?;
        store.close().await;
        Ok(())
    }

    /// Closes it; the journal is folded into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// What is only looked at is not changed, since an older program may be at work on it.
    async fn check_schema(&self) -> Result<(), Error> {
        let found =
            sqlx::query("select coalesce(max(version), 0) from schema_version").fetch_one(&self.pool).await;
        let path = self.path.clone();
        match found.and_then(|row| row.try_get::<i64, _>(0)) {
            Ok(KNOWN) => Ok(()),
            Ok(found) if found > KNOWN => Err(Error::Newer { path, found, known: KNOWN }),
            Ok(found) => Err(Error::Older { path, found, known: KNOWN }),
            // A file that a program was about to begin with.
            Err(sqlx::Error::Database(error)) if error.message().contains("no such table") => {
                Err(Error::Older { path, found: 0, known: KNOWN })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn migrate(&self) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        transaction
            .execute("create table if not exists schema_version (version integer not null) strict")
            .await?;
        let found: i64 = sqlx::query("select coalesce(max(version), 0) from schema_version")
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        if found > KNOWN {
            return Err(Error::Newer { path: self.path.clone(), found, known: KNOWN });
        }
        if (1..KNOWN).contains(&found) {
            let (path, to) = (self.path.display(), KNOWN);
            info!(%path, from = found, to, "the database is brought up to date; a large one takes some seconds");
        }
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(found as usize) {
            transaction.execute(*migration).await?;
            sqlx::query("insert into schema_version (version) values ($1)")
                .bind(index as i64 + 1)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// A path in an address: directories may have any name.
fn escaped(path: &Path) -> String {
    let byte = |byte: &u8| match byte {
        b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_encoded_bytes().iter().map(byte).collect()
}

/// Takes the lock and makes the file, as far as the opener may. Page tokens and file names are nobody else's business, and
/// whoever could open the lock could keep the program from starting: both have mode 0600. The file is made before SQLite
/// opens it, and SQLite gives its journal the same mode and owner.
fn prepare(path: &Path, access: Access) -> Result<Option<File>, Error> {
    let absent = match access {
        Access::Exclusive => Absent::Make,
        Access::Existing | Access::Shared => match path.try_exists() {
            Ok(true) => Absent::Fail,
            Ok(false) => return Err(Error::Missing { path: path.to_owned() }),
            Err(error) => return Err(Error::denied("look for", path, &error)),
        },
    };
    if access == Access::Shared {
        File::open(path).map_err(|error| Error::denied("read", path, &error))?;
        return Ok(None);
    }
    let lock = lock(path, absent)?;
    owner::open(path, absent).map_err(|error| Error::denied("open", path, &error))?;
    for ending in ["-wal", "-shm"] {
        // Left by root's earlier commands.
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        owner::heal(Path::new(&beside)).map_err(|error| Error::denied("open", Path::new(&beside), &error))?;
    }
    Ok(lock)
}

/// Takes the lock file beside the database. The system drops it with the process, however that ends. Where nothing is
/// made, a lock that is not there is nobody's.
fn lock(path: &Path, absent: Absent) -> Result<Option<File>, Error> {
    let beside = path.with_added_extension("lock");
    let file = match owner::open(&beside, absent) {
        Err(error) if absent == Absent::Fail && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        opened => opened.map_err(|error| Error::denied("lock", &beside, &error))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::denied("lock", &beside, &error)),
    }
}

/// No wait is longer than this. What waits for a later moment was written when the clock was ahead, and is due.
const LONGEST_WAIT_MS: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since 1970, as every time is kept.
fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// Reads `millis` back. Times come from Drive and from the clock; neither leaves jiff's range of ten thousand years.
fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn optional_time(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(time))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new database in this directory.
    pub(crate) async fn store(home: &Path) -> Store {
        let config = Config { url: format!("sqlite:{}", home.join("state.db").display()) };
        Store::open(&config, Access::Exclusive).await.unwrap()
    }

    #[tokio::test]
    async fn one_database_has_one_lock_whichever_way_leads_to_it() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for directory in ["state", "other"] {
            std::fs::create_dir(at(directory)).unwrap();
        }
        std::os::unix::fs::symlink(at("state"), at("link")).unwrap();
        std::os::unix::fs::symlink("../state/state.db", at("other/state.db")).unwrap();
        let config = |name: &str| Config { url: format!("sqlite:{}", at(name).display()) };
        // The link to the file leads to nothing yet.
        let ways = ["other/state.db", "state/state.db", "link/state.db", "other/../state/state.db"];
        for way in ways {
            let open = Store::open(&config(way), Access::Exclusive).await.unwrap();
            assert_eq!(open.path(), at("state").canonicalize().unwrap().join("state.db"), "{way}");
            for other in ways {
                let second = Store::open(&config(other), Access::Exclusive).await;
                assert!(matches!(second, Err(Error::Locked { .. })), "{way} {other}: {second:?}");
            }
            open.close().await;
        }
        assert!(!at("other/state.db.lock").exists());
    }

    #[tokio::test]
    async fn a_look_changes_nothing_and_says_what_it_cannot_read() {
        let home = tempfile::Builder::new().prefix("50% ä?b#c ").tempdir().unwrap();
        let config = Config { url: format!("sqlite:{}", home.path().join("state.db").display()) };
        for access in [Access::Shared, Access::Existing] {
            let missing = Store::open(&config, access).await;
            assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);

        let running = Store::open(&config, Access::Exclusive).await.unwrap();
        assert!(home.path().join("state.db-wal").exists(), "it lies where it was to lie");
        let beside = Store::open(&config, Access::Shared).await.unwrap();
        assert!(beside.counts().await.is_ok() && beside.set_marker(home.path(), "m").await.is_err());
        assert!(matches!(Store::open(&config, Access::Existing).await, Err(Error::Locked { .. })));
        sqlx::query("delete from schema_version where version = $1")
            .bind(KNOWN)
            .execute(&running.pool)
            .await
            .unwrap();
        let older = Store::open(&config, Access::Shared).await;
        assert!(matches!(older, Err(Error::Older { found, .. }) if found == KNOWN - 1), "{older:?}");
        sqlx::query("insert into schema_version values ($1)")
            .bind(KNOWN + 1)
            .execute(&running.pool)
            .await
            .unwrap();
        assert!(matches!(Store::open(&config, Access::Shared).await, Err(Error::Newer { .. })));

        let copy = home.path().join("copy.db");
        Store::copy(&config, &copy).await.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&copy.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn root_follows_no_link_to_a_database_in_a_directory_of_somebody_elses() {
        use std::os::unix::fs::{chown, symlink};
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let [theirs, outside] = ["theirs", "outside.db"].map(|name| home.path().join(name));
        std::fs::create_dir(&theirs).unwrap();
        symlink(&outside, theirs.join("state.db")).unwrap();
        let config = Config { url: format!("sqlite:{}", theirs.join("state.db").display()) };
        assert_eq!(config.target(), outside, "its own link is followed");
        chown(&theirs, Some(12_345), None).unwrap();
        assert_eq!(config.target(), theirs.join("state.db"));
    }
}
