//! A user of the crate google-drive3: reads, writes and follows a Drive at another root than Google's. Prints a line for
//! each claim, `ok` or `FAILED`: google-drive3-client ROOT SERVICE_ACCOUNT_KEY.

use std::fmt::Debug;
use std::io::Cursor;

use google_drive3::api::{File, FileListCall, Scope};
use google_drive3::common::{Body, Error, Response, to_bytes};
use google_drive3::hyper_rustls::HttpsConnectorBuilder;
use google_drive3::hyper_util::client::legacy::{Client, connect::HttpConnector};
use google_drive3::hyper_util::rt::TokioExecutor;
use google_drive3::{Delegate, DriveHub, hyper_rustls};
use sha2::{Digest, Sha256};
use yup_oauth2::{ServiceAccountAuthenticator, read_service_account_key};

type Hub = DriveHub<hyper_rustls::HttpsConnector<HttpConnector>>;
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const FOLDER: &str = "application/vnd.google-apps.folder";
const SHOWN: &str = "id,name,size,parents,trashed,headRevisionId,sha256Checksum";

fn claim(what: &str, holds: bool, found: impl Debug) {
    if holds {
        println!("ok {what}");
    } else {
        println!("FAILED {what}: {found:?}");
    }
}

fn equal<T: PartialEq + Debug>(what: &str, found: T, expected: T) {
    claim(what, found == expected, (&found, &expected));
}

/// Chunks of an upload as small as Drive takes them.
struct SmallChunks;

impl Delegate for SmallChunks {
    fn chunk_size(&mut self) -> u64 {
        256 << 10
    }
}

/// Bytes that look random, and the same each time.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let blocks = (0..).flat_map(|block: u64| Sha256::digest([&[seed][..], &block.to_le_bytes()].concat()));
    blocks.take(length).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, key] = &arguments[..] else {
        return Err("google-drive3-client ROOT SERVICE_ACCOUNT_KEY".into());
    };
    // Only the first call counts, and this is it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let hub = connect(root, key).await?;
    about(&hub).await?;
    let (_, start) = hub.changes().get_start_page_token().add_scope(Scope::Readonly).doit().await?;
    let token = start.start_page_token.ok_or("there is no start page token")?;
    let (folder, files) = uploads(&hub).await?;
    reads(&hub, &folder, &files).await?;
    changes(&hub, &folder, &files).await?;
    follows(&hub, token, &files).await?;
    refusals(&hub).await
}

async fn connect(root: &str, key: &str) -> Outcome<Hub> {
    let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http2().build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let key = read_service_account_key(key).await?;
    let login = ServiceAccountAuthenticator::builder(key).build().await?;
    let mut hub = DriveHub::new(client, login);
    hub.base_url(format!("{root}/drive/v3/"));
    hub.root_url(format!("{root}/"));
    Ok(hub)
}

async fn about(hub: &Hub) -> Outcome {
    let call = hub.about().get().param("fields", "user,storageQuota").add_scope(Scope::Readonly);
    let (_, about) = call.doit().await?;
    let address = about.user.and_then(|user| user.email_address);
    claim("about.get tells who the user is", address.as_deref().is_some_and(|a| a.contains('@')), address);
    Ok(())
}

async fn uploads(hub: &Hub) -> Outcome<(String, Vec<(String, Vec<u8>)>)> {
    let folder =
        File { name: Some("From Rust".to_owned()), mime_type: Some(FOLDER.to_owned()), ..File::default() };
    // The crate has no request without bytes that creates: an empty content makes a folder as well.
    let call = hub.files().create(folder).param("fields", SHOWN);
    let (_, folder) = call.upload(Cursor::new(Vec::new()), FOLDER.parse()?).await?;
    let folder = folder.id.ok_or("the folder has no id")?;
    let mut made = Vec::new();
    for (name, size) in [("empty.mp4", 0), ("small.mp4", 70_000), ("large.mov", 2_000_003)] {
        let content = noise(name.len() as u8, size);
        let file =
            File { name: Some(name.to_owned()), parents: Some(vec![folder.clone()]), ..File::default() };
        let call = hub.files().create(file).param("fields", SHOWN);
        let (stream, kind) = (Cursor::new(content.clone()), "video/mp4".parse()?);
        let (_, found) = if size > 1 << 20 {
            call.delegate(&mut SmallChunks).upload_resumable(stream, kind).await?
        } else {
            call.upload(stream, kind).await?
        };
        equal(&format!("{name} arrives"), found.sha256_checksum, Some(sha256(&content)));
        equal(&format!("{name} has its size"), found.size, Some(size as i64));
        equal(&format!("{name} lies in its folder"), found.parents, Some(vec![folder.clone()]));
        made.push((found.id.ok_or("a file has no id")?, content));
    }
    Ok((folder, made))
}

fn listing<'a>(hub: &'a Hub, folder: &str) -> FileListCall<'a, hyper_rustls::HttpsConnector<HttpConnector>> {
    let query = format!("'{folder}' in parents and trashed = false");
    hub.files().list().q(&query).order_by("name").page_size(2).add_scope(Scope::Readonly)
}

async fn media(hub: &Hub, id: &str) -> Outcome<(Response, Vec<u8>)> {
    let call = hub.files().get(id).param("alt", "media").add_scope(Scope::Readonly);
    let (response, _) = call.doit().await?;
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body).await.unwrap_or_default().to_vec();
    Ok((Response::from_parts(parts, Body::default()), bytes))
}

async fn reads(hub: &Hub, folder: &str, files: &[(String, Vec<u8>)]) -> Outcome {
    for (id, content) in files {
        let (_, found) = hub.files().get(id).param("fields", SHOWN).add_scope(Scope::Readonly).doit().await?;
        let name = found.name.unwrap_or_default();
        equal(&format!("files.get knows {name}"), found.sha256_checksum, Some(sha256(content)));
        let (response, bytes) = media(hub, id).await?;
        equal(&format!("the bytes of {name} are sent"), response.status().as_u16(), 200);
        claim(&format!("the bytes of {name} are those that were uploaded"), bytes == *content, bytes.len());
    }
    let (mut names, mut page): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let call = listing(hub, folder);
        let call = match &page {
            Some(token) => call.page_token(token),
            None => call,
        };
        let (_, list) = call.doit().await?;
        names.extend(list.files.unwrap_or_default().into_iter().filter_map(|file| file.name));
        page = list.next_page_token;
        if page.is_none() {
            break;
        }
    }
    equal(
        "files.list goes through all pages",
        names,
        ["empty.mp4", "large.mov", "small.mp4"].map(str::to_owned).into(),
    );
    Ok(())
}

async fn changes(hub: &Hub, folder: &str, files: &[(String, Vec<u8>)]) -> Outcome {
    let (empty, small, large) = (&files[0].0, &files[1].0, &files[2].0);
    let renamed = File { name: Some("renamed.mp4".to_owned()), ..File::default() };
    let call =
        hub.files().update(renamed, small).remove_parents(folder).add_parents("root").param("fields", SHOWN);
    let (_, found) = call.doit_without_upload().await?;
    equal("files.update renames", found.name.as_deref(), Some("renamed.mp4"));
    claim("and moves", found.parents.as_ref().is_some_and(|parents| parents[0] != folder), found.parents);
    let content = noise(99, 300_000);
    let call = hub.files().update(File::default(), small).param("fields", SHOWN);
    let (_, changed) = call.upload_resumable(Cursor::new(content.clone()), "video/mp4".parse()?).await?;
    equal("a new content keeps the name", changed.name.as_deref(), Some("renamed.mp4"));
    equal("and has its bytes", changed.sha256_checksum, Some(sha256(&content)));
    claim("as a new revision", changed.head_revision_id != found.head_revision_id, changed.head_revision_id);
    let copy = File { name: Some("copy.mov".to_owned()), ..File::default() };
    let (_, copy) = hub.files().copy(copy, large).param("fields", SHOWN).doit().await?;
    equal("files.copy has the bytes", copy.sha256_checksum, Some(sha256(&files[2].1)));
    let trashed = File { trashed: Some(true), ..File::default() };
    let (_, found) = hub.files().update(trashed, large).param("fields", SHOWN).doit_without_upload().await?;
    equal("files.update puts into the trash", found.trashed, Some(true));
    let response = hub.files().delete(empty).doit().await?;
    equal("files.delete answers with nothing", response.status().as_u16(), 204);
    Ok(())
}

/// The change log from before the uploads tells the state of now.
async fn follows(hub: &Hub, mut token: String, files: &[(String, Vec<u8>)]) -> Outcome {
    let mut seen = std::collections::BTreeMap::new();
    loop {
        let call = hub.changes().list(&token).page_size(2).add_scope(Scope::Readonly);
        let (_, page) = call
            .param("fields", "nextPageToken,newStartPageToken,changes(fileId,removed,file(name,trashed))")
            .doit()
            .await?;
        for change in page.changes.unwrap_or_default() {
            let file = change.file.unwrap_or_default();
            seen.insert(change.file_id.unwrap_or_default(), (change.removed, file.name, file.trashed));
        }
        match page.next_page_token {
            Some(next) => token = next,
            None => {
                break claim("the log ends", page.new_start_page_token.is_some(), page.new_start_page_token);
            }
        }
    }
    let found: Vec<_> = files.iter().map(|(id, _)| seen.get(id).cloned().unwrap_or_default()).collect();
    let expected = [
        (Some(true), None, None),
        (Some(false), Some("renamed.mp4".to_owned()), Some(false)),
        (Some(false), Some("large.mov".to_owned()), Some(true)),
    ];
    equal("the change log has it all", found, expected.into());
    Ok(())
}

async fn refusals(hub: &Hub) -> Outcome {
    let refused = hub.files().get("nowhere").add_scope(Scope::Readonly).doit().await;
    let said = match refused {
        Err(Error::BadRequest(value)) => value["error"]["errors"][0]["reason"].as_str().map(str::to_owned),
        other => Some(format!("{other:?}")),
    };
    equal("a missing file is notFound", said.as_deref(), Some("notFound"));
    Ok(())
}
