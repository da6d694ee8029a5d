//! The connections to Drive: sessions of HTTP/2 that fall silent, go away, or reset their streams; and answers that are
//! cut, framed, led away or blown up on them.

use std::time::Duration;

use drive_emulator::{Action, Content, Fault, Framing, RequestRecord, StreamError, Upload};

use crate::world::World;

/// How long the program waits for the answer to a call.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The requests of one operation; each has to have come over HTTP/2.
fn over_http2(world: &World, operation: &str) -> Vec<RequestRecord> {
    let requests: Vec<_> =
        world.drive.requests().into_iter().filter(|request| request.operation == operation).collect();
    assert!(requests.iter().all(|request| request.http_version == "HTTP/2.0"), "{requests:?}");
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_went_silent_is_given_up_and_the_video_comes_over_another_one() {
    const POLL: Duration = Duration::from_secs(1);
    let world = World::running_over_tls("[sync]\npoll = \"1s\"").await;
    world.wait_until_idle().await;
    world.drive.fail(Fault::once("changes.list", Action::Silence));
    let id = world.upload("film.mp4", 1_000);
    let film = world.videos().join("film.mp4");
    // The waits after a failure and between polls are a few seconds.
    let bound = CALL_TIMEOUT + POLL + Duration::from_secs(15);
    world.wait_for("the video is delivered", bound, async || film.exists()).await;
    world.assert_same("film.mp4", &id);
    let asked = over_http2(&world, "changes.list");
    let silent = asked.iter().position(|request| request.status == 0).expect("one had no answer");
    assert!(asked[silent + 1].connection > asked[silent].connection, "{asked:?}");
    assert_eq!(asked[silent + 1].status, 200, "the next call is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_go_away_and_streams_that_are_reset_are_no_failures() {
    let world = World::running_over_tls("[sync]\npoll = \"1s\"").await;
    world.wait_until_idle().await;
    let troubles = [Action::GoAway, Action::reset_stream(), Action::CutAfter { bytes: 5 }];
    for (n, trouble) in troubles.into_iter().enumerate() {
        world.drive.fail(Fault::once("changes.list", trouble));
        let name = format!("{n}.mp4");
        world.upload(&name, 1_000);
        world.wait_for_file(&name).await;
    }
    world.wait_until_idle().await;
    let asked = over_http2(&world, "changes.list");
    assert!(asked.last().unwrap().connection > asked[0].connection);
    assert!(!world.log().contains("\"level\":\"WARN\""), "{}", world.log());
    assert!(!world.log().contains("\"level\":\"ERROR\""), "{}", world.log());
}

/// What can happen to an answer with bytes from a Drive at this address.
fn troubles_of_media(address: &str) -> Vec<Action> {
    vec![
        Action::WithoutLength(Framing::Chunked),
        Action::WithoutLength(Framing::UntilClose),
        Action::WrongRange { start_by: 10, total_by: 0 },
        Action::WrongRange { start_by: 0, total_by: -10 },
        Action::Header { name: "Content-Range".into(), value: None },
        Action::Truncate { bytes: 400_000 },
        Action::redirect(address),
        Action::Silence,
        Action::GoAway,
        Action::ResetStream { error: StreamError::InternalError, after: Some(400_000) },
        Action::text("{}"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_an_answer_with_bytes_the_file_arrives_once_and_whole() {
    const SIZE: u64 = 1_000_000;
    for n in 0..troubles_of_media("").len() {
        // An answer with the whole file, and one with the rest of it.
        for first in [None, Some(Action::CutAfter { bytes: 300_000 })] {
            let world = World::running("[download]\nstall = \"1s\"\n[sync]\npoll = \"1s\"").await;
            let trouble = troubles_of_media(&world.drive.url()).swap_remove(n);
            let faults = first.iter().cloned().chain([trouble.clone()]);
            faults.for_each(|action| world.drive.fail(Fault::once("files.media", action)));
            let id = world.upload("film.mp4", SIZE);
            world.wait_for_file("film.mp4").await;
            world.assert_same("film.mp4", &id);
            world.wait_until_idle().await;
            assert_eq!(world.delivered(), ["film.mp4"], "{trouble:?}");
            assert_eq!(world.status().await["deliveries"], serde_json::json!({"done": 1}), "{trouble:?}");
            assert!(world.parts().is_empty(), "{trouble:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_is_led_to_another_host_by_https_only() {
    let world = World::running_over_tls("[sync]\npoll = \"1s\"").await;
    let other = world.drive.root_id();
    let other = world.drive.upload(Upload::new(&other, "other", Content::pattern(1, 1_000)));
    // An address that needs no more than itself.
    let token = world.drive.access_token();
    let plain = format!("{}/drive/v3/files/{other}?alt=media&access_token={token}", world.drive.url());
    world.drive.fail(Fault::once("files.media", Action::redirect(&plain)));
    let film = world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &film);
    let media: Vec<_> =
        world.drive.requests().into_iter().filter(|request| request.operation == "files.media").collect();
    assert!(media.iter().all(|request| request.path.ends_with(&film)), "nobody went there: {media:?}");
    assert_eq!(media.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_page_of_changes_the_video_comes() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    let troubles = [
        Action::Truncate { bytes: 20 },
        Action::CutAfter { bytes: 20 },
        Action::ResetAfter { bytes: 20 },
        Action::WrongLength { by: -5 },
        Action::WithoutLength(Framing::UntilClose),
        Action::redirect(&world.drive.url()),
        Action::text(""),
        Action::Header { name: "Content-Encoding".into(), value: Some("gzip".into()) },
    ];
    for (n, trouble) in troubles.into_iter().enumerate() {
        world.drive.fail(Fault::once("changes.list", trouble));
        let name = format!("{n}.mp4");
        world.upload(&name, 1_000);
        world.wait_for_file(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_far_larger_unpacked_costs_no_memory_and_is_an_error() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.wait_until_idle().await;
    world.drive.fail(Fault::once("changes.list", Action::Bomb { megabytes: 1_000 }));
    world.upload("film.mp4", 1_000);
    world.wait("it is said", async || world.log().contains("the answer has more than 16777216 bytes")).await;
    world.wait_for_file("film.mp4").await;
    assert!(world.peak_memory() < 200 << 20, "{} bytes", world.peak_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_is_read_with_the_same_care() {
    let mut world = World::over_tls("[sync]\npoll = \"1s\"").await;
    std::fs::write(world.home().join("credentials.json"), world.drive.authorized_user_json()).unwrap();
    world.drive.fail(Fault::once("token", Action::reset_stream()));
    world.start().await;
    let asked = over_http2(&world, "token");
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].connection > asked[0].connection, "{asked:?}");
    assert!(!world.log().contains("no access token"), "{}", world.log());
    world.drive.fail(Fault::once("token", Action::Bomb { megabytes: 1_000 }));
    world.drive.expire_access_tokens();
    let id = world.upload("film.mp4", 1_000);
    world
        .wait("it is said", async || {
            world.log().contains("the token endpoint: the answer has more than 65536 bytes")
        })
        .await;
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    assert!(world.peak_memory() < 200 << 20, "{} bytes", world.peak_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_service_accounts_token_the_next_one_serves() {
    let world = World::running_over_tls("[sync]\npoll = \"1s\"").await;
    let troubles = [
        Action::reset_stream(),
        Action::CutAfter { bytes: 20 },
        Action::Truncate { bytes: 20 },
        Action::Bomb { megabytes: 100 },
        Action::text(""),
    ];
    for (n, trouble) in troubles.into_iter().enumerate() {
        world.drive.fail(Fault::once("token", trouble));
        world.drive.expire_access_tokens();
        let name = format!("{n}.mp4");
        world.upload(&name, 1_000);
        world.wait_for_file(&name).await;
    }
}
