//! The loop of an engine: it sleeps until it is woken, due, or stopped, runs one step, and publishes the outcome. A wake-up
//! carries no data except its reason: a step always looks at the whole state.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why an engine runs a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The program has just started.
    Start,
    /// Drive sent a notification.
    Push,
    /// The time has come.
    Due,
    /// Another engine has left work.
    Handover,
}

/// How a step went: what was done, or what went wrong.
pub type Outcome = Result<String, String>;

/// The callers that wait for the outcome of the next step.
type Waiting = Arc<Mutex<Vec<oneshot::Sender<Outcome>>>>;

/// The sender of a wake-up, for any number of callers. A caller waits only if it asks for the outcome.
#[derive(Clone, Debug)]
pub struct Wake {
    reasons: mpsc::Sender<Reason>,
    waiting: Waiting,
}

/// The receiver of a wake-up, held by one engine.
#[derive(Debug)]
pub struct Wakeups {
    reasons: mpsc::Receiver<Reason>,
    waiting: Waiting,
}

/// For an outcome: `no file`, `1 file`, `2 files`. The first word is counted.
pub fn counted(count: usize, words: &str) -> String {
    let (first, rest) =
        words.split_once(' ').map_or((words, String::new()), |(first, rest)| (first, format!(" {rest}")));
    match count {
        0 => format!("no {words}"),
        1 => format!("1 {words}"),
        _ => format!("{count} {first}s{rest}"),
    }
}

/// The engine has ended.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Gone;

/// A wake-up of capacity one: while one is pending, more have no effect.
pub fn wake_up() -> (Wake, Wakeups) {
    let (sender, receiver) = mpsc::channel(1);
    let waiting = Waiting::default();
    (Wake { reasons: sender, waiting: waiting.clone() }, Wakeups { reasons: receiver, waiting })
}

impl Wake {
    /// Makes sure that the engine runs a step that begins after this call.
    pub fn wake(&self, reason: Reason) -> Result<(), Gone> {
        match self.reasons.try_send(reason) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
        }
    }

    /// Wakes, and waits for the outcome of a step that begins after this call.
    pub async fn ask(&self, reason: Reason) -> Result<Outcome, Gone> {
        let (sender, outcome) = oneshot::channel();
        // A list of complete values: a panic cannot leave it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.wake(reason)?;
        outcome.await.map_err(|_| Gone)
    }
}

impl Wakeups {
    #[cfg(test)]
    pub(crate) fn is_awake(&self) -> bool {
        !self.reasons.is_empty()
    }

    fn take_waiting(&self) -> Vec<oneshot::Sender<Outcome>> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One run of a step.
#[derive(Clone, Copy, Debug)]
pub struct Activation {
    /// Why.
    pub reason: Reason,
    /// How long ago the latest of the wake-ups came that this step answers.
    pub waited: Duration,
    /// A caller waits for this step's outcome.
    pub asked: bool,
}

/// What a step says when it is done.
#[derive(Clone, Debug)]
pub struct Next {
    /// When to run again without being woken; after a failed step, no wake-up puts that off. `None`: only when woken.
    pub due: Option<Duration>,
    /// Wake-ups that come sooner than this after the step are gathered: the next step begins when none has come for
    /// as long, so that a burst of them costs one step. After a failed step with `due` no longer than this, they are
    /// gathered until the retry.
    pub settle: Duration,
    /// How it went, for `status`.
    pub outcome: Outcome,
}

/// However busy it is, a step is not put off longer than this …
const PATIENCE: Duration = Duration::from_secs(1);
/// … unless so many wake-ups came that it is a flood, and …
const FLOOD: u32 = 100;
/// … a flood is waited out until it has been calm for a while …
const CALM: Duration = Duration::from_secs(3);
/// … but no longer than this.
const FLOOD_PATIENCE: Duration = Duration::from_secs(10);

/// What an engine does each time it is woken, due, or started.
pub trait Step: Send {
    /// One step.
    fn step(&mut self, activation: Activation) -> impl Future<Output = Next> + Send;

    /// Whether the last step has left work that the next one goes on with. Until that ends there is no outcome to show.
    fn goes_on(&self) -> bool {
        false
    }
}

/// What an engine shows to the outside.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether a step runs now.
    pub running: bool,
    /// Steps run so far.
    pub steps: u64,
    /// Failed steps since the last good one.
    pub failures: u32,
    /// The last step's outcome.
    pub outcome: Option<Outcome>,
    /// The end of the last step.
    pub finished: Option<Timestamp>,
    /// The end of the last step that went well.
    pub succeeded: Option<Timestamp>,
    /// When it runs next without being woken.
    pub due: Option<Timestamp>,
    /// The same by the monotonic clock.
    pub due_at: Option<Instant>,
    /// When it last made progress.
    pub pulse: Pulse,
}

/// The time of an engine's last progress.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago that was.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A step waits for Drive, a disk or a database. Each wait is bounded; the longest is a minute for one call. A step without
/// progress for this long is stuck.
const STUCK: Duration = Duration::from_mins(5);

impl Status {
    /// Whether it is stuck: a step makes no progress, or a step is due and does not begin.
    pub fn is_stuck(&self) -> bool {
        let overdue = self.due_at.is_some_and(|due| due.elapsed() > STUCK);
        (self.running || overdue) && self.pulse.age() > STUCK
    }
}

/// The place where an engine shows its status.
pub type StatusBoard = watch::Sender<Status>;

/// A fresh board.
pub fn status_board() -> StatusBoard {
    watch::Sender::new(Status {
        running: false,
        steps: 0,
        failures: 0,
        outcome: None,
        finished: None,
        succeeded: None,
        due: None,
        due_at: None,
        pulse: Pulse::default(),
    })
}

/// Runs an engine until `stop`, which drops a running step where it stands: a step's progress is in the ledger or on
/// disk before it goes on, so that dropping it costs time and no work.
pub async fn run(mut wakeups: Wakeups, board: StatusBoard, stop: CancellationToken, engine: &mut impl Step) {
    let mut activation = Activation { reason: Reason::Start, waited: Duration::ZERO, asked: false };
    let pulse = board.borrow().pulse.clone();
    let mut waiting = Vec::new();
    loop {
        // Before the step begins: a later caller waits for the next step.
        let asked = wakeups.take_waiting();
        activation.asked = !asked.is_empty();
        waiting.extend(asked);
        pulse.beat();
        board.send_modify(|status| {
            status.running = true;
            (status.due, status.due_at) = (None, None);
        });
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = watched(engine.step(activation), &pulse) => next,
        };
        if !engine.goes_on() {
            show(&board, &next);
            for asker in waiting.drain(..) {
                // A caller that has gone away needs no answer.
                let _ = asker.send(next.outcome.clone());
            }
        }
        let ended = Instant::now();
        activation = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            activation = next_activation(&mut wakeups, ended, &next) => match activation {
                Some(activation) => activation,
                None => return,
            },
        };
    }
}

/// Runs a step and records its progress.
async fn watched(step: impl Future<Output = Next>, pulse: &Pulse) -> Next {
    let mut step = pin!(step);
    std::future::poll_fn(|context| {
        pulse.beat();
        step.as_mut().poll(context)
    })
    .await
}

/// Waits for the next reason to run; `None` when no caller is left and nothing is due.
async fn next_activation(wakeups: &mut Wakeups, ended: Instant, next: &Next) -> Option<Activation> {
    let woken = match next.due {
        Some(due) => match tokio::time::timeout_at(ended + due, wakeups.reasons.recv()).await {
            Ok(Some(reason)) => reason,
            Ok(None) => {
                tokio::time::sleep_until(ended + due).await;
                Reason::Due
            }
            Err(_elapsed) => Reason::Due,
        },
        None => wakeups.reasons.recv().await?,
    };
    let mut activation = Activation { reason: woken, waited: Duration::ZERO, asked: false };
    if woken != Reason::Due && ended.elapsed() < next.settle {
        let retry = next.due.filter(|_| next.outcome.is_err());
        activation.waited = gather(wakeups, next.settle, retry.map(|wait| ended + wait)).await;
    }
    Some(activation)
}

/// Swallows wake-ups until none has come for `quiet`, but not beyond `limit`, and says how long ago the last one was.
async fn gather(wakeups: &mut Wakeups, quiet: Duration, limit: Option<Instant>) -> Duration {
    let first = Instant::now();
    let (mut last, mut count) = (first, 1);
    loop {
        let (quiet, patience) = if count < FLOOD {
            (quiet, PATIENCE.max(quiet))
        } else {
            (quiet.max(CALM), FLOOD_PATIENCE.max(quiet))
        };
        let end = (last + quiet).min(first + patience);
        let end = limit.map_or(end, |limit| end.min(limit));
        match tokio::time::timeout_at(end, wakeups.reasons.recv()).await {
            Ok(Some(_)) => (last, count) = (Instant::now(), count + 1),
            // The last caller has gone; what it wanted has to wait all the same.
            Ok(None) => {
                tokio::time::sleep_until(end).await;
                return last.elapsed();
            }
            Err(_) => return last.elapsed(),
        }
    }
}

fn show(board: &StatusBoard, next: &Next) {
    let now = Timestamp::now();
    board.send_modify(|status| {
        status.running = false;
        status.steps += 1;
        status.finished = Some(now);
        match &next.outcome {
            Ok(_) => {
                status.failures = 0;
                status.succeeded = Some(now);
            }
            Err(_) => status.failures += 1,
        }
        status.outcome = Some(next.outcome.clone());
        status.due = next.due.and_then(|due| now.checked_add(due).ok());
        status.due_at = next.due.and_then(|due| Instant::now().checked_add(due));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle(Next);

    impl Step for Idle {
        async fn step(&mut self, _: Activation) -> Next {
            self.0.clone()
        }
    }

    async fn count_steps(burst: usize, gap: Duration) -> u64 {
        let (wake, wakeups) = wake_up();
        let board = status_board();
        let stop = CancellationToken::new();
        let mut idle =
            Idle(Next { due: None, settle: Duration::from_millis(250), outcome: Ok(String::new()) });
        let engine = run(wakeups, board.clone(), stop.clone(), &mut idle);
        let driver = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for _ in 0..burst {
                wake.wake(Reason::Push).unwrap();
                tokio::time::sleep(gap).await;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
            stop.cancel();
        };
        tokio::join!(engine, driver);
        board.borrow().steps - 1
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_costs_two_steps_and_a_trickle_one_each() {
        assert_eq!(count_steps(1, Duration::ZERO).await, 1);
        assert_eq!(count_steps(2000, Duration::from_millis(1)).await, 2);
        assert_eq!(
            count_steps(5, Duration::from_millis(300)).await,
            5,
            "each comes when the last one has settled"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_stream_is_served_every_second_and_a_flood_every_ten() {
        let busy = count_steps(200, Duration::from_millis(50)).await;
        assert!((9..=12).contains(&busy), "10 s of twenty wake-ups a second: {busy} steps");
        let flood = count_steps(20_000, Duration::from_millis(1)).await;
        assert!((2..=4).contains(&flood), "20 s of a thousand wake-ups a second: {flood} steps");
    }

    /// When the second step begins, after a first one that fails and asks for a retry after `wait`.
    async fn retried_after(wait: u64, wakes: impl AsyncFnOnce(Wake)) -> Duration {
        let wait = Duration::from_secs(wait);
        let (wake, wakeups) = wake_up();
        let (board, stop, began) = (status_board(), CancellationToken::new(), Instant::now());
        let mut failing = Idle(Next { due: Some(wait), settle: wait, outcome: Err("no luck".into()) });
        let engine = run(wakeups, board.clone(), stop.clone(), &mut failing);
        let mut shown = board.subscribe();
        let second = async {
            shown.wait_for(|status| status.steps == 2).await.unwrap();
            stop.cancel();
            began.elapsed()
        };
        tokio::join!(engine, wakes(wake), second).2
    }

    #[tokio::test(start_paused = true)]
    async fn no_wake_up_puts_a_retry_off_or_brings_it_forward() {
        let at = |seconds| {
            async move |wake: Wake| {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                // Whether the engine still runs is told by the measured time.
                let _ = wake.wake(Reason::Push);
            }
        };
        for (wait, second) in [(20, 0), (20, 1), (20, 18), (3600, 3599)] {
            assert_eq!(retried_after(wait, at(second)).await.as_secs(), wait, "woken after {second} s");
        }
        let often = async |wake: Wake| {
            while wake.wake(Reason::Push).is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert_eq!(retried_after(20, often).await.as_secs(), 20, "woken again and again");
    }

    /// A step that counts, and takes a second.
    struct Counting(u64);

    impl Step for Counting {
        async fn step(&mut self, activation: Activation) -> Next {
            self.0 += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let outcome = Ok(format!("{} {}", self.0, activation.asked));
            Next { due: None, settle: Duration::ZERO, outcome }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_hears_of_a_step_that_began_later() {
        let (wake, wakeups) = wake_up();
        let stop = CancellationToken::new();
        let mut counting = Counting(0);
        let engine = run(wakeups, status_board(), stop.clone(), &mut counting);
        let driver = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let both = tokio::join!(wake.ask(Reason::Handover), wake.ask(Reason::Handover));
            assert_eq!(both.0.unwrap(), Ok("2 true".to_owned()), "the step under way does not count");
            assert_eq!(both.1.unwrap(), Ok("2 true".to_owned()));
            stop.cancel();
        };
        tokio::join!(engine, driver);
        assert!(wake.ask(Reason::Handover).await.is_err(), "nobody answers any more");
    }

    /// A step that hangs.
    struct Hanging;

    impl Step for Hanging {
        async fn step(&mut self, _: Activation) -> Next {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_hangs_is_stuck_and_a_slow_one_is_not() {
        let (_wake, wakeups) = wake_up();
        let (stop, board) = (CancellationToken::new(), status_board());
        let engine = {
            let (board, stop) = (board.clone(), stop.clone());
            // A task of its own: beside another future it would be polled with that one.
            tokio::spawn(async move { run(wakeups, board, stop, &mut Hanging).await })
        };
        tokio::time::sleep(STUCK).await;
        assert!(!board.borrow().is_stuck());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(board.borrow().is_stuck());
        stop.cancel();
        engine.await.unwrap();

        let board = status_board();
        tokio::time::sleep(STUCK * 2).await;
        assert!(!board.borrow().is_stuck(), "one that waits to be woken");
        board.send_modify(|status| status.due_at = Some(Instant::now()));
        assert!(!board.borrow().is_stuck(), "it has just become due");
        tokio::time::sleep(STUCK * 2).await;
        assert!(board.borrow().is_stuck(), "it should have run");
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_when_due() {
        let (_wake, wakeups) = wake_up();
        let stop = CancellationToken::new();
        let board = status_board();
        let mut idle = Idle(Next {
            due: Some(Duration::from_mins(1)),
            settle: Duration::ZERO,
            outcome: Err("no luck".into()),
        });
        let engine = run(wakeups, board.clone(), stop.clone(), &mut idle);
        let driver = async {
            tokio::time::sleep(Duration::from_secs(301)).await;
            stop.cancel();
        };
        tokio::join!(engine, driver);
        assert_eq!(board.borrow().steps, 6);
        assert_eq!(board.borrow().failures, 6);
    }
}
