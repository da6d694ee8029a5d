//! Bytes from Drive into a part: one connection, taken up again where it broke off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::plan::{Answer, Progress, Step, again_after};
use super::{Downloader, Error, Source};
use crate::drive::{self, Fault, Media};
use crate::http::jitter;
use crate::retry::Class;
use crate::spool::{Part, Sink, Verdict, VerifiedPart};

/// How one turn of a transfer ended.
enum Turn {
    /// Bytes came, and the answer ended in order.
    Ended,
    /// It broke off.
    Broke(drive::Error),
    /// The answer belongs to another content.
    Changed(String),
}

/// Fills the part and verifies it. What came is kept, whatever happens. `received` shows the progress.
pub(super) async fn transfer(
    downloader: &Downloader,
    source: &Source<'_>,
    part: Part,
    received: &AtomicU64,
    stop: &CancellationToken,
) -> Result<VerifiedPart, Error> {
    let mut sink = part.into_sink();
    received.store(sink.position(), Ordering::Relaxed);
    let filled = fill(downloader, source, &mut sink, received, stop).await;
    match filled {
        Ok(()) => match sink.finish().await? {
            Verdict::Verified(verified) => Ok(verified),
            Verdict::Wrong(why) => Err(Error::WrongContent(why)),
        },
        Err(Error::WriterGone) => match sink.pause().await {
            Ok(()) => Err(Error::WriterGone),
            Err(error) => Err(error.into()),
        },
        Err(error) => {
            // The writer's own failure, if it has one, explains more than what followed from it.
            sink.pause().await?;
            Err(error)
        }
    }
}

async fn fill(
    downloader: &Downloader,
    source: &Source<'_>,
    sink: &mut Sink,
    received: &AtomicU64,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut failures = 0;
    let mut acknowledge_abuse = false;
    loop {
        let before = sink.position();
        let Step::Fetch { from } = (Progress { have: before, size: sink.size() }).next() else {
            return Ok(());
        };
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::Stopped),
            turn = turn(downloader, source, from, acknowledge_abuse, sink, received) => turn?,
        };
        if sink.position() > before {
            failures = 0;
        }
        let error = match turn {
            Turn::Ended if sink.position() >= sink.size() => return Ok(()),
            Turn::Ended => None,
            Turn::Changed(why) => return Err(Error::Changed(why)),
            Turn::Broke(error)
                if error.fault() == Fault::Abusive
                    && downloader.config.acknowledge_abuse
                    && !acknowledge_abuse =>
            {
                warn!(file.id = %source.file_id, "Google takes this file for harmful; it is fetched all the same, as configured");
                acknowledge_abuse = true;
                continue;
            }
            Turn::Broke(error) if error.fault() == Fault::Range => {
                return Err(Error::Changed("the file is shorter than Drive said".to_owned()));
            }
            Turn::Broke(error) => Some(error),
        };
        failures += 1;
        let class = error.as_ref().map_or(Class::Transient, drive::Error::class);
        let retry_after = error.as_ref().and_then(drive::Error::retry_after);
        let Some(wait) = again_after(class, failures, retry_after, jitter()) else {
            return Err(error.map_or(Error::Short, Error::Drive));
        };
        debug!(
            file.id = %source.file_id,
            position = sink.position(),
            error = error.map(|error| error.to_string()),
            wait_ms = wait.as_millis() as u64,
            "a transfer broke off and goes on"
        );
        pause(wait, stop).await?;
    }
}

/// One request, and all that comes of it.
async fn turn(
    downloader: &Downloader,
    source: &Source<'_>,
    from: u64,
    acknowledge_abuse: bool,
    sink: &mut Sink,
    received: &AtomicU64,
) -> Result<Turn, Error> {
    let mut media =
        match downloader.drive.media(source.file_id, source.resource_key, from, acknowledge_abuse).await {
            Ok(media) => media,
            Err(error) => return Ok(Turn::Broke(error)),
        };
    let mut skip = match (Progress { have: from, size: sink.size() }).accept(media.from, media.total) {
        Answer::Append => 0,
        Answer::Skip(there) => there,
        Answer::Changed => {
            let total = media.total.unwrap_or_default();
            return Ok(Turn::Changed(format!("the file has {total} bytes now, not {}", sink.size())));
        }
    };
    loop {
        let bytes = match next(&mut media, &mut skip).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Turn::Ended),
            Err(error) => return Ok(Turn::Broke(error)),
        };
        let room = sink.size() - sink.position();
        if bytes.len() as u64 > room {
            return Ok(Turn::Changed(format!("more than the {} bytes that Drive said came", sink.size())));
        }
        downloader.limit.take(bytes.len() as u64).await;
        if !sink.write(bytes).await {
            return Err(Error::WriterGone);
        }
        received.store(sink.position(), Ordering::Relaxed);
    }
}

/// The next bytes that are not there yet.
async fn next(media: &mut Media, skip: &mut u64) -> Result<Option<Bytes>, drive::Error> {
    while let Some(mut bytes) = media.chunk().await? {
        let known = (*skip).min(bytes.len() as u64);
        *skip -= known;
        let new = bytes.split_off(known as usize);
        if !new.is_empty() {
            return Ok(Some(new));
        }
    }
    Ok(None)
}

async fn pause(wait: Duration, stop: &CancellationToken) -> Result<(), Error> {
    match stop.run_until_cancelled(tokio::time::sleep(wait)).await {
        Some(()) => Ok(()),
        None => Err(Error::Stopped),
    }
}
