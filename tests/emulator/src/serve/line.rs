//! A connection as the requests on it see it: its number, and what a fault does to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    number: u64,
    is_silent: AtomicBool,
    ends_with_reset: AtomicBool,
    order: watch::Sender<Order>,
}

/// What the connection's task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Serve,
    /// HTTP/2: GOAWAY, and no more streams. HTTP/1.1: closed after the request that is on its way.
    GoAway,
    /// Closed at once.
    Close,
}

impl Line {
    fn new(number: u64) -> Self {
        Self {
            number,
            is_silent: AtomicBool::new(false),
            ends_with_reset: AtomicBool::new(false),
            order: watch::Sender::new(Order::Serve),
        }
    }

    /// One that faults do not reach.
    pub(crate) fn unnumbered() -> Self {
        Self::new(0)
    }

    /// Counted from one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// No request on it gets another byte from now on. The connection itself lives, and HTTP/2 still answers pings.
    pub(crate) fn silence(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Waits for ever on a silent connection.
    pub(crate) async fn speak(&self) {
        if self.is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn go_away(&self) {
        self.order.send_if_modified(|order| {
            let is_new = *order == Order::Serve;
            if is_new {
                *order = Order::GoAway;
            }
            is_new
        });
    }

    pub(crate) fn close(&self) {
        self.order.send_replace(Order::Close);
    }

    /// Closes it with RST instead of FIN.
    pub(crate) fn reset(&self) {
        self.ends_with_reset.store(true, Ordering::Relaxed);
        self.close();
    }

    pub(crate) fn ends_with_reset(&self) -> bool {
        self.ends_with_reset.load(Ordering::Relaxed)
    }

    pub(crate) fn orders(&self) -> watch::Receiver<Order> {
        self.order.subscribe()
    }
}

/// Every connection that is open.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    count: AtomicU64,
    open: Mutex<Vec<Weak<Line>>>,
}

impl Lines {
    /// A new connection.
    pub(crate) fn open(&self) -> Arc<Line> {
        let line = Arc::new(Line::new(self.count.fetch_add(1, Ordering::Relaxed) + 1));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|line| line.strong_count() > 0);
        open.push(Arc::downgrade(&line));
        line
    }

    pub(crate) fn all(&self) -> Vec<Arc<Line>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_numbered_and_forgotten() {
        let lines = Lines::default();
        let (first, second) = (lines.open(), lines.open());
        assert_eq!((first.number(), second.number(), lines.all().len()), (1, 2, 2));
        drop(first);
        assert_eq!(lines.all().iter().map(|line| line.number()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_connection_that_is_to_be_closed_is_not_told_to_go_away() {
        let line = Lines::default().open();
        let orders = line.orders();
        line.go_away();
        assert_eq!(*orders.borrow(), Order::GoAway);
        line.close();
        line.go_away();
        assert_eq!(*orders.borrow(), Order::Close);
    }
}
