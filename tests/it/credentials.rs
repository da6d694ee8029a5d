//! The kinds of credentials: where they are looked for, and whether files come with them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::world::{World, text};

/// A configuration that names no credentials.
async fn without_credentials() -> World {
    let mut world = World::new("[sync]\npoll = \"1s\"").await;
    let line = format!("credentials = {:?}\n", world.home().join("credentials.json"));
    world.replace_config(&line, "");
    fs::remove_file(world.home().join("credentials.json")).unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_the_metadata_server_of_the_machine_gives_tokens() {
    let mut world = without_credentials().await;
    let host = world.drive.url().replace("http://", "");
    world.spawn_with(&[("GCE_METADATA_HOST", &host)]);
    world.until_ready().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert_eq!((world.drive.count("metadata.token"), world.drive.count("token")), (1, 0));
    assert!(world.log().contains("the service account of this machine"), "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_of_the_same_machine_is_noticed() {
    let mut world = without_credentials().await;
    let host = world.drive.url().replace("http://", "");
    for has_another in [false, false, true] {
        if has_another {
            // Attached while the machine is stopped.
            let account = world.drive.service_account();
            world.drive.share(&world.inbox, account.address(), drive_emulator::Role::Reader);
        }
        world.spawn_with(&[("GCE_METADATA_HOST", &host)]);
        world.until_ready().await;
        let said = world.log().matches("another account than before").count();
        assert_eq!(said, usize::from(has_another), "{}", world.log());
        world.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_looked_for_in_googles_order() {
    let world = without_credentials().await;
    let (named, gcloud) = (world.home().join("named.json"), world.home().join("gcloud"));
    fs::create_dir(&gcloud).unwrap();
    let of_gcloud = gcloud.join("application_default_credentials.json");
    for path in [&named, &of_gcloud] {
        fs::write(path, "").unwrap();
    }
    let host = world.drive.url().replace("http://", "");
    let check = async || {
        let mut command = world.command(&["config", "check"]);
        command.envs([("CLOUDSDK_CONFIG", gcloud.as_path()), ("HOME", world.home())]);
        command.env("GCE_METADATA_HOST", &host);
        if named.exists() {
            command.env("GOOGLE_APPLICATION_CREDENTIALS", &named);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.code(), text(&output.stderr))
    };
    for path in [&named, &of_gcloud] {
        let (code, said) = check().await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(&format!("{}: is empty; download", path.display())), "{said}");
        fs::remove_file(path).unwrap();
    }
    assert_eq!(check().await.0, Some(0));
    let mut command = world.command(&["config", "check"]);
    command.envs([("HOME", "/nowhere"), ("NO_GCE_CHECK", "true"), ("GCE_METADATA_HOST", &host)]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("google.credentials: is not set, neither GOOGLE_APPLICATION_CREDENTIALS"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_identity_gives_tokens_of_a_service_account() {
    let mut world = World::new("[sync]\npoll = \"1s\"").await;
    let subject = world.home().join("subject");
    let source = json!({"file": subject, "format": {"type": "text"}});
    fs::write(world.home().join("credentials.json"), world.drive.external_account_json(&source)).unwrap();

    let sync = world.output(&["sync"]).await;
    let said = text(&sync.stderr) + &text(&sync.stdout);
    assert_eq!(sync.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("names the token file {}, which cannot be read", subject.display())),
        "{said}"
    );

    fs::write(&subject, "another machine's").unwrap();
    let sync = world.output(&["sync"]).await;
    let said = text(&sync.stderr) + &text(&sync.stdout);
    assert!(
        said.contains("invalid_grant") && said.contains("provider of the workload identity pool"),
        "{said}"
    );

    fs::write(&subject, format!("{}\n", world.drive.subject_token())).unwrap();
    world.start().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert_eq!((world.drive.count("generateAccessToken"), world.drive.count("token")), (1, 0));
    let log = world.log();
    assert!(log.contains("by workload identity") && !log.contains(world.drive.subject_token()), "{log}");
}

/// An address that gives this answer to whoever knows the header.
fn token_source(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token?audience=x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let knows = head.iter().any(|line| line.eq_ignore_ascii_case("x-identity-header: known"));
            let (status, body) = if knows { ("200 OK", answer.as_str()) } else { ("403 Forbidden", "") };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_identity_takes_its_token_from_an_address_too() {
    let mut world = World::new("[sync]\npoll = \"1s\"").await;
    let url = token_source(json!({"access_token": world.drive.subject_token()}).to_string());
    let source = |field: &str| {
        json!({
            "url": url,
            "headers": {"X-IDENTITY-HEADER": "known"},
            "format": {"type": "json", "subject_token_field_name": field},
        })
    };
    let write = |source: &serde_json::Value| {
        fs::write(world.home().join("credentials.json"), world.drive.external_account_json(source)).unwrap();
    };
    write(&source("id_token"));
    let sync = world.output(&["sync"]).await;
    let said = text(&sync.stderr) + &text(&sync.stdout);
    assert!(said.contains("has no `id_token` in its JSON"), "{said}");
    write(&json!({"url": url, "format": {"type": "text"}}));
    let sync = world.output(&["sync"]).await;
    let said = text(&sync.stderr) + &text(&sync.stdout);
    let shown = url.split('?').next().unwrap();
    assert!(said.contains(&format!("the token source {shown}: answers 403")), "{said}");
    assert!(!said.contains("audience=x"), "an address may have a secret in it: {said}");
    write(&json!({"environment_id": "aws1", "url": "http://169.254.169.254/"}));
    let check = world.output(&["config", "check"]).await;
    assert_eq!(check.status.code(), Some(78), "{}", text(&check.stderr));
    assert!(text(&check.stderr).contains("takes its token from AWS, which is not supported"));
    write(&source("access_token"));
    world.start().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_is_named_when_the_configuration_is_checked() {
    let world = World::new("").await;
    let path = world.home().join("credentials.json");
    let mut key: serde_json::Value = serde_json::from_str(&world.drive.service_account_json()).unwrap();
    let text_of_key = key["private_key"].as_str().unwrap().to_owned();
    key["private_key"] = json!(text_of_key[..text_of_key.len() / 2]);
    fs::write(&path, key.to_string()).unwrap();
    let check = world.output(&["config", "check"]).await;
    let said = text(&check.stderr);
    assert_eq!(check.status.code(), Some(78), "{said}");
    assert!(said.contains(&format!("{}: contains a private key that is damaged", path.display())), "{said}");
}
