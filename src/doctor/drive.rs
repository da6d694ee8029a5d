//! What Google says when it is asked: the time, whose the credentials are, and what each folder is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::Method;
use reqwest::header::DATE;
use tokio::time::timeout;

use crate::auth::{self, Auth};
use crate::config::Settings;
use crate::drive::{Corpus, Drive, Error, Fault};
use crate::http::Http;
use crate::http::api::{ANSWER_LIMIT, Repeat};
use crate::model::file::Kind;
use crate::model::{Account, ChangeLog, File, FileId, ResourceKeys};
use crate::telemetry::log::with_causes;

/// Whoever waits for an answer is a person.
const PATIENCE: Duration = Duration::from_secs(20);
/// Folders above a folder that are looked up for its path.
const DEPTH: usize = 20;

/// What was heard of Google.
#[derive(Debug)]
pub(super) struct Google {
    /// By how many seconds this machine's clock is ahead of Google's. `None`: the answer does not say.
    pub(super) ahead: Result<Option<i64>, String>,
    /// Who we say we are.
    pub(super) credentials: Result<String, auth::Error>,
    /// Who Google says we are. `None`: not asked.
    pub(super) account: Option<Result<Account, Error>>,
    /// Each folder of the configuration, once.
    pub(super) folders: Vec<Folder>,
}

/// What was heard of one folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) id: FileId,
    pub(super) file: Result<File, Error>,
    /// The names of the folders above it, the highest first.
    pub(super) above: Vec<String>,
    /// The account is no member of its shared drive.
    pub(super) is_outsider: bool,
    /// What is directly in it, as far as one page tells.
    pub(super) files: Result<Vec<File>, Error>,
    /// The first byte of a video in it.
    pub(super) byte: Option<(String, Result<(), Error>)>,
}

impl Folder {
    /// The names of whatever was seen of it and in it.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let files = self.file.iter().chain(self.files.iter().flatten()).map(|file| file.name.clone());
        files.chain(self.above.iter().cloned()).chain(self.byte.iter().map(|(name, _)| name.clone()))
    }
}

impl Google {
    /// Asks nobody.
    pub(super) fn unasked() -> Self {
        Self { ahead: Ok(None), credentials: Ok(String::new()), account: None, folders: Vec::new() }
    }

    pub(super) async fn ask(settings: &Settings) -> Self {
        let mut google = Self::unasked();
        let http = match Http::new(settings.download.stall) {
            Ok(http) => Arc::new(http),
            Err(error) => return Self { ahead: Err(with_causes(&error)), ..google },
        };
        google.ahead = ahead(&http, &settings.drive.api_url).await;
        let auth = match Auth::load(&settings.google, &http) {
            Ok(auth) => Arc::new(auth),
            Err(error) => return Self { credentials: Err(error), ..google },
        };
        google.credentials = Ok(auth.describe());
        let drive = Drive::new(&settings.drive, http, auth);
        let account = bounded(drive.account(), "look at the account").await;
        let is_known = account.is_ok();
        google.account = Some(account);
        if is_known {
            let mut asker =
                Asker { drive, known: HashMap::new(), accepts_abuse: settings.download.acknowledge_abuse };
            for folder in &settings.folders {
                if google.folders.iter().any(|seen| seen.id == folder.id) {
                    continue;
                }
                let keys = ResourceKeys::of(&folder.id, folder.resource_key.as_deref());
                google.folders.push(asker.folder(&folder.id, &keys).await);
            }
        }
        google
    }
}

/// How far this machine's clock is ahead. Any answer has the time, a refusal as well.
async fn ahead(http: &Http, api: &str) -> Result<Option<i64>, String> {
    let request = http.api.request(Method::GET, &format!("{api}/drive/v3/about"));
    let asked = timeout(PATIENCE, http.api.send(request, ANSWER_LIMIT, Repeat::Reads)).await;
    let answer = asked.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
    let answer = answer.map_err(|error| with_causes(&error))?;
    let date = answer.headers.get(DATE).and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
    Ok(date.map(|date| Timestamp::now().as_second() - date.timestamp().as_second()))
}

async fn bounded<T>(call: impl Future<Output = Result<T, Error>>, what: &'static str) -> Result<T, Error> {
    match timeout(PATIENCE, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::silent(what, PATIENCE)),
    }
}

struct Asker {
    drive: Drive,
    /// Folders above others, by id: their names, and what is above them.
    known: HashMap<FileId, Option<(String, Option<FileId>)>>,
    accepts_abuse: bool,
}

impl Asker {
    async fn folder(&mut self, id: &FileId, keys: &ResourceKeys) -> Folder {
        let file = bounded(self.drive.file(id, keys), "look at a folder").await;
        let mut folder = Folder {
            id: id.clone(),
            file,
            above: Vec::new(),
            is_outsider: false,
            files: Ok(Vec::new()),
            byte: None,
        };
        let Ok(file) = &folder.file else { return folder };
        if file.kind() != Kind::Folder || file.trashed {
            return folder;
        }
        folder.above = self.above(file.parent.clone()).await;
        let log = file.drive_id.clone().map_or(ChangeLog::User, ChangeLog::SharedDrive);
        let mut listed =
            bounded(self.drive.children(Corpus::Of(&log), &file.id, keys, None), "list a folder").await;
        folder.is_outsider = listed.as_ref().is_err_and(|error| error.fault() == Fault::NotMember);
        if folder.is_outsider {
            listed =
                bounded(self.drive.children(Corpus::Visible, &file.id, keys, None), "list a folder").await;
        }
        folder.files = listed.map(|listed| listed.files);
        let video =
            folder.files.iter().flatten().find(|file| is_video(file) && file.can_download != Some(false));
        if let Some(video) = video {
            let keys: ResourceKeys = keys
                .iter()
                .map(|(id, key)| (id.clone(), key.to_owned()))
                .chain(video.resource_key.clone().map(|key| (video.id.clone(), key)))
                .collect();
            let byte = self.drive.media(&video.id, &keys, 0, Some(1), self.accepts_abuse);
            folder.byte = Some((video.name.clone(), bounded(byte, "download").await.map(drop)));
        }
        folder
    }

    async fn above(&mut self, mut next: Option<FileId>) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(id) = next.take().filter(|_| names.len() < DEPTH) {
            if !self.known.contains_key(&id) {
                let file = bounded(self.drive.file(&id, &ResourceKeys::default()), "look at a folder").await;
                self.known.insert(id.clone(), file.ok().map(|file| (file.name, file.parent)));
            }
            if let Some(Some((name, parent))) = self.known.get(&id) {
                names.push(name.clone());
                next.clone_from(parent);
            }
        }
        names.reverse();
        names
    }
}

/// A file with bytes that is a video by its type.
pub(super) fn is_video(file: &File) -> bool {
    file.kind() == Kind::Binary
        && file.mime_type.starts_with("video/")
        && file.size.is_some_and(|size| size > 0)
}
