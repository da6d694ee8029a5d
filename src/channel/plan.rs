//! What is to be done about the channels, given what there are and what time it is. Values in, values out.

use std::time::Duration;

use jiff::Timestamp;

use super::calls;
use crate::model::{ChangeLog, Channel, ChannelId, ChannelState};

/// How channels are kept.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Where Drive is to call. `None`: nowhere.
    pub address: Option<&'a str>,
    /// A channel is replaced this long before its end, but never later than at half its life.
    pub renew_before: Duration,
    /// Logs whose channel does not announce what is found: it is replaced.
    pub unannounced: &'a [ChangeLog],
    /// When the program started.
    pub started: Timestamp,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask Drive for a channel on this log. The channel that it replaces, if any, keeps calling until then.
    Open(ChangeLog),
    /// Tell Drive to stop calling on this one.
    Stop(ChannelId),
    /// It has ended by itself.
    End(ChannelId),
    /// Nothing will come on it any more.
    Forget(ChannelId),
}

/// What to do now, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// The next moment at which there will be something to do.
    pub next: Option<Timestamp>,
}

/// Messages can come for a while on a channel that has ended; it is remembered this long, so that they are known.
const MEMORY: Duration = Duration::from_hours(24);
/// Google sends the first message on a channel once. If the way to here is mended later, nothing tells so before something
/// changes in Drive, except the first message on another channel: one is opened after this long without a call, then after
/// twice as long, …
const ASK_AGAIN: Duration = Duration::from_mins(5);
/// … but no later than this.
const ASK_AGAIN_CAP: Duration = Duration::from_hours(1);

/// Decides.
pub fn plan(logs: &[ChangeLog], channels: &[Channel], policy: &Policy<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan { actions: Vec::new(), next: None };
    for log in logs {
        let Some(address) = policy.address else { break };
        let current = channels.iter().filter(|channel| serves(channel, log, address, now));
        let replaced =
            current.map(|channel| replace_at(channel, policy).min(ask_again_at(channel, channels, policy)));
        match replaced.max() {
            Some(at) if at > now && !policy.unannounced.contains(log) => plan.look_again(at),
            Some(_) | None => plan.actions.push(Action::Open(log.clone())),
        }
    }
    for channel in channels {
        plan.settle(channel, logs, policy, now);
    }
    plan
}

impl Plan {
    fn settle(&mut self, channel: &Channel, logs: &[ChangeLog], policy: &Policy<'_>, now: Timestamp) {
        let id = || channel.id.clone();
        match channel.state {
            ChannelState::Live | ChannelState::Replaced if channel.expires <= now => {
                self.actions.push(Action::End(id()));
            }
            ChannelState::Replaced => self.actions.push(Action::Stop(id())),
            ChannelState::Live if policy.address.is_none() || !logs.contains(&channel.log) => {
                self.actions.push(Action::Stop(id()));
            }
            // Another address: it is replaced as soon as the new one is open.
            ChannelState::Live => self.look_again(channel.expires),
            // Whether Drive opened it was never heard. Without its resource id it cannot be stopped.
            ChannelState::Opening => self.actions.push(Action::End(id())),
            ChannelState::Ended => {
                let forget_at = channel.expires.checked_add(MEMORY).unwrap_or(channel.expires);
                if forget_at <= now {
                    self.actions.push(Action::Forget(id()));
                } else {
                    self.look_again(forget_at);
                }
            }
        }
    }

    fn look_again(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

fn serves(channel: &Channel, log: &ChangeLog, address: &str, now: Timestamp) -> bool {
    channel.state == ChannelState::Live
        && channel.log == *log
        && channel.address == address
        && channel.expires > now
}

/// When a channel is to be replaced: `renew_before` its end or at half its life, whichever is earlier, and up to a
/// tenth of that margin earlier still, so that many channels do not come due at once.
fn replace_at(channel: &Channel, policy: &Policy<'_>) -> Timestamp {
    let life = Duration::try_from(channel.expires.duration_since(channel.created)).unwrap_or(Duration::ZERO);
    let margin = policy.renew_before.min(life / 2);
    let early = margin.mul_f64(0.1 * spread(&channel.id));
    channel.expires.checked_sub(margin + early).unwrap_or(channel.created)
}

/// When a channel that Google has not called on is given up for another one. One that was open before the program started
/// has its minute only: whoever starts the program wants to know how it is now.
fn ask_again_at(channel: &Channel, channels: &[Channel], policy: &Policy<'_>) -> Timestamp {
    if channel.called.is_some() {
        return Timestamp::MAX;
    }
    // An older program did not write down whether Google had called on it.
    let Some(opened) = channel.opened else { return channel.created };
    let wait = if opened < policy.started {
        calls::FIRST_CALL
    } else {
        let before = calls::before(channel, channels);
        let in_vain = before.iter().take_while(|channel| channel.called.is_none()).count();
        ASK_AGAIN.saturating_mul(1 << in_vain.min(8)).min(ASK_AGAIN_CAP)
    };
    opened.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// A number from 0 to 1 that belongs to the channel: luck, but the same each time it is asked for.
fn spread(id: &ChannelId) -> f64 {
    let sum = id.as_str().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    f64::from(sum % 1000) / 999.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "https://videos.example.com/webhook";
    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn channel(id: &str, state: ChannelState, created: i64, expires: i64) -> Channel {
        Channel {
            id: ChannelId::new(id),
            log: ChangeLog::User,
            address: ADDRESS.into(),
            token_hash: String::new(),
            resource_id: None,
            state,
            created: at(created),
            opened: Some(at(created)),
            called: Some(at(created)),
            expires: at(expires),
        }
    }

    /// How channels are kept if nothing is wrong with them.
    fn policy(address: Option<&str>, renew_before: u64) -> Policy<'_> {
        let renew_before = Duration::from_secs(renew_before);
        Policy { address, renew_before, unannounced: &[], started: Timestamp::MIN }
    }

    fn actions(channels: &[Channel], now: i64) -> Vec<Action> {
        plan(&[ChangeLog::User], channels, &policy(Some(ADDRESS), DAY as u64), at(now)).actions
    }

    fn open() -> Action {
        Action::Open(ChangeLog::User)
    }

    #[test]
    fn a_log_without_a_channel_gets_one() {
        assert_eq!(actions(&[], 0), [open()]);
        assert_eq!(
            actions(&[channel("a", ChannelState::Live, 0, 7 * DAY)], 8 * DAY),
            [open(), Action::End(ChannelId::new("a"))]
        );
        let other = Channel {
            address: "https://old.example.com/webhook".into(),
            ..channel("a", ChannelState::Live, 0, 7 * DAY)
        };
        assert_eq!(actions(&[other], 1), [open()], "the old address keeps calling until the new one does");
    }

    #[test]
    fn it_is_replaced_before_its_end_and_never_later_than_at_half_its_life() {
        let week = channel("a", ChannelState::Live, 0, 7 * DAY);
        assert_eq!(actions(std::slice::from_ref(&week), 5 * DAY), []);
        assert_eq!(actions(&[week], 6 * DAY), [open()]);
        let hour = channel("a", ChannelState::Live, 0, 3600);
        assert_eq!(actions(std::slice::from_ref(&hour), 1500), []);
        assert_eq!(actions(&[hour], 1800), [open()]);
    }

    #[test]
    fn what_is_replaced_is_stopped_and_what_has_ended_is_forgotten_after_a_day() {
        let new = channel("b", ChannelState::Live, 100, 7 * DAY);
        assert_eq!(
            actions(&[new.clone(), channel("a", ChannelState::Replaced, 0, DAY)], 200),
            [Action::Stop(ChannelId::new("a"))]
        );
        assert_eq!(
            actions(&[new.clone(), channel("a", ChannelState::Opening, 0, DAY)], 200),
            [Action::End(ChannelId::new("a"))]
        );
        assert_eq!(actions(&[new.clone(), channel("a", ChannelState::Ended, 0, DAY)], 200), []);
        assert_eq!(
            actions(&[new, channel("a", ChannelState::Ended, 0, DAY)], 2 * DAY),
            [Action::Forget(ChannelId::new("a"))]
        );
    }

    #[test]
    fn without_an_address_all_are_stopped() {
        let policy = policy(None, 1);
        let live = channel("a", ChannelState::Live, 0, DAY);
        assert_eq!(
            plan(&[ChangeLog::User], &[live], &policy, at(1)).actions,
            [Action::Stop(ChannelId::new("a"))]
        );
    }

    #[test]
    fn a_channel_on_a_log_that_is_not_followed_any_more_is_stopped_and_serves_no_other_log() {
        let team = ChangeLog::SharedDrive("0AbC".to_owned());
        let policy = policy(Some(ADDRESS), 1);
        let live = channel("a", ChannelState::Live, 0, DAY);
        assert_eq!(
            plan(std::slice::from_ref(&team), &[live], &policy, at(1)).actions,
            [Action::Open(team), Action::Stop(ChannelId::new("a"))]
        );
    }

    #[test]
    fn a_channel_without_a_call_is_followed_by_others_at_growing_distances() {
        let unheard =
            |id: &str, state, created| Channel { called: None, ..channel(id, state, created, 7 * DAY) };
        let mut channels: Vec<Channel> = Vec::new();
        let (mut now, mut waits) = (0, Vec::new());
        for id in ["a", "b", "c", "d", "e", "f"] {
            for channel in &mut channels {
                channel.state = ChannelState::Ended;
            }
            channels.push(unheard(id, ChannelState::Live, now));
            let next = plan(&[ChangeLog::User], &channels, &policy(Some(ADDRESS), 1), at(now)).next.unwrap();
            assert_eq!(actions(&channels, next.as_second() - 1), []);
            assert_eq!(actions(&channels, next.as_second()), [open()]);
            waits.push((next.as_second() - now) / 60);
            now = next.as_second();
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        let heard = Channel { called: Some(at(1)), ..unheard("a", ChannelState::Ended, 0) };
        let renewed = [heard, unheard("b", ChannelState::Live, DAY)];
        assert_eq!(actions(&renewed, DAY + 299), []);
        assert_eq!(actions(&renewed, DAY + 300), [open()], "after a call they begin anew");
    }

    #[test]
    fn a_start_asks_again_about_channels_of_which_nothing_was_heard() {
        let started = Policy { started: at(100), ..policy(Some(ADDRESS), 1) };
        let actions = |channel: Channel, now| plan(&[ChangeLog::User], &[channel], &started, at(now)).actions;
        let unheard = |created| Channel { called: None, ..channel("a", ChannelState::Live, created, DAY) };
        assert_eq!(actions(unheard(99), 158), []);
        assert_eq!(actions(unheard(99), 159), [open()]);
        assert_eq!(actions(unheard(100), 399), [], "it was opened by this run");
        assert_eq!(actions(channel("a", ChannelState::Live, 0, DAY), 200), [], "Google calls on it");
        let unknown = Channel { opened: None, ..unheard(0) };
        assert_eq!(
            actions(unknown, 100),
            [open()],
            "an older program did not write down whether Google calls"
        );
    }

    #[test]
    fn a_channel_that_does_not_announce_what_is_found_is_replaced() {
        let logs = [ChangeLog::User, ChangeLog::SharedDrive("0A".into())];
        let team = Channel { log: logs[1].clone(), ..channel("b", ChannelState::Live, 0, DAY) };
        let channels = [channel("a", ChannelState::Live, 0, DAY), team];
        let policy = Policy { unannounced: &logs[1..], ..policy(Some(ADDRESS), 1) };
        assert_eq!(plan(&logs, &channels, &policy, at(1)).actions, [Action::Open(logs[1].clone())]);
    }

    #[test]
    fn what_has_expired_ends_without_a_call() {
        let new = channel("b", ChannelState::Live, 0, 7 * DAY);
        for state in [ChannelState::Live, ChannelState::Replaced] {
            let plan = actions(&[new.clone(), channel("a", state, 0, DAY)], DAY);
            assert_eq!(plan, [Action::End(ChannelId::new("a"))], "{state:?}");
        }
    }

    #[test]
    fn it_says_when_there_will_be_something_to_do() {
        let policy = policy(Some(ADDRESS), DAY as u64);
        let next = |channels: &[Channel], now| plan(&[ChangeLog::User], channels, &policy, at(now)).next;
        assert_eq!(next(&[], 0), None);
        let moment = |id: &str, created, life| {
            let next = next(&[channel(id, ChannelState::Live, created, created + life)], created).unwrap();
            next.as_second() - created
        };
        // A day before its end, and up to a tenth of a day earlier.
        assert_eq!(moment("a", 5, 7 * DAY), 6 * DAY - 8640 * 97 / 999 - 1);
        assert_eq!(moment("b", 5, 7 * DAY), 6 * DAY - 8640 * 98 / 999 - 1);
        assert_eq!(moment("ab", 5, 7 * DAY), 6 * DAY - 8640 * (97 * 31 + 98 - 3000) / 999 - 1);
        // Half of its life before its end, and up to a twentieth earlier.
        assert_eq!(moment("a", 5, 10_000), 5000 - 500 * 97 / 999 - 1);
        let ended = channel("z", ChannelState::Ended, 0, DAY);
        let live = channel("a", ChannelState::Live, 0, 7 * DAY);
        assert_eq!(next(&[live.clone(), ended], 0), Some(at(2 * DAY)), "the earliest of all");
        let later = channel("b", ChannelState::Live, 0, 6 * DAY);
        assert!(next(&[live, later], 0) > Some(at(5 * DAY)), "the longest one serves the log");
    }

    proptest! {
        /// Acting on the plan whenever it says so never leaves a moment without a live channel.
        #[test]
        fn there_is_always_a_live_channel(life in 2_i64..(7 * DAY), renew_before in 1_u64..(8 * DAY as u64), id in "[a-z]{8}") {
            let policy = policy(Some(ADDRESS), renew_before);
            let live = channel(&id, ChannelState::Live, 0, life);
            let first = plan(&[ChangeLog::User], std::slice::from_ref(&live), &policy, at(0));
            prop_assert_eq!(&first.actions, &[]);
            let next = first.next.unwrap();
            prop_assert!(next < live.expires && next >= live.created);
            prop_assert_eq!(plan(&[ChangeLog::User], &[live], &policy, next).actions, [open()]);
        }
    }
}
