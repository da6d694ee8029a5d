//! Known folders: every folder below a watched one, with what is left to list in it.

use std::collections::{HashMap, HashSet};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::shortcuts::{cut_orphans, cut_unseen};
use super::sql::{Sql, lists};
use super::{Error, Store};
use crate::model::{ChangeLog, FileId};

/// A folder that is watched, or lies below one that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its id.
    pub id: FileId,
    /// The change log that speaks of it.
    pub log: ChangeLog,
    /// The folder it lies in.
    pub parent: Option<FileId>,
    /// Its name in Drive.
    pub name: String,
    /// Whether the configuration names it.
    pub watched: bool,
    /// Whether its content still has to be listed.
    pub listing: Listing,
    /// A watched folder whose existing files were noted, but whose log has not been read to its end since: what
    /// changed in between may have come after the first run began, and then it is new.
    pub settling: bool,
}

/// What is left to do with a folder's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Nothing: changes tell the rest.
    Done,
    /// List it; what is not in the ledger is new.
    Deliver,
    /// List it; what is there was there before the first run and is only noted.
    Note,
    /// List it; a file in it is new if it is not in the ledger. What folders and shortcuts in it bring was there before
    /// they counted, and is only noted.
    Widen,
}

impl Listing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Deliver => "deliver",
            Self::Note => "note",
            Self::Widen => "widen",
        }
    }

    fn from_word(word: String) -> Result<Self, Error> {
        match word.as_str() {
            "done" => Ok(Self::Done),
            "deliver" => Ok(Self::Deliver),
            "note" => Ok(Self::Note),
            "widen" => Ok(Self::Widen),
            _ => Err(Error::Value { what: "a folder's listing", value: word }),
        }
    }
}

impl Store {
    /// Those of the folders that are known.
    pub async fn folders(&self, ids: &[FileId]) -> Result<HashMap<FileId, Folder>, Error> {
        let mut known = HashMap::new();
        for ids in lists(ids) {
            let sql = Sql::new("select * from folder where id in ").list(ids);
            for row in sql.query().fetch_all(&self.pool).await? {
                let folder = folder(&row)?;
                known.insert(folder.id.clone(), folder);
            }
        }
        Ok(known)
    }

    /// The logs that speak of known folders, the user's own first. Those that speak of paused ones only are left out.
    pub async fn folder_logs(&self) -> Result<Vec<ChangeLog>, Error> {
        // From one log to the next, not from folder to folder: `distinct` would read them all.
        let rows = sqlx::query(
            "with recursive known (log) as (\
               select max(log) from folder where paused = 0 \
               union all \
               select (select max(log) from folder where paused = 0 and log < known.log) from known where known.log is not null\
             ) select log from known where log is not null",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok(ChangeLog::from_key(row.try_get(0)?))).collect()
    }

    /// Forgets the folders of a log, unless one of them is watched. `false`: one is. Suspended ones stay, and count as not
    /// watched.
    pub async fn forget_log(&self, log: &ChangeLog) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        let watched =
            sqlx::query("select 1 from folder where log = $1 and watched = 1 and suspended_at is null")
                .bind(log.key())
                .fetch_optional(&mut *transaction)
                .await?;
        if watched.is_some() {
            return Ok(false);
        }
        sqlx::query("delete from folder where log = $1 and watched = 0 and paused = 0")
            .bind(log.key())
            .execute(&mut *transaction)
            .await?;
        cut_orphans(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// A folder of this log whose content has to be listed; what is to be noted comes first.
    pub async fn unlisted(&self, log: &ChangeLog) -> Result<Option<Folder>, Error> {
        sqlx::query(
            "select * from folder where log = $1 and listing <> 'done' and paused = 0 \
             order by listing desc, watched desc, id limit 1",
        )
        .bind(log.key())
        .fetch_optional(&self.pool)
        .await?
        .as_ref()
        .map(folder)
        .transpose()
    }
}

/// Marks every folder of the log to be listed, except those that are paused.
pub(super) async fn list_all_again(connection: &mut AnyConnection, log: &ChangeLog) -> Result<(), Error> {
    sqlx::query("update folder set listing = 'deliver' where log = $1 and listing = 'done' and paused = 0")
        .bind(log.key())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a folder that was found or has changed. A known one keeps whether it is watched, and what is left to list if
/// anything is.
pub(super) async fn adopt(connection: &mut AnyConnection, new: &Folder) -> Result<(), Error> {
    if new.listing == Listing::Deliver {
        // What lies below it was away together with it.
        sqlx::query(
            "with recursive below (id) as (\
               select id from folder where parent_id = $1 \
               union \
               select folder.id from folder join below on folder.parent_id = below.id\
             ) update folder set listing = 'deliver' where listing = 'done' and id in (select id from below) \
             and exists (select 1 from folder where id = $1 and listing = 'done')",
        )
        .bind(new.id.as_str())
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "insert into folder (id, log, parent_id, name, watched, listing) values ($1, $2, $3, $4, 0, $5) \
         on conflict (id) do update set log = excluded.log, parent_id = excluded.parent_id, name = excluded.name, \
         listing = case when folder.listing = 'done' then excluded.listing else folder.listing end",
    )
    .bind(new.id.as_str())
    .bind(new.log.key())
    .bind(new.parent.as_ref().map(FileId::as_str))
    .bind(new.name.as_str())
    .bind(new.listing.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a folder and what lies below it. Watched folders stay, wherever they lie.
///
/// A shortcut elsewhere may hold one of them still: the folder that it lies in is listed again, which finds out.
pub(super) async fn drop_folder(connection: &mut AnyConnection, id: &FileId) -> Result<(), Error> {
    const GONE: &str = "with recursive gone (id) as (\
         select id from folder where id = $1 and watched = 0 \
         union \
         select folder.id from folder join gone on folder.parent_id = gone.id where folder.watched = 0)";
    sqlx::query(AssertSqlSafe(format!(
        "{GONE} update folder set listing = 'deliver' where listing = 'done' and id not in (select id from gone) \
         and id in (select parent_id from shortcut where target_id in (select id from gone))"
    )))
    .bind(id.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query(AssertSqlSafe(format!("{GONE} delete from folder where id in (select id from gone)")))
        .bind(id.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// A folder has been listed to its end. Known folders and shortcuts in it that were not among `seen` have gone without
/// a word.
pub(super) async fn listed(
    connection: &mut AnyConnection,
    id: &FileId,
    seen: &[FileId],
) -> Result<(), Error> {
    sqlx::query("update folder set listing = 'done' where id = $1")
        .bind(id.as_str())
        .execute(&mut *connection)
        .await?;
    let seen: HashSet<&FileId> = seen.iter().collect();
    cut_unseen(connection, id, &seen).await?;
    let children = sqlx::query("select id from folder where parent_id = $1 and watched = 0")
        .bind(id.as_str())
        .fetch_all(&mut *connection)
        .await?;
    for row in children {
        let child = FileId::new(row.try_get::<String, _>(0)?);
        if !seen.contains(&child) {
            drop_folder(connection, &child).await?;
        }
    }
    Ok(())
}

pub(super) fn folder(row: &AnyRow) -> Result<Folder, Error> {
    Ok(Folder {
        id: FileId::new(row.try_get::<String, _>("id")?),
        log: ChangeLog::from_key(row.try_get("log")?),
        parent: row.try_get::<Option<String>, _>("parent_id")?.map(FileId::new),
        name: row.try_get("name")?,
        watched: row.try_get::<i64, _>("watched")? != 0,
        listing: Listing::from_word(row.try_get("listing")?)?,
        settling: row.try_get::<i64, _>("settling")? != 0,
    })
}
