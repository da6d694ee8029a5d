//! A look at a database that changes nothing, not even the files beside it.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};

use super::{Access, Config, Error, Store, escaped, prepare};

impl Store {
    /// Whether this program can read the database. Another user's `-wal` beside it would keep the daemon out, so without one
    /// SQLite is told that nobody writes, and makes none.
    pub async fn look(config: &Config) -> Result<(), Error> {
        let path = config.target();
        prepare(&path, Access::Shared)?;
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        let nobody = if Path::new(&journal).exists() { "" } else { "&immutable=1" };
        let open = |source| Error::Open { path: path.clone(), source };
        install_default_drivers();
        let address = format!("sqlite:{}?mode=ro{nobody}", escaped(&path));
        let options = AnyConnectOptions::from_str(&address).map_err(open)?;
        let pool = AnyPoolOptions::new().max_connections(1).connect_with(options).await.map_err(open)?;
        let store = Self { pool, path, own_id: Arc::default(), _lock: None };
        let outcome = store.check_schema().await;
        store.close().await;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let config = Config { url: format!("sqlite:{}", home.path().join("state.db").display()) };
        assert!(matches!(Store::look(&config).await, Err(Error::Missing { .. })));
        let store = Store::open(&config, Access::Exclusive).await.unwrap();
        store.close().await;
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        Store::look(&config).await.unwrap();
        assert_eq!(names(), before);
        std::fs::write(home.path().join("state.db"), "not a database at all, and long enough to be one")
            .unwrap();
        assert!(Store::look(&config).await.is_err());
    }
}
