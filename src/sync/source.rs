//! What is asked of Drive to read a change log, so that the reading can be shown without a network.

use crate::drive::{Drive, Error};
use crate::model::{ChangeLog, File, FileId, Page, PageToken, ResourceKeys};

/// Whoever has change logs and files: Drive.
pub(super) trait Source: Send + Sync {
    /// The token of now.
    fn start(&self, log: &ChangeLog) -> impl Future<Output = Result<PageToken, Error>> + Send;

    /// One page of a log.
    fn page(&self, log: &ChangeLog, token: &PageToken) -> impl Future<Output = Result<Page, Error>> + Send;

    /// An item's state now.
    fn item(&self, id: &FileId, keys: &ResourceKeys) -> impl Future<Output = Result<File, Error>> + Send;
}

impl Source for Drive {
    async fn start(&self, log: &ChangeLog) -> Result<PageToken, Error> {
        self.start_page_token(log).await
    }

    async fn page(&self, log: &ChangeLog, token: &PageToken) -> Result<Page, Error> {
        self.changes(log, token).await
    }

    async fn item(&self, id: &FileId, keys: &ResourceKeys) -> Result<File, Error> {
        self.file(id, keys).await
    }
}
