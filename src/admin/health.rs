//! Whether the program is ready, and if not, why. Facts in, reasons out.

use jiff::Timestamp;

use crate::channel::calls;
use crate::model::channel::Known;
use crate::model::{Channel, ChannelState};
use crate::telemetry::holds::Hold;

/// The facts that determine readiness.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The sync engine's last outcome; `None` before its first step ended.
    pub sync: Option<&'a Result<String, String>>,
    /// Where Drive is to call.
    pub address: &'a Known,
    /// The last outcome of the engine that finds the public address.
    pub follower: Option<&'a Result<String, String>>,
    /// The channels.
    pub channels: &'a [Channel],
    /// The keeper's last outcome.
    pub keeper: Option<&'a Result<String, String>>,
    /// The delivery engine's last outcome.
    pub deliveries: Option<&'a Result<String, String>>,
    /// Folders that cannot be watched or listed, each with the reason and what to do.
    pub folders: &'a [String],
    /// Files that have failed, and what to do.
    pub failed: Option<&'a str>,
    /// What the last audit found missing.
    pub missing: Option<&'a str>,
    /// Destinations that cannot be used.
    pub holds: &'a [(String, Hold)],
    /// An engine that is stuck.
    pub stuck: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

/// Why the program is not ready; empty when it is. A program that polls is ready only if it was told to poll.
pub fn not_ready(facts: &Facts<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    match facts.sync {
        None => reasons.push("the first listing of Drive has not finished yet".to_owned()),
        Some(Err(error)) => reasons.push(format!("Drive cannot be read: {error}")),
        Some(Ok(_)) => {}
    }
    if *facts.address == Known::NotYet {
        match facts.follower {
            Some(Err(error)) => reasons.push(format!("the public address is not known: {error}")),
            Some(Ok(_)) | None => reasons.push("the public address is not known yet".to_owned()),
        }
    }
    if facts.address.address().is_some() && !facts.channels.iter().any(|channel| is_live(channel, facts.now))
    {
        match facts.keeper {
            Some(Err(error)) => reasons.push(format!("there is no push channel: {error}")),
            Some(Ok(_)) | None => reasons.push("there is no push channel yet".to_owned()),
        }
    }
    if facts.address.address().is_some() {
        let silent = calls::silence(facts.channels, facts.now).channels;
        reasons.extend(calls::explain(&silent, facts.channels).into_iter().map(|(_, said)| said));
    }
    if let Some(Err(error)) = facts.deliveries {
        reasons.push(format!("no files are delivered: {error}"));
    }
    if let Some(stuck) = facts.stuck {
        reasons.push(format!("a part of the daemon makes no progress ({stuck}); restart the daemon"));
    }
    reasons.extend(facts.folders.iter().cloned());
    reasons.extend(facts.failed.map(str::to_owned));
    reasons.extend(facts.missing.map(str::to_owned));
    for (path, hold) in facts.holds {
        reasons.push(format!("{path} cannot be used: {}", hold.why));
    }
    reasons
}

/// The facts for the status line.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Why the program is not ready.
    pub not_ready: &'a [String],
    /// Whether the current configuration file is refused.
    pub is_refused: bool,
    /// Whether push channels are configured.
    pub is_called: bool,
    /// The number of live push channels.
    pub channels: usize,
    /// Received bytes and total bytes of each running download.
    pub transfers: &'a [(u64, u64)],
    /// Files in the queue.
    pub waiting: usize,
}

/// One line: what the program does, or what is wrong and what to do.
pub fn summary(work: &Work<'_>) -> String {
    let mut line = match work.not_ready {
        [] if work.is_called => format!("Ready, {}", counted(work.channels, "push channel")),
        [] => "Ready, polling only".to_owned(),
        [only] => format!("Not ready: {only}"),
        [first, others @ ..] => {
            format!("Not ready: {first} (and {} more, see `gdrive-webhook status`)", others.len())
        }
    };
    let (received, size) =
        work.transfers.iter().fold((0, 0), |sum, transfer| (sum.0 + transfer.0, sum.1 + transfer.1));
    if !work.transfers.is_empty() {
        let percent = (received * 100).checked_div(size).unwrap_or(100);
        line += &format!("; {} in progress, {percent} %", counted(work.transfers.len(), "download"));
    }
    if work.waiting > 0 {
        line += &format!("; {} waiting", counted(work.waiting, "file"));
    }
    if work.is_refused {
        line += "; the configuration file has a mistake, `gdrive-webhook reload` prints it";
    }
    line
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// Whether Drive sends notifications on it.
pub fn is_live(channel: &Channel, now: Timestamp) -> bool {
    channel.state == ChannelState::Live && channel.expires > now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChangeLog, ChannelId};

    fn channel(state: ChannelState, expires: i64) -> Channel {
        Channel {
            id: ChannelId::new("a"),
            log: ChangeLog::User,
            address: "https://x".into(),
            token_hash: String::new(),
            resource_id: None,
            state,
            created: Timestamp::UNIX_EPOCH,
            opened: None,
            called: None,
            expires: Timestamp::from_second(expires).unwrap(),
        }
    }

    fn reasons(sync: Option<Result<&str, &str>>, address: Option<&str>, channels: &[Channel]) -> Vec<String> {
        let owned = |r: Result<&str, &str>| r.map(str::to_owned).map_err(str::to_owned);
        let sync = sync.map(owned);
        let now = Timestamp::from_second(100).unwrap();
        let address = address.map_or(Known::Nowhere, |address| Known::At(address.to_owned()));
        not_ready(&Facts {
            sync: sync.as_ref(),
            address: &address,
            follower: None,
            channels,
            keeper: None,
            deliveries: None,
            folders: &[],
            failed: None,
            missing: None,
            holds: &[],
            stuck: None,
            now,
        })
    }

    #[test]
    fn one_line_says_what_goes_on() {
        let idle = Work {
            not_ready: &[],
            is_refused: false,
            is_called: true,
            channels: 1,
            transfers: &[],
            waiting: 0,
        };
        assert_eq!(summary(&idle), "Ready, 1 push channel");
        assert_eq!(summary(&Work { is_called: false, ..idle }), "Ready, polling only");
        let busy = Work { transfers: &[(30, 100), (0, 20)], waiting: 3, ..idle };
        assert_eq!(summary(&busy), "Ready, 1 push channel; 2 downloads in progress, 25 %; 3 files waiting");
        let wrong = ["/srv/videos cannot be used: full".to_owned(), "and this".to_owned()];
        assert_eq!(
            summary(&Work { not_ready: &wrong[..1], ..idle }),
            "Not ready: /srv/videos cannot be used: full"
        );
        assert!(
            summary(&Work { not_ready: &wrong, ..idle })
                .ends_with("(and 1 more, see `gdrive-webhook status`)")
        );
        assert!(summary(&Work { is_refused: true, ..idle }).contains("reload"));
    }

    #[test]
    fn it_says_what_is_missing() {
        let live = channel(ChannelState::Live, 200);
        assert!(reasons(Some(Ok("")), Some("https://x"), std::slice::from_ref(&live)).is_empty());
        assert!(reasons(Some(Ok("")), None, &[]).is_empty(), "polling as configured");
        assert!(reasons(None, None, &[])[0].contains("has not finished yet"));
        assert!(reasons(Some(Err("login needed")), None, &[])[0].contains("login needed"));
        for dead in [channel(ChannelState::Live, 50), channel(ChannelState::Replaced, 200)] {
            assert!(reasons(Some(Ok("")), Some("https://x"), &[dead])[0].contains("no push channel"));
        }
    }

    #[test]
    fn an_address_that_google_has_not_called_for_a_minute_is_not_ready() {
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        let live = channel(ChannelState::Live, 200);
        let said = |opened, called| {
            let channel = Channel { opened: at(opened), called, ..live.clone() };
            reasons(Some(Ok("")), Some("https://x"), &[channel])
        };
        assert_eq!(said(41, None), [""; 0], "its first call may still come");
        assert!(said(40, None)[0].contains("told to call https://x, but its first call has not arrived"));
        assert_eq!(said(40, at(99)), [""; 0]);
        let gone = Channel { opened: at(40), ..live };
        assert_eq!(reasons(Some(Ok("")), None, &[gone]), [""; 0], "polling as configured");
    }

    #[test]
    fn each_reason_is_said_with_its_cause() {
        let (fine, failed) = (Ok(String::new()), Err("the cause".to_owned()));
        let now = Timestamp::from_second(100).unwrap();
        let at = Known::At("https://x".to_owned());
        let ready = Facts {
            sync: Some(&fine),
            address: &Known::Nowhere,
            follower: Some(&fine),
            channels: &[],
            keeper: Some(&fine),
            deliveries: Some(&fine),
            folders: &[],
            failed: None,
            missing: None,
            holds: &[],
            stuck: None,
            now,
        };
        assert_eq!(not_ready(&ready), [""; 0]);
        assert_eq!(not_ready(&Facts { deliveries: None, ..ready.clone() }), [""; 0], "no step has ended yet");
        let hold = Hold { why: "the cause".to_owned(), since: now, next: now };
        for (facts, said) in [
            (Facts { sync: None, ..ready.clone() }, "the first listing of Drive has not finished yet"),
            (Facts { sync: Some(&failed), ..ready.clone() }, "Drive cannot be read: the cause"),
            (Facts { address: &Known::NotYet, ..ready.clone() }, "the public address is not known yet"),
            (
                Facts { address: &Known::NotYet, follower: Some(&failed), ..ready.clone() },
                "the public address is not known: the cause",
            ),
            (Facts { address: &at, ..ready.clone() }, "there is no push channel yet"),
            (
                Facts { address: &at, keeper: Some(&failed), ..ready.clone() },
                "there is no push channel: the cause",
            ),
            (Facts { deliveries: Some(&failed), ..ready.clone() }, "no files are delivered: the cause"),
            (
                Facts { stuck: Some("sync"), ..ready.clone() },
                "a part of the daemon makes no progress (sync); restart the daemon",
            ),
            (
                Facts { folders: &["folder Inbox (1A): the cause".to_owned()], ..ready.clone() },
                "folder Inbox (1A): the cause",
            ),
            (Facts { failed: Some("1 file has failed"), ..ready.clone() }, "1 file has failed"),
            (
                Facts { holds: &[("/srv".to_owned(), hold)], ..ready.clone() },
                "/srv cannot be used: the cause",
            ),
        ] {
            assert_eq!(not_ready(&facts), [said]);
        }
    }

    #[test]
    fn a_channel_is_live_until_its_end() {
        let now = Timestamp::from_second(100).unwrap();
        let is_live = |state, expires| is_live(&channel(state, expires), now);
        assert!(is_live(ChannelState::Live, 101));
        assert!(!is_live(ChannelState::Live, 100) && !is_live(ChannelState::Replaced, 101));
    }

    #[test]
    fn the_line_counts_what_there_is() {
        let work = Work {
            not_ready: &[],
            is_refused: false,
            is_called: true,
            channels: 2,
            transfers: &[(0, 0)],
            waiting: 1,
        };
        assert_eq!(summary(&work), "Ready, 2 push channels; 1 download in progress, 100 %; 1 file waiting");
        let wrong = ["a", "b", "c"].map(str::to_owned);
        let refused = Work { not_ready: &wrong, is_refused: true, transfers: &[], waiting: 0, ..work };
        assert_eq!(
            summary(&refused),
            "Not ready: a (and 2 more, see `gdrive-webhook status`); the configuration file has a mistake, \
             `gdrive-webhook reload` prints it"
        );
    }
}
