//! Where each change log stands, and whether Drive lets the account read it.

use jiff::Timestamp;
use sqlx::Row;

use super::{Error, Store, millis, optional_time};
use crate::model::{ChangeLog, PageToken};

/// Where a change log stands.
#[derive(Clone, Debug)]
pub struct LogState {
    /// Everything before it is recorded. `None`: the log cannot be read.
    pub token: Option<PageToken>,
    /// When the last complete read began.
    pub read: Option<Timestamp>,
    /// When the last comparison of all its folders with the ledger began.
    pub compared: Option<Timestamp>,
}

/// A log that Drive does not let the account read.
#[derive(Clone, Debug)]
pub struct ClosedLog {
    /// The log.
    pub log: ChangeLog,
    /// What Drive says.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Where a log stands; `None` before its first run.
    pub async fn log_state(&self, log: &ChangeLog) -> Result<Option<LogState>, Error> {
        let row = sqlx::query("select * from change_log where log = $1")
            .bind(log.key())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            let is_open = row.try_get::<Option<String>, _>("closed")?.is_none();
            let token = PageToken::new(row.try_get::<String, _>("page_token")?);
            Ok(LogState {
                token: is_open.then_some(token),
                read: optional_time(&row, "read_at")?,
                compared: optional_time(&row, "compared_at")?,
            })
        })
        .transpose()
    }

    /// The logs that known folders are on and that have begun, with their tokens. Paused folders do not count.
    pub async fn watched_logs(&self) -> Result<Vec<(ChangeLog, PageToken)>, Error> {
        let rows = sqlx::query(
            "select log, page_token from change_log where closed is null \
             and exists (select 1 from folder where folder.log = change_log.log and paused = 0) order by log",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok((ChangeLog::from_key(row.try_get(0)?), PageToken::new(row.try_get::<String, _>(1)?)))
            })
            .collect()
    }

    /// The logs that cannot be read and that known folders are on.
    pub async fn closed_logs(&self) -> Result<Vec<ClosedLog>, Error> {
        let rows = sqlx::query(
            "select log, closed, closed_since from change_log where closed is not null \
             and exists (select 1 from folder where folder.log = change_log.log and paused = 0) order by log",
        )
        .fetch_all(&self.pool)
        .await?;
        let closed = rows.iter().map(|row| {
            Ok(ClosedLog {
                log: ChangeLog::from_key(row.try_get(0)?),
                why: row.try_get(1)?,
                since: optional_time(row, "closed_since")?.unwrap_or_default(),
            })
        });
        closed.collect()
    }

    /// Begins a log at a token that Drive has just given, or begins it again after Drive refused the old one. What
    /// happened between the two tokens is found by listing all folders: the log goes to a round that none has been listed
    /// in. When the log was last read stays: what lay there before the first run does so still.
    pub async fn begin_log(&self, log: &ChangeLog, token: &PageToken, now: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "insert into change_log (log, page_token, compared_at, round, urgent_round) \
             select $1, $2, $3, before + 1, before + 1 from \
             (select coalesce(max(round), 0) as before from folder where log = $1 and paused = 0) as listed where true \
             on conflict (log) do update set page_token = excluded.page_token, compared_at = excluded.compared_at, \
             closed = null, closed_since = null, \
             round = change_log.round + 1, urgent_round = change_log.round + 1",
        )
        .bind(log.key())
        .bind(token.as_str())
        .bind(millis(now))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Drive does not let the account read a log: its folders are listed once more. `true`: that is news.
    pub async fn close_log(&self, log: &ChangeLog, why: &str, now: Timestamp) -> Result<bool, Error> {
        let known = self.log_state(log).await?;
        sqlx::query(
            "insert into change_log (log, page_token, round, closed, closed_since) values ($1, '', 1, $2, $3) \
             on conflict (log) do update set page_token = '', round = change_log.round + 1, \
             closed = excluded.closed, closed_since = coalesce(change_log.closed_since, excluded.closed_since)",
        )
        .bind(log.key())
        .bind(why)
        .bind(millis(now))
        .execute(&self.pool)
        .await?;
        Ok(known.is_none_or(|state| state.token.is_some()))
    }

    /// Has every folder of the log compared with the ledger. What is left to list stands in the ledger from here on, so
    /// the time is that of the beginning.
    pub async fn compare(&self, log: &ChangeLog, now: Timestamp) -> Result<(), Error> {
        sqlx::query("update change_log set compared_at = $1, round = round + 1 where log = $2")
            .bind(millis(now))
            .bind(log.key())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileId;
    use crate::store::watched::tests::{at, nested};

    #[tokio::test]
    async fn a_log_that_cannot_be_read_is_named_until_it_begins_anew() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let log = ChangeLog::User;
        assert_eq!(store.closed_logs().await.unwrap().len(), 0);
        assert!(store.close_log(&log, "no member", at(3)).await.unwrap(), "it is news");
        assert!(!store.close_log(&log, "no member", at(4)).await.unwrap());
        let closed = store.closed_logs().await.unwrap();
        let seen: Vec<_> = closed.iter().map(|one| (&one.log, one.why.as_str(), one.since)).collect();
        assert_eq!(seen, [(&log, "no member", at(3))]);
        assert_eq!(store.watched_logs().await.unwrap(), []);
        // It does not concern anybody while no folder on it counts.
        for id in ["inner", "outer"] {
            store.suspend(&FileId::new(id), at(4)).await.unwrap();
        }
        assert_eq!(store.closed_logs().await.unwrap().len(), 0);
        store.begin_log(&log, &PageToken::new("2"), at(5)).await.unwrap();
        sqlx::query("update folder set paused = 0").execute(&store.pool).await.unwrap();
        assert_eq!(store.closed_logs().await.unwrap().len(), 0);
        assert_eq!(store.watched_logs().await.unwrap(), [(log, PageToken::new("2"))]);
    }
}
