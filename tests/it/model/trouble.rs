//! What goes wrong with Drive, or on the way to it.

use std::time::Duration;

use drive_emulator::{Action, Disturbance, Fault, Framing, StreamError};

use super::play::Play;

/// Calls that may go wrong in any way.
const CALLS: [&str; 7] = [
    "changes.list",
    "changes.getStartPageToken",
    "changes.watch",
    "channels.stop",
    "files.list",
    "files.get",
    "token",
];

impl Play {
    /// Something goes wrong with Drive or on the way to it.
    pub(super) fn trouble(&mut self) {
        let drive = self.world.drive.clone();
        let milliseconds = self.luck.below(900);
        let what = match self.luck.below(18) {
            0 => {
                drive.expire_access_tokens();
                "access tokens expire".to_owned()
            }
            1 => {
                drive.refuse_page_tokens_before_now();
                "page tokens are refused".to_owned()
            }
            2 => {
                drive.shorten_channels(Duration::from_millis(milliseconds));
                "channels end soon".to_owned()
            }
            3 => {
                let disturbances = [
                    Disturbance::Drop,
                    Disturbance::Double,
                    Disturbance::Delay(Duration::from_millis(milliseconds)),
                    Disturbance::Swap,
                ];
                let disturbance = *self.luck.pick(&disturbances);
                drive.disturb_notifications(disturbance, 1 + self.luck.below(4) as u32);
                format!("{disturbance:?}")
            }
            4 => {
                drive.set_noise(self.luck.below(3) as u32);
                drive.set_change_delay(Duration::from_millis(milliseconds));
                drive.set_processing_delay(Duration::from_millis(self.luck.below(900)));
                format!("changes come {milliseconds} ms late")
            }
            5 => {
                let (empty, notified, early) =
                    (self.luck.once_in(2), !self.luck.once_in(3), self.luck.once_in(2));
                drive.set_empty_pages(empty);
                drive.set_notifications(notified);
                drive.set_sync_before_answer(early);
                drive.set_notifications_after_stop(self.luck.below(3) as u32);
                format!("empty pages {empty}, notifications {notified}")
            }
            6 => {
                drive.set_rate(Some(300_000 + self.luck.below(3_000_000)));
                "slow".to_owned()
            }
            7 | 8 => {
                let shifting = self.luck.once_in(2);
                drive.set_listing_lag(Duration::from_millis(2 * milliseconds));
                drive.set_shifting_listings(shifting);
                format!("listings are {} ms late, shifting {shifting}", 2 * milliseconds)
            }
            9 => {
                let entries = self.luck.once_in(2);
                drive.set_removal_lag(Duration::from_millis(milliseconds));
                drive.set_descendant_entries(entries);
                format!("removals are {milliseconds} ms late, entries for what is below {entries}")
            }
            10 => self.permissions_lag(),
            11..15 => self.media_fault(),
            _ => self.call_fault(),
        };
        self.tell(what);
    }

    fn refusal(&mut self) -> Action {
        let bytes = self.luck.below(600);
        match self.luck.below(11) {
            9 if bytes.is_multiple_of(2) => Action::Truncate { bytes },
            9 => Action::GoAway,
            10 => Action::ResetStream { error: StreamError::default(), after: None },
            0 => Action::status(500, "internalError"),
            1 => Action::html(502),
            2 => Action::status_retry_after(429, "rateLimitExceeded", "1"),
            3 => Action::status(403, "userRateLimitExceeded"),
            4 => Action::status(401, "authError"),
            5 => Action::CutAfter { bytes },
            6 => Action::ResetAfter { bytes },
            7 => Action::AnswerLate { milliseconds: bytes },
            _ => Action::Delay { milliseconds: bytes },
        }
    }

    fn call_fault(&mut self) -> String {
        let operation = *self.luck.pick(&CALLS);
        let action = match self.refusal() {
            // The token endpoint has words of its own; this one would be a wrong setting.
            Action::Status { code: 401 | 403, .. } if operation == "token" => Action::html(503),
            other => other,
        };
        // A call that is never answered costs a minute.
        let is_silent = !self.silence_spent && self.luck.once_in(20);
        self.silence_spent |= is_silent;
        let action = if is_silent { Action::Silence } else { action };
        let times = if is_silent { 1 } else { 1 + self.luck.below(3) as u32 };
        let told = format!("{operation} goes wrong {times} times: {action:?}");
        self.world.drive.fail(Fault::times(operation, times, action));
        told
    }

    fn media_fault(&mut self) -> String {
        let bytes = self.luck.below(50_000);
        let mut times = 1 + self.luck.below(3) as u32;
        let action = match self.luck.below(10) {
            8 => Action::WrongRange { start_by: 1 - 2 * (bytes as i64 % 2), total_by: 0 },
            9 => Action::WithoutLength(*self.luck.pick(&[Framing::Chunked, Framing::UntilClose])),
            0 => Action::StallAfter { bytes },
            1 => Action::IgnoreRange,
            2 => Action::WrongLength { by: 1 + bytes as i64 },
            3 => Action::WrongLength { by: -1 },
            4 => Action::Slow { bytes_per_second: 20_000 + bytes },
            // Wrong twice is given up, as it should be; that is another test.
            5 if !self.wrong_byte_spent => {
                (self.wrong_byte_spent, times) = (true, 1);
                Action::WrongByte { offset: 0 }
            }
            _ => self.refusal(),
        };
        let told = format!("media goes wrong {times} times: {action:?}");
        self.world.drive.fail(Fault::times("files.media", times, action));
        told
    }
}
