//! The change logs.

use reqwest::Method;

use super::wire::{FILE_FIELDS, WireChanges, WireStartPageToken, page_token};
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
        let answer: WireStartPageToken = self.json("get the start page token", request).await?;
        Ok(page_token(answer.start_page_token))
    }

    /// One page of a log.
    pub async fn changes(&self, log: &ChangeLog, token: &PageToken) -> Result<Page, Error> {
        let fields = format!("nextPageToken,newStartPageToken,changes(fileId,removed,file({FILE_FIELDS}))");
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
        let answer: WireChanges = self.json("list changes", request).await?;
        let (next, end) = match (answer.next_page_token, answer.new_start_page_token) {
            (Some(next), _) => (page_token(next), false),
            (None, Some(start)) => (page_token(start), true),
            // Neither is against the documentation; staying where we are repeats this page and loses nothing.
            (None, None) => (token.clone(), true),
        };
        let changes = answer.changes.into_iter().filter_map(super::wire::WireChange::into_change).collect();
        Ok(Page { changes, next, end })
    }
}

/// The parameter that names a shared drive's log.
pub(super) fn of_log(log: &ChangeLog) -> Vec<(&'static str, &str)> {
    log.drive_id().map(|id| ("driveId", id)).into_iter().collect()
}
