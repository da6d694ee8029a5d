//! The deliveries as `history` shows them, the latest first, and what is counted by its reason.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use sqlx::Row;

use super::deliveries::delivery;
use super::{Error, Store};
use crate::model::Delivery;

/// Which deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All but the files that were there before the first run and were left where they are.
    All,
    /// Those that failed.
    Failed,
}

/// Where the next page begins: the deliveries before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    moved_at: i64,
    seq: i64,
}

impl Earlier {
    /// Before the first page.
    pub const LATEST: Self = Self { moved_at: i64::MAX, seq: i64::MAX };
}

impl fmt::Display for Earlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.moved_at, self.seq)
    }
}

/// The text is none that `Display` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPosition;

impl FromStr for Earlier {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (moved_at, seq) = text.split_once('-').ok_or(NoPosition)?;
        let number = |text: &str| text.parse().map_err(|_| NoPosition);
        Ok(Self { moved_at: number(moved_at)?, seq: number(seq)? })
    }
}

/// A page of deliveries.
#[derive(Clone, Debug)]
pub struct Past {
    /// The latest first.
    pub deliveries: Vec<Delivery>,
    /// Where the next page begins, if this one was full.
    pub next: Option<Earlier>,
}

impl Store {
    /// The deliveries that moved last before that, the latest first.
    pub async fn past(&self, which: Which, before: Earlier, limit: i64) -> Result<Past, Error> {
        let sql = match which {
            Which::All => {
                "select * from delivery where (moved_at, seq) < ($1, $2) and stage <> 'existing' \
                 order by moved_at desc, seq desc limit $3"
            }
            Which::Failed => {
                "select * from delivery where (moved_at, seq) < ($1, $2) and stage = 'failed' \
                 order by moved_at desc, seq desc limit $3"
            }
        };
        let rows =
            sqlx::query(sql).bind(before.moved_at).bind(before.seq).bind(limit).fetch_all(&self.pool).await?;
        let last = rows.last().filter(|_| rows.len() as i64 == limit);
        let next = last.map(|row| {
            Ok::<_, Error>(Earlier { moved_at: row.try_get("moved_at")?, seq: row.try_get("seq")? })
        });
        Ok(Past { deliveries: rows.iter().map(delivery).collect::<Result<_, _>>()?, next: next.transpose()? })
    }

    /// How many files of watched folders have failed, and the one that failed last. A person has to do something about
    /// them. A folder that the configuration no longer names counts as long as it lies in another one whose files come with
    /// those of the folders below.
    pub async fn given_up(&self) -> Result<Option<(i64, Delivery)>, Error> {
        let row = sqlx::query(
            "select *, count(*) over () as count from delivery where stage = 'failed' and overtaken = 0 \
             and exists (select 1 from folder left join folder as around on around.id = folder.parent_id \
             where folder.id = delivery.watched_id and folder.paused = 0 and (folder.watched = 1 and folder.suspended_at is null \
             or around.paused = 0 and coalesce(around.recursive, 1) = 1)) \
             order by moved_at desc, seq desc limit 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok((row.try_get("count")?, delivery(&row)?))).transpose()
    }

    /// All files of watched folders that have failed, in the order in which they did.
    pub async fn failed(&self) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            "select * from delivery where stage = 'failed' and overtaken = 0 \
             and exists (select 1 from folder left join folder as around on around.id = folder.parent_id \
             where folder.id = delivery.watched_id and folder.paused = 0 and (folder.watched = 1 and folder.suspended_at is null \
             or around.paused = 0 and coalesce(around.recursive, 1) = 1)) \
             order by moved_at, seq",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(delivery).collect()
    }

    /// Whether a file is waited for, wherever it is by now: it is not ready, was skipped for a while, or has failed.
    pub async fn is_waiting(&self) -> Result<bool, Error> {
        let row = sqlx::query(
            "select 1 from delivery where stage = 'unready' union all \
             select 1 from delivery where look_at is not null union all \
             select 1 from delivery where stage = 'failed' limit 1",
        );
        Ok(row.fetch_optional(&self.pool).await?.is_some())
    }

    /// Files that were there before the first run and are left where they are, counted by the reason for which they would
    /// not have been delivered.
    pub async fn existing(&self) -> Result<Vec<(Option<String>, i64)>, Error> {
        let rows = sqlx::query(
            "select reason, count(*) as count from delivery where stage = 'existing' and gone_at is null \
             group by reason order by count desc, reason",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("reason")?, row.try_get("count")?))).collect()
    }

    /// Files that were skipped since then and still are, counted by their reason.
    pub async fn skipped(&self, since: Timestamp) -> Result<Vec<(Option<String>, i64)>, Error> {
        let rows = sqlx::query(
            "select reason, count(*) as count from delivery where stage = 'skipped' and moved_at >= $1 and overtaken = 0 \
             group by reason order by count desc, reason",
        )
        .bind(super::millis(since))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("reason")?, row.try_get("count")?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, Stage};
    use crate::store::tests::store;

    async fn run(store: &Store, sql: &'static str) {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    }

    fn ids(page: &Past) -> Vec<&str> {
        page.deliveries.iter().map(|delivery| delivery.id.as_str()).collect()
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_a_gap() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for number in 1..=7_i64 {
            let stage = match number {
                2 => Stage::Existing,
                3 | 4 => Stage::Failed,
                _ => Stage::Done,
            };
            store.put_bare(&number.to_string(), "/videos", number, stage).await;
        }
        // Two of them at the same time.
        run(&store, "update delivery set moved_at = case when seq = 5 then 4 else seq end").await;
        let (mut seen, mut before) = (Vec::new(), Some(Earlier::LATEST));
        while let Some(from) = before {
            let page = store.past(Which::All, from, 2).await.unwrap();
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            before = page.next.map(|next| next.to_string().parse().unwrap());
        }
        assert_eq!(seen, ["7", "6", "5", "4", "3", "1"]);
        assert_eq!(ids(&store.past(Which::Failed, Earlier::LATEST, 9).await.unwrap()), ["4", "3"]);
        for wrong in ["", "1", "a-2", "1-b"] {
            assert_eq!(wrong.parse::<Earlier>(), Err(NoPosition), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_failed_counts_as_long_as_its_folder_is_watched() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for (number, stage) in [Stage::Failed, Stage::Failed, Stage::Done].into_iter().enumerate() {
            store.put_bare(&number.to_string(), "/videos", number as i64, stage).await;
        }
        assert!(store.given_up().await.unwrap().is_none(), "its folder is not known");
        run(
            &store,
            "insert into folder (id, log, name, watched, listing) values ('w', 'user', 'W', 1, 'done')",
        )
        .await;
        let (count, last) = store.given_up().await.unwrap().unwrap();
        assert_eq!((count, last.id.as_str()), (2, "1"));
        assert_eq!(store.failed().await.unwrap().len(), 2);
        let count = async || store.given_up().await.unwrap().map_or(0, |(count, _)| count);
        store.suspend(&FileId::new("w"), Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(count().await, 0, "it has left the configuration");
        run(
            &store,
            "insert into folder (id, log, name, watched, listing, recursive) values ('outer', 'user', 'O', 1, 'done', 1)",
        )
        .await;
        for (sql, left) in [
            ("update folder set parent_id = 'outer', paused = 0 where id = 'w'", 2),
            ("update folder set recursive = 0 where id = 'outer'", 0),
            ("update folder set recursive = 1 where id = 'outer'", 2),
            ("update folder set watched = 0, suspended_at = null where id = 'w'", 2),
            ("update folder set paused = 1", 0),
        ] {
            run(&store, sql).await;
            assert_eq!((count().await, store.failed().await.unwrap().len() as i64), (left, left), "{sql}");
        }
    }

    #[tokio::test]
    async fn what_is_left_out_is_counted_by_its_reason() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for number in 1..=6_i64 {
            let stage = if number < 5 { Stage::Existing } else { Stage::Skipped };
            store.put_bare(&number.to_string(), "/videos", number, stage).await;
        }
        run(&store, "update delivery set reason = 'its name' where seq in (1, 5)").await;
        run(&store, "update delivery set gone_at = 1 where seq = 4").await;
        run(&store, "update delivery set moved_at = seq").await;
        let expected = [(None, 2), (Some("its name".to_owned()), 1)];
        assert_eq!(store.existing().await.unwrap(), expected);
        let since = Timestamp::from_millisecond(5).unwrap();
        assert_eq!(store.skipped(since).await.unwrap(), [(None, 1), (Some("its name".to_owned()), 1)]);
    }
}
