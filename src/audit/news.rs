//! What the change logs say that is not in the database yet. The logs are read from where the database stands to their ends;
//! nothing is recorded.

use std::collections::{HashMap, HashSet};

use super::walk::{concerns_all, patiently};
use crate::drive::{Drive, Error, Fault};
use crate::model::{ChangeLog, FileId, PageToken};
use crate::store::LogPosition;

/// More pages than this are not read: the daemon is at work on them.
const PAGES: usize = 2_000;

/// What is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Items that entries are about.
    pub(super) items: HashSet<FileId>,
    /// Logs that were not read to their ends, and why.
    pub(super) unread: HashMap<ChangeLog, String>,
}

impl News {
    /// Reads all logs. Only entries about items of `interest` are kept.
    pub(super) async fn read(
        drive: &Drive,
        logs: &HashMap<ChangeLog, LogPosition>,
        interest: &HashSet<FileId>,
    ) -> Result<Self, Error> {
        let mut news = Self::default();
        for (log, position) in logs {
            let Some(token) = &position.token else { continue };
            match news.follow(drive, log, token.clone(), interest).await {
                Ok(()) => {}
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) if error.fault() == Fault::PageToken => {
                    let why = "Drive refuses the page token of its change log; all folders are listed anew";
                    news.unread.insert(log.clone(), why.to_owned());
                }
                Err(error) => {
                    news.unread.insert(log.clone(), format!("its change log cannot be read: {error}"));
                }
            }
        }
        Ok(news)
    }

    async fn follow(
        &mut self,
        drive: &Drive,
        log: &ChangeLog,
        mut token: PageToken,
        interest: &HashSet<FileId>,
    ) -> Result<(), Error> {
        for _ in 0..PAGES {
            let page = patiently(|| drive.changes(log, &token)).await?;
            let ids = page.changes.into_iter().map(|change| change.file_id);
            self.items.extend(ids.filter(|id| interest.contains(id)));
            if page.end || page.next == token {
                return Ok(());
            }
            token = page.next;
        }
        self.unread.insert(log.clone(), "its change log is being read".to_owned());
        Ok(())
    }
}
