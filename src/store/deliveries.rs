//! Deliveries in the ledger. Every move names the stage it starts from: what was overtaken meanwhile does not move.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::sql::{Sql, lists};
use super::{Error, LONGEST_WAIT_MS, Store, millis, optional_time, time};
use crate::model::delivery::{Cause, Identity, OnUpdate, PublishedFile};
use crate::model::file::{Checksum, Checksums};
use crate::model::{ChangeLog, Delivery, DeliveryId, FileId, RelativePath, RevisionId, Stage};

/// What the ledger knows of one content of a file: enough to decide whether a change is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Which content.
    pub revision: RevisionId,
    /// The log that spoke of the file last.
    pub log: ChangeLog,
    /// When it was found, or last opened again.
    pub seen: Timestamp,
    /// How far it is.
    pub stage: Stage,
    /// Its checksums, to recognise the same bytes under another revision.
    pub checksums: Checksums,
    /// When it was modified, according to the uploader.
    pub modified: Option<Timestamp>,
    /// What it depended on, if it was skipped.
    pub cause: Option<Cause>,
    /// Whether Drive did not show the file when it was last heard of.
    pub is_gone: bool,
    /// Why it waits, failed or was skipped.
    pub reason: Option<String>,
}

impl Ledger {
    /// Whether Drive is asked about the file from time to time, without an entry in a change log.
    pub fn is_asked_for(&self) -> bool {
        self.stage == Stage::Unready
            || self.stage == Stage::Skipped && self.cause.is_some_and(Cause::is_asked_for)
    }
}

/// How a delivery ends that is not delivered.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// Failed, skipped or superseded.
    pub stage: Stage,
    /// What it depended on, if it may be delivered later.
    pub cause: Option<Cause>,
    /// Why.
    pub reason: &'a str,
    /// When Drive is asked about the file again.
    pub look_at: Option<Timestamp>,
}

/// Deliveries by stage.
pub type Counts = BTreeMap<&'static str, i64>;

impl Store {
    /// What the ledger knows of these files, content by content in the order of arrival.
    pub async fn ledger(&self, ids: &[FileId]) -> Result<HashMap<FileId, Vec<Ledger>>, Error> {
        let mut known: HashMap<FileId, Vec<Ledger>> = HashMap::new();
        for ids in lists(ids) {
            let sql = Sql::new(
                "select file_id, revision, log, moved_at, stage, sha256, sha1, md5, modified_at, cause, reason, gone_at from delivery \
                 where file_id in ",
            );
            let sql = sql.list(ids).text(" order by seq");
            for row in sql.query().fetch_all(&self.pool).await? {
                let file_id = FileId::new(row.try_get::<String, _>("file_id")?);
                known.entry(file_id).or_default().push(Ledger {
                    revision: RevisionId::new(row.try_get::<String, _>("revision")?),
                    log: ChangeLog::from_key(row.try_get("log")?),
                    seen: time(row.try_get("moved_at")?),
                    stage: stage(&row)?,
                    checksums: checksums(&row)?,
                    modified: optional_time(&row, "modified_at")?,
                    cause: cause(&row)?,
                    is_gone: row.try_get::<Option<i64>, _>("gone_at")?.is_some(),
                    reason: row.try_get("reason")?,
                });
            }
        }
        Ok(known)
    }

    /// Takes the next `limit` deliveries of up to `largest` bytes that are due and do not go to one of the `held`
    /// destinations, and marks them as downloading.
    pub async fn claim(
        &self,
        held: &[String],
        largest: u64,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        let sql = Sql::new("update delivery set stage = 'downloading', moved_at = ")
            .bind(millis(now))
            .text(" where id in (select id from delivery where stage = 'pending' and (run_at <= ")
            .bind(millis(now))
            .text(" or run_at > ")
            .bind(millis(now) + LONGEST_WAIT_MS)
            .text(") and coalesce(size, 9223372036854775807) <= ")
            .bind(i64::try_from(largest).unwrap_or(i64::MAX));
        let sql = elsewhere(sql, held)
            .text(" order by run_at, seq limit ")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .text(") returning *");
        let rows = sql.query().fetch_all(&self.pool).await?;
        let mut claimed = rows.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
        claimed.sort_by_key(|delivery| (delivery.run_at, delivery.created));
        Ok(claimed)
    }

    /// When the next pending delivery is due, those to the `held` destinations left out.
    pub async fn next_due(&self, held: &[String]) -> Result<Option<Timestamp>, Error> {
        let sql = Sql::new("select min(run_at) as run_at from delivery where stage = 'pending'");
        optional_time(&elsewhere(sql, held).query().fetch_one(&self.pool).await?, "run_at")
    }

    /// After a crash: what was downloading waits again.
    pub async fn take_up_again(&self) -> Result<(), Error> {
        sqlx::query("update delivery set stage = 'pending' where stage = 'downloading'")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deliveries that are said to be publishing, and due for a look.
    pub async fn publishing_since(&self, now: Timestamp) -> Result<Vec<Delivery>, Error> {
        let rows =
            sqlx::query("select * from delivery where stage = 'publishing' and (run_at <= $1 or run_at > $2) order by seq")
                .bind(millis(now))
                .bind(millis(now) + LONGEST_WAIT_MS)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(delivery).collect()
    }

    /// When the next look is due at those that are said to be publishing and are not to be looked at before.
    pub async fn next_look(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let row = sqlx::query(
            "select min(run_at) as run_at from delivery where stage = 'publishing' and run_at > $1",
        )
        .bind(millis(now))
        .fetch_one(&self.pool)
        .await?;
        optional_time(&row, "run_at")
    }

    /// Whether it could be put in its place is not known; somebody looks at the disk, but not before this.
    pub async fn hold(
        &self,
        id: &DeliveryId,
        until: Timestamp,
        attempt: u32,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let moved = sqlx::query(
            "update delivery set run_at = $1, attempt = $2, reason = $3, moved_at = $4 where id = $5 and stage = 'publishing'",
        )
        .bind(millis(until))
        .bind(i64::from(attempt))
        .bind(reason)
        .bind(millis(now))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    /// Ends a delivery that is worked on. One that was overtaken is superseded, however it ended: it concerns nobody.
    /// `false`: it had come to an end before.
    pub async fn end(&self, id: &DeliveryId, ending: &Ending<'_>, now: Timestamp) -> Result<bool, Error> {
        let moved = sqlx::query(
            "update delivery set stage = case overtaken when 0 then $1 else 'superseded' end, cause = $2, reason = $3, \
             look_at = case overtaken when 0 then $4 end, moved_at = $5 \
             where id = $6 and stage in ('downloading', 'publishing')",
        )
        .bind(ending.stage.as_str())
        .bind(ending.cause.map(Cause::as_str))
        .bind(ending.reason)
        .bind(ending.look_at.map(millis))
        .bind(millis(now))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    /// Puts a delivery that is worked on back in the queue. `false`: it was overtaken, and is superseded if a later content
    /// of its file came while it was published.
    pub async fn put_back(
        &self,
        id: &DeliveryId,
        run_at: Timestamp,
        attempt: u32,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let moved = sqlx::query(
            "update delivery set stage = case overtaken when 0 then 'pending' else 'superseded' end, run_at = $1, \
             attempt = $2, reason = $3, moved_at = $4 where id = $5 and stage in ('downloading', 'publishing') \
             returning stage",
        )
        .bind(millis(run_at))
        .bind(i64::from(attempt))
        .bind(reason)
        .bind(millis(now))
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(moved.as_ref().map(stage).transpose()? == Some(Stage::Pending))
    }

    /// The newest content of each of these files that was delivered.
    pub async fn delivered(&self, file_ids: &[FileId]) -> Result<HashMap<FileId, Delivery>, Error> {
        let mut newest = HashMap::new();
        for ids in lists(file_ids) {
            for row in newest_delivered(ids).query().fetch_all(&self.pool).await? {
                let delivery = delivery(&row)?;
                newest.insert(delivery.file_id.clone(), delivery);
            }
        }
        Ok(newest)
    }

    /// Those of the deliveries that still have work to do.
    pub async fn open_among(&self, ids: &[DeliveryId]) -> Result<HashSet<DeliveryId>, Error> {
        let stages = self.stages(ids).await?;
        Ok(stages.into_iter().filter(|(_, stage)| stage.is_open()).map(|(id, _)| id).collect())
    }

    /// At which stage each of the deliveries is.
    pub(super) async fn stages(&self, ids: &[DeliveryId]) -> Result<HashMap<DeliveryId, Stage>, Error> {
        let mut stages = HashMap::new();
        for ids in lists(ids) {
            let sql = Sql::new("select id, stage from delivery where id in ").list(ids);
            for row in sql.query().fetch_all(&self.pool).await? {
                stages.insert(DeliveryId::new(row.try_get::<String, _>("id")?), stage(&row)?);
            }
        }
        Ok(stages)
    }

    /// Files that Drive is to be asked about now: their size and checksum were not known yet, or what they were skipped for
    /// may have passed.
    pub async fn unready(&self, now: Timestamp) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            "select * from (select * from delivery where stage = 'unready' and (run_at <= $1 or run_at > $2) \
             order by run_at, seq limit 100) as waiting union all \
             select * from (select * from delivery where look_at is not null and (look_at <= $1 or look_at > $2) \
             order by look_at limit 100) as skipped",
        )
        .bind(millis(now))
        .bind(millis(now) + LONGEST_WAIT_MS)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(delivery).collect()
    }

    /// Drive is asked about a file now, and again then unless the answer changes something.
    pub async fn still_unready(&self, id: &DeliveryId, again: Timestamp, attempt: u32) -> Result<(), Error> {
        sqlx::query(
            "update delivery set run_at = case stage when 'unready' then $1 else run_at end, \
             look_at = case stage when 'skipped' then $1 else null end, \
             attempt = case stage when 'failed' then attempt else $2 end \
             where id = $3 and stage in ('unready', 'skipped', 'failed')",
        )
        .bind(millis(again))
        .bind(i64::from(attempt))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Drive was asked about a file that was skipped by a setting, and it still is: that is all until the setting changes.
    pub async fn settle_setting(&self, id: &DeliveryId) -> Result<(), Error> {
        sqlx::query(
            "update delivery set look_at = null where id = $1 and stage = 'skipped' and cause = 'setting'",
        )
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deliveries in any of the stages, oldest first.
    pub async fn in_stages(&self, stages: &[Stage], limit: i64) -> Result<Vec<Delivery>, Error> {
        let sql = Sql::new("select * from delivery where stage in ").list(stages.iter().copied());
        let sql = sql.text(" order by seq limit ").bind(limit);
        sql.query().fetch_all(&self.pool).await?.iter().map(delivery).collect()
    }

    /// Deliveries that were found or moved on since then, in the order of their arrival.
    pub async fn moved_since(&self, since: Timestamp) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            // The few that moved by their own index first; in the order of the table all of it would be read.
            "select * from delivery where seq in (select seq from delivery where moved_at >= $1) order by seq",
        )
            .bind(millis(since))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(delivery).collect()
    }

    /// Deliveries that have failed, wait for another reason than their turn, or were skipped since then; the latest
    /// first.
    pub async fn attention(&self, skipped_since: Timestamp, limit: i64) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            "select * from delivery where stage in ('failed', 'unready', 'publishing') \
             or (stage = 'pending' and reason is not null) or (stage = 'skipped' and moved_at >= $1) \
             order by seq desc limit $2",
        )
        .bind(millis(skipped_since))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(delivery).collect()
    }

    /// How many deliveries are in each stage.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let rows = sqlx::query("select stage, count from delivery_count where count > 0 order by stage")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((stage(row)?.as_str(), row.try_get(1)?))).collect()
    }
}

/// File by file, each by its index: for a list of files SQLite would read through all that was ever delivered.
fn newest_delivered<'a>(files: impl IntoIterator<Item = &'a FileId>) -> Sql {
    Sql::new("with wanted (file) as (").rows(files.into_iter().map(|id| [id.into()])).text(
        ") select delivery.* from wanted join delivery on seq = \
         (select max(seq) from delivery where file_id = file and stage = 'done')",
    )
}

/// Adds the condition that a delivery goes to none of the `held` destinations.
fn elsewhere(sql: Sql, held: &[String]) -> Sql {
    if held.is_empty() { sql } else { sql.text(" and destination not in ").list(held) }
}

pub(super) fn on_update_word(on_update: OnUpdate) -> &'static str {
    match on_update {
        OnUpdate::Replace => "replace",
        OnUpdate::KeepBoth => "keep-both",
        OnUpdate::Ignore => "ignore",
    }
}

fn stage(row: &AnyRow) -> Result<Stage, Error> {
    let word: String = row.try_get("stage")?;
    Stage::from_word(&word).ok_or(Error::Value { what: "a delivery's stage", value: word })
}

fn cause(row: &AnyRow) -> Result<Option<Cause>, Error> {
    let Some(word) = row.try_get::<Option<String>, _>("cause")? else { return Ok(None) };
    Cause::from_word(&word).map(Some).ok_or(Error::Value { what: "a delivery's cause", value: word })
}

fn checksums(row: &AnyRow) -> Result<Checksums, Error> {
    Ok(Checksums { sha256: row.try_get("sha256")?, sha1: row.try_get("sha1")?, md5: row.try_get("md5")? })
}

pub(super) fn delivery(row: &AnyRow) -> Result<Delivery, Error> {
    let on_update: String = row.try_get("on_update")?;
    let on_update = [OnUpdate::Replace, OnUpdate::KeepBoth, OnUpdate::Ignore]
        .into_iter()
        .find(|known| on_update_word(*known) == on_update)
        .ok_or(Error::Value { what: "on_update", value: on_update })?;
    Ok(Delivery {
        id: DeliveryId::new(row.try_get::<String, _>("id")?),
        file_id: FileId::new(row.try_get::<String, _>("file_id")?),
        revision: RevisionId::new(row.try_get::<String, _>("revision")?),
        name: row.try_get("name")?,
        mime_type: row.try_get("mime_type")?,
        size: row.try_get::<Option<i64>, _>("size")?.map(|size| size as u64),
        checksums: checksums(row)?,
        modified: optional_time(row, "modified_at")?,
        resource_key: row.try_get("resource_key")?,
        destination: PathBuf::from(row.try_get::<String, _>("destination")?),
        wanted: RelativePath::from_stored(&row.try_get::<String, _>("wanted")?),
        on_update,
        stage: stage(row)?,
        attempt: row.try_get::<i64, _>("attempt")? as u32,
        run_at: time(row.try_get("run_at")?),
        reason: row.try_get("reason")?,
        cause: cause(row)?,
        look_at: optional_time(row, "look_at")?,
        created: time(row.try_get("seen_at")?),
        updated: time(row.try_get("moved_at")?),
        published: published(row)?,
    })
}

fn published(row: &AnyRow) -> Result<Option<PublishedFile>, Error> {
    let Some(path) = row.try_get::<Option<String>, _>("place")? else { return Ok(None) };
    Ok(Some(PublishedFile {
        path: RelativePath::from_stored(&path),
        identity: Identity::File {
            inode: row.try_get::<Option<i64>, _>("place_inode")?.unwrap_or_default() as u64,
            modified_ns: row.try_get::<Option<i64>, _>("place_mtime")?.unwrap_or_default(),
        },
        size: row.try_get::<Option<i64>, _>("place_size")?.unwrap_or_default() as u64,
        checksum: row.try_get::<Option<String>, _>("place_sum")?.as_deref().and_then(Checksum::from_tagged),
        replaces: row.try_get::<i64, _>("place_replaces")? != 0,
        adopted: row.try_get::<i64, _>("place_adopted")? != 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::SIZES;
    use crate::store::tests::store;

    #[tokio::test]
    async fn what_was_delivered_is_found_by_its_file() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for size in SIZES {
            let files: Vec<FileId> = (0..size).map(|number| FileId::new(number.to_string())).collect();
            let rows = newest_delivered(&files).explained().fetch_all(&store.pool).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
            let uses =
                |index: &str| plan.iter().any(|step| step.starts_with("SEARCH") && step.contains(index));
            assert!(uses("delivery_done (file_id=?)") && uses("delivery_seq (seq=?)"), "{size}: {plan:?}");
            let reads_all =
                plan.iter().any(|step| step.starts_with("SCAN delivery") || step.contains("B-TREE"));
            assert!(!reads_all, "{size}: {plan:?}");
        }
    }

    #[tokio::test]
    async fn the_next_look_is_at_the_first_that_is_not_due() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for (seq, (id, stage)) in [("a", Stage::Publishing), ("b", Stage::Pending), ("c", Stage::Publishing)]
            .into_iter()
            .enumerate()
        {
            store.put_bare(id, "/videos", seq as i64, stage).await;
            let change = sqlx::query("update delivery set run_at = $1 where id = $2").bind(1000 + seq as i64);
            change.bind(id).execute(&store.pool).await.unwrap();
        }
        for (now, next) in [(999, Some(1000)), (1000, Some(1002)), (1002, None)] {
            assert_eq!(store.next_look(time(now)).await.unwrap(), next.map(time), "{now}");
        }
        let due = store.publishing_since(time(1000)).await.unwrap();
        assert_eq!(due.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[tokio::test]
    async fn checksums_and_size_are_read_back_as_they_were_written() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        store.put_bare("a", "/videos", 0, Stage::Pending).await;
        let change = "update delivery set sha256 = 'x', sha1 = 'y', md5 = 'z', size = 7, resource_key = 'k'";
        sqlx::query(change).execute(&store.pool).await.unwrap();
        let found = store.in_stages(&[Stage::Pending], 1).await.unwrap().remove(0);
        let [sha256, sha1, md5] = ["x", "y", "z"].map(|sum| Some(sum.to_owned()));
        assert_eq!(found.checksums, Checksums { sha256, sha1, md5 });
        assert_eq!((found.size, found.resource_key.as_deref()), (Some(7), Some("k")));
    }
}
