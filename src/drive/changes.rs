//! The change logs.

use reqwest::Method;

use super::pages::read_changes;
use super::wire::{FILE_FIELDS, WireStartPageToken};
use super::{Drive, Error};
use crate::model::{ChangeLog, Page, PageToken};

/// The largest page that Drive gives.
const PAGE_SIZE: &str = "1000";

impl Drive {
    /// The token of now: what changes after this call comes after it.
    pub async fn start_page_token(&self, log: &ChangeLog) -> Result<PageToken, Error> {
        let request = self
            .call(Method::GET, "/changes/startPageToken")
            .query(&[("supportsAllDrives", "true")])
            .query(&of_log(log));
        let answer: WireStartPageToken =
            self.json("get the start page token", request).await.map_err(|error: Error| error.of_log(log))?;
        Ok(PageToken::new(answer.start_page_token))
    }

    /// One page of a log.
    pub async fn changes(&self, log: &ChangeLog, token: &PageToken) -> Result<Page, Error> {
        let fields =
            format!("nextPageToken,newStartPageToken,changes(changeType,fileId,removed,file({FILE_FIELDS}))");
        let request = self
            .call(Method::GET, "/changes")
            .query(&[
                ("pageToken", token.as_str()),
                ("pageSize", PAGE_SIZE),
                ("fields", fields.as_str()),
                ("supportsAllDrives", "true"),
                ("includeItemsFromAllDrives", "true"),
            ])
            .query(&of_log(log));
        let read = |body: &[u8]| read_changes(body, token);
        let read = self.page("list changes", &log.key(), request, read).await;
        Ok(self.usable("list changes", read.map_err(|error| error.of_log(log))?))
    }
}

/// The parameter that names a shared drive's log.
pub(super) fn of_log(log: &ChangeLog) -> Vec<(&'static str, &str)> {
    log.drive_id().map(|id| ("driveId", id)).into_iter().collect()
}
