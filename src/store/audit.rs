//! What the audit asks of the ledger, and what it leaves there: its report, and questions about what is missing.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sqlx::Row;

use super::deliveries::delivery;
use super::questions::{Question, Why, ask};
use super::sql::{Sql, lists};
use super::{Error, Listing, Store, millis, optional_time};
use crate::model::{ChangeLog, Delivery, DeliveryId, FileId, PageToken};

/// One content of a file.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its row.
    pub delivery: Delivery,
    /// The watched folder that it was found below.
    pub watched: FileId,
}

/// A known folder, as far as it tells whether what is in it must be known as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderState {
    /// The configuration named it when Drive was read last.
    pub watched: bool,
    /// It still has to be listed for files that nothing else tells of.
    pub is_unlisted: bool,
    /// It is listed once more, since listings lag.
    pub is_looked_at: bool,
    /// Why it cannot be watched or listed.
    pub problem: Option<String>,
    /// The round of its log in which it was listed last.
    pub round: i64,
}

/// How far a log has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Everything before it is recorded. `None`: the account cannot read the log.
    pub token: Option<PageToken>,
    /// The round of its folders' listings.
    pub round: i64,
}

/// The last comparison of all folders with the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComparisonState {
    /// When the latest began. The folders of a log that cannot be read are compared all the time, from when that was
    /// found. `None`: nothing has been read yet.
    pub began: Option<Timestamp>,
    /// Folders are still to be listed for it.
    pub is_under_way: bool,
}

impl Store {
    /// All rows of these files, in the order of arrival.
    pub async fn contents_of(&self, ids: &[FileId]) -> Result<HashMap<FileId, Vec<Content>>, Error> {
        let mut contents: HashMap<FileId, Vec<Content>> = HashMap::new();
        for ids in lists(ids) {
            let sql = Sql::new("select * from delivery where file_id in ").list(ids).text(" order by seq");
            for row in sql.query().fetch_all(&self.pool).await? {
                let delivery = delivery(&row)?;
                let watched = FileId::new(row.try_get::<String, _>("watched_id")?);
                contents.entry(delivery.file_id.clone()).or_default().push(Content { delivery, watched });
            }
        }
        Ok(contents)
    }

    /// Those of these folders that are known.
    pub async fn folder_states(&self, ids: &[FileId]) -> Result<HashMap<FileId, FolderState>, Error> {
        let mut states = HashMap::new();
        for ids in lists(ids) {
            let sql = Sql::new(
                "select folder.id, folder.watched, folder.suspended_at, folder.listing, folder.problem, folder.round, \
                 coalesce((select urgent_round from change_log where change_log.log = folder.log), 0) as urgent_round \
                 from folder where folder.id in ",
            );
            for row in sql.list(ids).query().fetch_all(&self.pool).await? {
                let listing: String = row.try_get("listing")?;
                let is_named = row.try_get::<i64, _>("watched")? != 0;
                let round: i64 = row.try_get("round")?;
                let is = |kinds: &[Listing]| kinds.iter().any(|kind| kind.as_str() == listing);
                let is_settled = is(&[Listing::Done, Listing::Look, Listing::Compare]);
                let state = FolderState {
                    watched: is_named && row.try_get::<Option<i64>, _>("suspended_at")?.is_none(),
                    is_unlisted: !is_settled || round < row.try_get::<i64, _>("urgent_round")?,
                    is_looked_at: is(&[Listing::Look]),
                    problem: row.try_get("problem")?,
                    round,
                };
                states.insert(FileId::new(row.try_get::<String, _>("id")?), state);
            }
        }
        Ok(states)
    }

    /// Those of these items that Drive is going to be asked for.
    pub async fn questions_among(&self, ids: &[FileId]) -> Result<HashSet<FileId>, Error> {
        let mut asked = HashSet::new();
        for ids in lists(ids) {
            let sql = Sql::new("select file_id from question where file_id in ").list(ids);
            for row in sql.query().fetch_all(&self.pool).await? {
                asked.insert(FileId::new(row.try_get::<String, _>(0)?));
            }
        }
        Ok(asked)
    }

    /// How far each log has been read.
    pub async fn log_positions(&self) -> Result<HashMap<ChangeLog, LogPosition>, Error> {
        let rows = sqlx::query("select log, page_token, closed, round from change_log")
            .fetch_all(&self.pool)
            .await?;
        let positions = rows.iter().map(|row| {
            let is_open = row.try_get::<Option<String>, _>("closed")?.is_none();
            let token = PageToken::new(row.try_get::<String, _>("page_token")?);
            let position = LogPosition { token: is_open.then_some(token), round: row.try_get("round")? };
            Ok((ChangeLog::from_key(row.try_get("log")?), position))
        });
        positions.collect()
    }

    /// The last comparison of all folders with the ledger.
    pub async fn comparison_state(&self) -> Result<ComparisonState, Error> {
        let row = sqlx::query(
            "select (select max(case when closed is null then compared_at else closed_since end) from change_log \
             where exists (select 1 from folder where folder.log = change_log.log and paused = 0)) as began, \
             exists (select 1 from folder where paused = 0 and listing in ('note', 'deliver', 'widen', 'compare')) \
             or exists (select 1 from change_log cross join folder where folder.log = change_log.log \
             and folder.paused = 0 and folder.round < change_log.round and closed is null) as is_under_way",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(ComparisonState {
            began: optional_time(&row, "began")?,
            is_under_way: row.try_get::<i64, _>("is_under_way")? != 0,
        })
    }

    /// Keeps the report of an audit in the place of the one before.
    pub async fn keep_audit(&self, began: Timestamp, report: &str) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("delete from audit").execute(&mut *transaction).await?;
        sqlx::query("insert into audit (began_at, report) values ($1, $2)")
            .bind(millis(began))
            .bind(report)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The report of the last audit.
    pub async fn audit(&self) -> Result<Option<String>, Error> {
        let row = sqlx::query("select report from audit").fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// When the last audit began.
    pub async fn audited(&self) -> Result<Option<Timestamp>, Error> {
        let row = sqlx::query("select max(began_at) as began_at from audit").fetch_one(&self.pool).await?;
        optional_time(&row, "began_at")
    }

    /// Those of these files of which something was recorded since then.
    pub async fn recorded_since(&self, ids: &[FileId], since: Timestamp) -> Result<HashSet<FileId>, Error> {
        let mut recorded = HashSet::new();
        for ids in lists(ids) {
            let sql = Sql::new("select file_id from delivery where moved_at >= ").bind(millis(since));
            let sql = sql.text(" and stage <> 'superseded' and file_id in ").list(ids);
            for row in sql.query().fetch_all(&self.pool).await? {
                recorded.insert(FileId::new(row.try_get::<String, _>(0)?));
            }
        }
        Ok(recorded)
    }

    /// Has Drive asked for items that are missing, as if they had just changed. The rows that would keep them from being
    /// delivered are removed.
    pub async fn bring(
        &self,
        stale: Option<&DeliveryId>,
        items: &[(FileId, Option<String>)],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        if let Some(stale) = stale {
            sqlx::query(
                "delete from delivery where id = $1 and (stage = 'existing' or stage = 'done' and place is null)",
            )
            .bind(stale.as_str())
            .execute(&mut *transaction)
            .await?;
        }
        for (file_id, resource_key) in items {
            let question = Question {
                file_id: file_id.clone(),
                resource_key: resource_key.clone(),
                why: Why::Unclear,
                attempt: 0,
                since: now,
            };
            ask(&mut transaction, &question, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
