//! The destinations that were used, and what each is known by.

use std::path::{Path, PathBuf};

use sqlx::Row;

use super::deliveries::delivery;
use super::{Error, Store};
use crate::model::Delivery;

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
