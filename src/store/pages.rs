//! One page of changes or of a listing, recorded whole: the folders and deliveries it leads to, and with them, in the
//! same transaction, the page token. A token never stands past anything that is not in the ledger.

use jiff::Timestamp;
use sqlx::AnyConnection;

use super::contents::{self, NewDelivery};
use super::folders::{adopt, drop_folder};
use super::listings::{Finished, finish};
use super::questions::{answered, ask};
use super::watched::{has_suspended, pause_below_suspended};
use super::{Error, Folder, Question, Shortcut, Store, again, history, millis, shortcuts};
use crate::model::{ChangeLog, FileId, PageToken};

/// What the entries of a page come to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Folders that are below a watched one now, under this name and parent.
    pub adopted: Vec<Folder>,
    /// Folders that are no longer.
    pub dropped: Vec<FileId>,
    /// What goes into the ledger.
    pub found: Vec<NewDelivery>,
    /// Files whose open deliveries are void, each with the reason.
    pub withdrawn: Vec<(FileId, &'static str)>,
    /// Files whose size and checksum were waited for, and whose content is a known one.
    pub awaited: Vec<FileId>,
    /// Files that are known and that Drive does not show any more.
    pub vanished: Vec<FileId>,
    /// Files that Drive shows again.
    pub returned: Vec<FileId>,
    /// Files with open deliveries that are on another log now.
    pub moved: Vec<(FileId, ChangeLog)>,
    /// Watched folders that cannot be watched, each with the reason for the user.
    pub troubled: Vec<(FileId, String)>,
    /// Items that Drive has to be asked for.
    pub questions: Vec<Question>,
    /// Items that need not be asked for any more.
    pub answered: Vec<FileId>,
    /// Items that lie in no known folder, while folders are still to be noted.
    pub passed: Vec<FileId>,
    /// Shortcuts that are followed, as they are now.
    pub shortcuts: Vec<Shortcut>,
    /// Shortcuts that are gone.
    pub cut: Vec<FileId>,
}

/// From one page token of a log to another.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Where the log stands in the ledger.
    pub from: &'a PageToken,
    /// Where it stands afterwards.
    pub to: &'a PageToken,
    /// When the read began that comes to the end of the log with this. In the same transaction as the last page: one of its
    /// own would be waited for by the downloads.
    pub complete: Option<Timestamp>,
}

impl Outcome {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        let Self { found, withdrawn, awaited, vanished, returned, moved, .. } = self;
        let Self { troubled, questions, answered, passed, .. } = self;
        let files = withdrawn.len() + awaited.len() + vanished.len() + returned.len() + moved.len();
        let others = troubled.len() + questions.len() + answered.len() + passed.len();
        !self.moves_folders() && found.is_empty() && files + others == 0
    }

    /// Whether known folders or shortcuts are others once it is recorded.
    pub fn moves_folders(&self) -> bool {
        let Self { adopted, dropped, shortcuts, cut, .. } = self;
        !(adopted.is_empty() && dropped.is_empty() && shortcuts.is_empty() && cut.is_empty())
    }
}

impl Store {
    /// Records a page of changes and moves the token. `false`: the token was not where this begins any more, and nothing
    /// was recorded.
    pub async fn commit_changes(
        &self,
        log: &ChangeLog,
        passage: Passage<'_>,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        let moved = sqlx::query(
            "update change_log set page_token = $1, read_at = coalesce($2, read_at) where log = $3 and page_token = $4",
        )
        .bind(passage.to.as_str())
        .bind(passage.complete.map(millis))
        .bind(log.key())
        .bind(passage.from.as_str())
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if moved == 0 {
            return Ok(false);
        }
        record(&mut transaction, outcome, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Records a page of a folder's listing, and with the last one that the listing is finished.
    pub async fn commit_listing(
        &self,
        outcome: &Outcome,
        finished: Option<Finished<'_>>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        record(&mut transaction, outcome, now).await?;
        if let Some(finished) = finished {
            finish(&mut transaction, finished, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Records what was found outside of a page.
    pub async fn record(&self, outcome: &Outcome, now: Timestamp) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        record(&mut transaction, outcome, now).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn record(connection: &mut AnyConnection, outcome: &Outcome, now: Timestamp) -> Result<(), Error> {
    for id in &outcome.dropped {
        drop_folder(connection, id).await?;
    }
    if !(outcome.dropped.is_empty() && outcome.cut.is_empty()) {
        // They may have been in there.
        again::look_at_failed(connection, now).await?;
    }
    for folder in &outcome.adopted {
        adopt(connection, folder, now).await?;
    }
    if !outcome.adopted.is_empty() && has_suspended(connection).await? {
        // One of them may have moved into a suspended folder, or out of one.
        pause_below_suspended(connection).await?;
    }
    for shortcut in &outcome.shortcuts {
        shortcuts::keep(connection, shortcut).await?;
    }
    for id in &outcome.cut {
        shortcuts::cut(connection, id).await?;
    }
    if !outcome.dropped.is_empty() {
        shortcuts::cut_orphans(connection).await?;
    }
    for (file_id, reason) in &outcome.withdrawn {
        contents::withdraw(connection, file_id, reason, now).await?;
    }
    for file_id in &outcome.vanished {
        history::vanished(connection, file_id, now).await?;
    }
    for file_id in &outcome.returned {
        history::returned(connection, file_id).await?;
    }
    for file_id in &outcome.awaited {
        contents::stop_waiting(connection, file_id).await?;
    }
    record_questions(connection, outcome, now).await?;
    if outcome.found.is_empty() {
        return Ok(());
    }
    let mut arrival = contents::arrivals(connection, outcome.found.len()).await?;
    for new in &outcome.found {
        arrival += 1;
        contents::insert(connection, new, arrival, now).await?;
    }
    Ok(())
}

async fn record_questions(
    connection: &mut AnyConnection,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), Error> {
    for id in &outcome.answered {
        answered(connection, id).await?;
    }
    for id in &outcome.passed {
        sqlx::query("insert into passed (file_id) values ($1) on conflict (file_id) do nothing")
            .bind(id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    for question in &outcome.questions {
        ask(connection, question, now).await?;
    }
    for (id, problem) in &outcome.troubled {
        sqlx::query(
            "update folder set problem = $1, problem_since = coalesce(problem_since, $2) where id = $3",
        )
        .bind(problem.as_str())
        .bind(millis(now))
        .bind(id.as_str())
        .execute(&mut *connection)
        .await?;
    }
    for (id, log) in &outcome.moved {
        sqlx::query("update delivery set log = $1 where file_id = $2")
            .bind(log.key())
            .bind(id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::OnUpdate;
    use crate::model::{File, RelativePath, RevisionId, Stage};
    use crate::store::Found;
    use crate::store::tests::store;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn found(id: &str) -> Outcome {
        let file = File {
            id: FileId::new(id),
            name: "a.mp4".into(),
            size: Some(1),
            ..crate::model::file::tests::file("video/mp4")
        };
        let new = NewDelivery {
            file: Box::new(file),
            revision: RevisionId::new("r1"),
            watched: FileId::new("w"),
            destination: "/videos".into(),
            wanted: RelativePath::from_segments(["a.mp4"]),
            on_update: OnUpdate::Replace,
            found: Found::New,
        };
        Outcome { found: vec![new], ..Outcome::default() }
    }

    #[tokio::test]
    async fn a_page_counts_only_from_the_token_that_it_was_asked_with() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        let log = ChangeLog::User;
        let token = |text: &str| PageToken::new(text);
        store.begin_log(&log, &token("1"), at(0)).await.unwrap();
        let (from, to) = (&token("1"), &token("2"));
        let passage = |complete| Passage { from, to, complete };
        assert!(store.commit_changes(&log, passage(None), &found("a"), at(1)).await.unwrap());
        let state = store.log_state(&log).await.unwrap().unwrap();
        assert_eq!((state.token.as_ref(), state.read), (Some(to), None));
        assert!(!store.commit_changes(&log, passage(Some(at(1))), &found("b"), at(2)).await.unwrap());
        assert_eq!(store.log_state(&log).await.unwrap().unwrap().read, None);
        let end = |complete| Passage { from: to, to, complete };
        assert!(store.commit_changes(&log, end(Some(at(3))), &Outcome::default(), at(4)).await.unwrap());
        assert!(store.commit_changes(&log, end(None), &Outcome::default(), at(5)).await.unwrap());
        let state = store.log_state(&log).await.unwrap().unwrap();
        assert_eq!((state.token.as_ref(), state.read), (Some(to), Some(at(3))));
        let all = store.in_stages(&[Stage::Pending], 10).await.unwrap();
        assert_eq!(all.len(), 1, "nothing of the second page was recorded");
    }

    #[tokio::test]
    async fn what_was_put_off_while_the_clock_was_ahead_is_due() {
        const YEAR: i64 = 365 * 24 * 3600;
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path()).await;
        store.record(&found("a"), at(YEAR)).await.unwrap();
        assert!(
            store.claim(&["/videos".into()], u64::MAX, 1, at(0)).await.unwrap().is_empty(),
            "its destination is held"
        );
        assert!(store.claim(&[], 0, 1, at(0)).await.unwrap().is_empty(), "it is larger");
        let claimed = store.claim(&[], u64::MAX, 1, at(0)).await.unwrap().remove(0);
        store.put_back(&claimed.id, at(3600), 1, None, at(0)).await.unwrap();
        assert!(
            store.claim(&[], u64::MAX, 1, at(0)).await.unwrap().is_empty(),
            "an hour is a wait like any other"
        );
        assert_eq!(store.next_due(&[]).await.unwrap(), Some(at(3600)));
        assert!(!store.claim(&[], u64::MAX, 1, at(3600)).await.unwrap().is_empty());
    }

    #[test]
    fn an_outcome_is_empty_only_if_nothing_is_in_it() {
        let id = || FileId::new("a");
        let none = Outcome::default;
        let some = [
            found("a"),
            Outcome { dropped: vec![id()], ..none() },
            Outcome { withdrawn: vec![(id(), "gone")], ..none() },
            Outcome { awaited: vec![id()], ..none() },
            Outcome { vanished: vec![id()], ..none() },
            Outcome { returned: vec![id()], ..none() },
            Outcome { moved: vec![(id(), ChangeLog::User)], ..none() },
            Outcome { troubled: vec![(id(), "away".to_owned())], ..none() },
            Outcome { answered: vec![id()], ..none() },
            Outcome { passed: vec![id()], ..none() },
            Outcome { cut: vec![id()], ..none() },
        ];
        assert!(none().is_empty());
        assert!(some.iter().all(|outcome| !outcome.is_empty()));
    }
}
