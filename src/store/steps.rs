//! The last steps of many deliveries, each in one statement: it has to be on disk before the next one is taken, and a
//! disk makes twenty steps durable in the time of one.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use sqlx::Row;

use super::sql::{Sql, Value, lists};
use super::{Error, Store, millis};
use crate::model::delivery::{Identity, PublishedFile};
use crate::model::file::Checksum;
use crate::model::{DeliveryId, FileId, Stage};

impl Store {
    /// Verified and about to be moved to these places. What is not given back was overtaken: it was superseded, or a later
    /// content of its file is known, which it must not replace.
    pub async fn publishing(
        &self,
        steps: &[(DeliveryId, PublishedFile)],
        now: Timestamp,
    ) -> Result<HashSet<DeliveryId>, Error> {
        let mut count = 0;
        for steps in lists(steps) {
            let sql = Sql::new("with step (step_id, path, inode, bytes, mtime, sum, replaces) as (")
                .rows(steps.into_iter().map(row))
                .text(
                    ") update delivery set stage = 'publishing', place = path, place_inode = inode, \
                     place_size = bytes, place_mtime = mtime, place_sum = sum, place_replaces = replaces, place_adopted = 0, moved_at = ",
                )
                .bind(millis(now))
                .text(" from step where id = step_id and overtaken = 0 and stage in ('downloading', 'publishing')");
            count += sql.query().execute(&self.pool).await?.rows_affected();
        }
        if count == steps.len() as u64 {
            return Ok(steps.iter().map(|(id, _)| id.clone()).collect());
        }
        // The stage alone proves nothing: one that comes once more, since its place was taken, has it from before.
        self.still_publishing(steps).await
    }

    async fn still_publishing(
        &self,
        steps: &[(DeliveryId, PublishedFile)],
    ) -> Result<HashSet<DeliveryId>, Error> {
        let mut found = HashSet::new();
        for (id, _) in steps {
            let row = sqlx::query(
                "select 1 from delivery where id = $1 and stage = 'publishing' and overtaken = 0",
            );
            if row.bind(id.as_str()).fetch_optional(&self.pool).await?.is_some() {
                found.insert(id.clone());
            }
        }
        Ok(found)
    }

    /// Those that are said to be publishing to this destination, with their files. There are few of them at any time.
    pub async fn publishing_to(&self, destination: &Path) -> Result<HashMap<DeliveryId, FileId>, Error> {
        let rows =
            sqlx::query("select id, file_id from delivery where stage = 'publishing' and destination = $1")
                .bind(destination.to_string_lossy().into_owned())
                .fetch_all(&self.pool)
                .await?;
        let ids = rows.iter().map(|row| {
            let file_id = FileId::new(row.try_get::<String, _>("file_id")?);
            Ok((DeliveryId::new(row.try_get::<String, _>("id")?), file_id))
        });
        ids.collect()
    }

    /// The disk is to be looked at now for one that is said to be publishing.
    pub async fn look_now(&self, id: &DeliveryId, now: Timestamp) -> Result<(), Error> {
        sqlx::query("update delivery set run_at = $1 where id = $2 and stage = 'publishing' and run_at > $1")
            .bind(millis(now))
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// They are in their places. What is not given back was not being published, nor done before.
    pub async fn done(&self, ids: &[DeliveryId], now: Timestamp) -> Result<HashSet<DeliveryId>, Error> {
        let mut count = 0;
        for ids in lists(ids) {
            let sql = Sql::new("update delivery set stage = 'done', reason = null, moved_at = ")
                .bind(millis(now))
                .text(" where stage = 'publishing' and id in ")
                .list(ids);
            count += sql.query().execute(&self.pool).await?.rows_affected();
        }
        self.moved(ids.iter().cloned().collect(), count, Stage::Done).await
    }

    /// Which of them a statement has moved that moved so many: all of them, nearly always. Only else the ledger is asked
    /// which ones are at that stage by now: the answer takes longer than the statement.
    async fn moved(
        &self,
        ids: HashSet<DeliveryId>,
        count: u64,
        to: Stage,
    ) -> Result<HashSet<DeliveryId>, Error> {
        if count == ids.len() as u64 {
            return Ok(ids);
        }
        let stages = self.stages(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(stages.into_iter().filter(|(_, stage)| *stage == to).map(|(id, _)| id).collect())
    }
}

/// A step as a row of values.
fn row((id, place): &(DeliveryId, PublishedFile)) -> [Value; 7] {
    let Identity::File { inode, modified_ns } = place.identity;
    [
        id.into(),
        place.path.to_string().into(),
        (inode as i64).into(),
        (place.size as i64).into(),
        modified_ns.into(),
        place.checksum.as_ref().map(Checksum::tagged).into(),
        i64::from(place.replaces).into(),
    ]
}

#[cfg(test)]
impl Store {
    /// A delivery of which only the stage and the destination matter. Its id begins with that of its file.
    pub(crate) async fn put_bare(&self, id: &str, destination: &str, seq: i64, stage: crate::model::Stage) {
        sqlx::query(
            "insert into delivery (id, seq, file_id, revision, log, watched_id, name, mime_type, destination, wanted, \
             on_update, stage, run_at, seen_at, moved_at) \
             values ($1, $2, $3, $1, 'user', 'w', 'n', 'video/mp4', $4, 'n', 'replace', $5, 0, 0, 0)",
        )
        .bind(id.to_owned())
        .bind(seq)
        .bind(id.split('@').next().unwrap_or_default().to_owned())
        .bind(destination.to_owned())
        .bind(stage.as_str())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The watched folder of such deliveries.
    pub(crate) async fn put_bare_folder(&self) {
        let folder =
            "insert into folder (id, log, name, watched, listing) values ('w', 'user', 'W', 1, 'done')";
        sqlx::query(folder).execute(&self.pool).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RelativePath, Stage};
    use crate::store::tests::store;

    fn place(number: i64) -> PublishedFile {
        PublishedFile {
            path: RelativePath::from_stored(&format!("film {number}.mp4")),
            identity: Identity::File { inode: number as u64, modified_ns: 8 },
            size: 7,
            checksum: (number % 3 == 0).then(|| Checksum::Md5("00".to_owned())),
            replaces: number % 5 == 0,
            adopted: false,
        }
    }

    #[tokio::test]
    async fn each_delivery_of_many_moves_if_its_stage_allows_it() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for number in 0..600_i64 {
            let stage = if number % 2 == 0 { Stage::Downloading } else { Stage::Superseded };
            store.put_bare(&format!("d{number}"), "/videos", number, stage).await;
        }
        let id = |number: i64| DeliveryId::new(format!("d{number}"));
        let steps: Vec<_> = (0..599).map(|number| (id(number), place(number))).collect();
        let ids: Vec<_> = (0..600).map(id).collect();
        let even: HashSet<_> = (0..599).step_by(2).map(id).collect();
        assert_eq!(store.publishing(&steps, Timestamp::UNIX_EPOCH).await.unwrap(), even);
        for delivery in store.in_stages(&[Stage::Publishing], i64::MAX).await.unwrap() {
            let number = delivery.id.as_str()[1..].parse().unwrap();
            assert_eq!(delivery.published, Some(place(number)));
        }
        assert_eq!(store.done(&ids, Timestamp::UNIX_EPOCH).await.unwrap(), even);
        assert_eq!(store.done(&ids, Timestamp::now()).await.unwrap(), even, "done is done");
        assert_eq!(store.publishing(&steps, Timestamp::now()).await.unwrap(), HashSet::new(), "and stays so");
        let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1);
        assert_eq!(store.moved_since(later).await.unwrap().len(), 0, "nothing was written again");
        assert_eq!(store.counts().await.unwrap()["done"], 300);
        let files: Vec<_> = (0..600).map(|number| FileId::new(format!("d{number}"))).collect();
        let delivered = store.delivered(&files).await.unwrap();
        assert_eq!(delivered.len(), 300);
        assert!(delivered.into_iter().all(|(file, delivery)| file.as_str() == delivery.id.as_str()));
        assert_eq!(store.counts().await.unwrap()["superseded"], 300);
    }

    #[tokio::test]
    async fn what_is_overtaken_between_two_tries_gets_no_second_place() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let steps: Vec<_> =
            (0..3).map(|number| (DeliveryId::new(format!("d{number}")), place(number))).collect();
        for (number, (id, _)) in steps.iter().enumerate() {
            store.put_bare(id.as_str(), "/videos", number as i64, Stage::Downloading).await;
        }
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(store.publishing(&steps, now).await.unwrap().len(), 3);
        let overtake = "update delivery set overtaken = 1 where id = 'd1'";
        sqlx::query(overtake).execute(&store.pool).await.unwrap();
        let left = HashSet::from(["d0", "d2"].map(DeliveryId::new));
        assert_eq!(store.publishing(&steps, now).await.unwrap(), left);
    }

    #[tokio::test]
    async fn of_several_contents_the_newest_that_was_delivered_counts() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let contents =
            [("a@1", Stage::Done), ("a@2", Stage::Done), ("a@3", Stage::Pending), ("b@1", Stage::Failed)];
        for (number, (id, stage)) in contents.into_iter().enumerate() {
            store.put_bare(id, "/videos", number as i64, stage).await;
        }
        let files = ["a", "b", "c"].map(FileId::new);
        let delivered = store.delivered(&files).await.unwrap();
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[&files[0]].id, DeliveryId::new("a@2"));
    }
}
