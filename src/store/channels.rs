//! Channels in the ledger.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Store, millis, optional_time, time};
use crate::model::{ChangeLog, Channel, ChannelId, ChannelState, ResourceId};

/// So many ended channels of a log are remembered; a message on an older one is a stranger's.
const REMEMBERED: i64 = 16;

impl Store {
    /// All channels that are still remembered, oldest first.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        let rows = sqlx::query("select * from channel order by created_at, id").fetch_all(&self.pool).await?;
        rows.iter().map(channel).collect()
    }

    /// Writes a channel down before Drive is asked for it: its first message can come before Drive's answer. In the same
    /// transaction the oldest ended channels of the log are forgotten, so that attempts that fail do not add up.
    pub async fn add_channel(&self, channel: &Channel) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "delete from channel where id in (select id from channel where log = $1 and state = 'ended' \
             order by created_at desc, id limit 1000 offset $2)",
        )
        .bind(channel.log.key())
        .bind(REMEMBERED)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "insert into channel (id, log, address, token_hash, resource_id, state, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(channel.id.as_str())
        .bind(channel.log.key())
        .bind(channel.address.as_str())
        .bind(channel.token_hash.as_str())
        .bind(channel.resource_id.as_ref().map(ResourceId::as_str))
        .bind(channel.state.as_str())
        .bind(millis(channel.created))
        .bind(millis(channel.expires))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Drive has granted the channel. In the same transaction every earlier live channel of its log is replaced.
    pub async fn channel_opened(
        &self,
        id: &ChannelId,
        log: &ChangeLog,
        resource_id: &ResourceId,
        opened: Timestamp,
        expires: Timestamp,
    ) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("update channel set state = 'replaced' where log = $1 and state = 'live' and id <> $2")
            .bind(log.key())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "update channel set state = 'live', resource_id = $1, opened_at = $2, expires_at = $3 where id = $4",
        )
        .bind(resource_id.as_str())
        .bind(millis(opened))
        .bind(millis(expires))
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Google has called on a channel.
    pub async fn channel_called(&self, id: &ChannelId, at: Timestamp) -> Result<(), Error> {
        sqlx::query("update channel set called_at = $1 where id = $2")
            .bind(millis(at))
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Moves a channel on in its life.
    pub async fn set_channel_state(&self, id: &ChannelId, state: ChannelState) -> Result<(), Error> {
        sqlx::query("update channel set state = $1 where id = $2")
            .bind(state.as_str())
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets a channel.
    pub async fn forget_channel(&self, id: &ChannelId) -> Result<(), Error> {
        sqlx::query("delete from channel where id = $1").bind(id.as_str()).execute(&self.pool).await?;
        Ok(())
    }
}

fn channel(row: &AnyRow) -> Result<Channel, Error> {
    let state: String = row.try_get("state")?;
    Ok(Channel {
        id: ChannelId::new(row.try_get::<String, _>("id")?),
        log: ChangeLog::from_key(row.try_get("log")?),
        address: row.try_get("address")?,
        token_hash: row.try_get("token_hash")?,
        resource_id: row.try_get::<Option<String>, _>("resource_id")?.map(ResourceId::new),
        state: ChannelState::from_word(&state)
            .ok_or(Error::Value { what: "a channel's state", value: state })?,
        created: time(row.try_get("created_at")?),
        opened: optional_time(row, "opened_at")?,
        called: optional_time(row, "called_at")?,
        expires: time(row.try_get("expires_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    fn opening(id: &str, log: &ChangeLog, created: i64) -> Channel {
        Channel {
            id: ChannelId::new(id),
            log: log.clone(),
            address: "https://here.example".into(),
            token_hash: String::new(),
            resource_id: None,
            state: ChannelState::Opening,
            created: time(created),
            opened: None,
            called: None,
            expires: time(created + 1000),
        }
    }

    async fn ids(store: &Store) -> Vec<String> {
        store.channels().await.unwrap().into_iter().map(|channel| channel.id.as_str().to_owned()).collect()
    }

    #[tokio::test]
    async fn attempts_that_fail_do_not_add_up() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let other = ChangeLog::SharedDrive("0A".into());
        store.add_channel(&opening("other", &other, 0)).await.unwrap();
        store.set_channel_state(&ChannelId::new("other"), ChannelState::Ended).await.unwrap();
        store.add_channel(&opening("live", &ChangeLog::User, 0)).await.unwrap();
        let (live, resource) = (ChannelId::new("live"), ResourceId::new("r"));
        store.channel_opened(&live, &ChangeLog::User, &resource, time(1), time(9)).await.unwrap();
        for n in 1..=100 {
            let channel = opening(&format!("{n:03}"), &ChangeLog::User, n);
            store.add_channel(&channel).await.unwrap();
            store.set_channel_state(&channel.id, ChannelState::Ended).await.unwrap();
        }
        let ids = ids(&store).await;
        assert_eq!(ids.len(), 2 + REMEMBERED as usize + 1, "{ids:?}");
        assert_eq!((ids.last().unwrap().as_str(), ids[2].as_str()), ("100", "084"), "the newest: {ids:?}");
        assert!(ids.contains(&"live".to_owned()) && ids.contains(&"other".to_owned()));
    }

    #[tokio::test]
    async fn when_a_channel_was_granted_and_called_on_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let id = ChannelId::new("a");
        store.add_channel(&opening("a", &ChangeLog::User, 1)).await.unwrap();
        let times = async || {
            let channel = store.channels().await.unwrap().remove(0);
            (channel.opened, channel.called)
        };
        assert_eq!(times().await, (None, None));
        store.channel_opened(&id, &ChangeLog::User, &ResourceId::new("r"), time(2), time(9)).await.unwrap();
        assert_eq!(times().await, (Some(time(2)), None));
        store.channel_called(&id, time(3)).await.unwrap();
        assert_eq!(times().await, (Some(time(2)), Some(time(3))));
    }

    #[tokio::test]
    async fn a_channel_that_is_forgotten_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        for id in ["a", "b"] {
            store.add_channel(&opening(id, &ChangeLog::User, 0)).await.unwrap();
        }
        store.forget_channel(&ChannelId::new("a")).await.unwrap();
        assert_eq!(ids(&store).await, ["b"]);
    }
}
