//! Asks Drive what change entries and listings left open, one item after the other. A question that Drive does not answer
//! is asked again later and holds up nothing else.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::decision::{Evidence, Origin, Trouble};
use super::desk::Desk;
use super::error::{Error, concerns_others, is_hidden};
use super::heard::Moment;
use super::targets;
use super::waits::{Waits, after, until};
use crate::drive::{self, Drive, Fault};
use crate::model::{Change, Delivery, Entry, FileId, ResourceKeys, Stage};
use crate::store::{Outcome, Question, Why};

/// So many questions at once; the rest follows in the next round.
const AT_ONCE: i64 = 20;
/// A file without size or checksum is looked at again after 10 s, 20 s … up to this.
const UNREADY_CAP: Duration = Duration::from_mins(10);
/// A file that the account may not download is looked at again after 2 min, 4 min, 8 min … up to a day.
const SKIPPED_LOOK: Duration = Duration::from_mins(2);
const SKIPPED_CAP: Duration = Duration::from_hours(24);

/// Whoever asks.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) drive: &'a Drive,
    pub(super) desk: &'a Desk,
    pub(super) waits: &'a Waits,
}

impl Asker<'_> {
    /// Asks everything that is due. What comes back is how many files were found for the queue.
    pub(super) async fn ask(&self) -> Result<usize, Error> {
        let mut found = 0;
        let store = self.desk.store();
        for question in store.questions(Timestamp::now(), AT_ONCE).await? {
            found += self.question(&question).await?;
        }
        for delivery in store.unready(Timestamp::now()).await? {
            found += self.unready(&delivery).await?;
        }
        Ok(found)
    }

    async fn question(&self, question: &Question) -> Result<usize, Error> {
        let id = &question.file_id;
        let moment = self.desk.moment().await;
        let keys = self.keys(question).await?;
        match self.drive.file(id, &keys).await {
            Ok(file) => self.answered(question, Entry::Present(Box::new(file)), moment).await,
            Err(error) if is_hidden(&error) => match (question.why, self.waits.hidden(question.attempt)) {
                (Why::Watched, _) => self.still_hidden(question).await,
                (_, Some(wait)) => {
                    self.later(question, wait).await?;
                    Ok(0)
                }
                (Why::Target | Why::NotedTarget, None) => {
                    info!(file.id = %id, reason = "Drive does not show what a shortcut points at; share that as well", "skipped");
                    self.given_up(question).await
                }
                (Why::Unclear | Why::Missing | Why::Removed, None) => {
                    self.answered(question, Entry::Gone, moment).await
                }
            },
            Err(error) if concerns_others(&error) => Err(error.into()),
            Err(error) => self.unanswered(question, &error).await,
        }
    }

    async fn keys(&self, question: &Question) -> Result<ResourceKeys, Error> {
        let id = &question.file_id;
        let rule = self.desk.rules().folders().iter().find(|rule| rule.id == *id);
        let key = question.resource_key.as_deref().or(rule.and_then(|rule| rule.resource_key.as_deref()));
        let mut keys = ResourceKeys::of(id, key);
        for (id, key) in self.desk.store().resource_keys(id).await?.iter() {
            keys.add(id.clone(), key.to_owned());
        }
        Ok(keys)
    }

    /// Holds Drive's word against what is known.
    async fn answered(&self, question: &Question, entry: Entry, moment: Moment) -> Result<usize, Error> {
        let origin = match question.why {
            Why::Unclear => Origin::Change,
            Why::NotedTarget => Origin::FirstListing,
            Why::Missing | Why::Target | Why::Removed | Why::Watched => Origin::Listing,
        };
        let id = &question.file_id;
        let is_trashed = matches!(&entry, Entry::Present(file) if file.trashed);
        let changes = vec![Change { file_id: id.clone(), entry }];
        let targets = targets::look_up(self.drive, self.desk, &changes).await?;
        let now = Timestamp::now();
        let mut turn = self.desk.turn().await;
        if turn.has_heard(moment, id) {
            debug!(file.id = %id, "a change log has spoken of it meanwhile; it is asked for again");
            return Ok(0);
        }
        let evidence = Evidence { read: Some(question.since), ..Evidence::of(origin, now) };
        let mut evaluated = turn.evaluate(changes, &targets, &evidence).await?;
        // Its own question stays as it is, ends, or becomes another one.
        evaluated.outcome.questions.retain(|new| new.file_id != *id || new.why != question.why);
        let stays = question.why == Why::Watched && is_trashed;
        if !stays {
            evaluated.outcome.answered.push(id.clone());
        }
        let found = evaluated.found;
        self.desk.store().record(&evaluated.outcome, now).await?;
        turn.recorded(evaluated);
        drop(turn);
        if stays {
            self.later(question, self.waits.watched(question.attempt)).await?;
        }
        Ok(found)
    }

    /// Drive does not show a watched folder.
    async fn still_hidden(&self, question: &Question) -> Result<usize, Error> {
        let (id, now) = (&question.file_id, Timestamp::now());
        let store = self.desk.store();
        let known = store.folders(std::slice::from_ref(id)).await?.remove(id);
        let Some(folder) = known.filter(|folder| folder.watched && self.desk.rules().names(id)) else {
            return self.given_up(question).await;
        };
        let why = self.desk.explain(Trouble::NotShown);
        if folder.problem.as_ref() != Some(&why) {
            warn!(folder.id = %id, folder.name = folder.name, why, "a folder cannot be watched");
        }
        store.record(&Outcome { troubled: vec![(id.clone(), why)], ..Outcome::default() }, now).await?;
        self.later(question, self.waits.watched(question.attempt)).await?;
        Ok(0)
    }

    /// Drive gives no answer for this item.
    async fn unanswered(&self, question: &Question, error: &drive::Error) -> Result<usize, Error> {
        let asked_for = until(Timestamp::now(), question.since);
        let is_answer = error.fault() != Fault::Connection;
        if asked_for > self.waits.patience && is_answer && question.why != Why::Watched {
            warn!(
                file.id = %question.file_id, %error,
                "Drive has not said for a day what this item is; it is left until the next comparison"
            );
            return self.given_up(question).await;
        }
        debug!(file.id = %question.file_id, %error, "Drive does not say what an item is; it is asked again later");
        let wait = error.retry_after().unwrap_or_default().max(self.waits.unanswered(asked_for));
        // That nothing is said is no sign that the item is hidden.
        let at = after(Timestamp::now(), wait);
        self.desk.store().ask_again(&question.file_id, question.attempt, at).await?;
        Ok(0)
    }

    /// Drive does not show the item.
    async fn later(&self, question: &Question, wait: Duration) -> Result<(), Error> {
        let at = after(Timestamp::now(), wait);
        Ok(self.desk.store().ask_again(&question.file_id, question.attempt + 1, at).await?)
    }

    async fn given_up(&self, question: &Question) -> Result<usize, Error> {
        let outcome = Outcome { answered: vec![question.file_id.clone()], ..Outcome::default() };
        self.desk.store().record(&outcome, Timestamp::now()).await?;
        Ok(0)
    }

    /// A file whose size and checksum were missing, or that was skipped for something that may have passed.
    async fn unready(&self, delivery: &Delivery) -> Result<usize, Error> {
        let now = Timestamp::now();
        // Before anything can go wrong: one that cannot be looked at is not to keep the others waiting.
        let wait = until_next_look(delivery);
        self.desk.store().still_unready(&delivery.id, after(now, wait), delivery.attempt + 1).await?;
        let moment = self.desk.moment().await;
        let id = &delivery.file_id;
        let keys = ResourceKeys::of(id, delivery.resource_key.as_deref());
        let entry = match self.drive.file(id, &keys).await {
            Ok(file) => Entry::Present(Box::new(file)),
            Err(error) if is_hidden(&error) => {
                // A permission may take effect late.
                let question = Question {
                    file_id: id.clone(),
                    resource_key: delivery.resource_key.clone(),
                    why: Why::Missing,
                    attempt: 0,
                    since: now,
                };
                let outcome = Outcome { questions: vec![question], ..Outcome::default() };
                self.desk.store().record(&outcome, now).await?;
                return Ok(0);
            }
            Err(error) if concerns_others(&error) => return Err(error.into()),
            Err(error) => {
                debug!(file.id = %id, %error, "a file cannot be looked at; it is tried again later");
                return Ok(0);
            }
        };
        let Some(found) = self.taken(id, entry, moment).await? else {
            // What was heard of it may be forgotten already.
            self.desk.store().still_unready(&delivery.id, now, delivery.attempt).await?;
            return Ok(0);
        };
        self.desk.store().settle_setting(&delivery.id).await?;
        Ok(found)
    }

    /// Takes in what Drive says of a file. `None`: it is not known to be news.
    async fn taken(&self, id: &FileId, entry: Entry, moment: Moment) -> Result<Option<usize>, Error> {
        let now = Timestamp::now();
        let mut turn = self.desk.turn().await;
        if turn.has_heard(moment, id) {
            return Ok(None);
        }
        let changes = vec![Change { file_id: id.clone(), entry }];
        let evidence = Evidence { read: Some(now), ..Evidence::of(Origin::Change, now) };
        let evaluated = turn.evaluate(changes, &targets::Targets::new(), &evidence).await?;
        let found = evaluated.found;
        self.desk.store().record(&evaluated.outcome, now).await?;
        turn.recorded(evaluated);
        Ok(Some(found))
    }
}

/// How long until Drive is asked about a file again, if the answer is the same.
fn until_next_look(delivery: &Delivery) -> Duration {
    let (base, cap) = match delivery.stage {
        Stage::Unready => (Duration::from_secs(10), UNREADY_CAP),
        _ => (SKIPPED_LOOK, SKIPPED_CAP),
    };
    base.saturating_mul(1 << delivery.attempt.min(16)).min(cap)
}
