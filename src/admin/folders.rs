//! What `status` says of folders: those that cannot be watched or listed, and shared drives that are listed at every poll
//! because the account is no member of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{ClosedLog, Error, Store, Troubled};

/// Folders with problems shown at most.
pub const SHOWN: i64 = 50;

/// What is said of folders.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FoldersReport {
    /// Folders that still have to be listed because files may have come that nothing else tells of.
    pub waiting: i64,
    /// Folders that cannot be watched or listed; those of the configuration first.
    pub problems: Vec<FolderReport>,
    /// Shared drives that the account is no member of. New files there are found at every poll.
    pub polled_drives: Vec<PolledDriveReport>,
}

/// A folder that cannot be watched or listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FolderReport {
    /// Its id in Drive.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// Whether the configuration names it.
    pub is_configured: bool,
    /// `user`, or `drive:` and a shared drive's id.
    pub log: String,
    /// What is wrong, and what to do.
    pub problem: String,
    /// Since when.
    pub since: Timestamp,
    /// When Drive is asked again.
    pub next: Option<Timestamp>,
}

/// A shared drive whose changes the account cannot read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolledDriveReport {
    /// Its id.
    pub id: String,
    /// What that means, and what to do.
    pub problem: String,
    /// Since when.
    pub since: Timestamp,
}

/// Reads it from the database.
pub(super) async fn report(store: &Store) -> Result<FoldersReport, Error> {
    let troubled = store.troubled(SHOWN).await?;
    let closed = store.closed_logs().await?;
    Ok(FoldersReport {
        waiting: store.unlisted().await?,
        problems: troubled.into_iter().map(folder).collect(),
        polled_drives: closed.iter().map(drive).collect(),
    })
}

/// Why the program is not ready, folder by folder.
pub fn reasons(troubled: &[Troubled]) -> Vec<String> {
    let reason = |troubled: &Troubled| {
        let folder = &troubled.folder;
        format!("folder {} ({}): {}", folder.name, folder.id, folder.problem.as_deref().unwrap_or_default())
    };
    troubled.iter().map(reason).collect()
}

fn folder(Troubled { folder, since, next }: Troubled) -> FolderReport {
    FolderReport {
        id: folder.id.to_string(),
        name: folder.name,
        is_configured: folder.watched,
        log: folder.log.to_string(),
        problem: folder.problem.unwrap_or_default(),
        since,
        next,
    }
}

fn drive(closed: &ClosedLog) -> PolledDriveReport {
    let problem = format!(
        "the account is not a member of this shared drive, so Drive does not send its changes ({}); its folders are listed at \
         every poll. If you make the account a member, new files are found at once",
        closed.why
    );
    PolledDriveReport {
        id: closed.log.drive_id().unwrap_or_default().to_owned(),
        problem,
        since: closed.since,
    }
}
