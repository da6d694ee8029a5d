//! One change log: at most one entry per file or drive, the newest state at the newest position.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The log of the user; a shared drive's log is named by the drive's id.
pub(crate) const USER: &str = "user";

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    File(String),
    Drive(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) subject: Subject,
    /// When it happened, in milliseconds.
    pub(crate) time: i64,
    /// From when on a listing shows it: later than `time` while consistency is only eventual.
    pub(crate) visible: i64,
    /// The file left this log: deleted, or moved to another corpus.
    pub(crate) removed: bool,
}

/// Positions of entries are odd and tokens even, so that a token can also stand *between* an empty page and the
/// entries that follow it.
#[derive(Debug)]
pub(crate) struct Log {
    entries: BTreeMap<u64, Entry>,
    position: HashMap<Subject, u64>,
    /// Entries that became visible later than they happened, if they did.
    delayed: BTreeSet<u64>,
    next: u64,
    refused_up_to: u64,
}

impl Log {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            position: HashMap::new(),
            delayed: BTreeSet::new(),
            next: first & !1,
            refused_up_to: 0,
        }
    }

    /// Adds an entry at the end and takes the subject's former one away.
    pub(crate) fn put(&mut self, entry: Entry) {
        let position = self.next + 1;
        if let Some(former) = self.position.insert(entry.subject.clone(), position) {
            self.entries.remove(&former);
            self.delayed.remove(&former);
        }
        if entry.visible > entry.time {
            self.delayed.insert(position);
        }
        self.entries.insert(position, entry);
        // Google's numbers have gaps; a client that counts must not get away with it.
        self.next = position + 1 + 2 * (position / 2 % 3);
    }

    /// The token after everything that is visible at `now`.
    pub(crate) fn head(&self, now: i64) -> u64 {
        let is_hidden = |position: &&u64| self.entries.get(position).is_some_and(|entry| entry.visible > now);
        self.delayed.iter().find(is_hidden).map_or(self.next, |position| position - 1)
    }

    /// Entries from `token` on that are visible at `now`, with their positions.
    pub(crate) fn since(&self, token: u64, now: i64) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries
            .range(token..)
            .map(|(position, entry)| (*position, entry))
            .take_while(move |(_, e)| e.visible <= now)
    }

    /// Whether Drive could have issued this token, and still honours it.
    pub(crate) fn accepts(&self, token: u64) -> bool {
        token > self.refused_up_to && token <= self.next + 1
    }

    /// Every token issued until now is refused from now on.
    pub(crate) fn refuse_issued(&mut self) {
        self.refused_up_to = self.next + 1;
        self.next += 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, visible: i64) -> Entry {
        Entry { subject: Subject::File(id.into()), time: 0, visible, removed: false }
    }

    fn ids(log: &Log, token: u64, now: i64) -> Vec<String> {
        log.since(token, now)
            .map(|(_, entry)| match &entry.subject {
                Subject::File(id) | Subject::Drive(id) => id.clone(),
            })
            .collect()
    }

    #[test]
    fn a_new_change_takes_the_place_of_the_former_one() {
        let mut log = Log::new(100);
        let start = log.head(0);
        for id in ["a", "b", "a"] {
            log.put(entry(id, 0));
        }
        assert_eq!(ids(&log, start, 0), ["b", "a"]);
        assert_eq!(ids(&log, log.head(0), 0), Vec::<String>::new());
    }

    #[test]
    fn the_head_stands_before_the_first_change_that_is_not_visible_yet() {
        let mut log = Log::new(100);
        log.put(entry("a", 0));
        log.put(entry("b", 50));
        log.put(entry("c", 0));
        let head = log.head(10);
        assert_eq!(ids(&log, 0, 10), ["a"]);
        assert_eq!(ids(&log, head, 60), ["b", "c"]);
    }

    #[test]
    fn refused_tokens_do_not_come_back() {
        let mut log = Log::new(100);
        let old = log.head(0);
        log.refuse_issued();
        assert!(!log.accepts(old));
        assert!(log.accepts(log.head(0)));
        assert!(!log.accepts(log.head(0) + 1000));
    }
}
