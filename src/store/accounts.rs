//! The account that the ledger belongs to. Page tokens, channels and what `root` means are worth nothing to another one.

use sqlx::Row;

use super::{Error, Store};
use crate::model::{Account, LoginId};

/// What it means for the ledger that calls are made for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It belonged to no account yet.
    First,
    /// It belongs to this one already.
    Same,
    /// It belonged to another one: its logs begin anew, and these channels are forgotten.
    Changed {
        /// The name of the former account.
        former: String,
        /// How many channels that had not ended.
        channels: u64,
    },
}

impl Store {
    /// Whether these credentials were seen to belong to the ledger's account.
    pub async fn knows_login(&self, login: &LoginId) -> Result<bool, Error> {
        let row = sqlx::query("select 1 from account where login = $1")
            .bind(login.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// From now on the ledger belongs to this account. What belongs to another one goes in the same transaction.
    pub async fn bind_account(&self, account: &Account, login: &LoginId) -> Result<Bound, Error> {
        let mut transaction = self.pool.begin().await?;
        let known = sqlx::query("select id, name from account").fetch_optional(&mut *transaction).await?;
        let bound = match known {
            None => Bound::First,
            Some(row) if row.try_get::<String, _>("id")? == account.id.as_str() => Bound::Same,
            Some(row) => {
                let former = row.try_get("name")?;
                let channels = sqlx::query("delete from channel where state <> 'ended'");
                let channels = channels.execute(&mut *transaction).await?.rows_affected();
                for forget in ["delete from channel", "delete from change_log", "delete from folder_alias"] {
                    sqlx::query(forget).execute(&mut *transaction).await?;
                }
                Bound::Changed { former, channels }
            }
        };
        sqlx::query("delete from account").execute(&mut *transaction).await?;
        sqlx::query("insert into account (id, name, login) values ($1, $2, $3)")
            .bind(account.id.as_str())
            .bind(account.name.as_str())
            .bind(login.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{AccountId, ChangeLog, Channel, ChannelId, ChannelState, FileId, PageToken};
    use crate::store::tests::store;

    fn account(name: &str) -> Account {
        Account { id: AccountId::new(format!("id of {name}")), name: name.to_owned() }
    }

    fn channel(id: &str, state: ChannelState) -> Channel {
        Channel {
            id: ChannelId::new(id),
            log: ChangeLog::User,
            address: String::new(),
            token_hash: String::new(),
            resource_id: None,
            state,
            created: Timestamp::UNIX_EPOCH,
            opened: None,
            called: None,
            expires: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn another_account_inherits_neither_tokens_nor_channels() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        store.begin_log(&ChangeLog::User, &PageToken::new("7"), Timestamp::now()).await.unwrap();
        for (id, state) in [("a", ChannelState::Live), ("b", ChannelState::Ended)] {
            store.add_channel(&channel(id, state)).await.unwrap();
        }
        let (first, second) = (LoginId::new("first"), LoginId::new("second"));
        assert!(!store.knows_login(&first).await.unwrap());
        assert_eq!(store.bind_account(&account("ann"), &first).await.unwrap(), Bound::First);
        assert!(store.knows_login(&first).await.unwrap());
        assert_eq!(store.bind_account(&account("ann"), &second).await.unwrap(), Bound::Same);
        assert!(store.knows_login(&second).await.unwrap() && !store.knows_login(&first).await.unwrap());
        let root = FileId::new("root");
        assert!(
            store.log_state(&ChangeLog::User).await.unwrap().is_some(),
            "a new login of the same account"
        );
        assert_eq!(store.channels().await.unwrap().len(), 2);

        let changed = store.bind_account(&account("ben"), &first).await.unwrap();
        assert_eq!(changed, Bound::Changed { former: "ann".into(), channels: 1 });
        assert!(store.log_state(&ChangeLog::User).await.unwrap().is_none());
        assert!(store.channels().await.unwrap().is_empty());
        assert_eq!(store.alias(&root).await.unwrap(), None);
        assert!(store.knows_login(&first).await.unwrap() && !store.knows_login(&second).await.unwrap());
    }
}
