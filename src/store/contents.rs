//! Contents of files on their way into the ledger. The content that came last is the newest one, and overtakes all others
//! of its file: they are superseded, unless they have come to an end, and are published no more.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use sqlx::{AnyConnection, Row};

use super::{Error, deliveries, millis};
use crate::model::delivery::{Cause, OnUpdate};
use crate::model::{ChangeLog, DeliveryId, File, FileId, RelativePath, RevisionId};

/// A permission that was just given is often not in force yet: Drive is asked again this soon.
const FIRST_LOOK: SignedDuration = SignedDuration::from_mins(1);

/// A file for the ledger.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The file as Drive described it.
    pub file: Box<File>,
    /// The key of its content.
    pub revision: RevisionId,
    /// The watched folder it was found below.
    pub watched: FileId,
    /// Where it goes.
    pub destination: PathBuf,
    /// The name it should have there.
    pub wanted: RelativePath,
    /// What happens to an earlier content.
    pub on_update: OnUpdate,
    /// In which way it enters the ledger.
    pub found: Found,
}

/// How a file enters the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// To be delivered; a row of the same content that is not open is opened again.
    New,
    /// To be delivered as soon as Drive says its size and checksum; not before this.
    Unready(Timestamp),
    /// It was there before the first run. The text says why it would not have been delivered, if so.
    Existing(Option<String>),
    /// Not to be delivered, with what that depends on and the reason.
    Skipped(Cause, String),
}

impl Found {
    fn stage(&self) -> &'static str {
        match self {
            Self::New => "pending",
            Self::Unready(_) => "unready",
            Self::Existing(_) => "existing",
            Self::Skipped(..) => "skipped",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::New => None,
            Self::Unready(_) => Some("waits for Drive to say its size and checksum"),
            Self::Existing(reason) => reason.as_deref(),
            Self::Skipped(_, reason) => Some(reason),
        }
    }

    fn cause(&self) -> Option<Cause> {
        match self {
            Self::New | Self::Unready(_) | Self::Existing(_) => None,
            Self::Skipped(cause, _) => Some(*cause),
        }
    }
}

/// Takes numbers for so many arrivals. What is returned is the number before them.
pub(super) async fn arrivals(connection: &mut AnyConnection, count: usize) -> Result<i64, Error> {
    let row = sqlx::query("update arrival set last = last + $1 returning last - $1 as before")
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("before")?)
}

/// Writes a content down as the newest one of its file. A known one is opened again if it has come to an end; one that is
/// on its way goes on.
///
/// Whether the content is news was decided on the rows as they were, and the transaction keeps them so.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    new: &NewDelivery,
    arrival: i64,
    now: Timestamp,
) -> Result<(), Error> {
    if upsert(connection, new, arrival, now).await? {
        return overtake(connection, new, arrival, now).await;
    }
    if matches!(new.found, Found::Existing(_)) {
        return Ok(());
    }
    let came_back = sqlx::query(
        "update delivery set seq = $1, overtaken = 0 where file_id = $2 and revision = $3 and overtaken = 1 \
         and stage in ('pending', 'downloading', 'publishing')",
    )
    .bind(arrival)
    .bind(new.file.id.as_str())
    .bind(new.revision.as_str())
    .execute(&mut *connection)
    .await?;
    if came_back.rows_affected() > 0 {
        overtake(connection, new, arrival, now).await?;
    }
    Ok(())
}

/// `false`: the row is there already, and stays as it is.
async fn upsert(
    connection: &mut AnyConnection,
    new: &NewDelivery,
    arrival: i64,
    now: Timestamp,
) -> Result<bool, Error> {
    let NewDelivery { file, revision, found, .. } = new;
    let run_at = match found {
        Found::Unready(at) => *at,
        Found::New | Found::Existing(_) | Found::Skipped(..) => now,
    };
    let look_at = found
        .cause()
        .filter(|cause| cause.is_asked_for())
        .map(|_| now.checked_add(FIRST_LOOK).unwrap_or(now));
    let written = sqlx::query(
        "insert into delivery (id, seq, file_id, revision, log, watched_id, name, mime_type, size, sha256, sha1, md5, \
         created_at, modified_at, resource_key, destination, wanted, on_update, stage, run_at, reason, seen_at, moved_at, \
         cause, look_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $22, \
         $23, $24) \
         on conflict (file_id, revision) do update set seq = excluded.seq, log = excluded.log, name = excluded.name, \
         mime_type = excluded.mime_type, size = excluded.size, sha256 = excluded.sha256, sha1 = excluded.sha1, \
         md5 = excluded.md5, modified_at = excluded.modified_at, resource_key = excluded.resource_key, \
         watched_id = excluded.watched_id, destination = excluded.destination, wanted = excluded.wanted, \
         on_update = excluded.on_update, stage = excluded.stage, run_at = excluded.run_at, reason = excluded.reason, \
         cause = excluded.cause, look_at = excluded.look_at, attempt = 0, overtaken = 0, gone_at = null, moved_at = excluded.moved_at \
         where excluded.stage in ('pending', 'unready', 'skipped') \
         and (delivery.stage in ('unready', 'superseded', 'skipped', 'existing') \
         or delivery.overtaken = 1 and delivery.stage in ('done', 'failed'))",
    )
    .bind(DeliveryId::random().as_str())
    .bind(arrival)
    .bind(file.id.as_str())
    .bind(revision.as_str())
    .bind(file.drive_id.clone().map_or(ChangeLog::User, ChangeLog::SharedDrive).key())
    .bind(new.watched.as_str())
    .bind(file.name.as_str())
    .bind(file.mime_type.as_str())
    .bind(file.size.map(|size| size as i64))
    .bind(file.checksums.sha256.as_deref())
    .bind(file.checksums.sha1.as_deref())
    .bind(file.checksums.md5.as_deref())
    .bind(file.created.map(millis))
    .bind(file.modified.map(millis))
    .bind(file.resource_key.as_deref())
    .bind(new.destination.to_string_lossy().into_owned())
    .bind(new.wanted.to_string())
    .bind(deliveries::on_update_word(new.on_update))
    .bind(found.stage())
    .bind(millis(run_at))
    .bind(found.reason())
    .bind(millis(now))
    .bind(found.cause().map(Cause::as_str))
    .bind(look_at.map(millis))
    .execute(connection)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// All other contents of the file are earlier ones. One that is being published is let through: its content is verified,
/// and what comes after it takes its place.
async fn overtake(
    connection: &mut AnyConnection,
    new: &NewDelivery,
    arrival: i64,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update delivery set overtaken = 1, look_at = null, \
         stage = case when stage in ('unready', 'pending', 'downloading', 'failed') then 'superseded' else stage end, \
         reason = case when stage in ('unready', 'pending', 'downloading', 'failed') then 'a newer content came' else reason end, \
         moved_at = case when stage in ('unready', 'pending', 'downloading', 'failed') then $1 else moved_at end \
         where file_id = $2 and seq < $3 and overtaken = 0",
    )
    .bind(millis(now))
    .bind(new.file.id.as_str())
    .bind(arrival)
    .execute(connection)
    .await?;
    Ok(())
}

/// What is open for a file is void.
pub(super) async fn withdraw(
    connection: &mut AnyConnection,
    file_id: &FileId,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update delivery set stage = 'superseded', reason = $1, moved_at = $2, look_at = null where file_id = $3 \
         and (stage in ('unready', 'pending', 'downloading', 'failed') or stage = 'skipped' and look_at is not null)",
    )
    .bind(reason)
    .bind(millis(now))
    .bind(file_id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// The size and the checksum of a file are known, and they are those of the content before: there was no other one.
pub(super) async fn stop_waiting(connection: &mut AnyConnection, file_id: &FileId) -> Result<(), Error> {
    sqlx::query("delete from delivery where file_id = $1 and stage = 'unready'")
        .bind(file_id.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update delivery set overtaken = 0 where file_id = $1 \
         and seq = (select max(seq) from delivery where file_id = $1)",
    )
    .bind(file_id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;
    use crate::model::delivery::{Identity, PublishedFile};
    use crate::store::tests::store;
    use crate::store::{Ending, Outcome, Store};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn content(revision: &str, found: Found) -> NewDelivery {
        let file = File {
            id: FileId::new("f"),
            name: "a.mp4".into(),
            size: Some(1),
            ..crate::model::file::tests::file("video/mp4")
        };
        NewDelivery {
            file: Box::new(file),
            revision: RevisionId::new(revision),
            watched: FileId::new("w"),
            destination: "/videos".into(),
            wanted: RelativePath::from_segments(["a.mp4"]),
            on_update: OnUpdate::Replace,
            found,
        }
    }

    async fn find(store: &Store, revision: &str, found: Found) {
        let outcome = Outcome { found: vec![content(revision, found)], ..Outcome::default() };
        store.record(&outcome, at(0)).await.unwrap();
    }

    fn place() -> PublishedFile {
        PublishedFile {
            path: RelativePath::from_stored("a.mp4"),
            identity: Identity::File { inode: 1, modified_ns: 1 },
            size: 1,
            checksum: None,
            replaces: false,
            adopted: false,
        }
    }

    /// Brings the only pending delivery as far as this.
    async fn advance(store: &Store, to: Stage) -> DeliveryId {
        let pending = store.in_stages(&[Stage::Pending], 2).await.unwrap();
        assert_eq!(pending.len(), 1);
        let id = pending[0].id.clone();
        if to == Stage::Pending {
            return id;
        }
        assert_eq!(store.claim(&[], u64::MAX, 1, at(0)).await.unwrap().len(), 1);
        match to {
            Stage::Publishing | Stage::Done => {
                let steps = [(id.clone(), place())];
                assert!(store.publishing(&steps, at(0)).await.unwrap().contains(&id));
                if to == Stage::Done {
                    assert!(store.done(std::slice::from_ref(&id), at(0)).await.unwrap().contains(&id));
                }
            }
            Stage::Failed => {
                let ending = Ending { stage: to, cause: None, reason: "it failed", look_at: None };
                assert!(store.end(&id, &ending, at(0)).await.unwrap());
            }
            _ => assert_eq!(to, Stage::Downloading),
        }
        id
    }

    /// Revision and stage of all contents of the file, in the order of arrival.
    async fn contents(store: &Store) -> Vec<(String, Stage)> {
        let known = store.ledger(&[FileId::new("f")]).await.unwrap().remove(&FileId::new("f"));
        known
            .unwrap_or_default()
            .into_iter()
            .map(|row| (row.revision.as_str().to_owned(), row.stage))
            .collect()
    }

    /// What is said to be in each stage is what is there.
    async fn assert_counted(store: &Store) {
        let rows = sqlx::query("select stage, count(*) from delivery group by stage").fetch_all(&store.pool);
        let there: Vec<(String, i64)> = rows
            .await
            .unwrap()
            .iter()
            .map(|row| (row.try_get(0).unwrap(), row.try_get(1).unwrap()))
            .collect();
        let said = store.counts().await.unwrap().into_iter().map(|(stage, count)| (stage.to_owned(), count));
        assert_eq!(said.collect::<Vec<_>>(), there);
    }

    fn named(expected: &[(&str, Stage)]) -> Vec<(String, Stage)> {
        expected.iter().map(|(revision, stage)| ((*revision).to_owned(), *stage)).collect()
    }

    #[tokio::test]
    async fn a_content_that_comes_back_is_delivered_again_wherever_the_one_between_is() {
        for (between, becomes) in [
            (Stage::Pending, Stage::Superseded),
            (Stage::Downloading, Stage::Superseded),
            (Stage::Publishing, Stage::Publishing),
            (Stage::Failed, Stage::Superseded),
            (Stage::Done, Stage::Done),
        ] {
            let home = tempfile::tempdir().unwrap();
            let store = store(home.path()).await;
            find(&store, "a", Found::New).await;
            advance(&store, Stage::Done).await;
            find(&store, "b", Found::New).await;
            let second = advance(&store, between).await;
            find(&store, "a", Found::New).await;
            assert_eq!(
                contents(&store).await,
                named(&[("b", becomes), ("a", Stage::Pending)]),
                "{between:?}"
            );
            // The same entry once more changes nothing.
            find(&store, "a", Found::New).await;
            assert_eq!(contents(&store).await.len(), 2);
            if between == Stage::Publishing {
                assert!(
                    !store.put_back(&second, at(0), 1, None, at(0)).await.unwrap(),
                    "it could not be published"
                );
                assert_eq!(contents(&store).await[0].1, Stage::Superseded);
            }
            advance(&store, Stage::Done).await;
            assert_eq!(contents(&store).await.last().unwrap(), &("a".to_owned(), Stage::Done));
            assert_counted(&store).await;
            store.close().await;
        }
    }

    #[tokio::test]
    async fn one_that_is_on_its_way_goes_on_when_its_file_gets_it_once_more() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        find(&store, "a", Found::New).await;
        let first = advance(&store, Stage::Publishing).await;
        find(&store, "b", Found::New).await;
        find(&store, "a", Found::New).await;
        let expected = [("b", Stage::Superseded), ("a", Stage::Publishing)];
        assert_eq!(contents(&store).await, named(&expected));
        assert!(store.put_back(&first, at(0), 1, None, at(0)).await.unwrap(), "it is the newest one again");
    }

    #[tokio::test]
    async fn an_earlier_content_never_takes_the_place_of_a_later_one() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        find(&store, "a", Found::New).await;
        let first = advance(&store, Stage::Failed).await;
        find(&store, "b", Found::New).await;
        advance(&store, Stage::Done).await;
        // Whoever puts it back by hand, and however far it comes.
        sqlx::query("update delivery set stage = 'downloading' where revision = 'a'")
            .execute(&store.pool)
            .await
            .unwrap();
        let published = store.publishing(&[(first.clone(), place())], at(0)).await.unwrap();
        assert!(published.is_empty(), "{published:?}");
        assert!(!store.put_back(&first, at(0), 1, None, at(0)).await.unwrap());
        assert_eq!(contents(&store).await, named(&[("a", Stage::Superseded), ("b", Stage::Done)]));
        sqlx::query("update delivery set stage = 'downloading' where revision = 'a'")
            .execute(&store.pool)
            .await
            .unwrap();
        let ending = Ending { stage: Stage::Failed, cause: None, reason: "wrong twice", look_at: None };
        store.end(&first, &ending, at(0)).await.unwrap();
        assert_eq!(contents(&store).await[0].1, Stage::Superseded, "nobody is told of its failure");
    }

    #[tokio::test]
    async fn what_was_waited_for_is_forgotten_when_it_is_the_content_before() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        find(&store, "a", Found::New).await;
        advance(&store, Stage::Done).await;
        find(&store, "b", Found::Unready(at(5))).await;
        let awaited = Outcome { awaited: vec![FileId::new("f")], ..Outcome::default() };
        store.record(&awaited, at(1)).await.unwrap();
        assert_eq!(contents(&store).await, named(&[("a", Stage::Done)]));
        assert_counted(&store).await;
        assert_eq!(store.next_asked().await.unwrap(), None);
        // The first one is the newest again: published anew, it would be let through.
        sqlx::query("update delivery set stage = 'downloading'").execute(&store.pool).await.unwrap();
        let id = store.in_stages(&[Stage::Downloading], 1).await.unwrap().remove(0).id;
        assert_eq!(store.publishing(&[(id, place())], at(0)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn drive_is_asked_about_what_may_be_delivered_later() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let skipped = |cause| Found::Skipped(cause, "why".to_owned());
        find(&store, "a", skipped(Cause::Permission)).await;
        assert_eq!(store.next_asked().await.unwrap(), Some(at(60)));
        assert!(store.unready(at(59)).await.unwrap().is_empty());
        let asked = store.unready(at(60)).await.unwrap().remove(0);
        assert_eq!((asked.stage, asked.cause), (Stage::Skipped, Some(Cause::Permission)));
        store.still_unready(&asked.id, at(600), 1).await.unwrap();
        assert_eq!(store.next_asked().await.unwrap(), Some(at(600)));
        // Another content, which is skipped for another reason: nobody asks for the first one any more.
        find(&store, "b", skipped(Cause::Setting)).await;
        assert_eq!(store.next_asked().await.unwrap(), None);
        find(&store, "b", skipped(Cause::Permission)).await;
        assert_eq!(
            store.next_asked().await.unwrap(),
            Some(at(60)),
            "the setting has changed, the permission is missing"
        );
        let gone = Outcome { withdrawn: vec![(FileId::new("f"), "it is gone")], ..Outcome::default() };
        store.record(&gone, at(1)).await.unwrap();
        assert_eq!(store.next_asked().await.unwrap(), None);
        assert_eq!(contents(&store).await.last().unwrap().1, Stage::Superseded);
        find(&store, "b", Found::New).await;
        assert_eq!(contents(&store).await.last().unwrap(), &("b".to_owned(), Stage::Pending));
    }
}
