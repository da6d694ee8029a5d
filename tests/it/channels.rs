//! Push channels: always one alive, each with a new id, old ones stopped.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use drive_emulator::{Action, Fault};
use gdrive_webhook::store::{self, Access, Store};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn short_lived_channels_follow_each_other_without_a_gap() {
    let mut world = World::new("").await;
    world.drive.set_channel_lifetime_cap(Some(Duration::from_secs(10)));
    world.start().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(1) {
        let now = world.drive.now();
        let live = world.drive.channels().iter().filter(|c| c.stopped.is_none() && c.expires > now).count();
        assert!(live >= 1, "no live channel after {:?}\n{}", began.elapsed(), world.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let channels = world.drive.channels();
    let ids: HashSet<_> = channels.iter().map(|channel| channel.id.clone()).collect();
    assert_eq!(ids.len(), channels.len(), "every id is new");
    assert!(
        (9..=25).contains(&channels.len()),
        "{} channels of 10 s, each replaced at half its life",
        channels.len()
    );
    let unstopped = channels.iter().filter(|channel| channel.stopped.is_none()).count();
    assert!(unstopped <= 2, "old ones are stopped: {channels:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_channel_and_its_notifications() {
    let mut world = World::running("[sync]\npoll = \"1h\"").await;
    assert_eq!(world.terminate().await, 0);
    world.start().await;
    assert_eq!(world.drive.channels().len(), 1);
    world.upload("after.mp4", 1_000);
    world.wait_for_file("after.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_channel_is_explained_and_polling_goes_on() {
    let mut world = World::new("[sync]\npoll = \"1s\"").await;
    world.drive.fail(Fault::always("changes.watch", Action::status(401, "push.webhookUrlUnauthorized")));
    world.spawn();
    world
        .wait("the status says why", async || {
            let url = format!("http://127.0.0.1:{}/readyz", world.private);
            let answer = crate::world::client().get(url).send().await;
            match answer {
                Ok(answer) => answer
                    .text()
                    .await
                    .is_ok_and(|text| text.contains("no push channel") && text.contains("public_url")),
                Err(_) => false,
            }
        })
        .await;
    world.upload("polled.mp4", 1_000);
    world.wait_for_file("polled.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_listed_and_stopped() {
    let mut world = World::running("").await;
    let id = world.drive.channels()[0].id.clone();
    let listed = world.output(&["channels", "list"]).await;
    let listed = crate::world::text(&listed.stdout);
    assert!(
        listed.contains(&id)
            && listed.contains("live")
            && (listed.contains("6 d 23 h left") || listed.contains("7 d 0 h left")),
        "{listed}"
    );
    let refused = world.output(&["channels", "stop", "--all"]).await;
    assert_eq!(refused.status.code(), Some(1), "the daemon is running");
    assert_eq!(world.terminate().await, 0);
    let unused = world.output(&["channels", "stop"]).await;
    assert!(crate::world::text(&unused.stdout).contains("0 channels stopped"));
    let stopped = world.output(&["channels", "stop", "--all"]).await;
    assert_eq!(stopped.status.code(), Some(0), "{}", crate::world::text(&stopped.stderr));
    assert!(world.drive.channels()[0].stopped.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wake_up_brings_the_next_attempt_at_a_refused_channel_forward() {
    let mut world = World::new("[sync]\npoll = \"1s\"").await;
    let refusal = Action::status(403, "subscriptionRateLimitExceeded");
    world.drive.fail(Fault::always("changes.watch", refusal));
    world.spawn();
    world.wait("it is refused", async || world.drive.count("changes.watch") == 1).await;
    for seconds in 2..6 {
        world.replace_config(&format!("poll = \"{}s\"", seconds - 1), &format!("poll = \"{seconds}s\""));
        world.signal(rustix::process::Signal::HUP);
        world
            .wait("the new configuration is taken over", async || {
                world.log().matches("in effect now").count() == seconds - 1
            })
            .await;
    }
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert_eq!(world.drive.count("changes.watch"), 1, "minutes pass before it is tried again");
    let status = world.status().await;
    assert!(status["not_ready"].to_string().contains("there is no push channel"), "{status}");
    assert_eq!(world.terminate().await, 0);
    let url = format!("sqlite:{}", world.home().join("state.db").display());
    let store = Store::open(&store::Config { url }, Access::Shared).await.unwrap();
    assert_eq!(store.channels().await.unwrap(), [], "an attempt that was refused leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_drive_does_not_know_any_more_counts_as_stopped() {
    for code in [404, 410] {
        let mut world = World::running("").await;
        assert_eq!(world.terminate().await, 0);
        world.drive.fail(Fault::once("channels.stop", Action::status(code, "notFound")));
        let stopped = world.output(&["channels", "stop", "--all"]).await;
        assert_eq!(stopped.status.code(), Some(0), "{}", crate::world::text(&stopped.stderr));
        assert!(crate::world::text(&stopped.stdout).contains("1 channel stopped"));
        assert_eq!(world.drive.count("channels.stop"), 1);
        let again = world.output(&["channels", "stop", "--all"]).await;
        assert!(crate::world::text(&again.stdout).contains("0 channels stopped"), "it is not asked again");
    }
}
