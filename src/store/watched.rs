//! Watched folders as they come into the configuration, leave it, and come back.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row};

use super::folders::{drop_folder, folder};
use super::{Error, Folder, Listing, Store, millis};
use crate::model::FileId;

/// What of a watched folder counts besides the files directly in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What lies in folders below it.
    pub recursive: bool,
    /// What shortcuts point at.
    pub shortcuts: bool,
}

/// A folder that the configuration names, or has named within the last day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The folder.
    pub folder: Folder,
    /// What counted when it was last taken over; `None` if an older program wrote it.
    pub scope: Option<Scope>,
    /// Whether no rule names it at the moment.
    pub suspended: bool,
}

impl Store {
    /// All watched folders, the suspended ones included.
    pub async fn watched(&self) -> Result<Vec<Watched>, Error> {
        let rows =
            sqlx::query("select * from folder where watched = 1 order by id").fetch_all(&self.pool).await?;
        let watched = rows.iter().map(|row| {
            let is = |column| Ok::<_, Error>(row.try_get::<Option<i64>, _>(column)?.map(|value| value != 0));
            let scope = is("recursive")?.zip(is("shortcuts")?);
            Ok(Watched {
                folder: folder(row)?,
                scope: scope.map(|(recursive, shortcuts)| Scope { recursive, shortcuts }),
                suspended: row.try_get::<Option<i64>, _>("suspended_at")?.is_some(),
            })
        });
        watched.collect()
    }

    /// Writes a folder down that was not watched before.
    pub async fn watch(&self, new: &Folder, scope: Scope) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "insert into folder (id, log, parent_id, name, resource_key, watched, listing, looks, recursive, shortcuts) \
             values ($1, $2, $3, $4, $5, 1, $6, 2, $7, $8) \
             on conflict (id) do update set log = excluded.log, parent_id = excluded.parent_id, \
             name = excluded.name, resource_key = excluded.resource_key, watched = 1, listing = excluded.listing, \
             looks = excluded.looks, retry_at = 0, attempt = 0, marked = folder.marked + 1, \
             recursive = excluded.recursive, shortcuts = excluded.shortcuts, suspended_at = null",
        )
        .bind(new.id.as_str())
        .bind(new.log.key())
        .bind(new.parent.as_ref().map(FileId::as_str))
        .bind(new.name.as_str())
        .bind(new.resource_key.as_deref())
        .bind(new.listing.as_str())
        .bind(i64::from(scope.recursive))
        .bind(i64::from(scope.shortcuts))
        .execute(&mut *transaction)
        .await?;
        pause_below_suspended(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A watched folder stays watched or, if it was suspended, is watched again. With `again`, it and everything below it
    /// is listed in this way; what is still to be noted from before stays so.
    pub async fn watch_on(&self, id: &FileId, scope: Scope, again: Option<Listing>) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("update folder set suspended_at = null, recursive = $1, shortcuts = $2 where id = $3")
            .bind(i64::from(scope.recursive))
            .bind(i64::from(scope.shortcuts))
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        if let Some(listing) = again {
            sqlx::query(
                "with recursive below (id) as (\
                   select id from folder where id = $1 \
                   union \
                   select folder.id from folder join below on folder.parent_id = below.id\
                 ) update folder set listing = $2, retry_at = 0, marked = marked + 1 \
                 where listing in ('done', 'look', 'compare') and id in (select id from below)",
            )
            .bind(id.as_str())
            .bind(listing.as_str())
            .execute(&mut *transaction)
            .await?;
        }
        if again == Some(Listing::Widen) {
            sqlx::query("update folder set listing = 'widen' where id = $1 and listing = 'deliver'")
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        pause_below_suspended(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The configuration does not name this folder any more. It stays known, but is not listed unless it lies below
    /// another watched folder.
    pub async fn suspend(&self, id: &FileId, now: Timestamp) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("update folder set suspended_at = $1 where id = $2 and suspended_at is null")
            .bind(millis(now))
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        pause_below_suspended(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The folders that were suspended before this time and have not come back.
    pub async fn suspended_before(&self, time: Timestamp) -> Result<Vec<FileId>, Error> {
        let rows = sqlx::query("select id from folder where watched = 1 and suspended_at < $1 order by id")
            .bind(millis(time))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(FileId::new(row.try_get::<String, _>(0)?))).collect()
    }

    /// Forgets that this folder was watched. It stays known only if it lies below another one.
    pub async fn unwatch(&self, id: &FileId) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "update folder set watched = 0, suspended_at = null, recursive = null, shortcuts = null where id = $1",
        )
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await?;
        let below_another =
            sqlx::query("select 1 from folder where id = $1 and parent_id in (select id from folder)")
                .bind(id.as_str())
                .fetch_optional(&mut *transaction)
                .await?
                .is_some();
        if !below_another {
            drop_folder(&mut transaction, id).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What Drive said last that this alias is.
    pub async fn alias(&self, alias: &FileId) -> Result<Option<FileId>, Error> {
        let row = sqlx::query("select folder_id from folder_alias where alias = $1")
            .bind(alias.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(FileId::new(row.try_get::<String, _>(0)?))).transpose()
    }

    /// Remembers what an alias is.
    pub async fn set_alias(&self, alias: &FileId, folder: &FileId) -> Result<(), Error> {
        sqlx::query(
            "insert into folder_alias (alias, folder_id) values ($1, $2) \
             on conflict (alias) do update set folder_id = excluded.folder_id",
        )
        .bind(alias.as_str())
        .bind(folder.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Whether a folder is suspended at the moment.
pub(super) async fn has_suspended(connection: &mut AnyConnection) -> Result<bool, Error> {
    let row = sqlx::query("select 1 from folder where watched = 1 and suspended_at is not null limit 1")
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Pauses the folders that lie below suspended ones only. The others go on, and what they missed is listed.
pub(super) async fn pause_below_suspended(connection: &mut AnyConnection) -> Result<(), Error> {
    for sql in [
        "with recursive active (id) as (\
           select id from folder where watched = 1 and suspended_at is null \
           union \
           select folder.id from folder join active on folder.parent_id = active.id\
         ) update folder set paused = 1 where paused = 0 and id not in (select id from active)",
        "with recursive active (id) as (\
           select id from folder where watched = 1 and suspended_at is null \
           union \
           select folder.id from folder join active on folder.parent_id = active.id\
         ) update folder set paused = 0, retry_at = 0, marked = marked + 1, \
         listing = case when listing in ('note', 'widen') then listing else 'deliver' end \
         where paused = 1 and id in (select id from active)",
    ] {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{ChangeLog, PageToken};
    use crate::store::tests::store;
    use crate::store::{Finished, Outcome, Urgency};

    const SCOPE: Scope = Scope { recursive: true, shortcuts: true };

    pub(in crate::store) fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap()
    }

    pub(in crate::store) fn folder(id: &str, parent: Option<&str>, listing: Listing) -> Folder {
        Folder {
            id: FileId::new(id),
            log: ChangeLog::User,
            parent: parent.map(FileId::new),
            name: id.to_owned(),
            resource_key: None,
            watched: false,
            listing,
            problem: None,
        }
    }

    /// `outer` with `inner` and `sub` in it; `inner` is watched as well, and has `deep` in it.
    pub(in crate::store) async fn nested(home: &std::path::Path) -> Store {
        let store = store(home).await;
        store.begin_log(&ChangeLog::User, &PageToken::new("1"), at(0)).await.unwrap();
        for (id, parent) in [("outer", None), ("inner", Some("outer"))] {
            store.watch(&folder(id, parent, Listing::Done), SCOPE).await.unwrap();
        }
        let adopted =
            vec![folder("sub", Some("outer"), Listing::Note), folder("deep", Some("inner"), Listing::Done)];
        store.record(&Outcome { adopted, ..Outcome::default() }, at(0)).await.unwrap();
        sqlx::query("update folder set round = 1, looks = 0").execute(&store.pool).await.unwrap();
        store
    }

    async fn unlisted(store: &Store) -> Vec<(String, Listing)> {
        let mut found = Vec::new();
        while let Some(due) = store.due_folder(Urgency::Compare, at(0)).await.unwrap() {
            let seen = ["inner", "sub", "deep"].map(FileId::new);
            let finished = Finished { due: &due, seen: &seen, look_at: at(9) };
            store.commit_listing(&Outcome::default(), Some(finished), at(0)).await.unwrap();
            found.push((due.folder.id.as_str().to_owned(), due.folder.listing));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn named(expected: &[(&str, Listing)]) -> Vec<(String, Listing)> {
        expected.iter().map(|(id, listing)| ((*id).to_owned(), *listing)).collect()
    }

    #[tokio::test]
    async fn what_is_suspended_is_not_listed_until_it_is_back_and_then_all_of_it_is() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let [outer, inner] = ["outer", "inner"].map(FileId::new);
        // It lies below another one, whose files it brings meanwhile.
        store.suspend(&inner, at(0)).await.unwrap();
        store.compare(&ChangeLog::User, at(0)).await.unwrap();
        let all = ["deep", "inner", "outer"].map(|id| (id, Listing::Compare));
        assert_eq!(unlisted(&store).await, named(&[&all[..], &[("sub", Listing::Note)]].concat()));

        store.suspend(&outer, at(1)).await.unwrap();
        store.compare(&ChangeLog::User, at(1)).await.unwrap();
        assert_eq!(unlisted(&store).await, []);
        assert_eq!(store.folder_logs().await.unwrap(), []);
        assert_eq!(store.watched_logs().await.unwrap(), []);

        store.watch_on(&inner, SCOPE, Some(Listing::Deliver)).await.unwrap();
        let back = ["deep", "inner"].map(|id| (id, Listing::Deliver));
        assert_eq!(unlisted(&store).await, named(&back));
        assert_eq!(store.folder_logs().await.unwrap(), [ChangeLog::User]);
        store.watch_on(&outer, SCOPE, Some(Listing::Widen)).await.unwrap();
        let widened = ["deep", "inner", "outer", "sub"].map(|id| (id, Listing::Widen));
        assert_eq!(unlisted(&store).await, named(&widened));
        assert!(store.watched().await.unwrap().iter().all(|watched| !watched.suspended));
    }

    #[tokio::test]
    async fn what_was_still_to_be_noted_is_noted_when_it_is_back() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let outer = FileId::new("outer");
        store.suspend(&outer, at(0)).await.unwrap();
        assert_eq!(unlisted(&store).await, []);
        store.watch_on(&outer, SCOPE, Some(Listing::Deliver)).await.unwrap();
        let listed = unlisted(&store).await;
        assert!(listed.contains(&("sub".to_owned(), Listing::Note)), "{listed:?}");
    }

    #[tokio::test]
    async fn a_folder_that_moves_out_of_a_suspended_one_is_listed() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let [outer, inner] = ["outer", "inner"].map(FileId::new);
        store.suspend(&outer, at(0)).await.unwrap();
        let adopted = vec![folder("sub", Some("inner"), Listing::Deliver)];
        store.record(&Outcome { adopted, ..Outcome::default() }, at(0)).await.unwrap();
        assert_eq!(unlisted(&store).await, named(&[("sub", Listing::Note)]), "it was to be noted");
        store.suspend(&inner, at(0)).await.unwrap();
        store.compare(&ChangeLog::User, at(0)).await.unwrap();
        assert_eq!(unlisted(&store).await, []);
    }

    #[tokio::test]
    async fn a_day_later_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let [outer, inner] = ["outer", "inner"].map(FileId::new);
        store.suspend(&inner, at(0)).await.unwrap();
        store.suspend(&inner, at(9)).await.unwrap();
        store.suspend(&outer, at(10)).await.unwrap();
        assert_eq!(store.suspended_before(at(0)).await.unwrap(), []);
        assert_eq!(store.suspended_before(at(1)).await.unwrap(), std::slice::from_ref(&inner));
        store.unwatch(&inner).await.unwrap();
        assert_eq!(store.suspended_before(at(100)).await.unwrap(), std::slice::from_ref(&outer));
        store.unwatch(&outer).await.unwrap();
        assert!(store.watched().await.unwrap().is_empty());
        let known = store.folders(&["outer", "inner", "sub", "deep"].map(FileId::new)).await.unwrap();
        assert!(known.is_empty(), "{known:?}");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_watched_any_more_stays_known_only_below_another_one() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let [outer, inner, deep] = ["outer", "inner", "deep"].map(FileId::new);
        store.suspend(&inner, at(0)).await.unwrap();
        store.unwatch(&inner).await.unwrap();
        let known = store.folders(&[inner.clone(), deep]).await.unwrap();
        assert_eq!(known.len(), 2, "{known:?}");
        assert!(!known[&inner].watched);
        let watched: Vec<FileId> =
            store.watched().await.unwrap().into_iter().map(|watched| watched.folder.id).collect();
        assert_eq!(watched, std::slice::from_ref(&outer));
        assert_eq!(store.suspended_before(at(100)).await.unwrap(), [], "it is not forgotten twice");
        // It goes with the folder that it lies in.
        store.unwatch(&outer).await.unwrap();
        assert!(store.folders(&[inner]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_alias_is_remembered_as_drive_said_it_last() {
        let home = tempfile::tempdir().unwrap();
        let store = nested(home.path()).await;
        let [root, first, second] = ["root", "first", "second"].map(FileId::new);
        assert_eq!(store.alias(&root).await.unwrap(), None);
        store.set_alias(&root, &first).await.unwrap();
        store.set_alias(&root, &second).await.unwrap();
        assert_eq!(store.alias(&root).await.unwrap(), Some(second));
    }
}
