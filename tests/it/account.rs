//! Another account logs in: what the former one left is worth nothing to it.

use std::fs;
use std::time::Duration;

use drive_emulator::{Role, Upload};

use crate::login::log_in;
use crate::world::{World, content_of};

const BEN: &str = "ben@example.com";

async fn world_of_two() -> World {
    log_in_to(World::new("[sync]\npoll = \"1s\"").await).await
}

/// Its user has logged in, and the folder is shared with another one.
async fn log_in_to(world: World) -> World {
    fs::write(world.home().join("credentials.json"), world.drive.installed_client_json()).unwrap();
    let ben = world.drive.user(BEN);
    world.drive.share(&world.inbox, BEN, Role::Reader);
    log_in(&world).await;
    // His change log is longer: what the first one's token means in it came long ago.
    for n in 0..100 {
        let name = format!("{n}.txt");
        ben.upload(Upload::new(&ben.root_id(), &name, content_of(&name, 10)));
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_begins_the_change_logs_anew() {
    let mut world = world_of_two().await;
    world.start().await;
    world.upload("before.mp4", 1_000);
    world.wait_for_file("before.mp4").await;
    assert_eq!(world.terminate().await, 0);
    let ben = world.drive.user(BEN);
    world.upload("between.mp4", 1_000);
    for n in 100..200 {
        let name = format!("{n}.txt");
        ben.upload(Upload::new(&ben.root_id(), &name, content_of(&name, 10)));
    }
    world.drive.consent_as(BEN);
    log_in(&world).await;
    world.start().await;
    world.wait_for_file("between.mp4").await;
    assert_eq!(world.log().matches("another account than before").count(), 1, "{}", world.log());
    world.upload("after.mp4", 1_000);
    world.wait_for_file("after.mp4").await;
    assert_eq!(world.delivered().len(), 3, "nothing comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_noticed_while_the_program_runs() {
    let mut world = world_of_two().await;
    world.start().await;
    let former = world.status().await["channels"][0]["id"].clone();
    world.drive.consent_as(BEN);
    log_in(&world).await;
    world.drive.expire_access_tokens();
    world.wait("it is said", async || world.log().contains("another account than before")).await;
    world
        .wait("there is another channel", async || {
            let channels = world.status().await["channels"].as_array().unwrap().clone();
            channels.len() == 1 && channels[0]["state"] == "live" && channels[0]["id"] != former
        })
        .await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
}

/// The read in which it is noticed comes to nothing, since its log is gone. The next one does not wait for a poll.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_another_account_is_read_at_once() {
    let poll = World::new("[webhook]\nlisten = \"127.0.0.1:{public}\"\n[sync]\npoll = \"10s\"").await;
    let mut world = log_in_to(poll).await;
    world.start().await;
    world.drive.consent_as(BEN);
    log_in(&world).await;
    world.drive.expire_access_tokens();
    world.wait("it is said", async || world.log().contains("another account than before")).await;
    let soon = Duration::from_secs(5);
    world
        .wait_for("its log is read", soon, async || {
            world.log().matches("a new start page token").count() == 2
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_known_is_not_looked_at_again() {
    let mut world = world_of_two().await;
    world.start().await;
    assert_eq!(world.drive.count("about.get"), 2, "once by `login`, and once by the daemon");
    world.kill();
    world.start().await;
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    assert_eq!(world.drive.count("about.get"), 2);
    log_in(&world).await;
    world.drive.expire_access_tokens();
    world.upload("other.mp4", 1_000);
    world.wait_for_file("other.mp4").await;
    assert_eq!(world.drive.count("about.get"), 4, "another login of the same account");
    assert!(!world.log().contains("another account than before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_has_another_root() {
    let mut world = world_of_two().await;
    let inbox = format!("id = {:?}", world.inbox);
    world.replace_config(&inbox, "id = \"root\"");
    world.start().await;
    world.drive.upload(Upload::new(&world.drive.root_id(), "ann.mp4", content_of("ann.mp4", 1_000)));
    world.wait_for_file("ann.mp4").await;
    world.drive.consent_as(BEN);
    log_in(&world).await;
    world.drive.expire_access_tokens();
    world.wait("it is said", async || world.log().contains("another account than before")).await;
    let ben = world.drive.user(BEN);
    let watched = format!("\"folder.id\":\"{}\"", ben.root_id());
    world
        .wait("his folder is watched", async || {
            world.log().lines().any(|line| line.contains("watching a new folder") && line.contains(&watched))
        })
        .await;
    world.until_ready().await;
    ben.upload(Upload::new(&ben.root_id(), "ben.mp4", content_of("ben.mp4", 1_000)));
    world.wait_for_file("ben.mp4").await;
    assert_eq!(world.delivered(), ["ann.mp4", "ben.mp4"]);
}
