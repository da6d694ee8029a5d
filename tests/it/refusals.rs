//! What Drive can say instead of an answer: what is done about it, what `status` says, and that it passes by itself.

use std::time::{Duration, Instant};

use drive_emulator::{Action, Fault, Matching, Quirk, Upload};
use jiff::Timestamp;

use crate::luck;
use crate::world::{World, content_of, text};

const POLLS: &str = "[sync]\npoll = \"1s\"";

/// Every call to Drive, whatever it is for; not those for access tokens.
fn everything(action: Action) -> Fault {
    Fault { matching: Matching::path("/drive/"), times: u32::MAX, action }
}

/// Every request that there is.
fn whatever(action: Action) -> Fault {
    Fault { matching: Matching::path("/"), times: u32::MAX, action }
}

async fn not_ready(world: &World) -> String {
    world.status().await["not_ready"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_access_token_is_renewed_at_once() {
    let world = World::running("").await;
    world.wait_until_idle().await;
    world.drive.clear_requests();
    world.drive.expire_access_tokens();
    let id = world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    assert_eq!(world.drive.count("token"), 1, "one new token for all callers");
    assert!(!world.log().contains("\"ERROR\""), "nobody has to hear of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_that_are_refused_again_and_again_are_not_asked_for_all_the_time() {
    let world = World::running(POLLS).await;
    world.drive.fail(everything(Action::status(401, "authError")));
    world.wait("the status says so", async || not_ready(&world).await.contains("401")).await;
    world.drive.clear_requests();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let tokens = world.drive.count("token");
    assert!(tokens <= 4, "{tokens} access tokens in 6 s");
    world.drive.clear_faults();
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_calls_of_the_day_are_used_up_nobody_calls_for_an_hour() {
    let world = World::running(POLLS).await;
    world.drive.fail(everything(Action::status(403, "dailyLimitExceeded")));
    world
        .wait("the pause is shown", async || {
            let pause = world.status().await["process"]["calls_paused"].clone();
            pause["reason"].as_str().is_some_and(|reason| reason.contains("quota"))
                && pause["until"].as_str().unwrap().parse::<Timestamp>().unwrap()
                    > Timestamp::now().checked_add(Duration::from_mins(55)).unwrap()
        })
        .await;
    let calls = world.drive.requests().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.drive.requests().len(), calls);
    assert_eq!(world.log().matches("all calls to Drive pause").count(), 1);
    let shown = world.output(&["status"]).await;
    assert!(text(&shown.stdout).contains("calls to Drive are paused"), "{}", text(&shown.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retry_after_30_on_everything_three_calls_are_made_at_most() {
    let world = World::running(POLLS).await;
    world.wait_until_idle().await;
    world.drive.clear_requests();
    world.drive.fail(whatever(Action::status_retry_after(429, "rateLimitExceeded", "30")));
    let began = Instant::now();
    let mut uploads = 0;
    while began.elapsed() < Duration::from_secs(28) {
        // Notifications go on coming.
        world.upload(&format!("{uploads}.mp4"), 1_000);
        uploads += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // By the emulator's clock: on a busy machine the last second here may be a long one.
    let times: Vec<i64> = world.drive.requests().iter().map(|request| request.time).collect();
    let calls = times.iter().filter(|&&time| time - times[0] < 28_000).count();
    assert!((1..=3).contains(&calls), "{calls} calls");
    let reason = world.status().await["process"]["calls_paused"]["reason"].to_string();
    assert!(reason.contains("fewer calls"), "{reason}");
    world.drive.clear_faults();
    world.wait("all are delivered", async || world.delivered().len() == uploads).await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_is_asked_too_often_is_left_alone() {
    let mut world = World::new(POLLS).await;
    world.drive.fail(whatever(Action::status_retry_after(429, "rateLimitExceeded", "30")));
    world.spawn();
    world.wait("it is asked", async || !world.drive.requests().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let calls = world.drive.requests().len();
    assert!((1..=2).contains(&calls), "{calls} calls");
    assert!(world.log().contains("all calls to Drive pause"));
}

/// `OUTAGE_SECONDS` makes it longer: ten minutes show that the calls stay at the cap.
#[tokio::test(flavor = "multi_thread")]
async fn in_an_outage_calls_come_at_the_cap_and_the_end_is_noticed_within_it() {
    const CAP: u64 = 64;
    let seconds = luck::number("OUTAGE_SECONDS").unwrap_or(15);
    let world = World::running(POLLS).await;
    world.wait_until_idle().await;
    world.drive.clear_requests();
    world.drive.fail(whatever(Action::status(503, "backendError")));
    let began = Instant::now();
    let mut uploads = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        world.upload(&format!("{uploads}.mp4"), 1_000);
        uploads += 1;
        tokio::time::sleep(Duration::from_secs(1 + seconds / 100)).await;
    }
    // Three find out that it is one, seven double the wait up to the cap, and half the cap is the shortest wait there.
    let most = 3 + 7 + seconds / (CAP / 2);
    let times: Vec<i64> = world.drive.requests().iter().map(|request| request.time).collect();
    let waits: Vec<i64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
    println!("{} calls in {seconds} s, seconds between them: {waits:?}", times.len());
    assert!(times.len() as u64 <= most, "{} calls in {seconds} s", times.len());
    world.drive.clear_faults();
    let ended = Instant::now();
    world
        .wait_for("all are delivered", Duration::from_secs(CAP + 5), async || {
            world.delivered().len() == uploads
        })
        .await;
    println!("all delivered {:?} after the end", ended.elapsed());
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmful_file_is_fetched_only_if_that_is_configured() {
    let world = World::running("[download]\nacknowledge_abuse = true").await;
    let upload = Upload::new(&world.inbox, "mine.mp4", content_of("mine.mp4", 1_000)).quirk(Quirk::Abusive);
    let id = world.drive.upload(upload);
    world.wait_for_file("mine.mp4").await;
    world.assert_same("mine.mp4", &id);
    let queries: Vec<_> =
        world.drive.requests().into_iter().filter(|r| r.operation == "files.media").collect();
    assert_eq!(queries.len(), 2, "asked without the acknowledgement first");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_had_is_skipped_and_the_status_says_why() {
    let world = World::running("").await;
    let upload = |name: &str| Upload::new(&world.inbox, name, content_of(name, 1_000));
    world.drive.upload(upload("forbidden.mp4").quirk(Quirk::NotDownloadable));
    world.drive.fail(Fault::once("files.media", Action::status(403, "fileNotDownloadable")));
    world.drive.upload(upload("unavailable.mp4"));
    world.wait("both are skipped", async || world.status().await["deliveries"]["skipped"] == 2).await;
    let said = world.status().await["attention"].to_string();
    assert!(said.contains("its owner does not allow downloads"), "{said}");
    assert!(said.contains("fileNotDownloadable"), "{said}");
    assert!(world.delivered().is_empty() && world.parts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_wrong_is_said_once_with_its_remedy_and_tried_slowly() {
    for reason in ["insufficientPermissions", "accessNotConfigured"] {
        let world = World::running(POLLS).await;
        world.drive.fail(everything(Action::status(403, reason)));
        world
            .wait("the status says what to do", async || {
                not_ready(&world).await.contains("the Drive API is enabled")
            })
            .await;
        world.drive.clear_requests();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(world.drive.requests().len(), 0, "somebody has to change it first");
        assert_eq!(world.log().matches("Drive cannot be read").count(), 1);
        world.drive.clear_faults();
        // The next notification is reason enough to look again.
        world.upload("film.mp4", 1_000);
        world.wait_for_file("film.mp4").await;
        world.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_id_that_is_taken_is_replaced_by_another() {
    let mut world = World::new("").await;
    world.drive.fail(Fault::once("changes.watch", Action::status(400, "channelIdNotUnique")));
    world.start().await;
    assert_eq!(world.drive.count("changes.watch"), 2);
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_channels_are_explained_and_waited_out_while_polling_goes_on() {
    let mut world = World::new(POLLS).await;
    world.drive.fail(Fault::always("changes.watch", Action::status(403, "subscriptionRateLimitExceeded")));
    world.spawn();
    world
        .wait("it is said", async || world.log().contains("no push channel; new files are found by polling"))
        .await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert!(not_ready(&world).await.contains("there is no push channel"));
    assert_eq!(world.drive.count("changes.watch"), 1, "minutes pass before it is tried again");
}
