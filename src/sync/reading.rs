//! The pages of a change log: one is read ahead while the one before it is taken in. Pages that come to nothing are
//! recorded together, so that what does not concern this program costs no write to the disk each.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::maybe_done;
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::debug;

use super::Error;
use super::decide::Origin;
use super::pass::Pass;
use crate::checkpoint::{Point, reached};
use crate::model::{Page, PageToken};
use crate::store::Outcome;

/// What came to nothing is recorded after this long, …
const HOLD: Duration = Duration::from_millis(200);
/// … or after so many pages. Until then a crash has them read again.
const HELD_PAGES: usize = 32;

/// How far a log has been read.
struct Position {
    /// Where the ledger stands.
    recorded: PageToken,
    /// Everything between the two came to nothing.
    read: PageToken,
    /// Pages between the two, and when the first of them was taken in.
    held: usize,
    since: Instant,
}

/// Whether there is more to read for this pass.
#[derive(PartialEq, Eq)]
enum Taken {
    In,
    /// Somebody else has moved the token.
    Overtaken,
}

impl Pass<'_> {
    /// Reads the log from here to its end.
    pub(super) async fn read_changes(&mut self, token: PageToken) -> Result<(), Error> {
        let mut position = Position { recorded: token.clone(), read: token, held: 0, since: Instant::now() };
        let outcome = self.read_pages(&mut position).await;
        // What was read before something went wrong need not be read again.
        let recorded = self.record_held(&mut position).await;
        outcome?;
        recorded.map(|_| ())
    }

    async fn read_pages(&mut self, position: &mut Position) -> Result<(), Error> {
        let (drive, log) = (self.drive, self.log);
        let mut page = drive.changes(log, &position.read).await?;
        loop {
            reached(Point::PageRead);
            if page.end {
                self.take_in(page, position).await?;
                return Ok(());
            }
            let next = page.next.clone();
            let mut ahead = pin!(maybe_done(drive.changes(log, &next)));
            let meanwhile = async {
                ahead.as_mut().await;
                pending::<Infallible>().await
            };
            let taken = tokio::select! {
                taken = self.take_in(page, position) => taken?,
                never = meanwhile => match never {},
            };
            if taken == Taken::Overtaken {
                return Ok(());
            }
            // Drive may let us wait for long.
            if timeout(HOLD, ahead.as_mut()).await.is_err() {
                if self.record_held(position).await? == Taken::Overtaken {
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
    async fn take_in(&mut self, page: Page, position: &mut Position) -> Result<Taken, Error> {
        let count = page.changes.len();
        let outcome = self.evaluate(page.changes, Origin::Change).await?;
        if position.held == 0 {
            position.since = Instant::now();
        }
        let can_wait = outcome.is_empty()
            && !page.end
            && position.held + 1 < HELD_PAGES
            && position.since.elapsed() < HOLD;
        let taken = if can_wait {
            position.read = page.next;
            position.held += 1;
            Taken::In
        } else {
            self.record(position, page.next, &outcome).await?
        };
        if taken == Taken::In {
            self.tally.changes += count;
            self.wake_deliveries(&outcome);
        }
        Ok(taken)
    }

    async fn record_held(&mut self, position: &mut Position) -> Result<Taken, Error> {
        if position.held == 0 {
            return Ok(Taken::In);
        }
        let read = position.read.clone();
        self.record(position, read, &Outcome::default()).await
    }

    /// Records the last page and with it those before it that came to nothing. If that fails, they still can be
    /// recorded without it.
    async fn record(
        &mut self,
        position: &mut Position,
        to: PageToken,
        outcome: &Outcome,
    ) -> Result<Taken, Error> {
        let now = Timestamp::now();
        let moved = self.store.commit_changes(self.log, &position.recorded, &to, outcome, now).await?;
        *position = Position { recorded: to.clone(), read: to, held: 0, since: position.since };
        if !moved {
            debug!(log = %self.log, "the page token was moved by somebody else");
            return Ok(Taken::Overtaken);
        }
        reached(Point::PageRecorded);
        Ok(Taken::In)
    }
}
