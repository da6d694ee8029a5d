//! Bytes from Drive into a part: one or more connections at once, each taken up again where it broke off.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::plan::{LaneId, Plan};
use super::streams::{Sight, Streams};
use super::trickle;
use super::{Control, Downloader, Error, Source};
use crate::spool::{Part, Sink, Verification, VerifiedPart};

/// How often the connections are checked while there may be more than one.
const LOOK: Duration = Duration::from_millis(10);
/// A connection without a byte for this long is replaced by a new one, if another has brought bytes so much later.
const SLOW: Duration = Duration::from_secs(5);
const BESIDE: Duration = Duration::from_secs(1);
/// After so many looks at more connections than wanted one is ended. One that has the next piece while another one is
/// about to end is not one too many.
const CROWDED: u32 = 20;
/// How often the bytes that a connection brings are counted.
const COUNT: Duration = Duration::from_secs(1);
/// So many times slower than another one is slow.
const LAG: u64 = 8;

/// A transfer in progress.
pub(super) struct Transfer<'a> {
    pub(super) downloader: &'a Downloader,
    pub(super) source: &'a Source<'a>,
    pub(super) sink: &'a Sink,
    plan: Mutex<Plan>,
    received: &'a AtomicU64,
    stop: &'a CancellationToken,
    /// Google takes the file for harmful, and it is to be fetched all the same.
    pub(super) acknowledge_abuse: AtomicBool,
    began: Instant,
    /// When the last bytes came on any connection.
    latest: AtomicU64,
    /// The fastest connection that has ended, in bytes per millisecond.
    best: AtomicU64,
    /// How many looks in a row there were more than wanted.
    crowded: AtomicU32,
    /// How many were replaced because they were slow.
    replaced: AtomicU32,
    /// How many in a row were replaced because they trickled.
    trickles: AtomicU32,
    /// Whether the next piece is asked for while the last bytes of one come; not where connections are few.
    asks_ahead: AtomicBool,
}

/// A running connection.
#[derive(Debug)]
pub(super) struct Running {
    /// Ends it in order.
    pub(super) quit: CancellationToken,
    /// When it began, and when its last bytes came, in milliseconds since the transfer began; 0: none yet.
    began: u64,
    moved: AtomicU64,
    bytes: AtomicU64,
    /// Milliseconds until the first ones came.
    waited: AtomicU64,
    /// Whether it was the only one when it began.
    pub(super) alone: bool,
    /// Where it is measured from, while an answer is read. In between it may wait for good reasons.
    seen: Mutex<Option<trickle::Sight>>,
}

/// How a connection's work on its piece ended.
#[derive(Debug)]
pub(super) enum End {
    /// The piece is complete, or another connection continues it.
    Over,
    /// Drive gives no more on this connection.
    Refused(Error),
    /// The whole transfer cannot continue.
    Failed(Error),
}

/// Fills the part and verifies it. What came is kept, whatever happens.
pub(super) async fn transfer(
    downloader: &Downloader,
    source: &Source<'_>,
    part: Part,
    control: Control<'_>,
) -> Result<VerifiedPart, Error> {
    let Control { received, stop, arrived } = control;
    let plan = Plan::new(part.size(), part.there().clone());
    received.store(plan.received(), Ordering::Relaxed);
    let most = if plan.is_divisible() { downloader.config.load().streams.max(1) } else { 1 };
    let sink = Sink::new(part, most, &downloader.buffers);
    let transfer = Transfer {
        downloader,
        source,
        sink: &sink,
        plan: Mutex::new(plan),
        received,
        stop,
        acknowledge_abuse: AtomicBool::new(false),
        began: Instant::now(),
        latest: AtomicU64::new(0),
        best: AtomicU64::new(0),
        crowded: AtomicU32::new(0),
        replaced: AtomicU32::new(0),
        trickles: AtomicU32::new(0),
        asks_ahead: AtomicBool::new(true),
    };
    let filled = transfer.fill(most).await;
    arrived();
    match filled {
        Ok(()) => match sink.finish().await? {
            Verification::Verified(verified) => Ok(verified),
            Verification::Wrong { why, suspect } => Err(Error::WrongContent { why, suspect }),
        },
        Err(error) => {
            // The writer's own failure, if it has one, explains more than what followed from it.
            sink.pause().await?;
            Err(error)
        }
    }
}

impl Transfer<'_> {
    async fn fill(&self, most: usize) -> Result<(), Error> {
        let mut streams = Streams::new(most);
        let mut lanes: BTreeMap<LaneId, Arc<Running>> = BTreeMap::new();
        let mut work = FuturesUnordered::new();
        let mut look = interval(LOOK);
        let mut count = interval(COUNT);
        for ticks in [&mut look, &mut count] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let outcome = loop {
            while self.busy(&self.plan(), &lanes, streams.wanted()) < streams.wanted() {
                let alone = lanes.is_empty() && streams.wanted() == 1;
                let Some((id, piece)) = self.plan().claim(alone) else { break };
                let running = Arc::new(self.running(alone));
                lanes.insert(id, Arc::clone(&running));
                work.push(self.lane(id, piece.start, running));
            }
            if lanes.is_empty() {
                break Ok(());
            }
            tokio::select! {
                Some((id, end)) = work.next() => {
                    lanes.remove(&id);
                    match end {
                        End::Over => {}
                        End::Refused(error) if !lanes.is_empty() => {
                            debug!(file.id = %self.source.file_id, %error, left = lanes.len(), "a connection fewer");
                            streams.refused(self.began.elapsed(), lanes.len());
                            self.asks_ahead.store(false, Ordering::Relaxed);
                        }
                        End::Refused(error) | End::Failed(error) => break Err(error),
                    }
                }
                () = self.stop.cancelled() => break Err(Error::Stopped),
                _ = look.tick(), if most > 1 => self.look(&mut streams, &lanes),
                _ = count.tick() => self.replace_trickles(&lanes),
            }
        };
        for running in lanes.values() {
            running.quit.cancel();
        }
        while work.next().await.is_some() {}
        outcome
    }

    /// Decides how many connections there are to be, and ends those that are too many or too slow.
    fn look(&self, streams: &mut Streams, lanes: &BTreeMap<LaneId, Arc<Running>>) {
        let all_flow = lanes.values().filter(|running| running.flows()).count() >= streams.wanted();
        let plan = self.plan();
        let sight =
            Sight { at: self.began.elapsed(), received: plan.received(), held_up: self.sink.waited() };
        let before = streams.wanted();
        let wanted = streams.look(sight, all_flow);
        if wanted != before {
            let (received, held_up_ms) = (sight.received, sight.held_up.as_millis() as u64);
            debug!(file.id = %self.source.file_id, before, wanted, received, held_up_ms, "another number of connections");
        }
        let busy = self.busy(&plan, lanes, wanted);
        if self.is_crowded(busy, wanted, wanted < before)
            && let Some(last) = plan.last().and_then(|last| lanes.get(&last))
        {
            last.quit.cancel();
        }
        drop(plan);
        let (now, latest) = (self.now(), self.latest.load(Ordering::Relaxed));
        for running in lanes.values() {
            let sign = running.last_sign();
            let is_silent = now.saturating_sub(sign) >= SLOW.as_millis() as u64;
            // Where all are silent, the network is: a new connection would be none the better.
            if is_silent && latest.saturating_sub(sign) >= BESIDE.as_millis() as u64 {
                running.quit.cancel();
            }
        }
        if busy < streams.wanted() {
            self.replace_laggard(lanes);
        }
    }

    /// Whether one is to be ended: at once if fewer are wanted now, else only if there have been too many for a while.
    fn is_crowded(&self, busy: usize, wanted: usize, are_fewer: bool) -> bool {
        let looks = match self.crowded.load(Ordering::Relaxed) {
            _ if busy <= wanted => 0,
            _ if are_fewer => CROWDED,
            looks => looks.saturating_add(1),
        };
        self.crowded.store(looks, Ordering::Relaxed);
        looks >= CROWDED
    }

    /// The number of connections that count if `wanted` are wanted.
    fn busy(&self, plan: &Plan, lanes: &BTreeMap<LaneId, Arc<Running>>, wanted: usize) -> usize {
        let asks_ahead = wanted > 1 && lanes.len() < 2 * wanted && self.asks_ahead.load(Ordering::Relaxed);
        if asks_ahead { busy_in(plan, lanes, self.now()) } else { lanes.len() }
    }

    /// There is nothing left for others to do: a connection that is far slower than another one was gets a new one in
    /// its place. Each time after a longer wait: the line may have become slow for all.
    fn replace_laggard(&self, lanes: &BTreeMap<LaneId, Arc<Running>>) {
        let patience = (SLOW.as_millis() as u64) << self.replaced.load(Ordering::Relaxed).min(6);
        let best = self.best.load(Ordering::Relaxed);
        for running in lanes.values() {
            let age = self.now().saturating_sub(running.began);
            let rate = running.bytes.load(Ordering::Relaxed) / age.max(1);
            if age >= patience && rate * LAG < best && !running.quit.is_cancelled() {
                running.quit.cancel();
                self.replaced.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A connection that hardly brings anything gets a new one in its place, even if there is no other to compare it with.
    fn replace_trickles(&self, lanes: &BTreeMap<LaneId, Arc<Running>>) {
        let limit = self.downloader.config.load().rate_limit;
        for running in lanes.values().filter(|running| !running.quit.is_cancelled()) {
            let mut seen = running.seen();
            let Some(before) = *seen else { continue };
            let now = self.sight(running);
            match trickle::judge(before, now, self.trickles.load(Ordering::Relaxed), limit) {
                trickle::Verdict::Later => continue,
                trickle::Verdict::Enough => self.trickles.store(0, Ordering::Relaxed),
                trickle::Verdict::Trickles => {
                    let bytes = now.bytes - before.bytes;
                    debug!(file.id = %self.source.file_id, bytes, "a connection that hardly brings anything is replaced");
                    self.trickles.fetch_add(1, Ordering::Relaxed);
                    running.quit.cancel();
                }
            }
            *seen = Some(now);
        }
    }

    /// An answer is read on a connection from now on, or no longer.
    pub(super) fn reads(&self, running: &Running, does: bool) {
        *running.seen() = does.then(|| self.sight(running));
    }

    fn sight(&self, running: &Running) -> trickle::Sight {
        let bytes = running.bytes.load(Ordering::Relaxed);
        trickle::Sight { at: self.began.elapsed(), bytes, held_up: self.sink.waited() }
    }

    /// Notes how fast a connection was that has ended.
    pub(super) fn ended(&self, running: &Running) {
        let age = self.now().saturating_sub(running.began);
        self.best.fetch_max(running.bytes.load(Ordering::Relaxed) / age.max(1), Ordering::Relaxed);
    }

    fn running(&self, alone: bool) -> Running {
        let quit = self.stop.child_token();
        Running {
            quit,
            began: self.now(),
            moved: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            alone,
            seen: Mutex::default(),
        }
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        // Each change of the plan is whole when the lock is given back.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have come on a lane: so many of them belong to it.
    pub(super) fn advance(&self, id: LaneId, running: &Running, bytes: u64) -> u64 {
        let mut plan = self.plan();
        let taken = plan.advance(id, bytes);
        self.received.store(plan.received(), Ordering::Relaxed);
        let now = self.now().max(1);
        if running.moved.swap(now, Ordering::Relaxed) == 0 {
            running.waited.store(now.saturating_sub(running.began), Ordering::Relaxed);
        }
        running.bytes.fetch_add(taken, Ordering::Relaxed);
        self.latest.store(now, Ordering::Relaxed);
        taken
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// How many connections have work for longer than the answer to another request takes to come. The others are as good
/// as done: what comes next is asked for meanwhile.
fn busy_in(plan: &Plan, lanes: &BTreeMap<LaneId, Arc<Running>>, now: u64) -> usize {
    let is_busy = |id: LaneId, running: &Running| {
        let left = plan.left(id);
        running.alone || left.end - left.start > running.soon(now)
    };
    lanes.iter().filter(|(id, running)| is_busy(**id, running)).count()
}

impl Running {
    /// Whether bytes have come.
    pub(super) fn flows(&self) -> bool {
        self.moved.load(Ordering::Relaxed) > 0
    }

    /// The bytes that come while another request is answered, at the rate so far.
    fn soon(&self, now: u64) -> u64 {
        let (waited, bytes) = (self.waited.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let flowed = now.saturating_sub(self.began + waited).max(1);
        if waited == 0 { 0 } else { bytes * (waited + LOOK.as_millis() as u64) / flowed }
    }

    /// Bytes have come that are there already: the connection does bring something.
    pub(super) fn skips(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Option<trickle::Sight>> {
        // A value, whole at any time.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_sign(&self) -> u64 {
        self.moved.load(Ordering::Relaxed).max(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Ranges;

    #[test]
    fn the_next_piece_is_asked_for_while_the_last_bytes_of_one_come() {
        const MIB: u64 = 1 << 20;
        let mut plan = Plan::new(1024 * MIB, Ranges::default());
        let (id, piece) = plan.claim(false).unwrap();
        let mut lanes = BTreeMap::new();
        // 60 MiB in 1.2 s, after a wait of 30 ms: 50 KiB and a bit each millisecond.
        let running = |waited, alone| Running {
            quit: CancellationToken::new(),
            began: 0,
            moved: AtomicU64::new(1230),
            bytes: AtomicU64::new(60 * MIB),
            waited: AtomicU64::new(waited),
            alone,
            seen: Mutex::default(),
        };
        plan.advance(id, piece.end - 3 * MIB);
        lanes.insert(id, Arc::new(running(30, false)));
        assert_eq!(busy_in(&plan, &lanes, 1230), 1, "3 MiB are more than come in 40 ms");
        plan.advance(id, MIB + MIB / 2);
        assert_eq!(busy_in(&plan, &lanes, 1230), 0);
        lanes.insert(id, Arc::new(running(30, true)));
        assert_eq!(busy_in(&plan, &lanes, 1230), 1, "it has all there is");
        lanes.insert(id, Arc::new(running(0, false)));
        assert_eq!(busy_in(&plan, &lanes, 1230), 1, "an answer comes at once");
    }
}
