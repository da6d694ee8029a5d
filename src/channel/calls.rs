//! Whether Google calls: on each channel at all, and about what is found in the change logs. Values in, values out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Channel, ChannelState};

/// What a browser shows at the address that Google calls.
pub const GREETING: &str = "gdrive-webhook waits for notifications here.";

/// Google sends a message on each new channel at once. A channel without one after this long is *silent*.
pub(super) const FIRST_CALL: Duration = Duration::from_mins(1);
/// A notification comes seconds after the change; it counts up to this long after a read that has found the change already,
/// and this long before the read that had not found it yet, since logs lag.
const LATE: Duration = Duration::from_mins(1);
/// So many finds in a row without a call have another channel opened.
pub(super) const FINDS: usize = 3;
/// No more often than this.
const RENEWED: Duration = Duration::from_hours(1);

/// Channels that Google should have called on by now.
#[derive(Debug, PartialEq, Eq)]
pub struct Silence<'a> {
    /// The channels.
    pub channels: Vec<&'a Channel>,
    /// When the minute of another one is over.
    pub next: Option<Timestamp>,
}

/// Which live channels are silent. One that takes the place of a silent one is silent from its beginning until it is called
/// on: nothing is known to be better.
pub fn silence(channels: &[Channel], now: Timestamp) -> Silence<'_> {
    let mut silence = Silence { channels: Vec::new(), next: None };
    for channel in channels.iter().filter(|channel| is_unconfirmed(channel, now)) {
        let Some(until) = channel.opened.map(|opened| after(opened, FIRST_CALL)) else { continue };
        if until <= now || follows_a_silent_one(channel, channels) {
            silence.channels.push(channel);
        }
        if until > now {
            silence.next = Some(silence.next.map_or(until, |next| next.min(until)));
        }
    }
    silence
}

/// Whether its own minute is over.
pub fn is_overdue(channel: &Channel, now: Timestamp) -> bool {
    channel.opened.is_some_and(|opened| after(opened, FIRST_CALL) <= now)
}

fn is_unconfirmed(channel: &Channel, now: Timestamp) -> bool {
    channel.state == ChannelState::Live && channel.expires > now && channel.called.is_none()
}

fn follows_a_silent_one(channel: &Channel, channels: &[Channel]) -> bool {
    let Some(opened) = channel.opened else { return false };
    before(channel, channels).first().is_some_and(|former| {
        let was_silent = former.opened.is_some_and(|at| after(at, FIRST_CALL) <= opened);
        former.called.is_none() && was_silent && former.expires > opened
    })
}

/// The earlier channels of the same log that Drive had granted, the latest first.
pub(super) fn before<'a>(channel: &Channel, channels: &'a [Channel]) -> Vec<&'a Channel> {
    let is_before = |other: &&Channel| {
        other.log == channel.log && other.opened.is_some() && other.created < channel.created
    };
    let mut before: Vec<&Channel> = channels.iter().filter(is_before).collect();
    before.sort_by_key(|channel| std::cmp::Reverse(channel.created));
    before
}

/// What to say of silent channels: each address, and what is wrong with it and how to look. `channels` are all of them.
pub fn explain(silent: &[&Channel], channels: &[Channel]) -> Vec<(String, String)> {
    let mut logs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for channel in silent {
        logs.entry(&channel.address).or_default().push(channel.log.to_string());
    }
    let explained = logs.into_iter().map(|(address, logs)| {
        let is_at = |channel: &&Channel| channel.state == ChannelState::Live && channel.address == address;
        let about = if logs.len() < channels.iter().filter(is_at).count() {
            format!(" on the channel of {}", logs.join(", "))
        } else {
            String::new()
        };
        let said = format!(
            "Google was told to call {address}, but its first call{about} has not arrived. Open this address in a browser: it \
             must show \"{GREETING}\" If it does not, the tunnel or reverse proxy is not running, leads to another machine or \
             port, or asks for a login, or webhook.public_url names the wrong host or contains the path twice. Meanwhile \
             changes are polled every minute. The next call ends this: it comes with the next change in Drive, or within an \
             hour on a new channel"
        );
        (address.to_owned(), said)
    });
    explained.collect()
}

/// A read of a change log has found something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Find {
    /// When the read before it began: the change is not older, unless the log lagged.
    pub since: Timestamp,
    /// When it was found.
    pub at: Timestamp,
}

/// What finds in a row say about the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Google has called: they say nothing.
    Announced,
    /// A call can still come, or there are too few of them. `Some`: judge again then.
    Open(Option<Timestamp>),
    /// No call has announced any of them: the channel is to be replaced.
    Unannounced,
}

/// Judges finds in the same log, the earliest first. `called`: when Google last called about the log. `renewed`: when finds
/// last had its channel replaced.
pub fn judge(
    finds: &[Find],
    called: Option<Timestamp>,
    renewed: Option<Timestamp>,
    now: Timestamp,
) -> Judgement {
    let Some(first) = finds.first() else { return Judgement::Announced };
    let from = first.since.checked_sub(LATE).unwrap_or(first.since);
    if called.is_some_and(|called| called >= from) {
        return Judgement::Announced;
    }
    let Some(last) = finds.get(FINDS - 1) else { return Judgement::Open(None) };
    let at = after(last.at, LATE).max(renewed.map_or(Timestamp::MIN, |renewed| after(renewed, RENEWED)));
    if at <= now { Judgement::Unannounced } else { Judgement::Open(Some(at)) }
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChangeLog, ChannelId};

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A live channel that was opened then and called on then.
    fn channel(id: &str, opened: i64, called: Option<i64>) -> Channel {
        Channel {
            id: ChannelId::new(id),
            log: ChangeLog::User,
            address: "https://x.example/webhook".into(),
            token_hash: String::new(),
            resource_id: None,
            state: ChannelState::Live,
            created: at(opened),
            opened: Some(at(opened)),
            called: called.map(at),
            expires: at(opened + 7 * DAY),
        }
    }

    /// The silent channels then, and when to look again.
    fn silent(channels: &[Channel], now: i64) -> (Vec<&str>, Option<i64>) {
        let silence = silence(channels, at(now));
        let ids = silence.channels.iter().map(|channel| channel.id.as_str()).collect();
        (ids, silence.next.map(Timestamp::as_second))
    }

    #[test]
    fn a_channel_is_silent_when_a_minute_has_passed_without_a_call() {
        let new = [channel("a", 100, None)];
        assert_eq!(silent(&new, 100), (vec![], Some(160)));
        assert_eq!(silent(&new, 159), (vec![], Some(160)));
        assert_eq!(silent(&new, 160), (vec!["a"], None));
        assert_eq!(silent(&new, 100 + 7 * DAY), (vec![], None), "it has ended");
        assert_eq!(silent(&[channel("a", 100, Some(101))], 9_999), (vec![], None));
        for state in [ChannelState::Opening, ChannelState::Replaced, ChannelState::Ended] {
            assert_eq!(silent(&[Channel { state, ..channel("a", 100, None) }], 9_999), (vec![], None));
        }
        let unknown = Channel { opened: None, ..channel("a", 100, None) };
        assert_eq!(silent(&[unknown], 9_999), (vec![], None), "an older program did not write it down");
    }

    #[test]
    fn the_channel_of_each_log_has_its_own_minute() {
        let team = Channel { log: ChangeLog::SharedDrive("0A".into()), ..channel("team", 130, None) };
        let both = [channel("user", 100, None), team.clone()];
        assert_eq!(silent(&both, 150), (vec![], Some(160)));
        assert_eq!(silent(&both, 170), (vec!["user"], Some(190)));
        assert_eq!(silent(&both, 190), (vec!["user", "team"], None));
        assert_eq!(silent(&[channel("user", 100, Some(100)), team], 190), (vec!["team"], None));
    }

    #[test]
    fn after_a_renewal_the_new_channel_has_a_minute_whatever_comes_on_the_old_one() {
        let old = Channel { state: ChannelState::Replaced, ..channel("old", 0, Some(6 * DAY + 10)) };
        let both = [old, channel("new", 6 * DAY, None)];
        assert_eq!(silent(&both, 6 * DAY + 59), (vec![], Some(6 * DAY + 60)));
        assert_eq!(silent(&both, 6 * DAY + 60), (vec!["new"], None));
    }

    #[test]
    fn another_attempt_is_not_taken_for_better_before_it_is_called_on() {
        let ended = |id, opened| Channel { state: ChannelState::Ended, ..channel(id, opened, None) };
        let attempts = [ended("a", 0), ended("b", 300), channel("c", 900, None)];
        assert_eq!(silent(&attempts, 900), (vec!["c"], Some(960)));
        assert_eq!(silent(&[ended("a", 0), channel("b", 300, Some(301))], 301), (vec![], None));
        let soon = [ended("a", 0), channel("b", 59, None)];
        assert_eq!(silent(&soon, 60), (vec![], Some(119)), "the first one had no minute");
        let long_ago = [Channel { expires: at(200), ..ended("a", 0) }, channel("b", 300, None)];
        assert_eq!(silent(&long_ago, 300), (vec![], Some(360)), "nobody could have called in between");
    }

    #[test]
    fn what_is_said_names_the_address_and_how_to_look() {
        let elsewhere = Channel { address: "https://y.example/webhook".into(), ..channel("b", 0, None) };
        let team = Channel { log: ChangeLog::SharedDrive("0A".into()), ..channel("c", 0, Some(1)) };
        let channels = [channel("a", 0, None), elsewhere, team];
        let said = explain(&[&channels[0], &channels[1]], &channels);
        assert_eq!(said.len(), 2, "one for each address: {said:?}");
        let (address, first) = &said[0];
        assert_eq!(address, "https://x.example/webhook");
        for part in [
            "told to call https://x.example/webhook",
            "first call on the channel of user has not arrived",
            "browser",
            GREETING,
            "tunnel",
            "path twice",
        ] {
            assert!(first.contains(part), "{part}: {first}");
        }
        assert!(said[1].1.contains("its first call has not arrived"), "{said:?}");
    }

    fn find(since: i64, found: i64) -> Find {
        Find { since: at(since), at: at(found) }
    }

    #[test]
    fn three_finds_in_a_row_without_a_call_have_the_channel_replaced_a_minute_later() {
        let finds = [find(1000, 1600), find(1600, 2200), find(2200, 2800)];
        let judge = |count, called: Option<i64>, now| judge(&finds[..count], called.map(at), None, at(now));
        assert_eq!(judge(0, None, 9_999), Judgement::Announced);
        for count in [1, 2] {
            assert_eq!(judge(count, None, 9_999), Judgement::Open(None));
        }
        assert_eq!(judge(3, None, 2800), Judgement::Open(Some(at(2860))), "a call may be late");
        assert_eq!(judge(3, None, 2860), Judgement::Unannounced);
        assert_eq!(judge(3, Some(939), 2860), Judgement::Unannounced, "a call long before");
        // Before the change was listed, during a read, between two, and after the last.
        for called in [940, 1000, 1601, 2500, 2801, 2859] {
            assert_eq!(judge(3, Some(called), 2860), Judgement::Announced, "{called}");
        }
    }

    #[test]
    fn finds_have_a_channel_replaced_once_an_hour() {
        let finds = [find(1000, 1600), find(1600, 2200), find(2200, 2800)];
        let judge = |renewed, now| judge(&finds, None, Some(at(renewed)), at(now));
        assert_eq!(judge(500, 2860), Judgement::Open(Some(at(4100))));
        assert_eq!(judge(500, 4100), Judgement::Unannounced);
        assert_eq!(judge(-3000, 2860), Judgement::Unannounced);
    }
}
