//! Known folders: every folder below a watched one, and what is left to list in it.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::sql::{Sql, lists};
use super::{Error, Store, millis};
use crate::model::{ChangeLog, FileId, ResourceKeys};

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
    /// The key that an older link-shared folder asks for.
    pub resource_key: Option<String>,
    /// Whether the configuration names it.
    pub watched: bool,
    /// What is left to do with its content.
    pub listing: Listing,
    /// Why it cannot be watched or listed, for the user.
    pub problem: Option<String>,
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
    /// List it once more, since listings lag behind; what is not in the ledger is new. That holds after `Note` as well:
    /// what the first listing did not show came moments before it.
    Look,
    /// List it when nothing else is to be done; what is not in the ledger is new.
    Compare,
}

impl Listing {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Deliver => "deliver",
            Self::Note => "note",
            Self::Widen => "widen",
            Self::Look => "look",
            Self::Compare => "compare",
        }
    }

    fn from_word(word: String) -> Result<Self, Error> {
        [Self::Done, Self::Deliver, Self::Note, Self::Widen, Self::Look, Self::Compare]
            .into_iter()
            .find(|listing| listing.as_str() == word)
            .ok_or(Error::Value { what: "a folder's listing", value: word })
    }
}

/// A folder that changed without a visible cause is compared after this long, together with what happens to it meanwhile.
const COMPARED_AFTER: Duration = Duration::from_mins(1);
/// How often a new folder is listed again after its first listing.
pub(super) const LOOKS: u32 = 2;

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

    /// The resource keys of a folder and of the known folders above it.
    pub async fn resource_keys(&self, id: &FileId) -> Result<ResourceKeys, Error> {
        let rows = sqlx::query(
            "with recursive above (id, parent_id, resource_key) as (\
               select id, parent_id, resource_key from folder where id = $1 \
               union \
               select folder.id, folder.parent_id, folder.resource_key from folder join above on folder.id = above.parent_id\
             ) select id, resource_key from above where resource_key is not null",
        )
        .bind(id.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((FileId::new(row.try_get::<String, _>(0)?), row.try_get(1)?))).collect()
    }
}

/// Marks a folder and all below it to be listed, at this time at the earliest; those below are marked when it has been
/// listed. What is to be noted or listed as wider stays so, and `Compare` changes nothing that is to be listed anyway.
pub(super) async fn mark(
    connection: &mut AnyConnection,
    id: &FileId,
    listing: Listing,
    at: Timestamp,
) -> Result<(), Error> {
    let sql = match listing {
        Listing::Compare => {
            "update folder set retry_at = case when listing = 'done' then $2 else retry_at end, \
             listing = case when listing = 'done' then 'compare' else listing end, \
             deep = 1, marked = marked + 1 where id = $1"
        }
        _ => {
            "update folder set retry_at = $2, deep = 1, marked = marked + 1, \
             listing = case when listing in ('note', 'widen') then listing else 'deliver' end where id = $1"
        }
    };
    sqlx::query(sql).bind(id.as_str()).bind(millis(at)).execute(connection).await?;
    Ok(())
}

/// Writes a folder that was found or has changed. A known one keeps whether it is watched, and what is left to list; with
/// `Deliver` or `Compare` it and what lies below it is listed as well.
pub(super) async fn adopt(connection: &mut AnyConnection, new: &Folder, now: Timestamp) -> Result<(), Error> {
    let at = match new.listing {
        Listing::Compare => now.checked_add(COMPARED_AFTER).unwrap_or(now),
        _ => now,
    };
    let is_known = sqlx::query("select 1 from folder where id = $1")
        .bind(new.id.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .is_some();
    sqlx::query(
        "insert into folder (id, log, parent_id, name, resource_key, watched, listing, looks, retry_at) \
         values ($1, $2, $3, $4, $5, 0, $6, $7, $8) \
         on conflict (id) do update set log = excluded.log, parent_id = excluded.parent_id, name = excluded.name, \
         resource_key = coalesce(excluded.resource_key, folder.resource_key), \
         round = case when folder.log = excluded.log then folder.round else 0 end",
    )
    .bind(new.id.as_str())
    .bind(new.log.key())
    .bind(new.parent.as_ref().map(FileId::as_str))
    .bind(new.name.as_str())
    .bind(new.resource_key.as_deref())
    .bind(new.listing.as_str())
    .bind(i64::from(LOOKS))
    .bind(millis(at))
    .execute(&mut *connection)
    .await?;
    match new.listing {
        Listing::Deliver | Listing::Compare if is_known => mark(connection, &new.id, new.listing, at).await,
        _ => Ok(()),
    }
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
        "{GONE} update folder set marked = marked + 1, retry_at = 0, \
         listing = case when listing in ('note', 'widen') then listing else 'deliver' end \
         where id not in (select id from gone) \
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

pub(super) fn folder(row: &AnyRow) -> Result<Folder, Error> {
    Ok(Folder {
        id: FileId::new(row.try_get::<String, _>("id")?),
        log: ChangeLog::from_key(row.try_get("log")?),
        parent: row.try_get::<Option<String>, _>("parent_id")?.map(FileId::new),
        name: row.try_get("name")?,
        resource_key: row.try_get("resource_key")?,
        watched: row.try_get::<i64, _>("watched")? != 0,
        listing: Listing::from_word(row.try_get("listing")?)?,
        problem: row.try_get("problem")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::watched::tests::{at, folder, nested};
    use crate::store::{Outcome, Urgency};

    #[tokio::test]
    async fn a_known_folder_is_listed_at_once_or_compared_a_minute_later() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        sqlx::query("update folder set listing = 'done'").execute(&store.pool).await.unwrap();
        for (listing, after) in [(Listing::Compare, COMPARED_AFTER), (Listing::Deliver, Duration::ZERO)] {
            let adopted = vec![folder("deep", Some("inner"), listing)];
            store.record(&Outcome { adopted, ..Outcome::default() }, at(1)).await.unwrap();
            assert_eq!(store.next_folder().await.unwrap(), Some(at(1) + after));
            let due = store.due_folder(Urgency::Compare, at(1) + after).await.unwrap().unwrap();
            assert_eq!((due.folder.id.as_str(), due.folder.listing), ("deep", listing));
        }
        let adopted = vec![folder("deep", Some("outer"), Listing::Done)];
        store.record(&Outcome { adopted, ..Outcome::default() }, at(2)).await.unwrap();
        assert_eq!(store.next_folder().await.unwrap(), Some(at(1)), "what is to be done stays");
    }
}
