//! The connections to Drive: sessions of HTTP/2 that fall silent, go away, or reset their streams.

use std::time::Duration;

use drive_emulator::{Action, Fault, RequestRecord};

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
