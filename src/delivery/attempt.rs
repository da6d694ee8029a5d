//! One attempt at one delivery, from the first byte to publishing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::Error;
use super::adoption::adopt;
use super::events::Slot;
use super::publisher::Publisher;
use super::reaction::{DISK_WAIT, Reaction, after_destination, after_download, after_publishing};
use crate::checkpoint::{Point, reached};
use crate::destination::{self, Destination};
use crate::download::{self, Control, Downloader, Source};
use crate::http::jitter;
use crate::model::delivery::{Cause, OnUpdate, PublishedFile};
use crate::model::{Delivery, Stage};
use crate::spool::checksum::sha_instructions;
use crate::spool::{Expected, VerifiedPart};
use crate::store::{self, Ending, Store};
use crate::telemetry::log::with_causes;
use crate::telemetry::transfers::Transfers;

/// When a name is taken between planning and publishing, another one is chosen. This many in a row do not happen.
const PLACE_TRIES: usize = 100;
/// After so many of them the file goes beside the earlier content that it was to replace: NTFS never lets a file take the
/// place of one whose name is nearly as long as names can be.
const REPLACE_TRIES: usize = 3;

/// What became of an earlier content is known after one look at the disk, unless the disk has an error.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Attempt {
    pub(super) store: Store,
    pub(super) downloader: Downloader,
    pub(super) transfers: Arc<Transfers>,
    pub(super) place: Destination,
    pub(super) publisher: Arc<Publisher>,
    pub(super) stop: CancellationToken,
}

impl Attempt {
    /// Runs the attempt and records its outcome in the ledger. Returns what is wrong with the destination, if anything.
    /// `None`: the outcome could not be recorded.
    pub(super) async fn run(self, delivery: Delivery, slot: Arc<Slot>) -> Option<Option<String>> {
        let span = info_span!("delivery", delivery.id = %delivery.id, file.id = %delivery.file_id, file.name = delivery.name);
        async {
            let error = match self.deliver(&delivery, slot).await {
                Ok(()) => return Some(None),
                Err(Error::Unfinished) => return None,
                Err(error) => error,
            };
            match self.went_wrong(&delivery, error).await {
                Ok(hold) => Some(hold),
                Err(error) => {
                    error!(
                        error = with_causes(&error),
                        "what became of this file cannot be recorded in the database"
                    );
                    None
                }
            }
        }
        .instrument(span)
        .await
    }

    async fn deliver(&self, delivery: &Delivery, slot: Arc<Slot>) -> Result<(), Error> {
        reached(Point::Claimed);
        let began = Timestamp::now();
        let expected = expected(delivery)?;
        let place = &self.place;
        if let Some(file) = adopt(&self.store, place, delivery, &expected, &self.stop).await? {
            let path = place.absolute(&file.path);
            info!(path = %path.display(), size_bytes = file.size, "a file with these bytes is there already; it is not downloaded");
            return Ok(());
        }
        let shown = self.transfers.begin(delivery.id.as_str(), &delivery.name, expected.size);
        let source = Source {
            file_id: &delivery.file_id,
            resource_key: delivery.resource_key.as_deref(),
            revision: &delivery.revision,
        };
        let control = Control {
            received: &shown.transfer.received,
            stop: &self.stop,
            arrived: Box::new(move || drop(slot)),
        };
        let part = self.downloader.fetch(&source, place.spool(), &delivery.id, expected, control).await?;
        reached(Point::Verified);
        let published = self.publish(delivery, part).await?;
        let now = Timestamp::now();
        info!(
            path = %place.absolute(&published.path).display(),
            size_bytes = published.size,
            checksum = published.checksum.as_ref().map(crate::model::file::Checksum::tagged),
            duration_ms = millis_between(began, now),
            since_found_ms = millis_between(delivery.created, now),
            attempt = delivery.attempt + 1,
            "delivered"
        );
        Ok(())
    }

    /// Publishes the file. If its path is taken meanwhile, the file gets another one.
    async fn publish(&self, delivery: &Delivery, part: VerifiedPart) -> Result<PublishedFile, Error> {
        let part = Arc::new(part);
        let beside = Delivery { on_update: OnUpdate::KeepBoth, ..delivery.clone() };
        for round in 0..PLACE_TRIES {
            let delivery = if round < REPLACE_TRIES { delivery } else { &beside };
            match self.publisher.publish(&self.store, &self.place, delivery, &part).await {
                Err(Error::Destination(
                    destination::Error::Taken { .. } | destination::Error::Changed { .. },
                )) => {}
                done => return done,
            }
        }
        Err(destination::Error::Taken { path: delivery.wanted.clone() }.into())
    }

    /// Records what is done after a failure. Returns what is wrong with the whole destination, if anything.
    async fn went_wrong(&self, delivery: &Delivery, error: Error) -> Result<Option<String>, store::Error> {
        let now = Timestamp::now();
        let reaction = match error {
            Error::Download(error) => {
                after_download(&error, delivery.attempt, delivery.reason.as_deref(), jitter())
            }
            Error::Destination(error) => after_destination(&error, delivery.attempt, jitter()),
            Error::Unpublished(error) => {
                // It may be published or not: the engine checks the disk before anything else.
                let (wait, hold) = after_publishing(&error, delivery.attempt, jitter());
                let (until, reason) = (now.checked_add(wait).unwrap_or(now), error.to_string());
                if delivery.reason.as_ref() != Some(&reason) {
                    warn!(%error, "a downloaded file could not be moved to its place yet; this is tried again");
                }
                let attempt = delivery.attempt + u32::from(hold.is_none());
                self.store.hold(&delivery.id, until, attempt, &reason, now).await?;
                return Ok(hold);
            }
            Error::Unsettled => {
                Reaction::Again { after: SETTLED_WITHIN, counts: false, reason: error.to_string() }
            }
            Error::Overtaken | Error::Unfinished => Reaction::Release,
            Error::Store(error) => return Err(error),
        };
        let mut hold = None;
        let waits = match reaction {
            Reaction::Hold(reason) => {
                let run_at = now.checked_add(DISK_WAIT).unwrap_or(now);
                let waits =
                    self.store.put_back(&delivery.id, run_at, delivery.attempt, Some(&reason), now).await?;
                hold = Some(reason);
                waits
            }
            Reaction::Release => {
                let reason = delivery.reason.as_deref();
                let waits =
                    self.store.put_back(&delivery.id, delivery.run_at, delivery.attempt, reason, now).await?;
                if !waits {
                    info!("the download was abandoned: the file is no longer wanted, or has newer content");
                }
                waits
            }
            Reaction::Again { after, counts, reason } => {
                if delivery.reason.as_ref() != Some(&reason) {
                    let (wait_ms, attempt) = (after.as_millis() as u64, delivery.attempt + 1);
                    warn!(reason, wait_ms, attempt, "a file waits and is tried again");
                }
                let run_at = now.checked_add(after).unwrap_or(now);
                let attempt = delivery.attempt + u32::from(counts);
                self.store.put_back(&delivery.id, run_at, attempt, Some(&reason), now).await?
            }
            Reaction::Fail(cause, reason) => {
                error!(reason, "a file has failed; `gdrive-webhook retry` tries it again");
                self.end(delivery, Stage::Failed, cause, &reason, now).await?
            }
            Reaction::Skip(cause, reason) => {
                info!(reason, "skipped");
                self.end(delivery, Stage::Skipped, cause, &reason, now).await?
            }
            Reaction::Supersede(reason) => {
                info!(reason, "a file is no longer wanted");
                self.end(delivery, Stage::Superseded, None, &reason, now).await?
            }
        };
        if !waits {
            self.discard(delivery).await;
        }
        Ok(hold)
    }

    /// Records that the delivery has come to an end: it does not wait any more.
    async fn end(
        &self,
        delivery: &Delivery,
        stage: Stage,
        cause: Option<Cause>,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, store::Error> {
        let look_at = cause.and_then(first_look).map(|after| now.checked_add(after).unwrap_or(now));
        self.store.end(&delivery.id, &Ending { stage, cause, reason, look_at }, now).await?;
        Ok(false)
    }

    /// Removes a part that is no longer needed. If that fails now, the next start removes it.
    async fn discard(&self, delivery: &Delivery) {
        if let Err(error) = self.place.discard(delivery.id.clone()).await {
            debug!(%error, "a part cannot be removed now; it is removed later");
        }
    }
}

/// When Drive is asked about a skipped file for the first time. A permission may be given back at any moment; bytes that
/// were refused for a day are tried again the next day.
fn first_look(cause: Cause) -> Option<Duration> {
    match cause {
        Cause::Permission => Some(Duration::from_mins(1)),
        Cause::Refused => Some(Duration::from_hours(24)),
        Cause::Setting => None,
    }
}

fn expected(delivery: &Delivery) -> Result<Expected, Error> {
    match (delivery.size, delivery.checksums.to_verify(sha_instructions())) {
        (Some(size), Some(checksum)) => Ok(Expected { size, checksum, modified: delivery.modified }),
        // The sync engine leaves such files as unready; one that slipped through waits like any other.
        _ => Err(download::Error::Short.into()),
    }
}

fn millis_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_millisecond() - from.as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_between_are_in_milliseconds() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        assert_eq!(millis_between(at(1_000), at(3_500)), 2_500);
    }
}
