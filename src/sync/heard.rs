//! What the change logs have said lately. A listing and an answer of `files.get` are evidence as of the moment when the
//! call began; what a log has said of an item since then is newer.

use std::collections::HashMap;

use crate::model::FileId;

/// More items than this are not remembered.
const KEPT: usize = 20_000;

/// A moment in the order in which entries were taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The items that change logs have spoken of.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    clock: u64,
    /// What was heard up to here is forgotten.
    floor: u64,
    recent: HashMap<FileId, u64>,
}

impl Heard {
    /// Now.
    pub fn now(&self) -> Moment {
        Moment(self.clock)
    }

    /// A log has spoken of these items.
    pub fn hear(&mut self, ids: impl IntoIterator<Item = FileId>) {
        self.clock += 1;
        let clock = self.clock;
        self.recent.extend(ids.into_iter().map(|id| (id, clock)));
        if self.recent.len() > KEPT {
            self.recent.clear();
            self.floor = clock;
        }
    }

    /// Whether a log has spoken of an item since then, as far as is known.
    pub fn has_since(&self, moment: Moment, id: &FileId) -> bool {
        self.floor > moment.0 || self.recent.get(id).is_some_and(|heard| *heard > moment.0)
    }

    /// Whether it is not known any more what was said since then.
    pub fn is_forgotten(&self, moment: Moment) -> bool {
        self.floor > moment.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_before_is_not_news_and_what_is_forgotten_may_be() {
        let id = |text: &str| FileId::new(text);
        let mut heard = Heard::default();
        heard.hear([id("before")]);
        let moment = heard.now();
        heard.hear([id("after")]);
        assert!(!heard.has_since(moment, &id("before")) && heard.has_since(moment, &id("after")));
        assert!(!heard.has_since(heard.now(), &id("after")) && !heard.is_forgotten(moment));

        heard.hear((0..KEPT).map(|n| id(&n.to_string())));
        assert!(heard.is_forgotten(moment) && heard.has_since(moment, &id("before")));
        assert!(!heard.is_forgotten(heard.now()) && !heard.has_since(heard.now(), &id("1")));
        assert!(heard.recent.len() <= KEPT);
    }
}
