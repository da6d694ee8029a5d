//! The ledger: page tokens, known folders, deliveries and channels. The only place with SQL, and it decides nothing.
//!
//! SQLite through sqlx's `Any`, in WAL mode with `synchronous = FULL`: what a transaction has committed survives a
//! power cut. One connection serves the program; a second process may read beside it.

mod channels;
mod deliveries;
mod destinations;
mod folders;
mod pages;
mod shortcuts;
mod steps;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::{AnyPool, Executor, Row};

pub use deliveries::{Counts, Ledger};
pub use folders::{Folder, Listing};
pub use pages::{Found, LogState, NewDelivery, Outcome};
pub use shortcuts::Shortcut;

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
}

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory or file cannot be used.
    #[error("cannot open the state database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// Another process holds it.
    #[error(
        "the state database {path} is in use by another gdrive-webhook; stop that one first, or ask it by `gdrive-webhook status`"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The lock beside it cannot be taken.
    #[error("cannot lock the state database {path}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Written by a newer program.
    #[error(
        "the state database {path} has schema {found}, this program knows up to {known}; use the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A statement failed.
    #[error("the state database failed")]
    Sql(#[from] sqlx::Error),
    /// A value in it is none that this program writes.
    #[error("the state database holds `{value}` as {what}, which this program does not know")]
    Value {
        /// The column, in words.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

impl Error {
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

/// Whether the opener changes the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The one engine room: keeps every other one out.
    Exclusive,
    /// A look from the side, or a small correction.
    Shared,
}

/// The open ledger.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    path: PathBuf,
    /// Held as long as any clone lives.
    _lock: Option<Arc<std::fs::File>>,
}

/// Schemas in order. A published one is never edited: a change is a new entry.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("destinations.sql"),
    include_str!("shortcuts.sql"),
    include_str!("indexes.sql"),
];

impl Store {
    /// Opens the database and brings its schema up to date.
    pub async fn open(config: &Config, access: Access) -> Result<Self, Error> {
        let path = config.path();
        let lock = match access {
            Access::Exclusive => Some(Arc::new(lock(&path)?)),
            Access::Shared => None,
        };
        let open = |source| Error::Open { path: path.clone(), source };
        keep_private(&path).map_err(|error| open(sqlx::Error::Io(error)))?;
        install_default_drivers();
        let options =
            AnyConnectOptions::from_str(&format!("sqlite:{}?mode=rwc", path.display())).map_err(open)?;
        let pool = AnyPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // A file needs no question whether it is still there.
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection
                        .execute(
                            "pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 10000; \
                             pragma foreign_keys = on",
                        )
                        .await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(open)?;
        let store = Self { pool, path, _lock: lock };
        store.migrate().await?;
        Ok(store)
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a copy of the ledger into a new file.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        sqlx::query("vacuum into $1").bind(path.display().to_string()).execute(&self.pool).await?;
        Ok(())
    }

    /// Closes it; the journal is folded into the file.
    pub async fn close(&self) {
        self.pool.close().await;
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
        let known = MIGRATIONS.len() as i64;
        if found > known {
            return Err(Error::Newer { path: self.path.clone(), found, known });
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

/// Page tokens and file names are nobody else's business. The file is made before SQLite opens it: SQLite gives its
/// journal the same mode.
fn keep_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = std::fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0
        && let Err(error) = file.set_permissions(std::fs::Permissions::from_mode(0o600))
    {
        // A file system without modes, or another owner: not worth stopping for.
        tracing::debug!(path = %path.display(), %error, "the state database keeps its mode");
    }
    Ok(())
}

/// Takes the lock file beside the database. The system drops it with the process, however that ends.
fn lock(path: &Path) -> Result<std::fs::File, Error> {
    let beside = path.with_added_extension("lock");
    let fail = |source| Error::Lock { path: path.to_owned(), source };
    let file =
        std::fs::File::options().create(true).truncate(false).write(true).open(&beside).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(fail(source)),
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

/// Rows per statement. A few sizes only, so that each statement is prepared once.
const SIZES: [usize; 5] = [1, 4, 16, 64, 512];

/// Values in lists of these sizes; the last one is filled up with a value that it has already.
fn filled<T>(values: &[T]) -> impl Iterator<Item = Vec<&T>> {
    values.chunks(SIZES[SIZES.len() - 1]).map(|values| {
        let size = SIZES.into_iter().find(|size| *size >= values.len()).unwrap_or(values.len());
        values.iter().chain(values.last().into_iter().cycle()).take(size).collect()
    })
}

/// `$1, $2, …` for a list of `count` values, after `before` others.
fn placeholders(before: usize, count: usize) -> String {
    (before + 1..=before + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}
