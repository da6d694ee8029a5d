//! One answer for all concurrent requests: a thousand requests at once cause at most two database queries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The last answer. A request never gets an answer that was begun before the request.
#[derive(Debug)]
pub(super) struct Shared<T> {
    turn: Semaphore,
    last: Mutex<Option<(Instant, T)>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), last: Mutex::new(None) }
    }
}

impl<T: Clone> Shared<T> {
    /// An answer that was begun after this call: another caller's, or the result of `make`.
    pub(super) async fn get(&self, make: impl AsyncFnOnce() -> T) -> T {
        let asked = Instant::now();
        // The semaphore is never closed; without a permit the answer would only be made twice.
        let _turn = self.turn.acquire().await;
        if let Some((_, answer)) = self.last().as_ref().filter(|(began, _)| *began >= asked) {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = make().await;
        *self.last() = Some((began, answer.clone()));
        answer
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, T)>> {
        // The value is replaced as a whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_an_answer_that_is_not_older_than_their_question() {
        let (shared, made) = (Shared::default(), AtomicUsize::new(0));
        let ask = async |after: u64| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            shared
                .get(async || {
                    let number = made.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    number
                })
                .await
        };
        // The first one is still running when the others ask.
        let answers = tokio::join!(ask(0), ask(1), ask(2), ask(9));
        assert_eq!(answers, (0, 1, 1, 1));
        assert_eq!(ask(1).await, 2);
    }
}
