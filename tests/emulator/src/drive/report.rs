//! What an action leaves behind: entries in the logs that an item belongs to, and calls on channels.

use std::collections::BTreeSet;
use std::time::Duration;

use super::channel::{Errand, Target};
use super::clock::milliseconds;
use super::log::{Entry, Subject};
use super::state::{Descendants, Report, State};

/// What happened to a file, in the words of `files.watch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Added,
    Removed,
    Updated(&'static str),
    Trashed,
    Untrashed,
}

impl Cause {
    fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Added => ("add", None),
            Self::Removed => ("remove", None),
            Self::Updated(what) => ("update", Some(what)),
            Self::Trashed => ("trash", None),
            Self::Untrashed => ("untrash", None),
        }
    }
}

/// Names of change logs.
pub(crate) type Logs = BTreeSet<String>;

impl State {
    /// The items that an action on a folder reports, with the logs they belong to before it.
    pub(super) fn concerned(&self, id: &str) -> Vec<(String, Logs)> {
        let ids = match self.settings.descendants {
            Descendants::Silent => vec![id.to_owned()],
            Descendants::Reported => self.subtree(id),
        };
        let with_logs = |id: String| self.nodes.get(&id).map(|node| (id, self.logs_of(node)));
        ids.into_iter().filter_map(with_logs).collect()
    }

    /// Reports an item in the logs it belongs to, and as removed in those it has left.
    pub(super) fn reannounce(&mut self, id: &str, former: &Logs, cause: Cause) {
        let Some(node) = self.nodes.get(id) else { return };
        let left: Vec<String> = former.difference(&self.logs_of(node)).cloned().collect();
        for log in left {
            self.report_after(&log, id, self.settings.removal_lag);
        }
        self.changed(id, cause);
    }

    pub(super) fn changed(&mut self, id: &str, cause: Cause) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.version += 1;
        let Some(node) = self.nodes.get(id) else { return };
        for log in self.logs_of(node) {
            self.report(&log, id);
        }
        self.call_file(id, cause);
    }

    /// Reports everything whose time has come.
    pub(crate) fn settle(&mut self) {
        let now = self.now();
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= now) {
            for Report { log, id } in due.remove() {
                self.report(&log, &id);
            }
        }
    }

    pub(super) fn report_after(&mut self, log: &str, id: &str, lag: Duration) {
        if lag.is_zero() {
            return self.report(log, id);
        }
        let report = Report { log: log.to_owned(), id: id.to_owned() };
        self.due.entry(self.now() + milliseconds(lag)).or_default().push(report);
        // A clock counts in whole milliseconds: one more, and the time has come for certain.
        self.ask(Errand::SettleAfter(lag + Duration::from_millis(1)));
    }

    /// An entry about an item as it is now: present if it belongs to that log, otherwise removed.
    pub(super) fn report(&mut self, log: &str, id: &str) {
        let belongs = self.nodes.get(id).is_some_and(|node| self.logs_of(node).contains(log));
        self.log_entry(log, Subject::File(id.to_owned()), !belongs);
        self.call_log(log);
    }

    pub(super) fn log_entry(&mut self, log: &str, subject: Subject, removed: bool) {
        let time = self.now();
        let visible = time + milliseconds(self.settings.change_delay);
        if let Some(log) = self.log(log) {
            log.put(Entry { subject, time, visible, removed });
        }
    }

    pub(super) fn call_log(&mut self, log: &str) {
        let now = self.now();
        let concerns = |target: &Target| matches!(target, Target::Log(name) if name == log);
        let messages = self.channels.messages(now, "change", None, concerns);
        self.announce(messages);
    }

    pub(super) fn call_file(&mut self, id: &str, cause: Cause) {
        let now = self.now();
        let (state, changed) = cause.words();
        let concerns = |target: &Target| matches!(target, Target::File(file) if file == id);
        let messages = self.channels.messages(now, state, changed, concerns);
        self.announce(messages);
    }
}
