//! A home that is up to date, and what happens in the Drive after that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drive_emulator::{Content, Upload};

use crate::daemon::Home;
use crate::process::Cost;
use crate::server::{Scheme, Server};

/// Longer than any catching up takes, unless it hangs.
const LIMIT: Duration = Duration::from_mins(10);

/// A home whose ledger can be put back to where it was.
pub(crate) struct UpToDate {
    pub(crate) home: Home,
    ledger: PathBuf,
}

impl UpToDate {
    /// Lists what there is now, and downloads none of it.
    pub(crate) fn make(server: &Server<'_>, scheme: Scheme, more: &str) -> anyhow::Result<Self> {
        let home = Home::make(server, scheme, server.bench.place.fresh("home")?, more, "")?;
        home.sync(LIMIT)?;
        let ledger = server.bench.place.join("ledger");
        fs::copy(home.ledger(), &ledger)?;
        Ok(Self { home, ledger })
    }

    /// Catches up from where it was.
    pub(crate) fn catch_up(&self) -> anyhow::Result<Cost> {
        self.catch_up_from(&self.ledger)
    }

    /// Catches up from this ledger.
    pub(crate) fn catch_up_from(&self, ledger: &Path) -> anyhow::Result<Cost> {
        self.put_back(ledger)?;
        self.home.sync(LIMIT)
    }

    /// Exchanges the ledger for this one.
    pub(crate) fn put_back(&self, ledger: &Path) -> anyhow::Result<()> {
        let path = self.home.ledger();
        for journal in ["state.db-wal", "state.db-shm"] {
            // It is there only after a crash.
            let _ = fs::remove_file(path.with_file_name(journal));
        }
        fs::copy(ledger, path)?;
        rustix::fs::sync();
        Ok(())
    }
}

/// So many new videos in a folder that nobody watches.
pub(crate) fn foreign_changes(server: &Server<'_>, count: usize) {
    let elsewhere = server.drive.folder(&server.drive.root_id(), "Elsewhere");
    (0..count).for_each(|n| foreign_change(server, &elsewhere, n));
}

/// One more video in a folder that nobody watches.
pub(crate) fn foreign_change(server: &Server<'_>, folder: &str, n: usize) {
    let name = format!("somebody else's holiday {n:06}.mp4");
    server.drive.upload(Upload::new(folder, &name, Content::bytes("x")));
}
