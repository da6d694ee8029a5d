//! Questions: items that `files.get` has to be asked for, because a change entry or a listing does not tell what they are.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{Error, Store, millis, optional_time, time};
use crate::model::FileId;

/// An item that Drive has to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The item.
    pub file_id: FileId,
    /// The key that it asks for.
    pub resource_key: Option<String>,
    /// Why it is asked for.
    pub why: Why,
    /// How often Drive did not show it.
    pub attempt: u32,
    /// Since when it is asked for.
    pub since: Timestamp,
}

/// Why an item is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A change entry does not say what it is now.
    Unclear,
    /// It is known, but a listing does not show it where it was.
    Missing,
    /// A shortcut points at it.
    Target,
    /// A shortcut points at it that was there before the first run.
    NotedTarget,
    /// A log that is not its own says that it is gone, and its own log cannot be read.
    Removed,
    /// It is a watched folder that Drive does not show, or shows in the trash.
    Watched,
}

impl Why {
    const ALL: [Self; 6] =
        [Self::Unclear, Self::Missing, Self::Target, Self::NotedTarget, Self::Removed, Self::Watched];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unclear => "unclear",
            Self::Missing => "missing",
            Self::Target => "target",
            Self::NotedTarget => "noted-target",
            Self::Removed => "removed",
            Self::Watched => "watched",
        }
    }
}

impl Store {
    /// Questions that are due, the oldest first.
    pub async fn questions(&self, now: Timestamp, limit: i64) -> Result<Vec<Question>, Error> {
        let rows = sqlx::query("select * from question where retry_at <= $1 order by retry_at limit $2")
            .bind(millis(now))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(question).collect()
    }

    /// When Drive is to be asked for the next item: a question, or a file that is not ready or was skipped for a while.
    pub async fn next_asked(&self) -> Result<Option<Timestamp>, Error> {
        let row = sqlx::query(
            "select min(at) as at from (select min(retry_at) as at from question \
             union all select min(run_at) as at from delivery where stage = 'unready' \
             union all select min(look_at) as at from delivery where look_at is not null) as next",
        )
        .fetch_one(&self.pool)
        .await?;
        optional_time(&row, "at")
    }

    /// A question is asked again later.
    pub async fn ask_again(&self, id: &FileId, attempt: u32, retry_at: Timestamp) -> Result<(), Error> {
        sqlx::query("update question set attempt = $1, retry_at = $2 where file_id = $3")
            .bind(i64::from(attempt))
            .bind(millis(retry_at))
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// Asks for an item at once. One that is asked for already is asked for sooner, unless it is only missed again.
pub(super) async fn ask(connection: &mut AnyConnection, new: &Question, now: Timestamp) -> Result<(), Error> {
    sqlx::query(
        "insert into question (file_id, resource_key, why, attempt, retry_at, asked_since) \
         values ($1, $2, $3, 0, $4, $4) \
         on conflict (file_id) do update set resource_key = coalesce(excluded.resource_key, question.resource_key), \
         why = case when question.why = 'watched' then question.why else excluded.why end, \
         retry_at = case when excluded.why in ('missing', 'target', 'noted-target') then question.retry_at \
         else excluded.retry_at end",
    )
    .bind(new.file_id.as_str())
    .bind(new.resource_key.as_deref())
    .bind(new.why.as_str())
    .bind(millis(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// A question is answered.
pub(super) async fn answered(connection: &mut AnyConnection, id: &FileId) -> Result<(), Error> {
    sqlx::query("delete from question where file_id = $1").bind(id.as_str()).execute(connection).await?;
    Ok(())
}

fn question(row: &AnyRow) -> Result<Question, Error> {
    let word: String = row.try_get("why")?;
    let why = Why::ALL.into_iter().find(|why| why.as_str() == word);
    Ok(Question {
        file_id: FileId::new(row.try_get::<String, _>("file_id")?),
        resource_key: row.try_get("resource_key")?,
        why: why.ok_or(Error::Value { what: "why an item is asked for", value: word })?,
        attempt: row.try_get::<i64, _>("attempt")? as u32,
        since: time(row.try_get("asked_since")?),
    })
}
