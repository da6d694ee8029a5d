//! One connection of a transfer, from its first request to the end of its piece.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Error;
use super::plan::{Answer, LaneId, accept, again_after};
use super::transfer::{End, Running, Transfer};
use crate::drive::{self, Fault, Media};
use crate::http::jitter;
use crate::model::ResourceKeys;
use crate::retry::Class;
use crate::spool::Lane;

/// Received bytes are written to the disk when no more arrive for this long.
const IDLE: Duration = Duration::from_millis(200);

/// How one request of a lane ended.
enum Turn {
    /// All that was asked for has come, or the rest is another lane's by now.
    Whole,
    /// The answer ended in order, and too early.
    Short,
    /// It broke off.
    Broke(drive::Error),
    /// The answer begins at the file's first byte, far before this lane's.
    NoRange,
}

/// Why a lane ends before its piece does.
enum Quit {
    /// It is to.
    Asked,
    Because(End),
}

impl From<Error> for Quit {
    fn from(error: Error) -> Self {
        Self::Because(End::Failed(error))
    }
}

impl Transfer<'_> {
    /// Fetches the piece of a lane. What did not reach the disk goes back into the plan.
    pub(super) async fn lane(&self, id: LaneId, from: u64, running: Arc<Running>) -> (LaneId, End) {
        let mut lane = self.sink.lane(from);
        let fetched = self.fetch(id, &mut lane, &running).await;
        self.ended(&running);
        let reached = lane.position();
        let kept = lane.close().await;
        self.plan().release(id, Some(kept..reached));
        match fetched {
            Ok(()) | Err(Quit::Asked) => (id, End::Over),
            Err(Quit::Because(end)) => (id, end),
        }
    }

    async fn fetch(&self, id: LaneId, lane: &mut Lane, running: &Running) -> Result<(), Quit> {
        let mut failures = 0;
        loop {
            let before = lane.position();
            if self.plan().left(id).is_empty() {
                return Ok(());
            }
            let turn = self.turn(id, lane, running).await?;
            if lane.position() > before {
                failures = 0;
            }
            let error = match turn {
                // The piece may have grown since it was asked for: what another one gave up was put to it.
                Turn::Whole => continue,
                Turn::Short => None,
                Turn::NoRange => return Err(Quit::Because(End::Refused(Error::NoRange))),
                Turn::Broke(error) if error.fault() == Fault::Abusive && self.may_acknowledge() => continue,
                Turn::Broke(error) if error.fault() == Fault::Range => {
                    return Err(Error::Changed("the file is shorter than Drive said".to_owned()).into());
                }
                Turn::Broke(error) => Some(error),
            };
            if !running.alone && !running.flows() {
                // Drive refuses one more connection. The others continue with its piece.
                return Err(Quit::Because(End::Refused(error.map_or(Error::Short, Error::Drive))));
            }
            failures += 1;
            let class = error.as_ref().map_or(Class::Transient, drive::Error::class);
            let retry_after = error.as_ref().and_then(drive::Error::retry_after);
            let Some(wait) = again_after(class, failures, retry_after, jitter()) else {
                return Err(Quit::Because(End::Refused(error.map_or(Error::Short, Error::Drive))));
            };
            // Received bytes are kept, even if the next attempt never begins.
            lane.flush().await;
            debug!(
                file.id = %self.source.file_id,
                position = lane.position(),
                error = error.map(|error| error.to_string()),
                wait_ms = wait.as_millis() as u64,
                "a connection was interrupted; the download resumes"
            );
            or_quit(&running.quit, tokio::time::sleep(wait)).await?;
        }
    }

    /// Whether to request a file that Google has marked as harmful once more, with the acknowledgement.
    fn may_acknowledge(&self) -> bool {
        let is_new = self.downloader.config.load().acknowledge_abuse
            && !self.acknowledge_abuse.swap(true, Ordering::Relaxed);
        if is_new {
            warn!(file.id = %self.source.file_id, "Google has marked this file as harmful; it is downloaded because download.acknowledge_abuse is set");
        }
        is_new
    }

    /// One request, and all that comes of it.
    async fn turn(&self, id: LaneId, lane: &mut Lane, running: &Running) -> Result<Turn, Quit> {
        let (size, position) = (self.sink.size(), lane.position());
        let end = self.plan().left(id).end;
        let until = (end < size).then_some(end);
        let source = self.source;
        let acknowledge_abuse = self.acknowledge_abuse.load(Ordering::Relaxed);
        let keys = ResourceKeys::of(source.file_id, source.resource_key);
        let asked = self.downloader.drive.media(source.file_id, &keys, position, until, acknowledge_abuse);
        let media = match or_quit(&running.quit, asked).await? {
            Ok(media) => media,
            Err(error) => return Ok(Turn::Broke(error)),
        };
        let skip = match accept(position, size, media.from, media.total) {
            Answer::Append => 0,
            Answer::Skip(_) if !running.alone => return Ok(Turn::NoRange),
            Answer::Skip(there) => there,
            Answer::Changed => {
                let total = media.total.unwrap_or_default();
                return Err(Error::Changed(format!("the file has {total} bytes now, not {size}")).into());
            }
        };
        self.reads(running, true);
        let turn = self.receive(id, lane, running, media, skip, until).await;
        self.reads(running, false);
        turn
    }

    /// All that comes with an answer, without its first `skip` bytes. `until`: where it was asked to end, if not at the
    /// file's end.
    async fn receive(
        &self,
        id: LaneId,
        lane: &mut Lane,
        running: &Running,
        mut media: Media,
        mut skip: u64,
        until: Option<u64>,
    ) -> Result<Turn, Quit> {
        let size = self.sink.size();
        let end = until.unwrap_or(size);
        loop {
            let share = self.downloader.limit.share();
            let most = if skip > 0 { skip.min(share) } else { share };
            let came = match next(&mut media, most, lane, &running.quit).await? {
                Ok(0) if lane.position() >= end => return Ok(Turn::Whole),
                Ok(0) => return Ok(Turn::Short),
                Ok(came) => came as u64,
                Err(error) => return Ok(Turn::Broke(error)),
            };
            if skip > 0 {
                skip -= came;
                running.skips(came);
                // They have come over the network like all others.
                or_quit(&running.quit, self.downloader.limit.take(came)).await?;
                continue;
            }
            let taken = self.advance(id, running, came);
            if !lane.filled(taken as usize).await {
                return Err(Error::WriterGone.into());
            }
            // Only now: what has come stays, whatever happens meanwhile.
            or_quit(&running.quit, self.downloader.limit.take(came)).await?;
            if taken < came {
                if lane.position() >= size {
                    let why = format!("more than the {size} bytes that Drive said came");
                    return Err(Error::Changed(why).into());
                }
                // From here on it is another lane's.
                return Ok(Turn::Whole);
            }
            if until.is_some() && self.plan().left(id).is_empty() {
                return Ok(Turn::Whole);
            }
            if media.is_whole() {
                return Ok(if lane.position() >= end { Turn::Whole } else { Turn::Short });
            }
        }
    }
}

/// Puts the next bytes into the lane's buffer, without counting them in.
async fn next(
    media: &mut Media,
    most: u64,
    lane: &mut Lane,
    quit: &CancellationToken,
) -> Result<Result<usize, drive::Error>, Quit> {
    loop {
        let Some(room) = or_quit(quit, lane.room()).await? else { return Err(Error::WriterGone.into()) };
        let most = room.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        match or_quit(quit, tokio::time::timeout(IDLE, media.read(&mut room[..most]))).await? {
            Ok(read) => return Ok(read),
            Err(_) if lane.flush().await => {}
            Err(_) => return Err(Error::WriterGone.into()),
        }
    }
}

async fn or_quit<T>(quit: &CancellationToken, work: impl Future<Output = T>) -> Result<T, Quit> {
    quit.run_until_cancelled(work).await.ok_or(Quit::Asked)
}
