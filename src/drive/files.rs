//! Files: what they are, what is in a folder, and their bytes.

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::wire::{FILE_FIELDS, WireAbout, WireFile, read_listing};
use super::{Drive, Error};
use crate::http::explain;
use crate::model::{ChangeLog, File, FileId};

const PAGE_SIZE: &str = "1000";
/// Link-shared older files ask for the key that came with their address.
const RESOURCE_KEYS: &str = "X-Goog-Drive-Resource-Keys";

/// A page of what is in a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Files, folders and shortcuts.
    pub files: Vec<File>,
    /// Where to go on; lives a few hours only, so it is never stored.
    pub next: Option<String>,
}

/// Bytes on their way.
#[derive(Debug)]
pub struct Media {
    response: Response,
    /// The position of the first byte that comes.
    pub from: u64,
    /// The size of the whole file, if the answer says it.
    pub total: Option<u64>,
}

impl Media {
    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        self.response.chunk().await.map_err(|error| Error::connection("download", &explain(error)))
    }
}

impl Drive {
    /// The address of the account that the credentials belong to.
    pub async fn account(&self) -> Result<String, Error> {
        let request = self.call(Method::GET, "/about").query(&[("fields", "user(emailAddress,displayName)")]);
        let about: WireAbout = self.json("look at the account", request).await?;
        Ok(about.user.name())
    }

    /// A file's state now.
    pub async fn file(&self, id: &FileId, resource_key: Option<&str>) -> Result<File, Error> {
        let request = self
            .call(Method::GET, &format!("/files/{}", segment(id)))
            .query(&[("fields", FILE_FIELDS), ("supportsAllDrives", "true")]);
        let file: WireFile = self.json("look at a file", with_key(request, id, resource_key)).await?;
        Ok(file.into())
    }

    /// One page of what is directly in a folder and not in the bin.
    pub async fn children(
        &self,
        log: &ChangeLog,
        folder: &FileId,
        resource_key: Option<&str>,
        page: Option<&str>,
    ) -> Result<Listed, Error> {
        let query = format!("'{}' in parents and trashed = false", escape(folder.as_str()));
        let fields = format!("nextPageToken,files({FILE_FIELDS})");
        let mut parameters = vec![
            ("q", query.as_str()),
            ("fields", fields.as_str()),
            ("pageSize", PAGE_SIZE),
            ("supportsAllDrives", "true"),
            ("includeItemsFromAllDrives", "true"),
        ];
        if let Some(drive_id) = log.drive_id() {
            parameters.extend([("corpora", "drive"), ("driveId", drive_id)]);
        }
        parameters.extend(page.map(|page| ("pageToken", page)));
        let request = self.call(Method::GET, "/files").query(&parameters);
        self.read("list a folder", with_key(request, folder, resource_key), read_listing).await
    }

    /// A file's bytes from a position on, up to another one or to the end. Drive may ignore the range and begin at
    /// zero: `Media::from` says.
    pub async fn media(
        &self,
        id: &FileId,
        resource_key: Option<&str>,
        from: u64,
        until: Option<u64>,
        acknowledge_abuse: bool,
    ) -> Result<Media, Error> {
        let mut request = self
            .http
            .media
            .get(format!("{}/files/{}", self.base, segment(id)))
            .query(&[("alt", "media"), ("supportsAllDrives", "true")])
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if acknowledge_abuse {
            request = request.query(&[("acknowledgeAbuse", "true")]);
        }
        match until {
            // The last byte is named, not the one after it.
            Some(until) => {
                request = request.header(RANGE, format!("bytes={from}-{}", until.saturating_sub(1)));
            }
            None if from > 0 => request = request.header(RANGE, format!("bytes={from}-")),
            None => {}
        }
        let (response, pass) =
            self.send("download", id.as_str(), with_key(request, id, resource_key)).await?;
        // The bytes may take hours; that they come is enough.
        pass.served();
        match extent(&response) {
            Some((begins, total)) if begins == from || begins == 0 => {
                Ok(Media { response, from: begins, total })
            }
            Some((begins, _)) => Err(Error::connection(
                "download",
                &format!("asked from byte {from}, the answer begins at {begins}"),
            )),
            None => Err(Error::connection("download", "a partial answer that does not say where it begins")),
        }
    }
}

/// Where an answer begins, and how long the whole is.
fn extent(response: &Response) -> Option<(u64, Option<u64>)> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Some((0, response.content_length()));
    }
    parse_content_range(response.headers().get(CONTENT_RANGE)?.to_str().ok()?)
}

/// `bytes 100-199/500` or `bytes 100-199/*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, _to) = range.split_once('-')?;
    Some((from.trim().parse().ok()?, total.trim().parse().ok()))
}

/// A key that could not be a header is none; without it Drive says what it thinks of that.
fn with_key(request: RequestBuilder, id: &FileId, key: Option<&str>) -> RequestBuilder {
    match key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')) {
        Some(key) => request.header(RESOURCE_KEYS, format!("{id}/{key}")),
        None => request,
    }
}

/// An id as a segment of a path. Ids have no character that needs it, but ids also come from a configuration file.
fn segment(id: &FileId) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    id.as_str().chars().filter(|&c| plain(c)).collect()
}

/// A text inside quotes in `q`.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 100-199/500"), Some((100, Some(500))));
        assert_eq!(parse_content_range("bytes 0-0/*"), Some((0, None)));
        assert_eq!(parse_content_range("bytes */500"), None);
        assert_eq!(parse_content_range("items 1-2/3"), None);
    }

    #[test]
    fn ids_cannot_leave_their_place() {
        assert_eq!(segment(&FileId::new("../about?x=1#")), "aboutx1");
        assert_eq!(escape("a'b\\c"), "a\\'b\\\\c");
    }
}
