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
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own about the folder")]
pub struct FolderState {
    /// The configuration named it when Drive was read last.
    pub watched: bool,
    /// Its files are wanted: it is watched, or lies in a watched folder whose files come with those of the folders below.
    pub is_wanted: bool,
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
                 coalesce((select urgent_round from change_log where change_log.log = folder.log), 0) as urgent_round, \
                 case when folder.paused = 0 and (folder.watched = 1 and folder.suspended_at is null \
                 or around.paused = 0 and coalesce(around.recursive, 1) = 1) then 1 else 0 end as is_wanted \
                 from folder left join folder as around on around.id = folder.parent_id where folder.id in ",
            );
            for row in sql.list(ids).query().fetch_all(&self.pool).await? {
                let listing: String = row.try_get("listing")?;
                let is_named = row.try_get::<i64, _>("watched")? != 0;
                let round: i64 = row.try_get("round")?;
                let is = |kinds: &[Listing]| kinds.iter().any(|kind| kind.as_str() == listing);
                let is_settled = is(&[Listing::Done, Listing::Look, Listing::Compare]);
                let state = FolderState {
                    watched: is_named && row.try_get::<Option<i64>, _>("suspended_at")?.is_none(),
                    is_wanted: row.try_get::<i64, _>("is_wanted")? != 0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::store::tests::store;
    use crate::store::{Folder, Scope};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    async fn run(store: &Store, sql: &'static str) {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    }

    async fn watch(store: &Store, id: &str) {
        let folder = Folder {
            id: FileId::new(id),
            log: ChangeLog::User,
            parent: None,
            name: id.to_owned(),
            resource_key: None,
            watched: true,
            listing: Listing::Deliver,
            problem: None,
        };
        store.watch(&folder, Scope { recursive: true, shortcuts: true }).await.unwrap();
    }

    #[tokio::test]
    async fn the_files_of_a_folder_are_wanted_by_it_or_by_the_one_around_it() {
        let home = tempfile::tempdir().unwrap();
        let store = crate::store::watched::tests::nested(home.path()).await;
        let inner = FileId::new("inner");
        for (change, expected) in [
            ("update folder set looks = 0", true),
            ("update folder set suspended_at = 1 where id = 'inner'", true),
            ("update folder set recursive = 0 where id = 'outer'", false),
            ("update folder set recursive = 1, paused = 1 where id = 'outer'", false),
            ("update folder set suspended_at = null where id = 'inner'", true),
            ("update folder set paused = 1 where id = 'inner'", false),
        ] {
            sqlx::query(change).execute(&store.pool).await.unwrap();
            let states = store.folder_states(std::slice::from_ref(&inner)).await.unwrap();
            assert_eq!(states[&inner].is_wanted, expected, "{change}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_still_to_be_listed_explains_what_is_not_known() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        watch(&store, "w").await;
        let ids = ["w", "x"].map(FileId::new);
        let state = async || store.folder_states(&ids).await.unwrap().remove(&ids[0]).unwrap();
        let new = state().await;
        assert_eq!((new.watched, new.is_unlisted, new.is_looked_at), (true, true, false));
        assert_eq!(store.folder_states(&ids).await.unwrap().len(), 1);
        for (listing, expected) in
            [("look", (false, true)), ("done", (false, false)), ("compare", (false, false))]
        {
            sqlx::query("update folder set listing = $1").bind(listing).execute(&store.pool).await.unwrap();
            let state = state().await;
            assert_eq!((state.is_unlisted, state.is_looked_at), expected, "{listing}");
        }
        // The page token was refused: all folders have to be listed.
        store.begin_log(&ChangeLog::User, &PageToken::new("7"), at(0)).await.unwrap();
        assert!(state().await.is_unlisted);
        run(&store, "update folder set round = 1").await;
        assert_eq!((state().await.is_unlisted, state().await.round), (false, 1));
        store.suspend(&ids[0], at(0)).await.unwrap();
        assert!(!state().await.watched);
    }

    #[tokio::test]
    async fn a_comparison_is_under_way_until_every_folder_has_been_listed() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let state = async || store.comparison_state().await.unwrap();
        assert_eq!(state().await, ComparisonState::default());
        watch(&store, "w").await;
        store.begin_log(&ChangeLog::User, &PageToken::new("7"), at(0)).await.unwrap();
        assert_eq!(state().await, ComparisonState { began: Some(at(0)), is_under_way: true });
        run(&store, "update folder set listing = 'look', round = 1").await;
        assert!(!state().await.is_under_way);
        store.compare(&ChangeLog::User, at(60)).await.unwrap();
        assert_eq!(state().await, ComparisonState { began: Some(at(60)), is_under_way: true });
        run(&store, "update folder set round = 2").await;
        assert!(!state().await.is_under_way);
        store.close_log(&ChangeLog::User, "no member", at(90)).await.unwrap();
        assert_eq!(state().await, ComparisonState { began: Some(at(90)), is_under_way: false });
        let position = store.log_positions().await.unwrap().remove(&ChangeLog::User).unwrap();
        assert_eq!(position, LogPosition { token: None, round: 3 });
    }

    #[tokio::test]
    async fn what_is_missing_is_asked_for_and_what_stands_in_its_way_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for (number, (id, stage)) in
            [("a@1", Stage::Done), ("b@1", Stage::Existing), ("c@1", Stage::Failed)].into_iter().enumerate()
        {
            store.put_bare(id, "/videos", number as i64, stage).await;
        }
        for id in ["a", "b", "c"] {
            let row = DeliveryId::new(format!("{id}@1"));
            let items = [(FileId::new(id), Some("key".to_owned()))];
            store.bring(Some(&row), &items, at(5)).await.unwrap();
        }
        let ids = ["a", "b", "c", "d"].map(FileId::new);
        let left = store.contents_of(&ids).await.unwrap();
        assert_eq!(left.keys().collect::<Vec<_>>(), [&ids[2]], "nothing else is removed, whatever is asked");
        assert_eq!(left[&ids[2]][0].watched, FileId::new("w"));
        assert_eq!(store.questions_among(&ids).await.unwrap(), ids[..3].iter().cloned().collect());
        let question = store.questions(at(5), 1).await.unwrap().remove(0);
        assert_eq!((question.why, question.resource_key.as_deref()), (Why::Unclear, Some("key")));
        // What moves after the audit counts as recorded.
        assert!(store.recorded_since(&ids, at(0)).await.unwrap().is_empty());
        run(&store, "update delivery set moved_at = 1800000000000").await;
        assert_eq!(store.recorded_since(&ids, at(0)).await.unwrap(), HashSet::from([ids[2].clone()]));
        assert!(store.recorded_since(&ids, at(1)).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_last_report_takes_the_place_of_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        assert_eq!((store.audit().await.unwrap(), store.audited().await.unwrap()), (None, None));
        for second in [1, 2] {
            store.keep_audit(at(second), &format!("report {second}")).await.unwrap();
        }
        assert_eq!(store.audit().await.unwrap().as_deref(), Some("report 2"));
        assert_eq!(store.audited().await.unwrap(), Some(at(2)));
    }
}
