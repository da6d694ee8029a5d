//! The settings of watched folders as they were last time: what was skipped by a setting is considered again when that
//! setting has changed.

use jiff::Timestamp;
use sqlx::Row;

use super::{Error, Store, millis};
use crate::model::FileId;

/// The settings of a watched folder that decide which files and contents are wanted, as text that is only compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which files are wanted.
    pub filters: String,
    /// What happens to new contents.
    pub on_update: String,
}

/// What comes of the settings of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are as before, or known for the first time.
    Unchanged,
    /// They are others than before.
    Changed,
}

impl Store {
    /// Compares the settings of a watched folder with those of the last time, and remembers them. If they have changed,
    /// Drive is asked about the files that were skipped by a setting; if the filters have changed, the folder and what lies
    /// below it is listed again, since the files that they left out are not in the ledger.
    pub async fn compare_settings(
        &self,
        folder: &FileId,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Comparison, Error> {
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query("select filters, on_update from folder_setting where folder_id = $1")
            .bind(folder.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        let before = match row {
            Some(row) => {
                Some(Settings { filters: row.try_get("filters")?, on_update: row.try_get("on_update")? })
            }
            None => None,
        };
        if before.as_ref() == Some(settings) {
            return Ok(Comparison::Unchanged);
        }
        sqlx::query(
            "insert into folder_setting (folder_id, filters, on_update) values ($1, $2, $3) \
             on conflict (folder_id) do update set filters = excluded.filters, on_update = excluded.on_update",
        )
        .bind(folder.as_str())
        .bind(settings.filters.as_str())
        .bind(settings.on_update.as_str())
        .execute(&mut *transaction)
        .await?;
        if before.is_some() {
            sqlx::query("update delivery set look_at = $1 where watched_id = $2 and cause = 'setting' and stage = 'skipped' \
                 and overtaken = 0")
                .bind(millis(now))
                .bind(folder.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        if before.as_ref().is_some_and(|before| before.filters != settings.filters) {
            sqlx::query(
                "with recursive below (id) as (\
                   select id from folder where id = $1 \
                   union \
                   select folder.id from folder join below on folder.parent_id = below.id\
                 ) update folder set listing = 'deliver', retry_at = 0, marked = marked + 1 \
                 where listing in ('done', 'look', 'compare') and paused = 0 and id in (select id from below)",
            )
            .bind(folder.as_str())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(before.map_or(Comparison::Unchanged, |_| Comparison::Changed))
    }

    /// Puts the deliveries back in the queue that failed by a setting which is another one now.
    pub async fn retry_failed_by_setting(&self, now: Timestamp) -> Result<u64, Error> {
        let moved = sqlx::query(
            "update delivery set stage = 'pending', run_at = $1, attempt = 0, reason = null, cause = null, moved_at = $1 \
             where stage = 'failed' and cause = 'setting' and overtaken = 0",
        )
        .bind(millis(now))
        .execute(&self.pool)
        .await?;
        Ok(moved.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::store::tests::store;

    #[tokio::test]
    async fn what_failed_by_a_setting_is_tried_again_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for (seq, (id, stage, cause, overtaken)) in [
            ("setting", Stage::Failed, Some("setting"), 0),
            ("overtaken", Stage::Failed, Some("setting"), 1),
            ("other", Stage::Failed, None, 0),
            ("skipped", Stage::Skipped, Some("setting"), 0),
        ]
        .into_iter()
        .enumerate()
        {
            store.put_bare(id, "/videos", seq as i64, stage).await;
            let sql =
                "update delivery set cause = $1, overtaken = $2, reason = 'why', attempt = 7 where id = $3";
            let change = sqlx::query(sql).bind(cause).bind(overtaken).bind(id);
            change.execute(&store.pool).await.unwrap();
        }
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(store.retry_failed_by_setting(now).await.unwrap(), 1);
        let again = store.in_stages(&[Stage::Pending], 10).await.unwrap();
        let seen: Vec<_> = again
            .iter()
            .map(|one| (one.id.as_str(), one.run_at, one.attempt, one.reason.as_deref(), one.cause))
            .collect();
        assert_eq!(seen, [("setting", now, 0, None, None)]);
        assert_eq!(store.retry_failed_by_setting(now).await.unwrap(), 0);
    }
}
