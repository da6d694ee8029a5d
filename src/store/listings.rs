//! Folders that have to be listed, the most urgent first, and how their listings end.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::folders::{LOOKS, folder, mark};
use super::questions::{Question, Why, ask};
use super::sql::{Sql, lists};
use super::{Error, Folder, LONGEST_WAIT_MS, Listing, Store, millis, optional_time, time};
use crate::model::{ChangeLog, FileId};

/// How urgent it is to list a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Files may have come that nothing else tells of.
    Urgent,
    /// It is listed once more, or its log cannot be read.
    Again,
    /// It is compared with the ledger.
    Compare,
}

/// A folder that is due to be listed.
#[derive(Clone, Debug)]
pub struct DueFolder {
    /// The folder, with what is to be done as its `listing`.
    pub folder: Folder,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Failed listings in a row.
    pub attempt: u32,
    /// How often it is listed again after this.
    pub looks: u32,
    /// The round of its log in which it is listed.
    round: i64,
    /// How often it was marked.
    marked: i64,
    /// Whether the folders in it are listed then.
    deep: bool,
}

/// The end of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The folder as it was due.
    pub due: &'a DueFolder,
    /// The folders and shortcuts in it that were listed.
    pub seen: &'a [FileId],
    /// When it is listed again, if it still is.
    pub look_at: Timestamp,
}

/// What makes a folder due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Mark,
    Round,
}

/// A folder with a problem.
#[derive(Clone, Debug)]
pub struct Troubled {
    /// The folder.
    pub folder: Folder,
    /// Since when.
    pub since: Timestamp,
    /// When it is looked at again.
    pub next: Option<Timestamp>,
}

/// Kinds of listing by urgency; the round of the log comes after those of the same urgency.
const KINDS: [(Urgency, &[Listing]); 3] = [
    (Urgency::Urgent, &[Listing::Note, Listing::Deliver, Listing::Widen]),
    (Urgency::Again, &[Listing::Look]),
    (Urgency::Compare, &[Listing::Compare]),
];

/// The round of a log that folders have to reach with this urgency: a column, or nothing to compare with.
fn round_of(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Urgent => "urgent_round",
        Urgency::Again => "case when closed is null then 0 else round end",
        Urgency::Compare => "case when closed is null then round else 0 end",
    }
}

impl Store {
    /// The most urgent folder that is due, of this urgency at least. The log of a folder has begun before it is listed:
    /// what changes during the listing comes after its start token.
    pub async fn due_folder(&self, least: Urgency, now: Timestamp) -> Result<Option<DueFolder>, Error> {
        for (urgency, kinds) in KINDS.iter().filter(|(urgency, _)| *urgency <= least) {
            for kind in *kinds {
                let row = sqlx::query(
                    "select folder.*, (select round from change_log where change_log.log = folder.log) as log_round, \
                     (select urgent_round from change_log where change_log.log = folder.log) as log_urgent \
                     from folder where listing = $1 and paused = 0 and retry_at <= $2 \
                     and exists (select 1 from change_log where change_log.log = folder.log) order by retry_at limit 1",
                )
                .bind(kind.as_str())
                .bind(millis(now))
                .fetch_optional(&self.pool)
                .await?;
                if let Some(row) = row {
                    return due(&row, *urgency, By::Mark).map(Some);
                }
            }
            for (log, round) in self.rounds(*urgency).await? {
                let row = sqlx::query(
                    "select folder.*, (select round from change_log where change_log.log = folder.log) as log_round, \
                     (select urgent_round from change_log where change_log.log = folder.log) as log_urgent \
                     from folder where log = $1 and round < $2 and paused = 0 and (attempt = 0 or retry_at <= $3) \
                     order by round limit 1",
                )
                .bind(log.key())
                .bind(round)
                .bind(millis(now))
                .fetch_optional(&self.pool)
                .await?;
                if let Some(row) = row {
                    return due(&row, *urgency, By::Round).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// When the next folder that waits is due. Folders that are due by the round of their log do not wait.
    pub async fn next_folder(&self) -> Result<Option<Timestamp>, Error> {
        let earliest = "(select min(retry_at) from folder where paused = 0 and listing = ";
        let columns: Vec<String> = KINDS
            .iter()
            .flat_map(|(_, kinds)| *kinds)
            .map(|kind| format!("{earliest}'{}')", kind.as_str()))
            .collect();
        let sql = format!("select {}", columns.join(", "));
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        let mut earliest = None;
        for column in 0..columns.len() {
            if let Some(at) = row.try_get::<Option<i64>, _>(column)? {
                earliest = Some(earliest.map_or(at, |known: i64| known.min(at)));
            }
        }
        Ok(earliest.map(time))
    }

    /// The rounds that folders of each log have to reach, where there is one.
    async fn rounds(&self, urgency: Urgency) -> Result<Vec<(ChangeLog, i64)>, Error> {
        let sql = format!("select log, {} as least from change_log order by log", round_of(urgency));
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        let rounds = rows.iter().map(|row| Ok((ChangeLog::from_key(row.try_get(0)?), row.try_get(1)?)));
        Ok(rounds.collect::<Result<Vec<_>, Error>>()?.into_iter().filter(|(_, round)| *round > 0).collect())
    }

    /// A folder could not be listed. With a problem, that is shown from now on.
    pub async fn folder_failed(
        &self,
        due: &DueFolder,
        retry_at: Timestamp,
        problem: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "update folder set attempt = $1, retry_at = $2, problem = coalesce($3, problem), \
             problem_since = case when $3 is null then problem_since else coalesce(problem_since, $4) end, \
             listing = case when marked = $5 then $6 else listing end where id = $7",
        )
        .bind(i64::from(due.attempt) + 1)
        .bind(millis(retry_at))
        .bind(problem)
        .bind(millis(now))
        .bind(due.marked)
        .bind(due.folder.listing.as_str())
        .bind(due.folder.id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Folders that cannot be watched or listed; the watched ones first.
    pub async fn troubled(&self, limit: i64) -> Result<Vec<Troubled>, Error> {
        let rows = sqlx::query(
            "select folder.*, (select retry_at from question where file_id = folder.id) as asked_at from folder \
             where problem_since is not null and suspended_at is null order by watched desc, problem_since, id limit $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let troubled = rows.iter().map(|row| {
            let asked = optional_time(row, "asked_at")?;
            Ok(Troubled {
                folder: folder(row)?,
                since: optional_time(row, "problem_since")?.unwrap_or_default(),
                next: asked.or(Some(time(row.try_get("retry_at")?))),
            })
        });
        troubled.collect()
    }

    /// How many folders wait to be listed.
    pub async fn unlisted(&self) -> Result<i64, Error> {
        let row = sqlx::query(
            "select (select count(*) from folder where paused = 0 and listing in ('note', 'deliver', 'widen')) \
             + (select count(*) from change_log cross join folder where folder.log = change_log.log and folder.paused = 0 \
                and folder.round < change_log.urgent_round and folder.listing not in ('note', 'deliver', 'widen'))",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row.try_get(0)?)
    }

    /// Whether folders are still to be noted.
    pub async fn is_noting(&self) -> Result<bool, Error> {
        let row =
            sqlx::query("select 1 from folder where paused = 0 and listing in ('note', 'widen') limit 1")
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.is_some())
    }

    /// Those of these items that a log has told of while folders were still to be noted.
    pub async fn passed(&self, ids: &[FileId]) -> Result<HashSet<FileId>, Error> {
        let mut passed = HashSet::new();
        for ids in lists(ids) {
            let sql = Sql::new("select file_id from passed where file_id in ").list(ids);
            for row in sql.query().fetch_all(&self.pool).await? {
                passed.insert(FileId::new(row.try_get::<String, _>(0)?));
            }
        }
        Ok(passed)
    }

    /// No wait is longer than a day: what waits for a later time was written while the clock was ahead.
    pub async fn forget_far_waits(&self, now: Timestamp) -> Result<(), Error> {
        let (now, latest) = (millis(now), millis(now) + LONGEST_WAIT_MS);
        for kind in KINDS.iter().flat_map(|(_, kinds)| *kinds) {
            sqlx::query(
                "update folder set retry_at = $1 where listing = $2 and paused = 0 and retry_at > $3",
            )
            .bind(now)
            .bind(kind.as_str())
            .bind(latest)
            .execute(&self.pool)
            .await?;
        }
        sqlx::query("update question set retry_at = $1 where retry_at > $2")
            .bind(now)
            .bind(latest)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// A log may have begun anew since more urgent folders were looked for: then this one is listed for that as well.
fn due(row: &AnyRow, urgency: Urgency, by: By) -> Result<DueFolder, Error> {
    let mut folder = folder(row)?;
    let urgent_round = row.try_get::<Option<i64>, _>("log_urgent")?.unwrap_or_default();
    let is_behind = row.try_get::<i64, _>("round")? < urgent_round;
    let (urgency, by) = if is_behind { (Urgency::Urgent, By::Round) } else { (urgency, by) };
    let is_weak = matches!(folder.listing, Listing::Done | Listing::Look | Listing::Compare);
    if by == By::Round && is_weak {
        folder.listing = if urgency == Urgency::Compare { Listing::Compare } else { Listing::Deliver };
    }
    Ok(DueFolder {
        folder,
        urgency,
        attempt: row.try_get::<i64, _>("attempt")? as u32,
        // An urgent listing stands in for entries that were not read, and listings lag.
        looks: if urgency == Urgency::Urgent { LOOKS } else { row.try_get::<i64, _>("looks")? as u32 },
        round: row.try_get::<Option<i64>, _>("log_round")?.unwrap_or_default(),
        marked: row.try_get("marked")?,
        deep: row.try_get::<i64, _>("deep")? != 0,
    })
}

/// A folder has been listed to its end. Drive is asked for the known folders and shortcuts in it that were not listed.
/// A mark that came meanwhile stays.
pub(super) async fn finish(
    connection: &mut AnyConnection,
    finished: Finished<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let Finished { due, seen, look_at } = finished;
    // What came below a folder that could not be listed may have no entries that were read.
    let is_deep = due.deep || due.folder.problem.is_some();
    let next = if due.looks == 0 { Listing::Done } else { Listing::Look };
    sqlx::query(
        "update folder set round = $1, attempt = 0, problem = null, problem_since = null, \
         looks = case when marked = $2 then $6 else looks end, \
         deep = case when marked = $2 then 0 else deep end, \
         retry_at = case when marked = $2 then $3 else retry_at end, \
         listing = case when marked = $2 then $4 else listing end where id = $5",
    )
    .bind(due.round)
    .bind(due.marked)
    .bind(millis(look_at))
    .bind(next.as_str())
    .bind(due.folder.id.as_str())
    .bind(i64::from(due.looks.saturating_sub(1)))
    .execute(&mut *connection)
    .await?;
    if matches!(due.folder.listing, Listing::Note | Listing::Widen) {
        sqlx::query(
            "delete from passed where not exists \
             (select 1 from folder where paused = 0 and listing in ('note', 'widen'))",
        )
        .execute(&mut *connection)
        .await?;
    }
    let seen: HashSet<&FileId> = seen.iter().collect();
    for (child, key, is_folder) in children(connection, &due.folder.id).await? {
        if !seen.contains(&child) {
            let question =
                Question { file_id: child, resource_key: key, why: Why::Missing, attempt: 0, since: now };
            ask(connection, &question, now).await?;
        } else if is_deep && is_folder {
            let listing = match due.folder.listing {
                Listing::Compare => Listing::Compare,
                _ => Listing::Deliver,
            };
            mark(connection, &child, listing, now).await?;
        }
    }
    Ok(())
}

/// The known folders and shortcuts in a folder, and whether each is a folder.
async fn children(
    connection: &mut AnyConnection,
    id: &FileId,
) -> Result<Vec<(FileId, Option<String>, bool)>, Error> {
    let rows = sqlx::query(
        "select id, resource_key, 1 as is_folder from folder where parent_id = $1 and watched = 0 \
         union all select id, null, 0 from shortcut where parent_id = $1",
    )
    .bind(id.as_str())
    .fetch_all(connection)
    .await?;
    let children = rows.iter().map(|row| {
        Ok((FileId::new(row.try_get::<String, _>(0)?), row.try_get(1)?, row.try_get::<i64, _>(2)? != 0))
    });
    children.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PageToken;
    use crate::store::tests::store;
    use crate::store::{Outcome, Scope};

    #[tokio::test]
    async fn a_log_that_begins_anew_while_a_folder_is_chosen_makes_its_listing_urgent() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let now = Timestamp::UNIX_EPOCH;
        let begin = async || store.begin_log(&ChangeLog::User, &PageToken::new("1"), now).await.unwrap();
        begin().await;
        let watched = Folder {
            id: FileId::new("w"),
            log: ChangeLog::User,
            parent: None,
            name: "W".to_owned(),
            resource_key: None,
            watched: true,
            listing: Listing::Note,
            problem: None,
        };
        store.watch(&watched, Scope { recursive: true, shortcuts: true }).await.unwrap();
        let first = store.due_folder(Urgency::Compare, now).await.unwrap().unwrap();
        let finished = Finished { due: &first, seen: &[], look_at: now };
        store.commit_listing(&Outcome::default(), Some(finished), now).await.unwrap();
        let again = store.due_folder(Urgency::Compare, now).await.unwrap().unwrap();
        assert_eq!((again.urgency, again.looks, again.folder.listing), (Urgency::Again, 1, Listing::Look));
        // As it is read when the more urgent ones have been looked for already.
        begin().await;
        let row = sqlx::query(
            "select folder.*, 2 as log_round, (select urgent_round from change_log) as log_urgent from folder",
        )
        .fetch_one(&store.pool)
        .await
        .unwrap();
        for (urgency, by) in [(Urgency::Again, By::Mark), (Urgency::Compare, By::Round)] {
            let due = due(&row, urgency, by).unwrap();
            let listing = due.folder.listing;
            assert_eq!((due.urgency, due.looks, listing), (Urgency::Urgent, LOOKS, Listing::Deliver));
        }
    }
}
