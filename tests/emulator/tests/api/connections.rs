//! The connections that carry requests: which HTTP they speak, and what happens to them on demand.

use std::error::Error as _;
use std::io::Read as _;
use std::time::Duration;

use drive_emulator::{Action, Content, Fault, RequestRecord, StreamError, Upload};
use flate2::read::GzDecoder;
use h2::Reason;
use reqwest::{Method, Version};
use serde_json::json;

use crate::support::{TlsDrive, drive, tls_drive};

const START: &str = "/drive/v3/changes/startPageToken";

/// The version and the connection of each request.
fn carried(requests: &[RequestRecord]) -> Vec<(&str, u64)> {
    requests.iter().map(|request| (request.http_version.as_str(), request.connection)).collect()
}

#[tokio::test]
async fn http2_is_spoken_by_alpn_and_to_whoever_begins_with_it() {
    let tls = tls_drive("versions").await;
    let client = tls.client().build().unwrap();
    assert_eq!(tls.get(&client, START).send().await.unwrap().version(), Version::HTTP_2);
    let two = tokio::join!(tls.get(&client, START).send(), tls.get(&client, START).send());
    assert!(two.0.unwrap().status().is_success() && two.1.unwrap().status().is_success());
    let first = tls.drive.emulator.requests();
    assert_eq!(carried(&first), [("HTTP/2.0", first[0].connection); 3], "one session carries all");

    let client = tls.client().http1_only().build().unwrap();
    assert_eq!(tls.get(&client, START).send().await.unwrap().version(), Version::HTTP_11);
    let client = tls.client().http2_prior_knowledge().build().unwrap();
    let plain = client.get(tls.drive.url(START)).bearer_auth(tls.drive.emulator.access_token());
    assert_eq!(plain.send().await.unwrap().version(), Version::HTTP_2);
    assert_eq!(tls.drive.request(Method::GET, START).send().await.unwrap().version(), Version::HTTP_11);
    let requests = tls.drive.emulator.requests();
    let versions: Vec<&str> = carried(&requests[3..]).into_iter().map(|(version, _)| version).collect();
    assert_eq!(versions, ["HTTP/1.1", "HTTP/2.0", "HTTP/1.1"]);
    let mut connections: Vec<u64> = requests.iter().map(|request| request.connection).collect();
    connections.dedup();
    connections.sort_unstable();
    assert_eq!(connections, [1, 2, 3, 4], "each client has its own");
}

#[tokio::test]
async fn json_is_compressed_for_whoever_asks_in_both_headers_and_media_never_is() {
    let drive = drive().await;
    let id = drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", "bytes"));
    let raw = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let get = |path: &str, agent: &str| {
        let request = raw.get(drive.url(path)).bearer_auth(drive.emulator.access_token());
        request.header("accept-encoding", "gzip").header("user-agent", agent.to_owned()).send()
    };
    let path = "/drive/v3/files?fields=*";
    let packed = get(path, "client (gzip)").await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(!packed.headers().contains_key("content-length"));
    let packed = packed.bytes().await.unwrap();
    let mut unpacked = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    let plain = get(path, "client").await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.text().await.unwrap();
    assert!(plain == unpacked && packed.len() < plain.len() / 2, "{} of {}", packed.len(), plain.len());
    let refused = get("/drive/v3/files/none", "client (gzip)").await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-encoding"]),
        (404, &"gzip".parse().unwrap())
    );
    let media = get(&format!("/drive/v3/files/{id}?alt=media"), "client (gzip)").await.unwrap();
    assert!(!media.headers().contains_key("content-encoding"));
    assert_eq!(media.bytes().await.unwrap(), "bytes");
}

/// The connection of the last request.
fn last_connection(tls: &TlsDrive) -> u64 {
    tls.drive.emulator.requests().last().unwrap().connection
}

/// A GET that must succeed, and the connection that carried it.
async fn carry(tls: &TlsDrive, client: &reqwest::Client) -> u64 {
    let response = tls.get(client, START).send().await.unwrap();
    assert!(response.status().is_success());
    response.bytes().await.unwrap();
    last_connection(tls)
}

/// Carries requests until the client has heard that a session went away; then another one takes them.
async fn carry_elsewhere(tls: &TlsDrive, client: &reqwest::Client, left: u64) -> u64 {
    for _ in 0..500 {
        let carried_by = carry(tls, client).await;
        if carried_by != left {
            return carried_by;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("connection {left} is used for ever");
}

#[tokio::test]
async fn a_session_that_went_away_answers_what_is_on_its_way_and_takes_no_more() {
    let tls = tls_drive("away").await;
    let client = tls.client().build().unwrap();
    let first = carry(&tls, &client).await;
    tls.drive.emulator.fail(Fault::once("changes.getStartPageToken", Action::GoAway));
    let second = carry_elsewhere(&tls, &client, first).await;
    let film = Content::pattern(1, 3_000_000);
    let id = tls.drive.emulator.upload(Upload::new(&tls.drive.emulator.root_id(), "a.mp4", film.clone()));
    tls.drive.emulator.set_rate(Some(6_000_000));
    let media = tls.get(&client, &format!("/drive/v3/files/{id}?alt=media")).send().await.unwrap();
    assert_eq!(last_connection(&tls), second, "one that has not gone away serves on");
    let (status, _) = tls.drive.control(Method::POST, "/control/connections/go-away", &json!({})).await;
    assert_eq!(status, 200);
    carry_elsewhere(&tls, &client, second).await;
    assert_eq!(media.bytes().await.unwrap(), film.slice(0, 3_000_000));
}

#[tokio::test]
async fn a_silent_session_answers_pings_and_nothing_else_and_others_are_served() {
    let tls = tls_drive("silent").await;
    let short = Duration::from_millis(300);
    let builder = tls.client().http2_keep_alive_interval(Duration::from_millis(50));
    let client = builder.http2_keep_alive_timeout(short).http2_keep_alive_while_idle(true).build().unwrap();
    let film = Upload::new(&tls.drive.emulator.root_id(), "a.mp4", Content::pattern(1, 3_000_000));
    let id = tls.drive.emulator.upload(film);
    tls.drive.emulator.set_rate(Some(1_000_000));
    let media = tls.get(&client, &format!("/drive/v3/files/{id}?alt=media")).send().await.unwrap();
    let silent = last_connection(&tls);
    tls.drive.emulator.fail(Fault::once("changes.getStartPageToken", Action::Silence));
    for _ in 0..3 {
        // Longer than the client waits for the answer to a ping.
        let error = tls.get(&client, START).timeout(short * 2).send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(last_connection(&tls), silent, "the session is as good as ever to the client");
    }
    assert!(tokio::time::timeout(short, media.bytes()).await.is_err(), "what was on its way stops as well");
    let other = tls.client().build().unwrap();
    assert!(carry(&tls, &other).await > silent);
    tls.drive.control(Method::POST, "/control/connections/silence", &json!({})).await;
    assert!(tls.get(&other, START).timeout(short).send().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_connection_of_http1_goes_silent_and_away_too() {
    let drive = drive().await;
    let get = || drive.request(Method::GET, START).timeout(Duration::from_millis(300)).send();
    drive.emulator.fail(Fault::once("changes.getStartPageToken", Action::GoAway));
    for _ in 0..2 {
        // `Connection: close` is in the answer, or the client sees that it was closed.
        assert!(get().await.unwrap().bytes().await.is_ok());
    }
    drive.emulator.silence_connections();
    assert!(get().await.unwrap_err().is_timeout());
    assert!(get().await.unwrap().bytes().await.is_ok());
    let connections: Vec<u64> = drive.emulator.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1, 2, 2, 3]);
}

/// The code of the RST_STREAM that an error comes from.
fn reset_code(error: &reqwest::Error) -> Option<Reason> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            assert!(error.is_reset() && error.is_remote(), "{error:?}");
            return error.reason();
        }
        cause = error.source();
    }
    None
}

#[tokio::test]
async fn a_stream_is_reset_before_its_answer_or_in_it_and_its_session_lives_on() {
    let tls = tls_drive("reset").await;
    let client = tls.client().retry(reqwest::retry::never()).build().unwrap();
    let session = carry(&tls, &client).await;
    for (error, reason) in [
        (StreamError::InternalError, Reason::INTERNAL_ERROR),
        (StreamError::RefusedStream, Reason::REFUSED_STREAM),
        (StreamError::EnhanceYourCalm, Reason::ENHANCE_YOUR_CALM),
    ] {
        let action = Action::ResetStream { error, after: None };
        tls.drive.emulator.fail(Fault::once("changes.getStartPageToken", action));
        let error = tls.get(&client, START).send().await.unwrap_err();
        assert_eq!(reset_code(&error), Some(reason));
        assert_eq!(tls.drive.emulator.requests().last().unwrap().status, 0);
    }
    let reset = json!({"matching": {"operation": "changes.getStartPageToken"}, "action": {"resetStream": {"after": 5}}});
    assert_eq!(tls.drive.control(Method::POST, "/control/faults", &reset).await.0, 200);
    let response = tls.get(&client, START).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(reset_code(&response.bytes().await.unwrap_err()), Some(Reason::INTERNAL_ERROR));
    assert_eq!(carry(&tls, &client).await, session);
}

#[tokio::test]
async fn connections_of_http2_are_cut_and_reset_as_a_whole() {
    let tls = tls_drive("cut").await;
    let client = tls.client().retry(reqwest::retry::never()).build().unwrap();
    for (action, connection) in
        [(Action::CutAfter { bytes: 5 }, 1), (Action::ResetAfter { bytes: 5 }, 2), (Action::GoAway, 3)]
    {
        tls.drive.emulator.fail(Fault::once("changes.getStartPageToken", action));
        let response = tls.get(&client, START).send().await.unwrap();
        let arrived = response.bytes().await;
        assert_eq!((arrived.is_ok(), last_connection(&tls)), (connection == 3, connection));
    }
}
