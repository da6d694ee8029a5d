//! What may go wrong with notifications, and the record of those that were sent.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// What may happen to a notification on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// It is lost.
    Drop,
    /// It arrives twice.
    Double,
    /// It arrives this much later, and so do those behind it.
    Delay(Duration),
    /// It arrives after the next one of its channel.
    Swap,
}

#[derive(Debug, Default)]
pub(crate) struct Disturbances(VecDeque<(Disturbance, u32)>);

impl Disturbances {
    pub(crate) fn add(&mut self, disturbance: Disturbance, times: u32) {
        self.0.push_back((disturbance, times));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn take(&mut self) -> Option<Disturbance> {
        let (disturbance, times) = self.0.front_mut()?;
        let disturbance = *disturbance;
        if *times != u32::MAX {
            *times = times.saturating_sub(1);
        }
        if *times == 0 {
            self.0.pop_front();
        }
        Some(disturbance)
    }
}

/// One attempt to deliver one notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRecord {
    /// The channel.
    pub channel_id: String,
    /// `X-Goog-Message-Number`.
    pub number: u64,
    /// `X-Goog-Resource-State`.
    pub state: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// What the receiver answered; `None`: it could not be reached.
    pub status: Option<u16>,
    /// When, in milliseconds since 1970 by the emulator's clock.
    pub time: i64,
}
