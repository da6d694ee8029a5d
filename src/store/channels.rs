//! Channels in the ledger.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Store, millis, time};
use crate::model::{ChangeLog, Channel, ChannelId, ChannelState, ResourceId};

impl Store {
    /// All channels that are still remembered, oldest first.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        let rows = sqlx::query("select * from channel order by created_at, id").fetch_all(&self.pool).await?;
        rows.iter().map(channel).collect()
    }

    /// Writes a channel down before Drive is asked for it: its first message can come before Drive's answer.
    pub async fn add_channel(&self, channel: &Channel) -> Result<(), Error> {
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
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Drive has granted the channel. In the same transaction every earlier live channel of its log is replaced.
    pub async fn channel_opened(
        &self,
        id: &ChannelId,
        log: &ChangeLog,
        resource_id: &ResourceId,
        expires: Timestamp,
    ) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("update channel set state = 'replaced' where log = $1 and state = 'live' and id <> $2")
            .bind(log.key())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("update channel set state = 'live', resource_id = $1, expires_at = $2 where id = $3")
            .bind(resource_id.as_str())
            .bind(millis(expires))
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
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
        expires: time(row.try_get("expires_at")?),
    })
}
