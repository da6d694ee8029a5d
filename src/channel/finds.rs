//! What reads of the change logs have found that Google had not announced, and which logs it is silent about. Whoever reads
//! the logs and the keeper tell each other here. Nothing here waits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::calls::{FINDS, Find, Judgement, judge};
use super::registry::Registry;
use crate::model::{ChangeLog, Channel, ChannelState};
use crate::task::{Reason, Wake};

/// Finds by log.
#[derive(Debug)]
pub struct Finds {
    registry: Arc<Registry>,
    keeper: Wake,
    logs: Mutex<HashMap<ChangeLog, Noted>>,
    silent: ArcSwap<BTreeSet<ChangeLog>>,
}

#[derive(Debug, Default)]
struct Noted {
    /// Those that no call has announced, the earliest first.
    finds: Vec<Find>,
    /// When they last had the channel replaced.
    renewed: Option<Timestamp>,
}

impl Finds {
    /// None yet. `keeper` is woken when there are enough of them.
    pub fn new(registry: Arc<Registry>, keeper: Wake) -> Self {
        Self { registry, keeper, logs: Mutex::default(), silent: ArcSwap::default() }
    }

    /// The channels, and when Google called.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// A read has found something new in a log; the read before it began at `since`.
    pub fn add(&self, log: &ChangeLog, since: Timestamp, now: Timestamp) {
        let called = self.registry.called_about(log);
        let is_enough = self.with(log, |noted| {
            if judge(&noted.finds, called, None, now) == Judgement::Announced {
                noted.finds.clear();
            }
            let find = Find { since, at: now };
            if judge(&[find], called, None, now) == Judgement::Announced || noted.finds.len() == FINDS {
                return false;
            }
            noted.finds.push(find);
            noted.finds.len() == FINDS
        });
        if is_enough {
            // Without a keeper the program is ending.
            let _ = self.keeper.wake(Reason::Handover);
        }
    }

    /// The logs whose channel is to be replaced, since it does not announce what is found; and when to ask again.
    pub(super) fn judge(
        &self,
        logs: &[ChangeLog],
        channels: &[Channel],
        now: Timestamp,
    ) -> (Vec<ChangeLog>, Option<Timestamp>) {
        let (mut unannounced, mut next) = (Vec::new(), None::<Timestamp>);
        for log in logs {
            let is_live = |channel: &&Channel| channel.log == *log && channel.state == ChannelState::Live;
            let opened = channels.iter().filter(is_live).filter_map(|channel| channel.opened).max();
            let called = self.registry.called_about(log);
            let judgement = self.with(log, |noted| {
                // What changed before there was the channel could not come on it.
                noted.finds.retain(|find| opened.is_some_and(|opened| opened <= find.since));
                judge(&noted.finds, called, noted.renewed, now)
            });
            match judgement {
                Judgement::Announced => self.with(log, |noted| noted.finds.clear()),
                Judgement::Open(at) => next = [next, at].into_iter().flatten().min(),
                Judgement::Unannounced => unannounced.push(log.clone()),
            }
        }
        (unannounced, next)
    }

    /// A channel was opened because of what was found in the log.
    pub(super) fn renewed(&self, log: &ChangeLog, now: Timestamp) {
        self.with(log, |noted| *noted = Noted { finds: Vec::new(), renewed: Some(now) });
    }

    /// Whether Google is silent about a log.
    pub fn is_silent(&self, log: &ChangeLog) -> bool {
        self.silent.load().contains(log)
    }

    /// Google is silent about these logs, and no others.
    pub(super) fn set_silent(&self, logs: BTreeSet<ChangeLog>) {
        self.silent.store(Arc::new(logs));
    }

    fn with<T>(&self, log: &ChangeLog, change: impl FnOnce(&mut Noted) -> T) -> T {
        // What a panic leaves is a list of finds, which may be too short.
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        change(logs.entry(log.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelId, ChannelToken};
    use crate::task::wake_up;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn live(log: &ChangeLog, token: &ChannelToken, opened: i64) -> Channel {
        Channel {
            id: ChannelId::new(log.key()),
            log: log.clone(),
            address: String::new(),
            token_hash: token.hash(),
            resource_id: None,
            state: ChannelState::Live,
            created: at(opened),
            opened: Some(at(opened)),
            called: None,
            expires: at(99_999),
        }
    }

    #[test]
    fn finds_count_against_the_channel_of_their_own_log_until_google_calls_about_it() {
        let (user, team) = (ChangeLog::User, ChangeLog::SharedDrive("0A".into()));
        let (token, registry) = (ChannelToken::random(), Arc::new(Registry::default()));
        let channels = [live(&user, &token, 0), live(&team, &token, 0)];
        registry.replace(&channels);
        let (keeper, _wakeups) = wake_up();
        let finds = Finds::new(registry.clone(), keeper);
        let logs = [user.clone(), team.clone()];
        let judged = |now| finds.judge(&logs, &channels, at(now));
        let call = |log: &ChangeLog, now| {
            let id = ChannelId::new(log.key());
            assert!(registry.authenticate(&id, token.expose().as_bytes(), at(now)).is_some());
        };
        for since in [1000, 1600, 2200] {
            finds.add(&user, at(since), at(since + 600));
            finds.add(&team, at(since), at(since + 600));
        }
        call(&team, 2810);
        assert_eq!(judged(2800), (vec![], Some(at(2860))));
        assert_eq!(judged(2860), (vec![user.clone()], None), "Google has called about the other one");
        finds.renewed(&user, at(2860));
        assert_eq!(judged(9_000), (vec![], None));

        // Within the hour, and a call that comes in time.
        for since in [3000, 3100, 3200] {
            finds.add(&user, at(since), at(since + 100));
        }
        assert_eq!(judged(4000), (vec![], Some(at(2860 + 3600))));
        call(&user, 4001);
        assert_eq!(judged(2860 + 3600), (vec![], None));
        // What was announced is forgotten: three more are needed.
        for since in [7000, 7100] {
            finds.add(&user, at(since), at(since + 100));
        }
        assert_eq!(judged(9_000), (vec![], None));
        finds.add(&user, at(7200), at(7300));
        assert_eq!(judged(9_000), (vec![user], None));
    }

    #[test]
    fn what_changed_before_there_was_the_channel_says_nothing_about_it() {
        let token = ChannelToken::random();
        let (keeper, _wakeups) = wake_up();
        let finds = Finds::new(Arc::default(), keeper);
        for since in [1000, 1600, 2200] {
            finds.add(&ChangeLog::User, at(since), at(since + 600));
        }
        let logs = [ChangeLog::User];
        assert_eq!(finds.judge(&logs, &[live(&ChangeLog::User, &token, 1001)], at(9_000)), (vec![], None));
        assert_eq!(finds.judge(&logs, &[], at(9_000)), (vec![], None), "nor without one");
    }
}
