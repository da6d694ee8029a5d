//! The destinations that were used, and what each is known by.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::Row;

use super::deliveries::delivery;
use super::{Error, Store, millis};
use crate::model::delivery::{Identity, PublishedFile};
use crate::model::file::Checksum;
use crate::model::{Delivery, DeliveryId, RelativePath};

impl Store {
    /// What this destination is known by; `None` if it was never used.
    pub async fn marker(&self, root: &Path) -> Result<Option<String>, Error> {
        let row = sqlx::query("select marker from destination where root = $1")
            .bind(root.to_string_lossy().into_owned())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// From now on this destination is known by this marker.
    pub async fn set_marker(&self, root: &Path, marker: &str) -> Result<(), Error> {
        sqlx::query(
            "insert into destination (root, marker) values ($1, $2) \
             on conflict (root) do update set marker = excluded.marker",
        )
        .bind(root.to_string_lossy().into_owned())
        .bind(marker)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The destinations of everything that is still to be delivered.
    pub async fn awaited(&self) -> Result<Vec<PathBuf>, Error> {
        let rows = sqlx::query(
            "select distinct destination from delivery \
             where stage in ('unready', 'pending', 'downloading', 'publishing')",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok(PathBuf::from(row.try_get::<String, _>(0)?))).collect()
    }

    /// The latest delivery that has put a file to this place, or is about to.
    pub async fn holder(&self, root: &Path, place: &RelativePath) -> Result<Option<Delivery>, Error> {
        let row = sqlx::query(
            "select * from delivery where place = $1 and destination = $2 and stage in ('publishing', 'done') \
             order by seq desc limit 1",
        )
        .bind(place.to_string())
        .bind(root.to_string_lossy().into_owned())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(delivery).transpose()
    }

    /// A file that lies there already is what a delivery was to bring: it is done. `false`: it was overtaken, the place
    /// is that of another file, or another content of its own file is about to take the place.
    pub async fn adopt(&self, id: &DeliveryId, file: &PublishedFile, now: Timestamp) -> Result<bool, Error> {
        let Identity::File { inode, modified_ns } = file.identity;
        let moved = sqlx::query(
            "update delivery set stage = 'done', reason = null, place = $1, place_inode = $2, place_size = $3, \
             place_mtime = $4, place_sum = $5, place_replaces = 0, place_adopted = $6, moved_at = $7 \
             where id = $8 and stage = 'downloading' and overtaken = 0 and not exists (\
               select 1 from delivery as other where other.place = $1 and other.destination = delivery.destination \
               and other.stage in ('publishing', 'done') and other.file_id <> delivery.file_id) \
             and not exists (\
               select 1 from delivery as other where other.file_id = delivery.file_id \
               and case other.stage when 'publishing' then 1 else 0 end = 1 and other.destination = delivery.destination)",
        )
        .bind(file.path.to_string())
        .bind(inode as i64)
        .bind(file.size as i64)
        .bind(modified_ns)
        .bind(file.checksum.as_ref().map(Checksum::tagged))
        .bind(i64::from(file.adopted))
        .bind(millis(now))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(moved.rows_affected() > 0)
    }

    /// Those of the deliveries that are in the database, at whatever stage.
    pub async fn known_among(&self, ids: &[DeliveryId]) -> Result<HashSet<DeliveryId>, Error> {
        Ok(self.stages(ids).await?.into_keys().collect())
    }

    /// By what the destinations know this database.
    pub async fn own_id(&self) -> Result<String, Error> {
        // It never changes, and each look at a destination asks for it.
        let read =
            async || Ok(sqlx::query("select id from ledger").fetch_one(&self.pool).await?.try_get(0)?);
        self.own_id.get_or_try_init(read).await.cloned()
    }

    /// The latest files that were put there.
    pub async fn delivered_to(&self, root: &Path, limit: i64) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            "select * from delivery where destination = $1 and stage = 'done' order by moved_at desc limit $2",
        )
        .bind(root.to_string_lossy().into_owned())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(delivery).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::store::tests::store;

    fn file(path: &str) -> PublishedFile {
        PublishedFile {
            path: RelativePath::from_stored(path),
            identity: Identity::File { inode: u64::MAX - 7, modified_ns: -5 },
            size: 3,
            checksum: Some(Checksum::Md5("00".into())),
            replaces: false,
            adopted: true,
        }
    }

    #[tokio::test]
    async fn a_place_is_adopted_by_one_file_only() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for (seq, (id, stage)) in [
            ("a@1", Stage::Downloading),
            ("b@1", Stage::Downloading),
            ("a@2", Stage::Downloading),
            ("c@1", Stage::Superseded),
        ]
        .into_iter()
        .enumerate()
        {
            store.put_bare(id, "/videos", seq as i64, stage).await;
        }
        store.put_bare("d@1", "/elsewhere", 9, Stage::Downloading).await;
        let adopt = async |id: &str, path: &str| {
            store.adopt(&DeliveryId::new(id), &file(path), Timestamp::now()).await.unwrap()
        };
        assert!(adopt("a@1", "film.mp4").await);
        assert!(!adopt("b@1", "film.mp4").await, "it is that of another file");
        assert!(adopt("a@2", "film.mp4").await, "of the same one");
        assert!(!adopt("c@1", "other.mp4").await, "it was overtaken");
        assert!(adopt("d@1", "film.mp4").await, "another destination");
        // A content that is about to take the place may have taken it by now, or may do so in a moment.
        store.put_bare("f@1", "/videos", 11, Stage::Downloading).await;
        store.put_bare("f@2", "/videos", 12, Stage::Downloading).await;
        store.publishing(&[(DeliveryId::new("f@1"), file("f.mp4"))], Timestamp::now()).await.unwrap();
        assert!(!adopt("f@2", "f.mp4").await && !adopt("f@2", "f [f].mp4").await);
        store.done(&[DeliveryId::new("f@1")], Timestamp::now()).await.unwrap();
        assert!(adopt("f@2", "f.mp4").await);
        let film = file("film.mp4");
        let holder = store.holder(Path::new("/videos"), &film.path).await.unwrap().unwrap();
        assert_eq!((holder.id.as_str(), holder.stage, holder.published), ("a@2", Stage::Done, Some(film)));
        assert!(store.holder(Path::new("/videos"), &file("b.mp4").path).await.unwrap().is_none());
        // What is delivered later to that place is the program's own.
        store.put_bare("e@1", "/videos", 10, Stage::Downloading).await;
        let own = PublishedFile { adopted: false, ..file("own.mp4") };
        store.publishing(&[(DeliveryId::new("e@1"), file("own.mp4"))], Timestamp::now()).await.unwrap();
        let holder = store.holder(Path::new("/videos"), &own.path).await.unwrap().unwrap();
        assert_eq!(holder.published, Some(own));
    }

    #[tokio::test]
    async fn each_database_has_an_id_of_its_own_and_keeps_it() {
        let [home, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let first = store(home.path()).await;
        let id = first.own_id().await.unwrap();
        first.close().await;
        drop(first);
        assert_eq!(store(home.path()).await.own_id().await.unwrap(), id);
        assert_ne!(store(other.path()).await.own_id().await.unwrap(), id);
    }
}
