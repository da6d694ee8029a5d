//! What an audit has found so far, and how one page of files adds to it.

use std::collections::HashMap;
use std::path::PathBuf;

use super::doubts::{Doubtful, Wish};
use super::judge::{Verdict, judge};
use super::places::{self, Look, Place, look};
use super::report::{LeftOut, Named, Outcome, Report};
use super::walk::{Page, Seen, Watched};
use crate::model::FileId;
use crate::store::{Content, Error, Store};

/// An audit at work.
#[derive(Debug)]
pub(super) struct Work<'a> {
    store: &'a Store,
    watched: &'a [Watched],
    how: Look,
    pub(super) report: Report,
    /// Files that have to be looked at again.
    pub(super) doubts: Vec<Doubtful>,
    /// Destinations that were looked at; with a reason, they cannot be used.
    destinations: HashMap<PathBuf, Option<String>>,
    /// Files that were looked at.
    pub(super) files: u64,
}

impl<'a> Work<'a> {
    pub(super) fn new(store: &'a Store, watched: &'a [Watched], report: Report) -> Self {
        let how = if report.checksums { Look::Inside } else { Look::Outside };
        let destinations = HashMap::new();
        Self { store, watched, how, report, doubts: Vec::new(), destinations, files: 0 }
    }

    /// Takes in what one call has shown.
    pub(super) async fn take(&mut self, page: Page) -> Result<(), Error> {
        page.problems.into_iter().for_each(|problem| self.report.problem(problem));
        page.left_out.into_iter().for_each(|(watched, why)| self.report.leave_out(watched, why));
        let mut wishes = Vec::new();
        for seen in page.files {
            self.files += 1;
            match self.rule_for(&seen) {
                Ok((watched, rule)) => wishes.push(Wish { seen, watched, rule }),
                Err((watched, why)) => self.report.leave_out(watched, why),
            }
        }
        let doubts = self.weigh(wishes).await?;
        self.doubts.extend(doubts);
        Ok(())
    }

    /// The first rule that wants a file, those of the innermost folder first; else why that folder's first rule does not.
    fn rule_for(&self, seen: &Seen) -> Result<(usize, usize), (usize, LeftOut)> {
        let mut why = None;
        for spot in seen.spots.iter() {
            for (number, rule) in self.watched[spot.watched].rules.iter().enumerate() {
                match rule.wants(&seen.file, spot.depth) {
                    Ok(()) => return Ok((spot.watched, number)),
                    Err(reason) => why = why.or(Some((spot.watched, reason))),
                }
            }
        }
        Err(why.unwrap_or((0, LeftOut::TooDeep)))
    }

    /// Counts those files whose whereabouts are explained, and gives the others back.
    pub(super) async fn weigh(&mut self, wishes: Vec<Wish>) -> Result<Vec<Doubtful>, Error> {
        let ids: Vec<FileId> = wishes.iter().map(|wish| wish.seen.file.id.clone()).collect();
        let known = self.store.contents_of(&ids).await?;
        let (mut doubts, mut delivered, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for wish in wishes {
            let rows: &[Content] = known.get(&wish.seen.file.id).map_or(&[], Vec::as_slice);
            match judge(&wish.seen.file, rows, |watched| self.ignores_existing(watched, &wish)) {
                Verdict::Explained(outcome, reason) => self.count(&wish, outcome, reason),
                Verdict::Existing => self.report.leave_out(wish.watched, LeftOut::Existing),
                Verdict::Doubtful(doubt) => doubts.push(Doubtful { wish, doubt }),
                Verdict::Delivered(delivery) => {
                    let Some(file) = delivery.published.clone() else { continue };
                    let (root, checksums) = (delivery.destination.clone(), delivery.checksums.clone());
                    if let Some(why) = self.unusable(&root).await? {
                        self.count(&wish, Outcome::Unseen, why);
                    } else {
                        places.push(Place { root, file, checksums });
                        delivered.push((wish, &delivery.id));
                    }
                }
            }
        }
        for ((wish, id), (outcome, reason)) in delivered.iter().zip(look(places, self.how).await) {
            let reason = match outcome {
                Outcome::TakenAway => format!("`gdrive-webhook redeliver {id}` downloads it again"),
                _ => reason,
            };
            self.count(wish, outcome, reason);
        }
        Ok(doubts)
    }

    /// Counts a file.
    pub(super) fn count(&mut self, wish: &Wish, outcome: Outcome, reason: String) {
        let named = Named {
            outcome,
            file_id: wish.seen.file.id.clone(),
            path: wish.seen.path.clone(),
            folder: self.watched[wish.watched].folder.id.clone(),
            reason,
            needs_key: wish.seen.file.resource_key.is_some() || wish.seen.keys.iter().next().is_some(),
        };
        self.report.count(wish.watched, named);
    }

    /// By the first rule of the folder that it was noted in; if that is not watched any more, by the rule that wants it.
    fn ignores_existing(&self, noted_in: &FileId, wish: &Wish) -> bool {
        let noted_in = self.watched.iter().find(|watched| watched.folder.id == *noted_in);
        let rule = noted_in.and_then(|watched| watched.rules.first());
        rule.unwrap_or(&self.watched[wish.watched].rules[wish.rule]).rule.ignores_existing
    }

    /// Why a destination cannot be looked at, if it cannot.
    async fn unusable(&mut self, root: &PathBuf) -> Result<Option<String>, Error> {
        if let Some(known) = self.destinations.get(root) {
            return Ok(known.clone());
        }
        let why = match self.store.marker(root).await? {
            Some(marker) => places::unusable(root.clone(), marker).await,
            None => None,
        };
        if let Some(why) = &why {
            self.report.problem(why.clone());
        }
        self.destinations.insert(root.clone(), why.clone());
        Ok(why)
    }
}
