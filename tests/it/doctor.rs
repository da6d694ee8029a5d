//! `doctor`: whatever is wrong, it names that and what helps, and nothing else fails. It changes nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use drive_emulator::{Action, Disturbance, Downloads, Emulator, Fault, Matching, Options, TlsFiles, Upload};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::world::{World, content_of, free_port, text};

/// A user that nobody is, and another one.
const SERVICE: u32 = 12_345;
const STRANGER: u32 = 12_346;

/// A world in which nothing is wrong and no daemon runs.
async fn healthy() -> World {
    let world = World::new("").await;
    world.upload("film.mp4", 1_000);
    world
}

async fn doctor(world: &World, variables: &[(&str, PathBuf)]) -> (Output, Value) {
    let mut command = world.command(&["doctor", "--json"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
    (output, json)
}

/// The findings with an outcome, as `check: title: detail -> remedy`.
fn with(json: &Value, outcome: &str) -> Vec<String> {
    let findings = json["findings"].as_array().unwrap();
    let said = |finding: &Value| {
        let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {}: {} -> {}", word("check"), word("title"), word("detail"), word("remedy"))
    };
    findings.iter().filter(|finding| finding["outcome"] == outcome).map(said).collect()
}

/// Exactly this fails, and it is said with these words, and with what helps.
async fn only(world: &World, check: &str, words: &[&str]) {
    only_with(world, &[], check, &[], words).await;
}

async fn only_with(
    world: &World,
    variables: &[(&str, PathBuf)],
    check: &str,
    follows: &[&str],
    words: &[&str],
) {
    let (output, json) = doctor(world, variables).await;
    let failed = with(&json, "failed");
    let is_of = |said: &String, check: &str| said.starts_with(&format!("{check}: "));
    let all = format!("{check} {words:?}: {failed:#?}\n{}{json:#}", text(&output.stderr));
    let mut found = failed.iter().filter(|said| is_of(said, check));
    assert!(found.any(|said| words.iter().all(|word| said.contains(word))), "{all}");
    for said in &failed {
        assert!(
            is_of(said, check) || follows.iter().any(|other| is_of(said, other)),
            "{said} fails as well: {all}"
        );
        assert!(!said.ends_with("-> "), "{said} has no remedy");
    }
    assert_eq!(output.status.code(), Some(1), "{all}");
}

async fn nothing(world: &World) {
    let (output, json) = doctor(world, &[]).await;
    assert_eq!((with(&json, "failed"), output.status.code()), (vec![], Some(0)), "{json:#}");
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("this part takes root, and is left out");
    }
    is_root
}

/// Gives everything in a directory, and the directory, to a user.
fn give(path: &Path, to: u32) {
    std::os::unix::fs::lchown(path, Some(to), Some(to)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), to);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_google_refuses_is_named() {
    let world = healthy().await;
    nothing(&world).await;
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(11);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    let date = Action::Header { name: "Date".to_owned(), value: Some(date) };
    for (operation, action, check, words) in [
        (
            "about.get",
            Action::status(403, "accessNotConfigured"),
            "api",
            ["accessNotConfigured", "enable the Google Drive API"],
        ),
        (
            "about.get",
            Action::status(403, "insufficientPermissions"),
            "access",
            ["insufficient", "drive.readonly"],
        ),
        ("about.get", Action::status(403, "dailyLimitExceeded"), "quota", ["dailyLimitExceeded", "-> wait"]),
        ("about.get", Action::status(429, "rateLimitExceeded"), "quota", ["rateLimitExceeded", "-> wait"]),
        ("about.get", Action::html(502), "google", ["Drive answers 502", "-> "]),
        ("about.get", date, "clock", ["minutes behind Google's", "timedatectl set-ntp true"]),
        ("token", Action::status(400, "invalid_grant"), "credentials", ["invalid_grant", "-> "]),
        (
            "files.media",
            Action::status(403, "insufficientPermissions"),
            "downloads",
            ["film.mp4", "drive.readonly"],
        ),
        (
            "files.list",
            Action::status(500, "backendError"),
            "folder",
            ["Drive answers 500", "again in a minute"],
        ),
    ] {
        world.drive.fail(Fault::always(operation, action));
        only(&world, check, &words).await;
        world.drive.clear_faults();
    }
    nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_named() {
    let mut world = healthy().await;
    let (key, token) = (world.home().join("credentials.json"), world.home().join("token.json"));
    let good = fs::read_to_string(&key).unwrap();
    let mut damaged: Value = serde_json::from_str(&good).unwrap();
    damaged["private_key"] = json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (content, words) in [
        ("{", ["credentials.json: is not valid JSON", "Google Cloud console"]),
        ("{\"web\":{}}", ["credentials.json: is an OAuth client", "Google Cloud console"]),
        (&damaged.to_string(), ["a private key that is damaged", "create a new one"]),
    ] {
        fs::write(&key, content).unwrap();
        only(&world, "credentials", &words).await;
    }
    fs::remove_file(&key).unwrap();
    only(&world, "credentials", &["credentials.json", "cannot be read", "correct google.credentials"]).await;

    fs::write(&key, world.drive.installed_client_json()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    only(&world, "credentials", &["-> run `gdrive-webhook login`"]).await;
    fs::write(&token, "not a token").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    only(&world, "credentials", &["token.json", "-> run `gdrive-webhook login`"]).await;

    fs::write(&key, good).unwrap();
    let api = format!("api_url = {:?}", world.drive.url());
    world.replace_config(&api, &format!("api_url = \"http://127.0.0.1:{}\"", free_port()));
    only(&world, "google", &["does not answer", "HTTPS_PROXY"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_watched_is_named() {
    let mut world = healthy().await;
    let film = world.upload("other.mp4", 1_000);
    let ann = world.drive.user("ann@example.com");
    let hers = ann.folder(&ann.root_id(), "Hers");
    let trashed = world.drive.folder(&world.drive.root_id(), "Old");
    world.drive.trash(&trashed);
    let mut before = world.inbox.clone();
    for (id, words) in [
        ("1NobodySharedThisFolderWithUs00000", ["sees no folder", "share the folder with"]),
        (&hers, ["sees no folder", "as Viewer at least"]),
        (&film, ["is a file (video/mp4), not a folder", "the last part of its address"]),
        (&trashed, ["is in the trash", "restore it"]),
    ] {
        world.replace_config(&format!("id = {before:?}"), &format!("id = {id:?}"));
        id.clone_into(&mut before);
        only(&world, "folder", &words).await;
    }
    let team = ann.shared_drive("Team");
    let clips = ann.folder(&team, "Clips");
    world.drive.share(&clips, world.drive.service_account().address(), drive_emulator::Role::Reader);
    world.replace_config(&format!("id = {before:?}"), &format!("id = {clips:?}"));
    let (output, json) = doctor(&world, &[]).await;
    let warned = with(&json, "warning");
    let is_told =
        |said: &String| said.starts_with("folder: ") && said.contains("a member of the shared drive");
    assert!(warned.iter().any(is_told) && output.status.code() == Some(0), "{json:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_that_are_not_allowed_are_named() {
    let world = World::new("").await;
    let (_, json) = doctor(&world, &[]).await;
    assert!(with(&json, "not_checked").iter().any(|said| said.contains("no video in it yet")), "{json:#}");
    let film = world.upload("film.mp4", 1_000);
    world.drive.set_downloads(&film, Downloads::Forbidden);
    only(&world, "downloads", &["none of its 1 videos", "allow downloads"]).await;
    world.upload("other.mp4", 1_000);
    let (_, json) = doctor(&world, &[]).await;
    assert!(with(&json, "warning").iter().any(|said| said.contains("1 of its 2 videos")), "{json:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_be_used_is_named() {
    let mut world = healthy().await;
    let videos = world.videos();
    fs::write(&videos, "").unwrap();
    only(&world, "destination", &["is not a directory"]).await;
    fs::remove_file(&videos).unwrap();
    fs::create_dir(&videos).unwrap();
    nothing(&world).await;
    symlink("/", videos.join(".gdrive-webhook")).unwrap();
    only(&world, "destination", &["is a symbolic link or a file", "-> rm "]).await;
    fs::remove_file(videos.join(".gdrive-webhook")).unwrap();
    if is_root() {
        mount("doctor", &videos, "tmpfs", MountFlags::RDONLY, None).unwrap();
        let checked = tokio::time::timeout(crate::world::BOUND, doctor(&world, &[])).await;
        unmount(&videos, UnmountFlags::DETACH).unwrap();
        let failed = with(&checked.unwrap().1, "failed");
        assert!(failed.len() == 1 && failed[0].contains("read-only -> mount it for writing"), "{failed:?}");
        give(world.home(), SERVICE);
        give(&videos, 0);
        fs::set_permissions(&videos, fs::Permissions::from_mode(0o755)).unwrap();
        only(&world, "destination", &["the daemon's user 12345 cannot write to it", "sudo chown 12345:"])
            .await;
        give(world.home(), 0);
    } else {
        fs::set_permissions(&videos, fs::Permissions::from_mode(0o555)).unwrap();
        only(&world, "destination", &["Permission denied"]).await;
        fs::set_permissions(&videos, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.add_config("[download]\nreserve = \"900TiB\"");
    only(&world, "destination", &["download.reserve keeps 900.0 TiB free", "make room"]).await;
    world.replace_config("reserve = \"900TiB\"", "");
    world.replace_config(&format!("{videos:?}"), &format!("{:?}", world.home().join("disk/videos")));
    only(&world, "destination", &["does not exist, and neither does", "mkdir -p "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_named() {
    let mut world = healthy().await;
    world.start().await;
    let admin = format!("listen = \"127.0.0.1:{}\"", world.private);
    let other = format!("listen = \"127.0.0.1:{}\"", free_port());
    world.replace_config(&admin, &other);
    let pid = format!("process {}", world.pid());
    only_with(&world, &[], "database", &["listen"], &["is in use by", &pid, "another admin.listen"]).await;
    world.replace_config(&other, &admin);
    world.terminate().await;
    nothing(&world).await;

    let database = world.home().join("state.db");
    if is_root() {
        give(world.home(), SERVICE);
        chown(&database, Some(STRANGER), None).unwrap();
        only(&world, "database", &["belongs to 12346, and the daemon runs as 12345", "sudo chown 12345: "])
            .await;
        give(world.home(), 0);
    }
    sqlx::any::install_default_drivers();
    let address = format!("sqlite:{}?mode=rw", database.display());
    let mut connection = sqlx::AnyConnection::connect(&address).await.unwrap();
    connection.execute("insert into schema_version (version) values (999)").await.unwrap();
    connection.close().await.unwrap();
    only(&world, "database", &["has schema 999", "use the newer program"]).await;
    fs::write(&database, "no database".repeat(100)).unwrap();
    only(&world, "database", &["cannot be read", "restore it from a backup"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_listened_on_is_named() {
    let mut world = healthy().await;
    let taken = TcpListener::bind(("127.0.0.1", world.public)).unwrap();
    let us = format!("process {}", std::process::id());
    only(&world, "listen", &["webhook.listen", &us, "stop that program"]).await;
    drop(taken);
    let listen = format!("listen = \"127.0.0.1:{}\"", world.public);
    world.replace_config(&listen, "listen = \"192.0.2.1:8080\"");
    only(&world, "listen", &["is not an address of this machine"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_that_does_not_lead_here_is_named() {
    let mut world = healthy().await;
    let mut before = format!("public_url = \"http://127.0.0.1:{}\"", world.public);
    let elsewhere = Emulator::start(Options::default()).await.unwrap();
    let other = World::running("").await;
    for (url, action, words) in [
        (format!("http://127.0.0.1:{}", free_port()), None, ["does not answer", "check its DNS name"]),
        (
            format!("http://127.0.0.1:{}", other.public),
            None,
            ["leads to another gdrive-webhook", "webhook.listen"],
        ),
        (elsewhere.url(), None, ["leads to something else, which answers 404", "webhook.listen"]),
        (
            elsewhere.url(),
            Some(Action::html(502)),
            ["does not reach this machine's 127.0.0.1:", "proxy or tunnel"],
        ),
        (
            elsewhere.url(),
            Some(Action::redirect("https://login.example/")),
            ["redirects to https://login.example/", "follows no redirects"],
        ),
        (format!("https://127.0.0.1:{}", world.public), None, ["it is http, not https", "speak https"]),
    ] {
        if let Some(action) = action {
            elsewhere.fail(Fault { matching: Matching::path("/webhook"), times: 1, action });
        }
        let next = format!("public_url = {url:?}");
        world.replace_config(&before, &next);
        before = next;
        only(&world, "public", &words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_google_would_refuse_is_named() {
    let mut world = healthy().await;
    let mut before = format!("public_url = \"http://127.0.0.1:{}\"", world.public);
    let (here, there) = (vec!["127.0.0.1".to_owned()], vec!["elsewhere.example".to_owned()]);
    for (number, words) in ["is self-signed", "has expired", "is for another name"].into_iter().enumerate() {
        let home = world.home().join(format!("tls-{number}"));
        let tls = match number {
            0 => TlsFiles::make(&home, &here),
            1 => TlsFiles::make_expired(&home, &here),
            _ => TlsFiles::make(&home, &there),
        };
        let front = Emulator::start(Options { tls: Some(tls.unwrap()), ..Options::default() }).await.unwrap();
        let next = format!("public_url = \"https://127.0.0.1:{}\"", front.tls_port().unwrap());
        world.replace_config(&before, &next);
        before = next;
        // Nobody trusts the first one.
        let trusted = [("SSL_CERT_FILE", TlsFiles::authority(&home))];
        let trusted = if number == 0 { &[][..] } else { &trusted[..] };
        only_with(&world, trusted, "public", &[], &["the certificate of", words, "-> "]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ngrok_agent_that_does_not_lead_here_is_named() {
    use axum::{Json, Router, routing::get};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = listener.local_addr().unwrap();
    let tunnels = std::sync::Arc::new(std::sync::Mutex::new(json!({})));
    let shown = tunnels.clone();
    let answer = get(async move || Json(shown.lock().unwrap().clone()));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/api/tunnels", answer)).await });
    let mut world = World::new(&format!(
        "[webhook]\nlisten = \"127.0.0.1:{{public}}\"\npublic_url = \"ngrok\"\nngrok_api = \"http://{agent}\""
    ))
    .await;
    let port = world.public;
    for (url, to) in [("https://x.ngrok.app", port + 1), ("http://x.ngrok.app", port)] {
        let tunnel = json!({"public_url": url, "config": {"addr": format!("http://localhost:{to}")}});
        *tunnels.lock().unwrap() = json!({"tunnels": [tunnel]});
        let start = format!("start `ngrok http {port}`");
        only(&world, "ngrok", &[&format!("no https tunnel to port {port}, but to"), &start]).await;
    }
    let tunnel =
        json!({"public_url": format!("http://127.0.0.1:{port}"), "config": {"addr": port.to_string()}});
    *tunnels.lock().unwrap() = json!({"tunnels": [tunnel]});
    nothing(&world).await;
    world.replace_config(&agent.to_string(), &format!("127.0.0.1:{}", free_port()));
    only(&world, "ngrok", &["the ngrok agent does not answer", "start `ngrok http"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_on_which_google_never_called_is_named() {
    let mut world = healthy().await;
    world.drive.disturb_notifications(Disturbance::Drop, u32::MAX);
    world.spawn();
    world.wait("the channel is open", async || !world.drive.channels().is_empty()).await;
    let is_told = async || {
        let (_, json) = doctor(&world, &[]).await;
        let told = with(&json, "warning").into_iter().chain(with(&json, "failed"));
        told.into_iter().any(|said| said.starts_with("channel: ") && said.contains("has not called"))
    };
    world.wait("it is said", is_told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_the_configuration_come_first_with_78() {
    let mut world = healthy().await;
    world.add_config("[download]\nstall = \"soon\"\nstreams = 99");
    let (output, json) = doctor(&world, &[]).await;
    let failed = with(&json, "failed");
    assert_eq!((failed.len(), output.status.code()), (2, Some(78)), "{json:#}");
    assert!(failed[0].contains("download.stall") && failed[0].contains("-> write a duration"), "{failed:?}");
    assert!(with(&json, "not_checked").len() > 10 && with(&json, "ok").is_empty(), "{json:#}");
}

/// Everything that depends on the machine replaced by a word.
fn told(world: &World, said: &str) -> String {
    let home = world.home().display().to_string();
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let said = said
        .replace(&home, "HOME")
        .replace(&world.inbox, "INBOX")
        .replace(&world.drive.url(), "DRIVE")
        .replace(&world.public.to_string(), "8080")
        .replace(&world.private.to_string(), "8081")
        .replace(text(&user.stdout).trim(), "USER");
    let machine = |line: &str| match line.split_once(" can write there, ") {
        Some((before, _)) => format!("{before} can write there, FREE"),
        None if line.contains("  credentials  ") => {
            format!("{}service account …", line.split("service account").next().unwrap())
        }
        None => line.to_owned(),
    };
    said.lines().map(|line| machine(line) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_order_is_said_and_nothing_is_changed() {
    let mut world = healthy().await;
    let names = |world: &World| {
        let mut names: Vec<_> =
            fs::read_dir(world.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&world);
    let stopped = world.output(&["doctor"]).await;
    assert_eq!(
        told(&world, &text(&stopped.stdout)),
        "  ok           configuration           HOME/gdrive-webhook.toml: no mistakes, 1 folder
  ok           files                   no secret is open to other users, and nothing is closed to USER
  ok           state directory         HOME, used by USER
  ok           database                HOME/state.db does not exist yet; `run` and `sync` make it
  ok           credentials             service account …
  ok           connection to Google    DRIVE answers
  ok           clock                   within five minutes of Google's
  ok           access to Drive         Drive can be read
  ok           Drive API               enabled
  ok           quota                   not used up
  ok           folder Inbox            My Drive/Inbox (INBOX)
  ok           downloads in Inbox      the first byte of film.mp4 came
  ok           destination             HOME/videos: USER can write there, FREE
  ok           port webhook.listen     127.0.0.1:8080 is free
  ok           port admin.listen       127.0.0.1:8081 is free
  ok           public address          a request to http://127.0.0.1:8080/webhook came back here
  not checked  channel                 because no daemon runs
1 not checked
",
        "{}",
        text(&stopped.stderr)
    );
    assert_eq!((stopped.status.code(), names(&world)), (Some(0), before));
    assert!(world.drive.channels().is_empty());

    world.start().await;
    world
        .wait("Google has called", async || world.status().await["process"]["notifications_accepted"] != 0)
        .await;
    let running = world.output(&["doctor"]).await;
    let said =
        told(&world, &text(&running.stdout)).replace(&format!("process {}", world.pid()), "process PID");
    for line in [
        "  ok           database                HOME/state.db, in use by the running daemon (process PID)\n",
        "  ok           port webhook.listen     127.0.0.1:8080, in use by the running daemon (process PID)\n",
        "  ok           port admin.listen       127.0.0.1:8081, in use by the running daemon (process PID)\n",
        "  ok           public address          a request to http://127.0.0.1:8080/webhook came back here\n",
        "  ok           channel user            Google has called on it, 7 days left\neverything is in order\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
    assert_eq!(running.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_new_and_private_and_names_nobody() {
    let world = World::running("").await;
    world.drive.fail(Fault::always("files.media", Action::status(403, "cannotDownloadAbusiveFile")));
    world.drive.upload(Upload::new(&world.inbox, "Aunt Emma.mp4", content_of("a", 1_000)));
    world.wait("it is given up", async || world.status().await["deliveries"]["failed"] == 1).await;
    let bundle = world.home().join("bundle.txt");
    let arguments = ["doctor", "--bundle", bundle.to_str().unwrap()];
    world.output(&arguments).await;
    let said = fs::read_to_string(&bundle).unwrap();
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    for word in [
        env!("CARGO_PKG_VERSION"),
        "kernel ",
        "== doctor ==",
        "== last failures ==\nfailed (name ",
        "download.acknowledge_abuse",
        "[[folder]]",
        "\"not_ready\"",
    ] {
        assert!(said.contains(word), "{word} is not in it: {said}");
    }
    let key = fs::read_to_string(world.home().join("credentials.json")).unwrap();
    let key: Value = serde_json::from_str(&key).unwrap();
    for secret in ["Emma", "@", "PRIVATE KEY", key["private_key_id"].as_str().unwrap()] {
        assert!(!said.contains(secret), "{secret} is in it: {said}");
    }
    fs::write(&bundle, "mine").unwrap();
    let again = world.output(&arguments).await;
    assert_eq!((again.status.code(), fs::read_to_string(&bundle).unwrap()), (Some(1), "mine".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_work_is_refused_with_its_line() {
    let mut world = healthy().await;
    let check = async |world: &World, arguments: &[&str]| {
        let output = world.output(arguments).await;
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = check(&world, &["config", "check"]).await;
    assert!(code == 0 && said.contains("videos does not exist yet; the first run makes it"), "{said}");
    let (code, said) = check(&world, &["config", "check", "--online"]).await;
    assert!(
        code == 0 && said.contains("My Drive/Inbox") && said.contains("everything is in order"),
        "{said}"
    );
    world.drive.trash(&world.inbox);
    let (code, said) = check(&world, &["config", "check", "--online"]).await;
    assert!(code == 1 && said.contains("is in the trash"), "{said}");
    let videos = format!("{:?}", world.videos());
    world.replace_config(&videos, "\"none/videos\"");
    let key = world.home().join("credentials.json");
    fs::rename(&key, world.home().join("elsewhere.json")).unwrap();
    let (code, said) = check(&world, &["config", "check"]).await;
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("gdrive-webhook.toml:")).collect();
    assert_eq!((code, lines.len()), (78, 2), "{said}");
    assert!(lines[0].contains("gdrive-webhook.toml:2: google.credentials: there is no file "), "{said}");
    assert!(
        lines[1].contains("folder.destination: ") && lines[1].contains("; correct the path, mount the disk"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_made_only_in_a_directory_that_is_there() {
    let mut world = World::running("").await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert!(world.log().contains("the destination did not exist and was created"), "{}", world.log());
    world.terminate().await;
    let disk = world.home().join("disk");
    world.replace_config(&format!("{:?}", world.videos()), &format!("{:?}", disk.join("videos")));
    world.spawn();
    world.wait("it is said", async || world.log().contains("and neither does")).await;
    assert!(!disk.exists());
    fs::create_dir(&disk).unwrap();
    world.upload("other.mp4", 1_000);
    world
        .wait_for("it comes", crate::world::BOUND * 3, async || disk.join("videos/other.mp4").exists())
        .await;
}
