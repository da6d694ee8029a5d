//! What is kept, and for how long. The newest content of a file is known as long as Drive shows the file: otherwise it
//! would be delivered again. Its newest delivered content is known as well: a new one takes its place. Everything else is
//! history, and is removed after 90 days, a few rows at a time.

use jiff::{SignedDuration, Timestamp};
use sqlx::{AnyConnection, Row};

use super::sql::Sql;
use super::{Error, Store, millis};
use crate::model::{DeliveryId, FileId};

/// History is kept for this long.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Rows that are looked at in one step: a step takes milliseconds.
const ROWS: i64 = 100;

/// How far the history has been looked through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    moved_at: i64,
    seq: i64,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that were removed.
    pub count: u64,
    /// Where the next step begins; `None` if nothing is left to look at.
    pub next: Option<Position>,
}

impl Store {
    /// Removes some of the history that is older than 90 days, beginning at this position.
    pub async fn prune(&self, from: Position, now: Timestamp) -> Result<Pruned, Error> {
        let before = millis(now.checked_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH));
        let gone = sqlx::query(
            "delete from delivery where id in (select id from delivery where gone_at is not null and gone_at < $1 \
             and stage not in ('unready', 'pending', 'downloading', 'publishing') order by gone_at, seq limit $2)",
        )
        .bind(before)
        .bind(ROWS)
        .execute(&self.pool)
        .await?
        .rows_affected();
        let rows = sqlx::query(
            "select id, moved_at, seq from delivery where overtaken = 1 and (moved_at, seq) > ($1, $2) and moved_at < $3 \
             order by moved_at, seq limit $4",
        )
        .bind(from.moved_at)
        .bind(from.seq)
        .bind(before)
        .bind(ROWS)
        .fetch_all(&self.pool)
        .await?;
        let mut ids = Vec::new();
        let mut last = None;
        for row in &rows {
            ids.push(DeliveryId::new(row.try_get::<String, _>("id")?));
            last = Some(Position { moved_at: row.try_get("moved_at")?, seq: row.try_get("seq")? });
        }
        let overtaken = if ids.is_empty() { 0 } else { self.remove_history(&ids).await? };
        let is_over = (rows.len() as i64) < ROWS && gone < ROWS as u64;
        Ok(Pruned { count: gone + overtaken, next: if is_over { None } else { Some(last.unwrap_or(from)) } })
    }

    async fn remove_history(&self, ids: &[DeliveryId]) -> Result<u64, Error> {
        let sql = Sql::new("delete from delivery where id in ").list(ids).text(
            " and stage not in ('unready', 'pending', 'downloading', 'publishing') and (stage <> 'done' or exists (\
             select 1 from delivery as later where later.file_id = delivery.file_id and later.stage = 'done' \
             and later.seq > delivery.seq))",
        );
        Ok(sql.query().execute(&self.pool).await?.rows_affected())
    }
}

/// Drive does not show the file any more.
pub(super) async fn vanished(
    connection: &mut AnyConnection,
    file_id: &FileId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("update delivery set gone_at = $1 where file_id = $2 and gone_at is null")
        .bind(millis(now))
        .bind(file_id.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Drive shows the file again.
pub(super) async fn returned(connection: &mut AnyConnection, file_id: &FileId) -> Result<(), Error> {
    sqlx::query("update delivery set gone_at = null where file_id = $1 and gone_at is not null")
        .bind(file_id.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::store::Outcome;
    use crate::store::tests::store;

    const DAY: i64 = 24 * 3600;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + days * DAY).unwrap()
    }

    /// Removes all that is to be removed, and says what is left.
    async fn pruned(store: &Store, now: Timestamp) -> (u64, Vec<String>) {
        let (mut count, mut position) = (0, Position::default());
        loop {
            let step = store.prune(position, now).await.unwrap();
            count += step.count;
            let Some(next) = step.next else { break };
            assert!(next != position || step.count > 0, "it goes on");
            position = next;
        }
        let rows = sqlx::query("select id from delivery order by seq").fetch_all(&store.pool).await.unwrap();
        (count, rows.iter().map(|row| row.try_get(0).unwrap()).collect())
    }

    async fn run(store: &Store, sql: &'static str) {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    }

    #[tokio::test]
    async fn only_old_history_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let contents = [
            ("a@1", Stage::Done),
            ("a@2", Stage::Done),
            ("a@3", Stage::Superseded),
            ("a@4", Stage::Skipped),
            ("b@1", Stage::Failed),
            ("b@2", Stage::Publishing),
            ("b@3", Stage::Pending),
            ("c@1", Stage::Existing),
        ];
        for (number, (id, stage)) in contents.into_iter().enumerate() {
            store.put_bare(id, "/videos", number as i64, stage).await;
        }
        run(&store, "update delivery set moved_at = 1800000000000").await;
        run(&store, "update delivery set overtaken = 1 where id not in ('a@4', 'b@3', 'c@1')").await;
        assert_eq!(pruned(&store, at(89)).await.0, 0);
        let (count, left) = pruned(&store, at(91)).await;
        assert_eq!(count, 3);
        assert_eq!(left, ["a@2", "a@4", "b@2", "b@3", "c@1"]);
        assert_eq!(store.counts().await.unwrap()["done"], 1);

        // Gone from Drive, and back before it is forgotten.
        let [a, c] = ["a", "c"].map(FileId::new);
        let outcome = Outcome { vanished: vec![a.clone(), c], ..Outcome::default() };
        store.record(&outcome, at(100)).await.unwrap();
        assert!(store.ledger(std::slice::from_ref(&a)).await.unwrap()[&a].iter().all(|row| row.is_gone));
        store.record(&Outcome { returned: vec![a], ..Outcome::default() }, at(189)).await.unwrap();
        assert_eq!(pruned(&store, at(189)).await.0, 0);
        let (count, left) = pruned(&store, at(191)).await;
        assert_eq!((count, left), (1, ["a@2", "a@4", "b@2", "b@3"].map(str::to_owned).to_vec()));
    }

    #[tokio::test]
    async fn a_long_history_is_removed_in_short_steps() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for number in 0..350 {
            // Every third one is the newest delivered content of its file, and stays.
            let stage = if number % 3 == 0 { Stage::Done } else { Stage::Superseded };
            store.put_bare(&format!("f{number}"), "/videos", number + 1, stage).await;
        }
        run(&store, "update delivery set overtaken = 1").await;
        let first = store.prune(Position::default(), at(100)).await.unwrap();
        assert_eq!((first.count, first.next.is_some()), (66, true), "a hundred rows were looked at");
        let (count, left) = pruned(&store, at(100)).await;
        assert_eq!((first.count + count, left.len()), (233, 117));
    }
}
