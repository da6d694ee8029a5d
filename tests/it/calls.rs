//! Whether Google calls: an address that it cannot reach is named, and files come meanwhile.

use std::time::Duration;

use drive_emulator::{Disturbance, Role, Upload};
use serde_json::{Value, json};

use crate::world::{World, client, content_of, text};

const UNHEARD: &str = "its first call has not arrived";
const HEARD: &str = "Google calls this address now";
const RARELY: &str = "[sync]\npoll = \"1h\"";
/// Waits of a minute are real ones.
const MINUTE: Duration = Duration::from_secs(100);

async fn readiness(world: &World) -> String {
    let url = format!("http://127.0.0.1:{}/readyz", world.private);
    match client().get(url).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Waits until every channel was called on, and the database says so.
async fn until_confirmed(world: &World) {
    world
        .wait("Google has called on every channel", async || {
            let status = world.status().await;
            let channels = status["channels"].as_array().unwrap();
            let engines = status["engines"].as_array().unwrap();
            let keeper = engines.iter().find(|engine| engine["name"] == "channels").unwrap();
            let is_noted = keeper["done"].as_str().is_some_and(|done| !done.contains("not called"));
            is_noted
                && !channels.is_empty()
                && channels.iter().all(|channel| channel["confirmed"] == json!(true))
        })
        .await;
}

fn count(world: &World, said: &str) -> usize {
    world.log().lines().filter(|line| line.contains(said) && !line.contains("\"DEBUG\"")).count()
}

/// Changes the database while the daemon is stopped.
async fn change(world: &World, sql: &'static str) {
    assert!(!world.has_daemon());
    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}", world.home().join("state.db").display());
    let ledger = sqlx::AnyPool::connect(&url).await.unwrap();
    assert!(sqlx::query(sql).execute(&ledger).await.unwrap().rows_affected() > 0, "{sql}");
    ledger.close().await;
}

/// Lets ten minutes pass for the channels of a stopped daemon.
async fn ten_minutes_pass(world: &World) {
    change(
        world,
        "update channel set created_at = created_at - 600000, opened_at = opened_at - 600000, \
         called_at = called_at - 600000",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_can_reach_is_named_after_a_minute_and_polled_for_until_it_is_mended() {
    let nowhere = "public_url = \"http://127.0.0.1:1\"";
    let webhook = format!("[webhook]\nlisten = \"127.0.0.1:{{public}}\"\n{nowhere}\n{RARELY}");
    let mut world = World::new(&webhook).await;
    world.start().await;
    world.upload("unheard.mp4", 1_000);
    world
        .wait_for("it is not ready", MINUTE, async || {
            let said = readiness(&world).await;
            said.contains(UNHEARD) && said.contains("http://127.0.0.1:1/webhook") && said.contains("browser")
        })
        .await;
    // Changes are polled at once, and then every minute.
    world.wait_for_file("unheard.mp4").await;
    let status = world.status().await;
    assert!(status["not_ready"].to_string().contains(UNHEARD), "{status}");
    assert_eq!(status["channels"][0]["confirmed"], json!(false), "{status}");
    assert_eq!(status["channels"][0]["last_call"], Value::Null, "{status}");
    let shown = text(&world.output(&["status"]).await.stdout);
    assert!(shown.contains("NOT READY") && shown.contains("no call yet"), "{shown}");
    world
        .wait("the next poll is a minute later", async || {
            let engines = world.status().await["engines"].clone();
            let sync = engines.as_array().unwrap().iter().find(|engine| engine["name"] == "sync").cloned();
            let due = sync.and_then(|sync| sync["due"].as_str()?.parse::<jiff::Timestamp>().ok());
            due.is_some_and(|due| due.as_second() - jiff::Timestamp::now().as_second() <= 60)
        })
        .await;

    world.replace_config(nowhere, &format!("public_url = \"http://127.0.0.1:{}\"", world.public));
    world.until_ready().await;
    until_confirmed(&world).await;
    world.wait("it is said", async || count(&world, HEARD) == 1).await;
    assert_eq!(count(&world, UNHEARD), 1, "once, not once a poll\n{}", world.log());
    world.upload("heard.mp4", 1_000);
    world.wait_for_file("heard.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_silent_or_called_on_after_a_restart_as_before() {
    let mut world = World::new(RARELY).await;
    world.drive.disturb_notifications(Disturbance::Drop, 2);
    world.start().await;
    assert_eq!(world.terminate().await, 0);
    ten_minutes_pass(&world).await;
    world.spawn();
    world.wait("it is not ready", async || readiness(&world).await.contains(UNHEARD)).await;
    world
        .wait("it is asked for another first message, which is lost as well", async || {
            world.drive.channels().len() == 2
        })
        .await;
    assert!(readiness(&world).await.contains(UNHEARD), "another channel alone is no better");
    // The first notification that comes shows that the way is open.
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.until_ready().await;
    until_confirmed(&world).await;
    world.wait("it is said", async || count(&world, HEARD) == 1).await;

    assert_eq!(world.terminate().await, 0);
    ten_minutes_pass(&world).await;
    let listed = text(&world.output(&["channels", "list"]).await.stdout);
    assert!(listed.contains("last call 10 min ago"), "{listed}");
    world.start().await;
    until_confirmed(&world).await;
    assert_eq!((count(&world, UNHEARD), world.drive.channels().len()), (0, 2), "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_a_program_that_did_not_note_calls_is_replaced_at_the_start() {
    let mut world = World::running(RARELY).await;
    until_confirmed(&world).await;
    assert_eq!(world.terminate().await, 0);
    change(&world, "update channel set opened_at = null, called_at = null").await;
    world.start().await;
    world.wait("there is another one", async || world.drive.channels().len() == 2).await;
    until_confirmed(&world).await;
    assert_eq!(count(&world, UNHEARD), 0, "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_of_each_shared_drive_is_called_on_or_silent_for_itself() {
    let mut world = World::new(RARELY).await;
    let team = world.drive.shared_drive("Team");
    let us = world.drive.service_account().address().to_owned();
    world.drive.share(&world.inbox, &us, Role::Reader);
    world.drive.join(&team, &us, Role::Reader);
    let (folder, there) = (world.drive.folder(&team, "Folder"), world.home().join("team"));
    world.add_config(&format!("[[folder]]\nid = {folder:?}\ndestination = {there:?}"));
    world.start().await;
    world.wait("both have a channel", async || world.drive.channels().len() == 2).await;
    until_confirmed(&world).await;
    assert_eq!(world.terminate().await, 0);
    ten_minutes_pass(&world).await;
    change(&world, "update channel set called_at = null where log <> 'user'").await;
    world.drive.disturb_notifications(Disturbance::Drop, 1);
    world.spawn();
    let about = format!("on the channel of drive:{team}");
    world.wait("the shared drive's is", async || readiness(&world).await.contains(&about)).await;
    world.drive.upload(Upload::new(&folder, "film.mp4", content_of("film.mp4", 1_000)));
    let film = there.join("film.mp4");
    world.wait("it is delivered", async || film.exists()).await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_polls_that_find_what_nobody_announced_have_the_channel_replaced_once() {
    let unannounced = "that no notification had announced";
    let mut world = World::running("[sync]\npoll = \"1s\"").await;
    until_confirmed(&world).await;
    assert_eq!(world.terminate().await, 0);
    // What is found within a minute of a call may be what it announced.
    ten_minutes_pass(&world).await;
    world.start().await;
    world.drive.set_notifications(false);
    for name in ["first.mp4", "second.mp4", "third.mp4", "fourth.mp4"] {
        world.upload(name, 1_000);
        world.wait_for_file(name).await;
    }
    assert_eq!(world.drive.channels().len(), 1, "a notification may be late");
    world.drive.set_notifications(true);
    world.wait_for("the channel is replaced", MINUTE, async || world.drive.channels().len() == 2).await;
    world.wait("it is said", async || count(&world, unannounced) == 1).await;
    until_confirmed(&world).await;
    world.until_ready().await;
    world.upload("announced.mp4", 1_000);
    world.wait_for_file("announced.mp4").await;
    assert_eq!((count(&world, unannounced), world.drive.channels().len()), (1, 2), "{}", world.log());
}
