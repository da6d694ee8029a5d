//! Connections that lie: bytes that do not come, are not those, or are of another content; notifications and entries
//! that are lost, late, doubled or out of order.

use std::time::Duration;

use drive_emulator::{Action, Content, Disturbance, Fault};

use crate::world::World;

const SIZE: u64 = 1_000_000;

/// What media was asked for: the range, and the status of the answer.
fn asked(world: &World) -> Vec<(Option<String>, u16)> {
    let media = world.drive.requests().into_iter().filter(|request| request.operation == "files.media");
    media.map(|request| (request.range, request.status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_download_meets_on_its_way_it_arrives_once_and_whole() {
    let lies = [
        Action::CutAfter { bytes: 400_000 },
        Action::ResetAfter { bytes: 300_000 },
        Action::StallAfter { bytes: 200_000 },
        Action::StallAfter { bytes: 0 },
        Action::WrongLength { by: 1000 },
        Action::WrongLength { by: -1 },
        Action::WrongByte { offset: 5 },
        Action::Slow { bytes_per_second: 2_000_000 },
        Action::html(502),
        Action::status(500, "internalError"),
        Action::AnswerLate { milliseconds: 300 },
    ];
    for lie in lies {
        let world = World::running("[download]\nstall = \"1s\"\n[sync]\npoll = \"1s\"").await;
        world.drive.fail(Fault::once("files.media", lie.clone()));
        let id = world.upload("film.mp4", SIZE);
        world.wait_for_file("film.mp4").await;
        world.assert_same("film.mp4", &id);
        world.wait_until_idle().await;
        assert_eq!(world.delivered(), ["film.mp4"], "{lie:?}");
        assert_eq!(world.status().await["deliveries"], serde_json::json!({"done": 1}), "{lie:?}");
        assert!(world.parts().is_empty(), "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_ignored_is_taken_for_what_it_is() {
    let world = World::running("").await;
    world.drive.fail(Fault::once("files.media", Action::CutAfter { bytes: 400_000 }));
    // Faults strike in their order, each its own request.
    world.drive.fail(Fault::once("files.media", Action::IgnoreRange));
    let id = world.upload("film.mp4", SIZE);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &id);
    let asked = asked(&world);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1].0.is_some() && asked[1].1 == 200,
        "the rest was asked for, and all of it came: {asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_changes_between_two_ranges_is_never_mixed() {
    for size in [SIZE, SIZE / 2, SIZE * 2] {
        let world = World::running("").await;
        let new = Content::pattern(size, size);
        world.drive.fail(Fault::once("files.media", Action::CutAfter { bytes: 400_000 }));
        world.drive.fail(Fault::once("files.media", Action::Revise(new)));
        let id = world.upload("film.mp4", SIZE);
        world.wait_for_file("film.mp4").await;
        world.assert_same("film.mp4", &id);
        world.wait_until_idle().await;
        assert_eq!(world.delivered(), ["film.mp4"], "{size}");
        assert_eq!(world.status().await["deliveries"], serde_json::json!({"done": 1, "superseded": 1}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_comes_after_its_notification_is_looked_for_again() {
    // Only the notification tells; the poll comes in ten minutes.
    let world = World::running("").await;
    world.drive.set_change_delay(Duration::from_millis(1500));
    let id = world.upload("late.mp4", 1_000);
    world.wait_for_file("late.mp4").await;
    world.assert_same("late.mp4", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_entries_for_one_content_give_one_file() {
    let world = World::running("").await;
    world.drive.set_noise(5);
    world.drive.set_empty_pages(true);
    let ids: Vec<String> = (0..3).map(|n| world.upload(&format!("{n}.mp4"), 10_000)).collect();
    for (n, id) in ids.iter().enumerate() {
        world.wait_for_file(&format!("{n}.mp4")).await;
        world.assert_same(&format!("{n}.mp4"), id);
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["0.mp4", "1.mp4", "2.mp4"]);
    assert_eq!(world.drive.count("files.media"), 3, "each is fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_that_are_lost_doubled_late_or_out_of_order_do_no_harm() {
    let world = World::running("[sync]\npoll = \"2s\"").await;
    let disturbances = [
        Disturbance::Drop,
        Disturbance::Double,
        Disturbance::Delay(Duration::from_secs(1)),
        Disturbance::Swap,
    ];
    let mut names = Vec::new();
    for (n, disturbance) in disturbances.into_iter().enumerate() {
        world.drive.disturb_notifications(disturbance, 2);
        let name = format!("{n}.mp4");
        world.upload(&name, 1_000);
        world.wait_for_file(&name).await;
        names.push(name);
    }
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), names);
    assert_eq!(world.drive.count("files.media"), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_known_before_its_answer_and_for_a_while_after_its_end() {
    let mut world = World::new("[channel]\nlifetime = \"4s\"\nrenew_before = \"3s\"").await;
    world.drive.set_sync_before_answer(true);
    world.drive.set_notifications_after_stop(3);
    world.drive.fail(Fault::times("changes.watch", 2, Action::AnswerLate { milliseconds: 500 }));
    world.start().await;
    for n in 0..4 {
        world.upload(&format!("{n}.mp4"), 1_000);
        world.wait_for_file(&format!("{n}.mp4")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let told = world.drive.notifications();
    assert!(told.len() > 6, "{told:?}");
    let refused: Vec<_> = told.iter().filter(|told| told.status != Some(204)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(world.status().await["process"]["notifications_refused"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_end_sooner_are_replaced_and_a_channel_that_does_is_bridged_by_the_poll() {
    let world = World::running("[sync]\npoll = \"2s\"").await;
    // Drive's clock runs an hour ahead from now on: to it, access tokens have expired.
    world.drive.move_clock(3_600_000);
    world.upload("film.mp4", 1_000);
    world.wait_for_file("film.mp4").await;
    world.drive.shorten_channels(Duration::ZERO);
    world.upload("polled.mp4", 1_000);
    world.wait_for_file("polled.mp4").await;
    assert_eq!(world.drive.channels().len(), 1, "nobody can know that it has ended early");
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_folder_is_told_of_later_is_found_in_it() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.set_notifications(false);
    // Everything comes on one page: the file with a parent that nobody knows, and then the folder.
    world.drive.set_change_delay(Duration::from_millis(800));
    let folder = world.drive.folder(&world.inbox, "New");
    let id = world.drive.upload(drive_emulator::Upload::new(&folder, "film.mp4", Content::pattern(3, 1_000)));
    world.drive.rename(&folder, "Trip");
    world.wait_for_file("Trip/film.mp4").await;
    world.assert_same("Trip/film.mp4", &id);
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["Trip/film.mp4"]);
}
