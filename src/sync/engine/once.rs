//! One pass from its beginning to its end, for `sync`.

use std::collections::BTreeMap;

use super::{Engine, Mode, Tally};
use crate::sync::error::Error;

impl Engine {
    /// Everything that is new, into the ledger. What was read before a failure stays recorded.
    pub async fn catch_up(&mut self) -> Result<Tally, Error> {
        self.take_over();
        self.want_logs();
        self.tally = Tally::default();
        self.advance(Mode::Once).await?;
        self.jobs.beside(self.desk.tell_what_was_brought()).await;
        let tally = self.tally;
        match self.take_error() {
            Some(error) => Err(error),
            None => match self.store.troubled(1).await?.pop() {
                Some(troubled) => Err(Error::Folder {
                    id: format!("{} ({})", troubled.folder.name, troubled.folder.id),
                    why: troubled.folder.problem.unwrap_or_default(),
                }),
                None => Ok(tally),
            },
        }
    }

    /// Files that are left where they are, counted by the class of the reason, as far as they were listed in this run or
    /// were there before the first one.
    pub async fn left_out(&mut self) -> Result<BTreeMap<String, i64>, Error> {
        Ok(self.jobs.beside(self.desk.left_out()).await?)
    }
}
