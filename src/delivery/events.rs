//! What attempts tell the engine, whichever way they end. An event is there before it wakes the engine, which must not look
//! too early.

use tokio::sync::mpsc;

use crate::model::DeliveryId;
use crate::task::{Reason, Wake};

/// What an attempt tells.
#[derive(Debug)]
pub(super) enum Event {
    /// It has all its bytes.
    Fetched,
    /// It is over.
    Ended(EndedAttempt),
}

/// An attempt that is over.
#[derive(Debug)]
pub(super) struct EndedAttempt {
    /// Of this delivery.
    pub(super) id: DeliveryId,
    /// Failed attempts, if this one has failed.
    pub(super) attempt: u32,
    /// Not so if it panicked, or if its outcome could not be recorded.
    pub(super) whole: bool,
    /// What is wrong with its destination.
    pub(super) hold: Option<String>,
}

/// The way to the engine.
#[derive(Clone, Debug)]
pub(super) struct Events {
    sender: mpsc::UnboundedSender<Event>,
    wake: Wake,
}

impl Events {
    pub(super) fn new(sender: mpsc::UnboundedSender<Event>, wake: Wake) -> Self {
        Self { sender, wake }
    }

    pub(super) fn send(&self, event: Event) {
        self.later(event);
        let _ = self.wake.wake(Reason::Handover);
    }

    /// For the engine's next step, whenever that is.
    pub(super) fn later(&self, event: Event) {
        // The receiver is dropped only when the engine has ended; then nothing waits for an attempt.
        let _ = self.sender.send(event);
    }
}

/// A place among the running downloads. A download gives it back when all bytes have arrived; verifying and publishing run
/// in parallel with the next download.
#[derive(Debug)]
pub(super) struct Slot(Events);

impl Slot {
    pub(super) fn new(events: &Events) -> Self {
        Self(events.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.send(Event::Fetched);
    }
}

/// Tells that an attempt is over, even if it panics.
#[derive(Debug)]
pub(super) struct Report {
    ended: Option<EndedAttempt>,
    events: Events,
}

impl Report {
    /// Of an attempt after so many failed ones.
    pub(super) fn new(events: &Events, id: DeliveryId, failed: u32) -> Self {
        let ended = EndedAttempt { id, attempt: failed + 1, whole: false, hold: None };
        Self { ended: Some(ended), events: events.clone() }
    }

    /// Its outcome is recorded.
    pub(super) fn recorded(mut self, hold: Option<String>) {
        self.ended = self.ended.take().map(|ended| EndedAttempt { whole: true, hold, ..ended });
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.events.send(Event::Ended(ended));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_whole_only_if_its_outcome_is_recorded() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let (wake, _) = crate::task::wake_up();
        let events = Events::new(sender, wake);
        let report = || Report::new(&events, DeliveryId::new("d"), 2);
        report().recorded(Some("full".to_owned()));
        drop(report());
        let mut ended = || match told.try_recv() {
            Ok(Event::Ended(ended)) => (ended.attempt, ended.whole, ended.hold),
            other => panic!("{other:?}"),
        };
        assert_eq!(ended(), (3, true, Some("full".to_owned())));
        assert_eq!(ended(), (3, false, None));
        drop(Slot::new(&events));
        assert!(matches!(told.try_recv(), Ok(Event::Fetched)), "the engine is told of a place that is free");
    }
}
