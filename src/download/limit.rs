//! The rate that all downloads together keep to. Whoever has received bytes waits until they fit; the connection then
//! slows the sender down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What was not used in the last moments may be made up for, so that a pause of the network costs nothing; more than
/// this would be a burst.
const SLACK: Duration = Duration::from_millis(200);

/// What is received at once is a share of what the rate allows in a second.
const SHARES: u64 = 20;
const LEAST_SHARE: u64 = 16 << 10;

/// A rate shared by all its clones.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes per second; 0: as fast as it goes.
    rate: AtomicU64,
    /// The moment up to which the rate is used up.
    used_up_to: Mutex<Option<Instant>>,
}

impl Limit {
    /// Bytes per second; 0: as fast as it goes.
    pub fn new(rate: u64) -> Self {
        let limit = Self::default();
        limit.set(rate);
        limit
    }

    /// Changes the rate for everybody, from the next bytes on.
    pub fn set(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// How much to receive at once, so that nobody waits for long afterwards.
    pub fn share(&self) -> u64 {
        match self.shared.rate.load(Ordering::Relaxed) {
            0 => u64::MAX,
            rate => (rate / SHARES).max(LEAST_SHARE),
        }
    }

    /// Waits until so many bytes more fit into the rate.
    pub async fn take(&self, bytes: u64) {
        let rate = self.shared.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let until = self.book(bytes, rate);
        tokio::time::sleep_until(until).await;
    }

    fn book(&self, bytes: u64, rate: u64) -> Instant {
        let now = Instant::now();
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        // A moment, whole at any time.
        let mut used_up_to = self.shared.used_up_to.lock().unwrap_or_else(PoisonError::into_inner);
        let from = used_up_to.map_or(now, |moment| moment.max(earliest));
        let until = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *used_up_to = Some(until);
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that eight callers get in so many seconds.
    async fn received(limit: &Limit, seconds: u64) -> u64 {
        let total = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + Duration::from_secs(seconds);
        let callers: Vec<_> = (1..=8_u64)
            .map(|caller| {
                let (limit, total) = (limit.clone(), total.clone());
                tokio::spawn(async move {
                    loop {
                        limit.take(caller * 1000).await;
                        if Instant::now() >= end {
                            return;
                        }
                        total.fetch_add(caller * 1000, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        total.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_keep_to_the_rate_and_to_a_new_one() {
        let limit = Limit::new(1_000_000);
        for rate in [1_000_000, 5_000_000, 200_000] {
            limit.set(rate);
            let got = received(&limit, 10).await as f64 / (rate * 10) as f64;
            assert!((0.95..1.05).contains(&got), "{rate}: {got:.3} of it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_made_up_for_by_a_burst() {
        let limit = Limit::new(1_000_000);
        limit.take(1_000_000).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        let began = Instant::now();
        limit.take(1_000_000).await;
        assert!(began.elapsed() >= Duration::from_millis(790), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        let began = Instant::now();
        Limit::default().take(u64::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(Limit::default().share(), u64::MAX);
        assert_eq!([1_000, 5_000_000].map(|rate| Limit::new(rate).share()), [16_384, 250_000]);
    }
}
