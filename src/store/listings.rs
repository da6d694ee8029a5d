//! Folders that have to be listed, the most urgent first, and how their listings end.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::folders::{LOOKS, folder, mark};
use super::questions::{Question, Why, ask};
use super::sql::{Sql, lists};
use super::{Error, Folder, LONGEST_WAIT_MS, Listing, Store, millis, optional_time, time};
use crate::model::FileId;

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

/// What makes a folder due: it is marked, or it has not reached the round of its log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Mark(Listing),
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

/// Why folders are due, the most urgent first.
const REASONS: [(Urgency, By); 8] = [
    (Urgency::Urgent, By::Mark(Listing::Note)),
    (Urgency::Urgent, By::Mark(Listing::Deliver)),
    (Urgency::Urgent, By::Mark(Listing::Widen)),
    (Urgency::Urgent, By::Round),
    (Urgency::Again, By::Mark(Listing::Look)),
    (Urgency::Again, By::Round),
    (Urgency::Compare, By::Mark(Listing::Compare)),
    (Urgency::Compare, By::Round),
];

/// The marks that a folder can wait with.
fn marks() -> impl Iterator<Item = Listing> {
    REASONS.into_iter().filter_map(|(_, by)| match by {
        By::Mark(listing) => Some(listing),
        By::Round => None,
    })
}

/// The round that folders of a log have to reach with this urgency: a column, or nothing to compare with.
fn round_of(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Urgent => "change_log.urgent_round",
        Urgency::Again => "case when change_log.closed is null then 0 else change_log.round end",
        Urgency::Compare => "case when change_log.closed is null then change_log.round else 0 end",
    }
}

/// One statement for all reasons: it is asked before each step, while others wait for the database.
fn due_sql(reasons: &[(Urgency, By)], now: Timestamp) -> Sql {
    const COLUMNS: &str = " as bigint) as reason, change_log.round as log_round from ";
    let mut sql = Sql::default();
    for (number, (urgency, by)) in reasons.iter().enumerate() {
        sql = sql.text(if number == 0 { "" } else { " union all " });
        sql = sql.text("select * from (select folder.*, cast(").bind(number as i64).text(COLUMNS);
        sql = match by {
            By::Mark(listing) => sql
                .text("folder cross join change_log where change_log.log = folder.log and folder.listing = ")
                .bind(listing.as_str())
                .text(" and folder.paused = 0 and folder.retry_at <= ")
                .bind(millis(now))
                .text(" order by folder.retry_at limit 1) as due"),
            By::Round => sql
                .text("change_log cross join folder where folder.log = change_log.log and folder.round < ")
                .text(round_of(*urgency))
                .text(" and folder.paused = 0 and (folder.attempt = 0 or folder.retry_at <= ")
                .bind(millis(now))
                .text(") order by change_log.log, folder.round limit 1) as due"),
        };
    }
    sql.text(" order by reason limit 1")
}

impl Store {
    /// The most urgent folder that is due, of this urgency at least. The log of a folder has begun before it is listed:
    /// what changes during the listing comes after its start token.
    pub async fn due_folder(&self, least: Urgency, now: Timestamp) -> Result<Option<DueFolder>, Error> {
        let reasons: Vec<(Urgency, By)> =
            REASONS.into_iter().filter(|(urgency, _)| *urgency <= least).collect();
        let row = due_sql(&reasons, now).query().fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let (urgency, by) = reasons[row.try_get::<i64, _>("reason")? as usize];
        due(&row, urgency, by).map(Some)
    }

    /// When the next folder that waits is due. Folders that are due by the round of their log do not wait.
    pub async fn next_folder(&self) -> Result<Option<Timestamp>, Error> {
        let earliest = "(select min(retry_at) from folder where paused = 0 and listing = ";
        let columns: Vec<String> = marks().map(|mark| format!("{earliest}'{}')", mark.as_str())).collect();
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
        for mark in marks() {
            sqlx::query(
                "update folder set retry_at = $1 where listing = $2 and paused = 0 and retry_at > $3",
            )
            .bind(now)
            .bind(mark.as_str())
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

fn due(row: &AnyRow, urgency: Urgency, by: By) -> Result<DueFolder, Error> {
    let mut folder = folder(row)?;
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
        round: row.try_get("log_round")?,
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
    use crate::model::{ChangeLog, PageToken};
    use crate::store::tests::store;
    use crate::store::watched::tests::{at, folder, nested};
    use crate::store::{Outcome, Scope};

    #[tokio::test]
    async fn a_log_that_begins_anew_makes_the_listing_of_a_marked_folder_urgent() {
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
        // It is marked for another look still.
        begin().await;
        let due = store.due_folder(Urgency::Compare, now).await.unwrap().unwrap();
        let listing = due.folder.listing;
        assert_eq!((due.urgency, due.looks, listing), (Urgency::Urgent, LOOKS, Listing::Deliver));
    }

    /// Lists the outer one of the nested folders to its end, where only `sub` was seen. What Drive is asked for then, and
    /// what is to be done with `sub`.
    async fn listed(outer: &str) -> (Vec<FileId>, Listing) {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let adopted = vec![folder("other", Some("outer"), Listing::Done)];
        store.record(&Outcome { adopted, ..Outcome::default() }, at(0)).await.unwrap();
        for change in ["listing = 'done', round = 1", &format!("{outer} where id = 'outer'")] {
            let sql = format!("update folder set {change}");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&store.pool).await.unwrap();
        }
        let due = store.due_folder(Urgency::Compare, at(0)).await.unwrap().unwrap();
        let sub = FileId::new("sub");
        let finished = Finished { due: &due, seen: std::slice::from_ref(&sub), look_at: at(9) };
        store.commit_listing(&Outcome::default(), Some(finished), at(0)).await.unwrap();
        let questions = store.questions(at(0), 10).await.unwrap();
        let listing = store.folders(std::slice::from_ref(&sub)).await.unwrap()[&sub].listing;
        (questions.into_iter().map(|question| question.file_id).collect(), listing)
    }

    #[tokio::test]
    async fn what_a_listing_did_not_show_is_asked_for_and_a_deep_one_goes_on_below() {
        let unseen = vec![FileId::new("other")];
        for (outer, below) in [
            ("listing = 'deliver', deep = 0", Listing::Done),
            ("listing = 'deliver', deep = 1", Listing::Deliver),
            ("listing = 'deliver', deep = 0, problem = 'Drive does not show it'", Listing::Deliver),
            ("listing = 'compare', deep = 1", Listing::Compare),
        ] {
            assert_eq!(listed(outer).await, (unseen.clone(), below), "{outer}");
        }
    }

    #[tokio::test]
    async fn folders_that_wait_are_counted_by_their_marks_and_by_the_round_of_their_log() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        assert_eq!(store.unlisted().await.unwrap(), 1, "`sub` is to be noted");
        sqlx::query("update folder set listing = 'done'").execute(&store.pool).await.unwrap();
        assert_eq!(store.unlisted().await.unwrap(), 0);
        store.compare(&ChangeLog::User, at(0)).await.unwrap();
        assert_eq!(store.unlisted().await.unwrap(), 0, "a comparison can wait");
        store.begin_log(&ChangeLog::User, &PageToken::new("2"), at(1)).await.unwrap();
        assert_eq!(store.unlisted().await.unwrap(), 4);
    }

    #[tokio::test]
    async fn what_was_to_wait_for_more_than_a_day_is_due() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let unclear = ["soon", "far"].map(|id| Question {
            file_id: FileId::new(id),
            resource_key: None,
            why: Why::Unclear,
            attempt: 0,
            since: at(0),
        });
        store.record(&Outcome { questions: unclear.to_vec(), ..Outcome::default() }, at(0)).await.unwrap();
        for (id, wait) in [("soon", LONGEST_WAIT_MS), ("far", LONGEST_WAIT_MS + 1)] {
            let retry_at = time(millis(at(0)) + wait);
            store.ask_again(&FileId::new(id), 1, retry_at).await.unwrap();
            sqlx::query("update folder set listing = 'look', retry_at = $1 where id = $2")
                .bind(millis(retry_at))
                .bind(if id == "soon" { "sub" } else { "deep" })
                .execute(&store.pool)
                .await
                .unwrap();
        }
        assert_eq!(store.next_folder().await.unwrap(), Some(at(24)));
        assert_eq!(store.next_asked().await.unwrap(), Some(at(24)));
        store.forget_far_waits(at(0)).await.unwrap();
        let due = store.due_folder(Urgency::Again, at(0)).await.unwrap().unwrap();
        assert_eq!(due.folder.id.as_str(), "deep");
        let asked: Vec<_> =
            store.questions(at(0), 10).await.unwrap().into_iter().map(|question| question.file_id).collect();
        assert_eq!(asked, [FileId::new("far")]);
    }
}
