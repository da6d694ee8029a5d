//! Files: what they are, what is in a folder, and their bytes.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

use super::pages::{Listed, read_listing};
use super::wire::{FILE_FIELDS, read_file};
use super::{Drive, Error};
use crate::auth::AccessToken;
use crate::http::api::{ANSWER_LIMIT, ERROR_LIMIT};
use crate::http::media::{Answer, Body, Get};
use crate::http::retry_after;
use crate::model::{ChangeLog, File, FileId, ResourceKeys};
use crate::telemetry::log::with_causes;

const PAGE_SIZE: &str = "1000";
/// Link-shared older files ask for the key that came with their address.
const RESOURCE_KEYS: HeaderName = HeaderName::from_static("x-goog-drive-resource-keys");

/// So many keys are sent at most, some 6 KB; servers refuse requests whose headers are longer than 8 KB or so.
const KEYS_LIMIT: usize = 100;

/// A refusal says why in a few hundred bytes; whoever waits for them holds the turn of others.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(10);

/// What the call for a file's bytes is named.
const DOWNLOAD: &str = "download";

/// Where the items of a folder are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corpus<'a> {
    /// In My Drive, or in a shared drive that the account is a member of. A shared drive of others answers
    /// `Fault::NotMember`.
    Of(&'a ChangeLog),
    /// In everything the account can see: for a folder of a shared drive that was shared with an account that is no
    /// member of it.
    Visible,
}

impl<'a> Corpus<'a> {
    fn drive_id(self) -> Option<&'a str> {
        match self {
            Self::Of(log) => log.drive_id(),
            Self::Visible => None,
        }
    }
}

/// Bytes on their way.
#[derive(Debug)]
pub struct Media {
    body: Body,
    /// The position of the first byte that comes.
    pub from: u64,
    /// The size of the whole file, if the answer says it.
    pub total: Option<u64>,
}

impl Media {
    /// Fills a buffer, which has room for a byte at least, with what is there; waits for the first byte. 0: the end.
    /// Nothing is lost when this is dropped while it waits.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.body.read(into).await.map_err(|error| Error::connection(DOWNLOAD, &with_causes(&error)))
    }

    /// Whether all bytes have been read, as far as the answer said how many there are.
    pub fn is_whole(&self) -> bool {
        self.body.left() == Some(0)
    }
}

impl Drive {
    /// A file's state now.
    pub async fn file(&self, id: &FileId, keys: &ResourceKeys) -> Result<File, Error> {
        let request = self
            .call(Method::GET, &format!("/files/{}", segment(id)))
            .query(&[("fields", FILE_FIELDS), ("supportsAllDrives", "true")]);
        self.read("look at a file", id.as_str(), with_keys(request, keys), ANSWER_LIMIT, read_file).await
    }

    /// One page of what is directly in a folder and not in the trash.
    pub async fn children(
        &self,
        corpus: Corpus<'_>,
        folder: &FileId,
        keys: &ResourceKeys,
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
        if let Some(drive_id) = corpus.drive_id() {
            parameters.extend([("corpora", "drive"), ("driveId", drive_id)]);
        }
        parameters.extend(page.map(|page| ("pageToken", page)));
        let request = self.call(Method::GET, "/files").query(&parameters);
        let read = |body: &[u8]| read_listing(body, page);
        let read = self.page("list a folder", folder.as_str(), with_keys(request, keys), read).await?;
        Ok(self.usable("list a folder", read))
    }

    /// A file's bytes from a position on, up to another one or to the end. Drive may ignore the range and begin at
    /// zero: `Media::from` says.
    pub async fn media(
        &self,
        id: &FileId,
        keys: &ResourceKeys,
        from: u64,
        until: Option<u64>,
        acknowledge_abuse: bool,
    ) -> Result<Media, Error> {
        let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        headers.extend(range(from, until).map(|range| (RANGE, range)));
        headers.extend(key_header(keys).map(|keys| (RESOURCE_KEYS, keys)));
        let get = Get { url: self.media_url(id, acknowledge_abuse)?, headers };
        let (answer, pass) = self.with_token(DOWNLOAD, id.as_str(), |token| self.get(&get, token)).await?;
        // The bytes may take hours; that they come is enough.
        pass.served();
        match extent(&answer) {
            Some((begins, total)) if begins == from || begins == 0 => {
                Ok(Media { body: answer.body, from: begins, total })
            }
            Some((begins, _)) => Err(Error::connection(
                DOWNLOAD,
                &format!("asked from byte {from}, the answer begins at {begins}"),
            )),
            None => Err(Error::connection(DOWNLOAD, "a partial answer that does not say where it begins")),
        }
    }

    fn media_url(&self, id: &FileId, acknowledge_abuse: bool) -> Result<Url, Error> {
        let mut url = Url::parse(&format!("{}/files/{}", self.base, segment(id)))
            .map_err(|error| Error::connection(DOWNLOAD, &error.to_string()))?;
        url.query_pairs_mut().extend_pairs([("alt", "media"), ("supportsAllDrives", "true")]);
        if acknowledge_abuse {
            url.query_pairs_mut().append_pair("acknowledgeAbuse", "true");
        }
        Ok(url)
    }

    /// Asks for bytes, and tells answers from refusals.
    async fn get(&self, get: &Get, token: AccessToken) -> Result<Answer, Error> {
        let mut get = get.clone();
        let mut shown = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| Error::connection(DOWNLOAD, "the access token cannot be shown"))?;
        shown.set_sensitive(true);
        get.headers.insert(AUTHORIZATION, shown);
        let asked = self.http.media.get(&get).await;
        let answer = asked.map_err(|error| Error::connection(DOWNLOAD, &with_causes(&error)))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let wait = retry_after(&answer.headers, Timestamp::now());
        let status = answer.status.as_u16();
        Err(Error::refusal(DOWNLOAD, status, &read_some(answer.body).await, wait).of_media())
    }
}

/// The beginning of a body. A body that breaks off, or does not come to its end in time, still tells as much as came.
async fn read_some(mut body: Body) -> Vec<u8> {
    let mut some = vec![0; ERROR_LIMIT];
    let mut filled = 0;
    let deadline = Instant::now() + EXPLANATION_TIMEOUT;
    while filled < some.len()
        && let Ok(Ok(count @ 1..)) = timeout_at(deadline, body.read(&mut some[filled..])).await
    {
        filled += count;
    }
    some.truncate(filled);
    some
}

/// The bytes from a position on, up to another one or to the end; none for the whole.
fn range(from: u64, until: Option<u64>) -> Option<HeaderValue> {
    let range = match until {
        // The last byte is named, not the one after it.
        Some(until) => format!("bytes={from}-{}", until.saturating_sub(1)),
        None if from > 0 => format!("bytes={from}-"),
        None => return None,
    };
    HeaderValue::try_from(range).ok()
}

/// Where an answer begins, and how long the whole is.
fn extent(answer: &Answer) -> Option<(u64, Option<u64>)> {
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return Some((0, answer.body.left()));
    }
    parse_content_range(answer.headers.get(CONTENT_RANGE)?.to_str().ok()?)
}

/// `bytes 100-199/500` or `bytes 100-199/*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, _to) = range.split_once('-')?;
    Some((from.trim().parse().ok()?, total.trim().parse().ok()))
}

fn with_keys(request: RequestBuilder, keys: &ResourceKeys) -> RequestBuilder {
    match key_header(keys) {
        Some(keys) => request.header(RESOURCE_KEYS, keys),
        None => request,
    }
}

/// `id/key,id/key`. A key that cannot be written like that is left out: Drive then refuses the item, and says so.
fn key_header(keys: &ResourceKeys) -> Option<HeaderValue> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b",/".contains(&byte));
    let pairs: Vec<String> = keys
        .iter()
        .filter(|(id, key)| !key.is_empty() && plain(id.as_str()) && plain(key))
        .take(KEYS_LIMIT)
        .map(|(id, key)| format!("{id}/{key}"))
        .collect();
    let mut header = HeaderValue::try_from(pairs.join(",")).ok().filter(|header| !header.is_empty())?;
    header.set_sensitive(true);
    Some(header)
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
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::http::Http;

    #[test]
    fn ranges_name_their_last_byte() {
        assert_eq!(range(0, None), None);
        assert_eq!(range(5, None).unwrap(), "bytes=5-");
        assert_eq!(range(0, Some(10)).unwrap(), "bytes=0-9");
        assert_eq!(range(5, Some(10)).unwrap(), "bytes=5-9");
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 100-199/500"), Some((100, Some(500))));
        assert_eq!(parse_content_range("bytes 0-0/*"), Some((0, None)));
        assert_eq!(parse_content_range("bytes */500"), None);
        assert_eq!(parse_content_range("items 1-2/3"), None);
    }

    #[test]
    fn keys_are_sent_together_and_without_those_that_would_break_the_header() {
        let keys = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(id, key)| (FileId::new(*id), (*key).to_owned())).collect::<ResourceKeys>()
        };
        let of = |pairs: &[(&str, &str)]| {
            key_header(&keys(pairs)).map(|header| header.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&[("1a", "0-x"), ("1b", "0-y")]).as_deref(), Some("1a/0-x,1b/0-y"));
        assert_eq!(of(&[("1a", "0-x,1c/0-z"), ("1b", "0-y"), ("1d", "")]).as_deref(), Some("1b/0-y"));
        assert_eq!(of(&[("1a", "0\r\nHost: x")]), None);
        assert_eq!(of(&[]), None);
        assert!(key_header(&keys(&[("1a", "0-x")])).unwrap().is_sensitive());
        let many: ResourceKeys =
            (0..1000).map(|n| (FileId::new(format!("{n:033}")), "0-2HxyzEuBp1BKXe6L8g1qBw".into())).collect();
        assert!(key_header(&many).unwrap().len() < 8000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_never_comes_to_its_end_is_read_for_a_while() {
        crate::http::install_tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut all = b"HTTP/1.1 500 Oops\r\nContent-Length: 60000\r\n\r\n".to_vec();
            while connection.write_all(&all).await.is_ok() {
                all = b"x".to_vec();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let http = Http::new(Duration::from_mins(1)).unwrap();
        let answer =
            http.media.get(&Get { url: url.parse().unwrap(), headers: HeaderMap::new() }).await.unwrap();
        let began = Instant::now();
        let some = read_some(answer.body).await;
        assert!(began.elapsed() <= EXPLANATION_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(some.iter().all(|byte| *byte == b'x') && some.len() < 1000, "{}", some.len());
    }

    #[test]
    fn ids_cannot_leave_their_place() {
        assert_eq!(segment(&FileId::new("../about?x=1#")), "aboutx1");
        assert_eq!(escape("a'b\\c"), "a\\'b\\\\c");
    }
}
