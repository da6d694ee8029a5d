//! Each call against an emulated Drive: what is asked, what is read from the answer, and what a refusal does.

use std::time::Duration;

use drive_emulator::{Action, Content, Emulator, Fault as Trouble, Options, Quirk, Role, Upload};
use jiff::Timestamp;

use super::files::Corpus;
use super::*;
use crate::auth;
use crate::model::{ChangeLog, ChannelId, ChannelToken, Entry, FileId, PageToken, ResourceId, ResourceKeys};

struct World {
    emulator: Emulator,
    http: Arc<Http>,
    drive: Drive,
    inbox: String,
    _home: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        crate::http::install_tls();
        let home = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let credentials = home.path().join("credentials.json");
        std::fs::write(&credentials, emulator.service_account_json()).unwrap();
        let http = Arc::new(Http::new(Duration::from_secs(5)).unwrap());
        let config = auth::Config { credentials: Some(credentials), ..auth::Config::default() };
        let auth = Arc::new(Auth::load(&config, &http).unwrap());
        let drive = Drive::new(&Config { api_url: emulator.url() }, http.clone(), auth);
        let inbox = emulator.folder(&emulator.root_id(), "Inbox");
        Self { emulator, http, drive, inbox, _home: home }
    }

    fn upload(&self, name: &str, content: &'static str) -> FileId {
        FileId::new(self.emulator.upload(Upload::new(&self.inbox, name, content)))
    }

    async fn file(&self, id: &FileId) -> Result<crate::model::File, Error> {
        self.drive.file(id, &ResourceKeys::default()).await
    }

    async fn names(&self, corpus: Corpus<'_>, folder: &str) -> Vec<String> {
        let folder = FileId::new(folder);
        let listed = self.drive.children(corpus, &folder, &ResourceKeys::default(), None).await.unwrap();
        let mut names: Vec<String> = listed.files.into_iter().map(|file| file.name).collect();
        names.sort();
        names
    }

    /// Bytes from one position on, up to another one: where they begin, the size of the file, and they.
    async fn bytes(
        &self,
        id: &FileId,
        from: u64,
        until: Option<u64>,
    ) -> Result<(u64, Option<u64>, String), Error> {
        let mut media = self.drive.media(id, &ResourceKeys::default(), from, until, false).await?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 7]);
        while !media.is_whole() {
            match media.read(&mut buffer).await? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(media.read(&mut buffer).await.unwrap(), 0);
        Ok((media.from, media.total, String::from_utf8(bytes).unwrap()))
    }

    /// The last request of an operation.
    fn asked(&self, operation: &str) -> drive_emulator::RequestRecord {
        self.emulator.requests().into_iter().rfind(|request| request.operation == operation).unwrap()
    }
}

#[tokio::test]
async fn the_account_is_named_by_its_address() {
    let world = World::new().await;
    assert_eq!(world.drive.account().await.unwrap().name, "user@drive-emulator.example");
    let said = world.drive.describe();
    assert!(said.contains("inbox@drive-emulator.iam.gserviceaccount.com"), "{said}");
    assert_eq!(Config::default().api_url, "https://www.googleapis.com");
}

#[tokio::test]
async fn a_file_is_as_drive_says() {
    let world = World::new().await;
    let id = world.upload("film.mp4", "content");
    let file = world.file(&id).await.unwrap();
    assert_eq!((file.name.as_str(), file.size, file.trashed), ("film.mp4", Some(7), false));
    assert_eq!(file.checksums.sha256, world.emulator.content_sha256(id.as_str()));
    assert_eq!(file.parent, Some(FileId::new(&world.inbox)));
    world.emulator.trash(id.as_str());
    assert!(world.file(&id).await.unwrap().trashed);
    assert_eq!(world.file(&FileId::new("none")).await.unwrap_err().fault(), Fault::NotFound);
    let keys = ResourceKeys::of(&id, Some("0-key"));
    world.drive.file(&id, &keys).await.unwrap();
    assert_eq!(world.asked("files.get").resource_keys, Some(format!("{id}/0-key")));
}

#[tokio::test]
async fn a_folder_is_listed_where_it_is() {
    let world = World::new().await;
    let user = ChangeLog::User;
    world.upload("a.mp4", "a");
    let trashed = world.upload("b.mp4", "b");
    world.emulator.trash(trashed.as_str());
    assert_eq!(world.names(Corpus::Of(&user), &world.inbox).await, ["a.mp4"]);
    assert!(!world.asked("files.list").query.contains("&driveId="));
    let team = world.emulator.shared_drive("Team");
    world.emulator.upload(Upload::new(&team, "team.mp4", "x"));
    let log = ChangeLog::SharedDrive(team.clone());
    assert_eq!(world.names(Corpus::Of(&log), &team).await, ["team.mp4"]);
    assert!(world.asked("files.list").query.contains(&format!("driveId={team}")));
    let other = world.emulator.user("olga@drive-emulator.example");
    let foreign = other.folder(&other.shared_drive("Foreign"), "Shared");
    other.upload(Upload::new(&foreign, "foreign.mp4", "x"));
    world.emulator.share(&foreign, world.emulator.first_user().address(), Role::Reader);
    assert_eq!(world.names(Corpus::Visible, &foreign).await, ["foreign.mp4"]);
}

#[tokio::test]
async fn bytes_come_from_where_they_are_asked_for_or_from_the_beginning() {
    let world = World::new().await;
    let id = world.upload("film.mp4", "0123456789");
    let said = |from, bytes: &str| (from, Some(10), bytes.to_owned());
    assert_eq!(world.bytes(&id, 0, None).await.unwrap(), said(0, "0123456789"));
    assert_eq!(world.bytes(&id, 4, None).await.unwrap(), said(4, "456789"));
    assert_eq!(world.bytes(&id, 4, Some(6)).await.unwrap(), said(4, "45"));
    world.emulator.fail(Trouble::once("files.media", Action::IgnoreRange));
    assert_eq!(world.bytes(&id, 4, Some(6)).await.unwrap(), said(0, "0123456789"));
    world.emulator.fail(Trouble::once("files.media", Action::WrongRange { start_by: -1, total_by: 0 }));
    let error = world.bytes(&id, 4, None).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Connection);
    assert!(error.to_string().contains("asked from byte 4, the answer begins at 3"), "{error}");
    world.emulator.fail(Trouble::once("files.media", Action::CutAfter { bytes: 5 }));
    assert_eq!(world.bytes(&id, 0, None).await.unwrap_err().fault(), Fault::Connection);
    assert_eq!(world.bytes(&id, 10, None).await.unwrap_err().fault(), Fault::Range);
    assert_eq!(world.bytes(&FileId::new("none"), 0, None).await.unwrap_err().fault(), Fault::NoBytes);
}

#[tokio::test]
async fn what_google_takes_for_abuse_is_acknowledged_only_when_it_is_said() {
    let world = World::new().await;
    let id = world.upload("film.mp4", "0123456789");
    world.emulator.set_quirks(id.as_str(), &[Quirk::Abusive]);
    let keys = ResourceKeys::of(&id, Some("0-key"));
    let refused = world.drive.media(&id, &keys, 0, None, false).await.unwrap_err();
    assert_eq!(refused.fault(), Fault::Abusive);
    world.drive.media(&id, &keys, 0, None, true).await.unwrap();
    let asked = world.asked("files.media");
    assert!(asked.query.contains("acknowledgeAbuse=true"), "{}", asked.query);
    assert_eq!(asked.resource_keys, Some(format!("{id}/0-key")));
}

#[tokio::test]
async fn a_log_tells_what_came_after_its_token() {
    let world = World::new().await;
    let team = ChangeLog::SharedDrive(world.emulator.shared_drive("Team"));
    for (log, parent) in [(ChangeLog::User, world.inbox.as_str()), (team.clone(), team.drive_id().unwrap())] {
        let token = world.drive.start_page_token(&log).await.unwrap();
        let id = world.emulator.upload(Upload::new(parent, "film.mp4", "x"));
        let page = world.drive.changes(&log, &token).await.unwrap();
        let [change] = page.changes.as_slice() else { panic!("{page:?}") };
        assert_eq!((change.file_id.as_str(), page.end), (id.as_str(), true), "{log}");
        assert!(matches!(&change.entry, Entry::Present(file) if file.name == "film.mp4"));
        assert!(world.drive.changes(&log, &page.next).await.unwrap().changes.is_empty());
    }
    let foreign = world.emulator.user("olga@drive-emulator.example").shared_drive("Foreign");
    let foreign = ChangeLog::SharedDrive(foreign);
    let error = world.drive.start_page_token(&foreign).await.unwrap_err();
    assert_eq!(error.fault(), Fault::NotMember);
    let error = world.drive.changes(&foreign, &PageToken::new("1")).await.unwrap_err();
    assert_eq!(error.fault(), Fault::NotMember);
    let error = world.drive.changes(&ChangeLog::User, &PageToken::new("nonsense")).await.unwrap_err();
    assert_eq!(error.fault(), Fault::PageToken);
}

#[tokio::test]
async fn a_channel_that_has_ended_already_is_stopped() {
    let world = World::new().await;
    let log = ChangeLog::User;
    let from = world.drive.start_page_token(&log).await.unwrap();
    let (id, token) = (ChannelId::random(), ChannelToken::random());
    let until = Timestamp::now() + Duration::from_hours(1);
    let watch = world.drive.watch(&log, &from, &id, &token, "http://127.0.0.1:1/webhook", until);
    let granted = watch.await.unwrap();
    assert_eq!(granted.expires.unwrap().as_second(), until.as_second());
    let channel = world.emulator.channels().pop().unwrap();
    assert_eq!((channel.id.as_str(), channel.token.as_deref()), (id.as_str(), Some(token.expose())));
    assert_eq!(granted.resource_id, ResourceId::new(channel.resource_id));
    let again = world.drive.watch(&log, &from, &id, &token, "http://127.0.0.1:1/webhook", until).await;
    assert_eq!(again.unwrap_err().fault(), Fault::ChannelIdNotUnique);

    let stop = async || world.drive.stop(&id, &granted.resource_id).await;
    world.emulator.fail(Trouble::times("channels.stop", 2, Action::status(500, "internalError")));
    assert_eq!(stop().await.unwrap_err().fault(), Fault::Server);
    world.emulator.clear_faults();
    stop().await.unwrap();
    assert!(world.emulator.channels()[0].stopped.is_some());
    stop().await.expect("404: it has ended");
    world.emulator.fail(Trouble::once("channels.stop", Action::status(410, "gone")));
    stop().await.expect("410: it has ended");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_nothing_else_costs_a_login() {
    let world = World::new().await;
    let id = world.upload("film.mp4", "x");
    world.file(&id).await.unwrap();
    assert_eq!(world.emulator.count("token"), 1);
    world.emulator.expire_access_tokens();
    world.file(&id).await.unwrap();
    assert_eq!(world.emulator.count("token"), 2);
    world.emulator.fail(Trouble::times("files.get", 2, Action::status(401, "authError")));
    let before = world.emulator.count("files.get");
    assert_eq!(world.file(&id).await.unwrap_err().fault(), Fault::Unauthorized);
    assert_eq!((world.emulator.count("files.get") - before, world.emulator.count("token")), (2, 3));
    assert_eq!(world.file(&FileId::new("none")).await.unwrap_err().fault(), Fault::NotFound);
    assert_eq!(world.emulator.count("token"), 3);
}

#[tokio::test]
async fn what_concerns_all_calls_closes_the_gate_and_what_concerns_one_does_not() {
    let world = World::new().await;
    let ids: Vec<FileId> = (0..3).map(|n| world.upload(&format!("{n}.mp4"), "x")).collect();
    for (code, reason, closed) in [
        (403, "userRateLimitExceeded", Some(Cause::RateLimit)),
        (429, "rateLimitExceeded", Some(Cause::RateLimit)),
        (403, "dailyLimitExceeded", Some(Cause::DailyLimit)),
        (403, "insufficientFilePermissions", None),
        (404, "notFound", None),
    ] {
        let world = World::new().await;
        let id = world.upload("film.mp4", "x");
        world.emulator.fail(Trouble::times("files.get", 5, Action::status(code, reason)));
        world.file(&id).await.unwrap_err();
        assert_eq!(world.http.gate.pause().map(|(_, cause)| cause), closed, "{reason}");
    }
    // Failures of several items in a row are an outage; one that is served in between ends the row.
    world.emulator.fail(Trouble::times("files.get", 20, Action::status(500, "internalError")));
    for id in &ids[..2] {
        assert_eq!(world.file(id).await.unwrap_err().fault(), Fault::Server);
        assert!(!world.http.gate.is_troubled());
    }
    world.drive.account().await.unwrap();
    for id in &ids[..2] {
        world.file(id).await.unwrap_err();
        assert!(!world.http.gate.is_troubled());
    }
    world.file(&ids[2]).await.unwrap_err();
    assert_eq!(world.http.gate.pause().map(|(_, cause)| cause), Some(Cause::Outage));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_a_failure_although_its_status_is_good() {
    let world = World::new().await;
    let id = world.upload("film.mp4", "x");
    let html = || Action::Html { code: 200, retry_after: None };
    world.emulator.fail(Trouble::once("files.get", html()));
    assert_eq!(world.file(&id).await.unwrap_err().fault(), Fault::Unreadable);
    let ids: Vec<FileId> = (0..3).map(|n| world.upload(&format!("{n}.mp4"), "x")).collect();
    world.emulator.fail(Trouble::times("files.get", 3, html()));
    for id in &ids {
        world.file(id).await.unwrap_err();
    }
    assert!(world.http.gate.is_troubled());
}

#[tokio::test]
async fn the_body_of_a_refusal_is_read_up_to_a_limit() {
    let world = World::new().await;
    let id = world.upload("film.mp4", "x");
    world.emulator.fail(Trouble::once("files.media", Action::status(403, "downloadQuotaExceeded")));
    assert_eq!(world.bytes(&id, 0, None).await.unwrap_err().fault(), Fault::FileQuota);
    let large = Content::pattern(1, 3 << 20);
    let id = FileId::new(world.emulator.upload(Upload::new(&world.inbox, "large.mp4", large)));
    let mut media = world.drive.media(&id, &ResourceKeys::default(), 0, None, false).await.unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut count = 0;
    while !media.is_whole() {
        count += media.read(&mut buffer).await.unwrap();
    }
    assert_eq!(count, 3 << 20);
}
