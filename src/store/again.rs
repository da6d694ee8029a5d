//! What a person asks for again: deliveries that failed or were skipped, and delivered ones whose file is wanted once
//! more. Only the newest content of a file can be had from Drive.

use jiff::Timestamp;
use sqlx::AnyConnection;

use super::deliveries::delivery;
use super::{Error, Store, millis};
use crate::model::{Delivery, DeliveryId};

/// What became of a delivery that was asked for again.
#[derive(Clone, Debug)]
pub enum Asked {
    /// It is in the queue.
    Queued(Delivery),
    /// It was in the queue, waiting for a later moment, and is due now.
    Sooner(Delivery),
    /// It stays as it is: it is not in a state from which it could be brought again.
    Unmoved(Delivery),
    /// There is no delivery with this id.
    Unknown,
}

/// What became of all deliveries in a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Put back in the queue.
    pub count: u64,
    /// Left as they are, because a setting leaves them out.
    pub left: u64,
}

impl Store {
    /// One delivery, if the database has it.
    pub async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, Error> {
        let row = sqlx::query("select * from delivery where id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(delivery).transpose()
    }

    /// Puts a delivery back in the queue that failed or was skipped, with all its attempts before it. One that waits for
    /// its next attempt is due at once.
    pub async fn retry(&self, id: &DeliveryId, now: Timestamp) -> Result<Asked, Error> {
        let moved = sqlx::query(
            "update delivery set stage = 'pending', run_at = $1, attempt = 0, reason = null, cause = null, look_at = null, \
             moved_at = $1 where id = $2 and stage in ('failed', 'skipped') and overtaken = 0 returning *",
        )
        .bind(millis(now))
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        if let Some(row) = moved {
            return Ok(Asked::Queued(delivery(&row)?));
        }
        let sooner = sqlx::query(
            "update delivery set run_at = $1 where id = $2 and stage in ('pending', 'publishing') and reason is not null \
             returning *",
        )
        .bind(millis(now))
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        match sooner {
            Some(row) => Ok(Asked::Sooner(delivery(&row)?)),
            None => self.unmoved(id).await,
        }
    }

    /// Puts all deliveries of watched folders back in the queue that failed.
    pub async fn retry_failed(&self, now: Timestamp) -> Result<Retried, Error> {
        let moved = sqlx::query(
            "update delivery set stage = 'pending', run_at = $1, attempt = 0, reason = null, cause = null, look_at = null, \
             moved_at = $1 where stage = 'failed' and overtaken = 0 \
             and exists (select 1 from folder left join folder as around on around.id = folder.parent_id \
             where folder.id = delivery.watched_id and folder.paused = 0 and (folder.watched = 1 and folder.suspended_at is null \
             or around.paused = 0 and coalesce(around.recursive, 1) = 1))",
        )
        .bind(millis(now))
        .execute(&self.pool)
        .await?;
        Ok(Retried { count: moved.rows_affected(), left: 0 })
    }

    /// Puts all deliveries of watched folders back in the queue that were skipped, except those that a setting leaves out: there may be very
    /// many of them, and they come when the setting changes.
    pub async fn retry_skipped(&self, now: Timestamp) -> Result<Retried, Error> {
        let moved = sqlx::query(
            "update delivery set stage = 'pending', run_at = $1, attempt = 0, reason = null, cause = null, look_at = null, \
             moved_at = $1 where stage = 'skipped' and overtaken = 0 and (cause is null or cause <> 'setting') \
             and exists (select 1 from folder left join folder as around on around.id = folder.parent_id \
             where folder.id = delivery.watched_id and folder.paused = 0 and (folder.watched = 1 and folder.suspended_at is null \
             or around.paused = 0 and coalesce(around.recursive, 1) = 1))",
        )
        .bind(millis(now))
        .execute(&self.pool)
        .await?;
        let left = sqlx::query(
            "select count(*) as count from delivery where stage = 'skipped' and overtaken = 0 and cause = 'setting' \
             and exists (select 1 from folder left join folder as around on around.id = folder.parent_id \
             where folder.id = delivery.watched_id and folder.paused = 0 and (folder.watched = 1 and folder.suspended_at is null \
             or around.paused = 0 and coalesce(around.recursive, 1) = 1))",
        )
        .fetch_one(&self.pool)
        .await?;
        let left: i64 = sqlx::Row::try_get(&left, "count")?;
        Ok(Retried { count: moved.rows_affected(), left: left as u64 })
    }

    /// Puts a delivery back in the queue that was delivered. What it was published as is forgotten: that file is gone, or
    /// is nobody's but the user's now.
    pub async fn redeliver(&self, id: &DeliveryId, now: Timestamp) -> Result<Asked, Error> {
        let moved = sqlx::query(
            "update delivery set stage = 'pending', run_at = $1, attempt = 0, reason = null, cause = null, look_at = null, \
             seen_at = $1, moved_at = $1, place = null, place_inode = null, place_size = null, place_mtime = null, \
             place_sum = null, place_replaces = 0 \
             where id = $2 and stage = 'done' and overtaken = 0 returning *",
        )
        .bind(millis(now))
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        match moved {
            Some(row) => Ok(Asked::Queued(delivery(&row)?)),
            None => self.unmoved(id).await,
        }
    }

    /// Drive is asked now about all files that have failed: whether they are still wanted may be another matter by now.
    pub async fn look_at_failed(&self, now: Timestamp) -> Result<(), Error> {
        look_at_failed(&mut *self.pool.acquire().await?, now).await
    }

    async fn unmoved(&self, id: &DeliveryId) -> Result<Asked, Error> {
        Ok(self.delivery(id).await?.map_or(Asked::Unknown, Asked::Unmoved))
    }
}

/// The same in a transaction.
pub(super) async fn look_at_failed(connection: &mut AnyConnection, now: Timestamp) -> Result<(), Error> {
    sqlx::query("update delivery set look_at = $1 where stage = 'failed' and overtaken = 0")
        .bind(millis(now))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::store::tests::store;

    const STAGES: [Stage; 9] = [
        Stage::Unready,
        Stage::Pending,
        Stage::Downloading,
        Stage::Publishing,
        Stage::Done,
        Stage::Failed,
        Stage::Skipped,
        Stage::Superseded,
        Stage::Existing,
    ];

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    async fn run(store: &Store, sql: &'static str) {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    }

    /// A delivery in each state, named after it.
    async fn one_of_each(home: &std::path::Path) -> Store {
        let store = store(home).await;
        for (number, stage) in STAGES.into_iter().enumerate() {
            store.put_bare(stage.as_str(), "/videos", number as i64 + 1, stage).await;
        }
        run(&store, "update delivery set reason = 'why', attempt = 7, look_at = 5").await;
        store
    }

    #[tokio::test]
    async fn only_what_failed_or_was_skipped_is_tried_again_and_what_waits_is_due_at_once() {
        let home = tempfile::tempdir().unwrap();
        let store = one_of_each(home.path()).await;
        for stage in STAGES {
            let id = DeliveryId::new(stage.as_str());
            match (stage, store.retry(&id, now()).await.unwrap()) {
                (Stage::Failed | Stage::Skipped, Asked::Queued(put_back)) => {
                    assert_eq!((put_back.stage, put_back.run_at), (Stage::Pending, now()));
                    assert_eq!((put_back.attempt, put_back.reason, put_back.look_at), (0, None, None));
                }
                (Stage::Pending | Stage::Publishing, Asked::Sooner(due)) => {
                    assert_eq!((due.stage, due.run_at, due.attempt), (stage, now(), 7));
                }
                (_, Asked::Unmoved(known)) => assert_eq!((known.stage, known.attempt), (stage, 7)),
                (stage, other) => panic!("{stage:?}: {other:?}"),
            }
        }
        let unknown = store.retry(&DeliveryId::new("nobody"), now()).await.unwrap();
        assert!(matches!(unknown, Asked::Unknown), "{unknown:?}");
        assert_eq!(store.counts().await.unwrap()["pending"], 3);
    }

    #[tokio::test]
    async fn only_what_was_delivered_is_delivered_again() {
        let home = tempfile::tempdir().unwrap();
        let store = one_of_each(home.path()).await;
        run(&store, "update delivery set place = 'film.mp4', place_size = 3").await;
        for stage in STAGES {
            match (stage, store.redeliver(&DeliveryId::new(stage.as_str()), now()).await.unwrap()) {
                (Stage::Done, Asked::Queued(again)) => {
                    assert_eq!((again.stage, again.created, again.published), (Stage::Pending, now(), None));
                }
                (_, Asked::Unmoved(known)) => assert_eq!(known.stage, stage),
                (stage, other) => panic!("{stage:?}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn drive_is_asked_once_about_what_failed() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for (number, stage) in [Stage::Failed, Stage::Done].into_iter().enumerate() {
            store.put_bare(&number.to_string(), "/videos", number as i64 + 1, stage).await;
        }
        store.look_at_failed(now()).await.unwrap();
        let due = store.unready(now()).await.unwrap();
        assert_eq!((due.len(), due[0].stage), (1, Stage::Failed));
        store.still_unready(&due[0].id, now(), 1).await.unwrap();
        assert_eq!(store.next_asked().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_earlier_content_is_not_brought_back() {
        let home = tempfile::tempdir().unwrap();
        let store = one_of_each(home.path()).await;
        run(&store, "update delivery set overtaken = 1").await;
        for stage in [Stage::Failed, Stage::Skipped, Stage::Done] {
            let id = DeliveryId::new(stage.as_str());
            let (retried, redelivered) =
                (store.retry(&id, now()).await.unwrap(), store.redeliver(&id, now()).await.unwrap());
            assert!(matches!(retried, Asked::Unmoved(_)), "{retried:?}");
            assert!(matches!(redelivered, Asked::Unmoved(_)), "{redelivered:?}");
        }
        assert_eq!(store.retry_failed(now()).await.unwrap(), Retried::default());
        assert_eq!(store.retry_skipped(now()).await.unwrap(), Retried::default());
    }

    #[tokio::test]
    async fn all_that_failed_or_were_skipped_are_tried_again_except_those_that_a_setting_leaves_out() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for number in 1..=9 {
            let stage = if number < 4 { Stage::Failed } else { Stage::Skipped };
            store.put_bare(&number.to_string(), "/videos", number, stage).await;
        }
        run(&store, "update delivery set cause = 'setting' where seq in (1, 8, 9)").await;
        run(&store, "update delivery set cause = 'permission' where seq = 7").await;
        assert_eq!(store.retry_failed(now()).await.unwrap(), Retried::default(), "of no watched folder");
        assert_eq!(store.retry_skipped(now()).await.unwrap(), Retried::default());
        store.put_bare_folder().await;
        assert_eq!(store.retry_failed(now()).await.unwrap(), Retried { count: 3, left: 0 });
        assert_eq!(store.retry_failed(now()).await.unwrap(), Retried::default());
        assert_eq!(store.retry_skipped(now()).await.unwrap(), Retried { count: 4, left: 2 });
        assert_eq!(store.counts().await.unwrap()["pending"], 7);
    }
}
