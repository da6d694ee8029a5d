//! Reads a change log to its end. One page is read ahead while the one before it is taken in. Pages that come to nothing
//! are recorded together, so that what does not concern this program costs no write to the disk each.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::maybe_done;
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::decision::{Evidence, Origin};
use super::desk::Desk;
use super::error::Error;
use super::source::Source;
use super::targets;
use crate::checkpoint::{Point, reached};
use crate::drive::{self, Fault};
use crate::model::{ChangeLog, Page, PageToken};
use crate::store::{Found, LogState, Outcome, Passage};
use crate::task::{Reason, Wake};

/// What came to nothing is recorded after this long, …
const HOLD: Duration = Duration::from_millis(200);
/// … or after so many pages. Until then a crash has them read again.
const HELD_PAGES: usize = 32;
/// More pages than this without an entry in a row lead nowhere.
const EMPTY_PAGES: usize = 1_000;

/// What a read of a log has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Entries.
    pub(super) changes: usize,
    /// Files for the queue.
    pub(super) found: usize,
    /// Something new lies below a watched folder, whether it is for the queue now or later.
    pub(super) is_news: bool,
    /// Somebody else has moved the page token, or the log is another account's by now: it is read once more.
    pub(super) is_overtaken: bool,
}

/// One log, and who is told of it.
#[derive(Debug)]
pub(super) struct Reader<'a, S> {
    pub(super) source: &'a S,
    pub(super) desk: &'a Desk,
    pub(super) log: &'a ChangeLog,
    /// The channel keeper, which follows the logs.
    pub(super) keeper: &'a Wake,
    /// Its folders are compared this often.
    pub(super) reconcile: Duration,
}

/// How far a log has been read.
struct Position {
    /// Where the ledger stands.
    recorded: PageToken,
    /// Everything between the two came to nothing.
    read: PageToken,
    /// Pages between the two, and when the first of them was taken in.
    held: usize,
    since: Instant,
    /// When this read began.
    began: Timestamp,
    /// When the last complete read began.
    last: Option<Timestamp>,
}

impl Position {
    fn new(token: PageToken, began: Timestamp, last: Option<Timestamp>) -> Self {
        Self { recorded: token.clone(), read: token, held: 0, since: Instant::now(), began, last }
    }
}

/// Whether there is more to read for this pass.
#[derive(PartialEq, Eq)]
enum Taken {
    In,
    /// Somebody else has moved the token.
    Overtaken,
}

impl<S: Source> Reader<'_, S> {
    /// Reads the log to its end, into `read`, and begins it where that is needed. Dropping it loses nothing: each page is
    /// recorded whole.
    pub(super) async fn read(&self, read: &mut Read) -> Result<(), Error> {
        let began = Timestamp::now();
        let known = self.desk.store().log_state(self.log).await?;
        let state = match known {
            Some(LogState { token: Some(token), read, compared }) => {
                self.compare_if_due(compared).await?;
                Some((token, read))
            }
            Some(LogState { token: None, read, .. }) => self.begin("the log can be read now", read).await?,
            None => self.begin("the log is read for the first time", None).await?,
        };
        let Some((token, last)) = state else {
            return Ok(());
        };
        match self.read_changes(Position::new(token, began, last), read).await {
            Err(Error::Drive(error)) if error.fault() == Fault::PageToken => {
                warn!(log = %self.log, %error, "Drive refuses the page token: all folders are listed and compared instead");
                // A new token that is refused as well is no matter of its age; that waits like any other failure.
                if let Some((token, last)) = self.begin("the page token was refused", last).await? {
                    self.read_changes(Position::new(token, began, last), read).await?;
                }
            }
            Err(Error::Drive(error)) if self.is_closed(&error) => {
                return self.close(&error).await;
            }
            outcome => outcome?,
        }
        Ok(())
    }

    /// Takes the token of now. It comes before the folders are listed: what changes meanwhile comes after it. `last` is when
    /// the last complete read began; another token does not change that. `None`: Drive does not let the account read the
    /// log.
    async fn begin(
        &self,
        why: &str,
        last: Option<Timestamp>,
    ) -> Result<Option<(PageToken, Option<Timestamp>)>, Error> {
        let token = match self.source.start(self.log).await {
            Err(error) if self.is_closed(&error) => {
                self.close(&error).await?;
                return Ok(None);
            }
            token => token?,
        };
        self.desk.store().begin_log(self.log, &token, Timestamp::now()).await?;
        info!(log = %self.log, why, "a new start page token");
        self.tell_keeper();
        Ok(Some((token, last)))
    }

    /// Whether Drive refuses the log of a shared drive because the account is no member of it.
    fn is_closed(&self, error: &drive::Error) -> bool {
        let refused = matches!(error.fault(), Fault::NotMember | Fault::NotFound | Fault::Forbidden);
        refused && *self.log != ChangeLog::User
    }

    async fn close(&self, error: &drive::Error) -> Result<(), Error> {
        if self.desk.store().close_log(self.log, &error.to_string(), Timestamp::now()).await? {
            warn!(
                log = %self.log, %error,
                "the account is not a member of a shared drive: its folders are listed at every poll instead; as a member the \
                 account would hear of new files at once"
            );
            self.tell_keeper();
        }
        Ok(())
    }

    fn tell_keeper(&self) {
        if self.keeper.wake(Reason::Handover).is_err() {
            debug!("there is no channel keeper");
        }
    }

    async fn compare_if_due(&self, compared: Option<Timestamp>) -> Result<(), Error> {
        let now = Timestamp::now();
        let age = compared.map(|at| now.duration_since(at));
        // A comparison in the future was noted when the clock was ahead.
        if age.is_some_and(|age| Duration::try_from(age).map_or(true, |age| age >= self.reconcile)) {
            debug!(log = %self.log, "all folders are compared with the ledger");
            self.desk.store().compare(self.log, now).await?;
        }
        Ok(())
    }

    /// Reads the log from here to its end.
    async fn read_changes(&self, mut position: Position, read: &mut Read) -> Result<(), Error> {
        let outcome = self.read_pages(&mut position, read).await;
        // What was read before something went wrong need not be read again.
        let recorded = self.record_held(&mut position).await;
        outcome?;
        recorded.map(|_| ())
    }

    async fn read_pages(&self, position: &mut Position, read: &mut Read) -> Result<(), Error> {
        let (mut seen, mut empty) = (HashSet::from([position.read.clone()]), 0);
        let mut page = self.source.page(self.log, &position.read).await?;
        loop {
            reached(Point::PageRead);
            if page.end {
                read.is_overtaken = self.take_in(page, position, read).await? == Taken::Overtaken;
                return Ok(());
            }
            let next = page.next.clone();
            empty = if page.changes.is_empty() { empty + 1 } else { 0 };
            if empty > EMPTY_PAGES || !seen.insert(next.clone()) {
                return Err(Error::Endless { what: format!("read the change log {}", self.log) });
            }
            let mut ahead = pin!(maybe_done(self.source.page(self.log, &next)));
            let meanwhile = async {
                ahead.as_mut().await;
                pending::<Infallible>().await
            };
            let taken = tokio::select! {
                taken = self.take_in(page, position, read) => taken?,
                never = meanwhile => match never {},
            };
            if taken == Taken::Overtaken {
                read.is_overtaken = true;
                return Ok(());
            }
            // Drive may let us wait for long.
            if timeout(HOLD, ahead.as_mut()).await.is_err() {
                if self.record_held(position).await? == Taken::Overtaken {
                    read.is_overtaken = true;
                    return Ok(());
                }
                ahead.as_mut().await;
            }
            match ahead.take_output() {
                Some(answer) => page = answer?,
                None => return Ok(()),
            }
        }
    }

    /// Evaluates a page, and records it and what was held before it, unless it can be held as well.
    async fn take_in(&self, page: Page, position: &mut Position, read: &mut Read) -> Result<Taken, Error> {
        let count = page.changes.len();
        let targets = targets::look_up(self.source, self.desk, &page.changes).await?;
        if position.held == 0 {
            position.since = Instant::now();
        }
        let mut turn = self.desk.turn().await;
        let evidence = Evidence {
            origin: Origin::Change,
            log: Some(self.log),
            read: position.last,
            now: Timestamp::now(),
        };
        let evaluated = turn.evaluate(page.changes, &targets, &evidence).await?;
        let can_wait = evaluated.outcome.is_empty()
            && !page.end
            && position.held + 1 < HELD_PAGES
            && position.since.elapsed() < HOLD;
        let taken = if can_wait {
            position.read = page.next;
            position.held += 1;
            Taken::In
        } else {
            let complete = page.end.then_some(position.began);
            self.record(position, page.next, complete, &evaluated.outcome).await?
        };
        if taken == Taken::In {
            read.changes += count;
            read.found += evaluated.found;
            read.is_news |=
                evaluated.outcome.found.iter().any(|new| matches!(new.found, Found::New | Found::Unready(_)));
            turn.recorded(evaluated);
        }
        Ok(taken)
    }

    async fn record_held(&self, position: &mut Position) -> Result<Taken, Error> {
        if position.held == 0 {
            return Ok(Taken::In);
        }
        let read = position.read.clone();
        self.record(position, read, None, &Outcome::default()).await
    }

    /// Records the last page and with it those before it that came to nothing. If that fails, they still can be
    /// recorded without it.
    async fn record(
        &self,
        position: &mut Position,
        to: PageToken,
        complete: Option<Timestamp>,
        outcome: &Outcome,
    ) -> Result<Taken, Error> {
        let passage = Passage { from: &position.recorded, to: &to, complete };
        let moved = self.desk.store().commit_changes(self.log, passage, outcome, Timestamp::now()).await?;
        position.recorded = to.clone();
        position.read = to;
        position.held = 0;
        if !moved {
            debug!(log = %self.log, "the page token was moved by somebody else");
            return Ok(Taken::Overtaken);
        }
        reached(Point::PageRecorded);
        Ok(Taken::In)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use futures_util::FutureExt;

    use super::super::rules::Rules;
    use super::super::rules::tests::{file, folder as rule};
    use super::*;
    use crate::drive::Error as Refusal;
    use crate::model::file::SHORTCUT;
    use crate::model::{Change, Entry, File, FileId, ResourceKeys, Stage};
    use crate::store::{Access, Folder, Listing, Scope, Store};
    use crate::task::wake_up;

    /// A log of pages, which leads from each token to the next, and the items that Drive shows.
    #[derive(Default)]
    struct Canned {
        pages: HashMap<&'static str, (Vec<Change>, &'static str)>,
        items: HashMap<&'static str, File>,
        asked: Mutex<usize>,
    }

    impl Source for Canned {
        async fn start(&self, _: &ChangeLog) -> Result<PageToken, Refusal> {
            Ok(PageToken::new("start"))
        }

        async fn page(&self, _: &ChangeLog, token: &PageToken) -> Result<Page, Refusal> {
            *self.asked.lock().unwrap() += 1;
            // Whatever is not told of comes to an end.
            let (changes, next) =
                self.pages.get(token.as_str()).cloned().unwrap_or((Vec::new(), token_of(token)));
            let end = next == token.as_str();
            Ok(Page { changes, next: PageToken::new(if end { token.as_str() } else { next }), end })
        }

        async fn item(&self, id: &FileId, _: &ResourceKeys) -> Result<File, Refusal> {
            let item = self.items.get(id.as_str()).cloned();
            item.ok_or_else(|| Refusal::refusal("look at a file", 500, b"", None))
        }
    }

    /// A token that is its own end.
    fn token_of(token: &PageToken) -> &'static str {
        ["start", "1", "2", "3", "4"].into_iter().find(|known| *known == token.as_str()).unwrap_or("4")
    }

    fn present(file: File) -> Change {
        Change { file_id: file.id.clone(), entry: Entry::Present(Box::new(file)) }
    }

    fn video(id: &str) -> File {
        File { id: FileId::new(id), ..file("a.mp4", "video/mp4") }
    }

    async fn desk(home: &std::path::Path) -> Desk {
        desk_of(home, wake_up().0).await
    }

    async fn desk_of(home: &std::path::Path, deliveries: Wake) -> Desk {
        let store = crate::store::tests::store(home).await;
        let watched = Folder {
            id: FileId::new("watched"),
            log: ChangeLog::User,
            parent: None,
            name: "Inbox".into(),
            resource_key: None,
            watched: true,
            listing: Listing::Done,
            problem: None,
        };
        store.watch(&watched, Scope { recursive: true, shortcuts: true }).await.unwrap();
        Desk::new(store, Rules::new(vec![rule("watched")]), deliveries, "an account".into())
    }

    async fn read(source: &Canned, desk: &Desk, log: &ChangeLog) -> (Read, Result<(), Error>) {
        let keeper = wake_up().0;
        let reader = Reader { source, desk, log, keeper: &keeper, reconcile: Duration::from_hours(24) };
        let mut read = Read::default();
        let outcome = reader.read(&mut read).await;
        (read, outcome)
    }

    #[tokio::test]
    async fn what_was_read_before_pages_lead_in_a_circle_is_recorded() {
        let home = tempfile::tempdir().unwrap();
        let desk = desk(home.path()).await;
        let pages =
            [("start", (vec![present(video("f"))], "1")), ("1", (vec![], "2")), ("2", (vec![], "start"))];
        let source = Canned { pages: HashMap::from(pages), ..Canned::default() };
        let (read, outcome) = read(&source, &desk, &ChangeLog::User).await;
        assert!(matches!(outcome, Err(Error::Endless { .. })), "{outcome:?}");
        assert_eq!((read.found, *source.asked.lock().unwrap()), (1, 3));
        let state = desk.store().log_state(&ChangeLog::User).await.unwrap().unwrap();
        assert_eq!((state.token.unwrap().as_str(), state.read), ("2", None), "it was not read to its end");
    }

    #[tokio::test]
    async fn deliveries_are_woken_if_a_read_is_interrupted_while_the_ledger_records_a_page() {
        // Now and then the reader hears of it in the very moment in which it is recorded.
        for _ in 0..100 {
            let home = tempfile::tempdir().unwrap();
            let (deliveries, wakeups) = wake_up();
            let desk = desk_of(home.path(), deliveries).await;
            let source = Canned {
                pages: HashMap::from([("start", (vec![present(video("f"))], "1"))]),
                ..Canned::default()
            };
            let config = crate::store::Config { url: format!("sqlite:{}", desk.store().path().display()) };
            // The other connection is the reader's until it has gone on.
            let other = Store::open(&config, Access::Shared).await.unwrap();
            let was_told = {
                let mut reading = pin!(read(&source, &desk, &ChangeLog::User));
                while other.in_stages(&[Stage::Pending], 10).await.unwrap().is_empty() {
                    if reading.as_mut().now_or_never().is_some() {
                        break;
                    }
                }
                wakeups.is_awake()
            };
            assert!(wakeups.is_awake());
            if !was_told {
                return;
            }
        }
        panic!("no read was interrupted between the database and its answer");
    }

    #[tokio::test]
    async fn a_target_that_drive_does_not_answer_for_holds_up_nothing_and_is_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let desk = desk(home.path()).await;
        let shortcut = |id: &str, target: &str| {
            let shortcut_target = Some(FileId::new(target));
            present(File { id: FileId::new(id), shortcut_target, ..file("link.mp4", SHORTCUT) })
        };
        let there = File { parent: None, ..video("there") };
        let changes = vec![shortcut("s1", "broken"), shortcut("s2", "there"), present(video("f"))];
        let source = Canned {
            pages: HashMap::from([("start", (changes, "1"))]),
            items: HashMap::from([("there", there)]),
            ..Canned::default()
        };
        let (read, outcome) = read(&source, &desk, &ChangeLog::User).await;
        outcome.unwrap();
        assert_eq!((read.changes, read.found), (3, 2));
        let state = desk.store().log_state(&ChangeLog::User).await.unwrap().unwrap();
        assert!(state.read.is_some_and(|began| began <= Timestamp::now()), "it was read to its end");
        let asked = desk.store().questions(Timestamp::now(), 10).await.unwrap();
        let asked: Vec<&str> = asked.iter().map(|question| question.file_id.as_str()).collect();
        assert_eq!(asked, ["broken"]);
    }

    #[tokio::test]
    async fn a_log_that_an_item_has_left_does_not_say_that_it_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let desk = desk(home.path()).await;
        let drive = ChangeLog::SharedDrive("d".into());
        let there = present(File { drive_id: Some("d".into()), ..video("f") });
        let gone = Change { file_id: FileId::new("f"), entry: Entry::Gone };
        for (log, changes) in
            [(&drive, vec![there]), (&ChangeLog::User, vec![present(video("f"))]), (&drive, vec![gone])]
        {
            let source = Canned { pages: HashMap::from([("start", (changes, "1"))]), ..Canned::default() };
            let token = PageToken::new("start");
            desk.store().begin_log(log, &token, Timestamp::now()).await.unwrap();
            read(&source, &desk, log).await.1.unwrap();
        }
        let waiting = desk.store().in_stages(&[Stage::Pending], 10).await.unwrap();
        assert_eq!(waiting.len(), 1);
        let asked = desk.store().questions(Timestamp::now(), 10).await.unwrap();
        assert_eq!(asked.len(), 1, "Drive is asked whether it is");
    }
}
