//! Delivers notifications as Google does: in order per channel, retried on some answers, given up on all others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::disturbance::{Disturbance, NotificationRecord};
use crate::drive::channel::{Errand, Message, Outgoing};
use crate::drive::clock;
use crate::inner::Inner;

/// How long a receiver may take; the real limit is not published.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// After this long without an answer the channel's next message does not wait any longer.
const HEAD_OF_LINE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const MOST_ATTEMPTS: u32 = 30;

/// Hands each message to the worker of its channel, and settles what is due, until the emulator stops.
pub(crate) async fn dispatch(inner: Arc<Inner>, mut outbox: UnboundedReceiver<Errand>) {
    let mut workers: HashMap<String, UnboundedSender<Outgoing>> = HashMap::new();
    while let Some(errand) = outbox.recv().await {
        let outgoing = match errand {
            Errand::Deliver(outgoing) => *outgoing,
            Errand::SettleAfter(pause) => {
                let settling = inner.clone();
                inner.spawn(async move {
                    tokio::time::sleep(pause).await;
                    settling.state().settle();
                });
                continue;
            }
        };
        let id = outgoing.message.channel.id.clone();
        let worker = workers.entry(id).or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            inner.spawn(work(inner.clone(), receiver));
            sender
        });
        // The worker lives as long as its sender.
        let _ = worker.send(outgoing);
    }
}

async fn work(inner: Arc<Inner>, mut queue: UnboundedReceiver<Outgoing>) {
    let mut held = Vec::new();
    while let Some(outgoing) = queue.recv().await {
        if let Some(instant) = outgoing.not_before {
            tokio::time::sleep_until(instant).await;
        }
        let disturbance = inner.state().disturbances.take();
        match disturbance {
            Some(Disturbance::Drop) => continue,
            Some(Disturbance::Swap) => {
                held.push(outgoing);
                continue;
            }
            Some(Disturbance::Double) => first_attempt(&inner, &outgoing.message).await,
            Some(Disturbance::Delay(pause)) => tokio::time::sleep(pause).await,
            None => {}
        }
        first_attempt(&inner, &outgoing.message).await;
        if let Some(attempted) = outgoing.attempted {
            // Whoever asked may have gone away.
            let _ = attempted.send(());
        }
        for late in held.drain(..) {
            first_attempt(&inner, &late.message).await;
        }
    }
}

/// Starts delivering and returns when the receiver has answered once, or is slow.
async fn first_attempt(inner: &Arc<Inner>, message: &Message) {
    let (told, answered) = oneshot::channel();
    inner.spawn(deliver(inner.clone(), message.clone(), told));
    // Either way the next message may go.
    let _ = tokio::time::timeout(HEAD_OF_LINE, answered).await;
}

async fn deliver(inner: Arc<Inner>, message: Message, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    let mut pause = inner.notification_retry;
    for attempt in 1..=MOST_ATTEMPTS {
        let status = post(&inner, &message).await;
        inner.record_notification(NotificationRecord {
            channel_id: message.channel.id.clone(),
            number: message.number,
            state: message.state.to_owned(),
            attempt,
            status,
            time: inner.clock.now(),
        });
        if let Some(first) = first.take() {
            // The worker may have stopped waiting.
            let _ = first.send(());
        }
        // Success and refusal both end it: Google retries these four answers and broken connections only.
        if status.is_some_and(|status| !matches!(status, 500 | 502 | 503 | 504)) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn post(inner: &Inner, message: &Message) -> Option<u16> {
    let channel = &message.channel;
    let mut request = inner
        .http
        .post(&channel.address)
        .timeout(ANSWER_WITHIN)
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, deflate, br")
        .header("content-length", "0")
        .header("x-goog-channel-id", &channel.id)
        .header("x-goog-message-number", message.number)
        .header("x-goog-resource-id", &channel.resource_id)
        .header("x-goog-resource-state", message.state)
        .header("x-goog-resource-uri", &channel.resource_uri)
        .header("x-goog-channel-expiration", clock::http_date(channel.expires));
    if let Some(token) = &channel.token {
        request = request.header("x-goog-channel-token", token);
    }
    if let Some(changed) = message.changed {
        request = request.header("x-goog-changed", changed);
    }
    match request.send().await {
        Ok(response) => Some(response.status().as_u16()),
        Err(error) => {
            tracing::debug!(%error, channel.id = %channel.id, "a notification did not arrive");
            None
        }
    }
}
