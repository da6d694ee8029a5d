//! Steps of many deliveries in one transaction. Each step has to be on disk before the next one is taken, and a disk
//! makes twenty steps durable in the time of one: whoever comes while a transaction is being written waits for the next
//! one, together with all the others.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use sqlx::AnyConnection;
use tokio::sync::oneshot;

use super::{Error, Store, millis};
use crate::model::DeliveryId;
use crate::model::delivery::PublishedFile;
use crate::model::file::Checksum;

/// A step of one delivery.
#[derive(Debug)]
pub(super) enum Move {
    /// Verified and about to be moved to this place.
    Publishing(DeliveryId, Box<PublishedFile>, Timestamp),
    /// In its place.
    Done(DeliveryId, Timestamp),
}

#[derive(Debug)]
struct Waiting {
    step: Move,
    answer: oneshot::Sender<Result<bool, Error>>,
}

/// Steps that wait for the next transaction.
#[derive(Debug, Default)]
pub(super) struct Group {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

impl Store {
    /// Makes a step with all others that wait. `false`: the delivery was overtaken.
    pub(super) async fn step(&self, step: Move) -> Result<bool, Error> {
        let (answer, mut answered) = oneshot::channel();
        self.group.lock().push(Waiting { step, answer });
        let turn = self.group.turn.lock().await;
        if let Ok(done) = answered.try_recv() {
            // Somebody before has taken it along.
            return done;
        }
        let waiting = std::mem::take(&mut *self.group.lock());
        self.write(waiting).await;
        drop(turn);
        answered.try_recv().unwrap_or_else(|_| Err(failed("nobody wrote it")))
    }

    async fn write(&self, waiting: Vec<Waiting>) {
        match self.write_all(&waiting).await {
            Ok(outcomes) => {
                for (waiting, moved) in waiting.into_iter().zip(outcomes) {
                    // Whoever does not wait any more does not need to know.
                    let _ = waiting.answer.send(Ok(moved));
                }
            }
            Err(error) => {
                let why = error.to_string();
                for waiting in waiting {
                    let _ = waiting.answer.send(Err(failed(&why)));
                }
            }
        }
    }

    async fn write_all(&self, waiting: &[Waiting]) -> Result<Vec<bool>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let mut outcomes = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            outcomes.push(make(&waiting.step, &mut transaction).await?);
        }
        transaction.commit().await?;
        Ok(outcomes)
    }
}

impl Group {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        // A list, whole at any time.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that wait get the one error of their transaction.
fn failed(why: &str) -> Error {
    Error::Sql(sqlx::Error::Protocol(why.to_owned()))
}

async fn make(step: &Move, connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let query = match step {
        Move::Publishing(id, place, now) => sqlx::query(
            "update delivery set stage = 'publishing', place = $1, place_inode = $2, place_size = $3, place_mtime = $4, \
             place_sum = $5, place_replaces = $6, moved_at = $7 where id = $8 and stage in ('downloading', 'publishing')",
        )
        .bind(place.path.to_string())
        .bind(place.inode as i64)
        .bind(place.size as i64)
        .bind(place.modified_ns)
        .bind(place.checksum.as_ref().map(Checksum::tagged))
        .bind(i64::from(place.replaces))
        .bind(millis(*now))
        .bind(id.as_str()),
        Move::Done(id, now) => sqlx::query(
            "update delivery set stage = 'done', reason = null, moved_at = $1 where id = $2 and stage = 'publishing'",
        )
        .bind(millis(*now))
        .bind(id.as_str()),
    };
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::store::{Access, Config};

    #[tokio::test(flavor = "multi_thread")]
    async fn everybody_who_comes_at_once_gets_his_own_answer() {
        let home = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", home.path().join("state.db").display());
        let store = Store::open(&Config { url }, Access::Exclusive).await.unwrap();
        for number in 0..40_i64 {
            let stage = if number % 2 == 0 { "publishing" } else { "downloading" };
            sqlx::query(
                "insert into delivery (id, seq, file_id, revision, log, watched_id, name, mime_type, destination, wanted, on_update, stage, \
                 attempt, run_at, seen_at, moved_at, place_replaces) \
                 values ($1, $3, $1, 'r', 'user', 'w', 'n', 'video/mp4', '/videos', 'n', 'replace', $2, 0, 0, 0, 0, 0)",
            )
            .bind(format!("d{number}"))
            .bind(stage)
            .bind(number)
            .execute(&store.pool)
            .await
            .unwrap();
        }
        let mut steps = JoinSet::new();
        for number in 0..40_i64 {
            let store = store.clone();
            steps.spawn(async move {
                let id = DeliveryId::new(format!("d{number}"));
                (number, store.done(&id, Timestamp::UNIX_EPOCH).await.unwrap())
            });
        }
        for (number, moved) in steps.join_all().await {
            assert_eq!(moved, number % 2 == 0, "only what was being published is done: {number}");
        }
        assert_eq!(store.counts().await.unwrap()["done"], 20);
    }
}
