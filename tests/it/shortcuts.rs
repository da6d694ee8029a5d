//! Shortcuts: what they point at is delivered as if it lay where they lie.

use std::time::Duration;

use drive_emulator::{Action, Content, Fault, Matching, Upload};

use crate::world::{World, content_of};

/// Puts a small video somewhere else than into the inbox.
fn upload_into(world: &World, folder: &str, name: &str) -> String {
    world.drive.upload(Upload::new(folder, name, content_of(name, 1_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortcut_to_a_file_delivers_it_and_its_new_contents() {
    let world = World::running("").await;
    let root = world.drive.root_id();
    let film = upload_into(&world, &root, "original.mp4");
    world.drive.shortcut(&world.inbox, "film.mp4", &film);
    world.wait_for_file("film.mp4").await;
    world.assert_same("film.mp4", &film);

    world.drive.revise(&film, Content::pattern(77, 3_000));
    world
        .wait("the new content is there", async || {
            crate::world::sha256(&world.videos().join("film.mp4"))
                == world.drive.content_sha256(&film).unwrap()
        })
        .await;
    // A second way to the same content gives no second file.
    world.drive.shortcut(&world.inbox, "again.mp4", &film);
    world.drive.move_to(&film, &world.inbox);
    upload_into(&world, &world.inbox, "last.mp4");
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["film.mp4", "last.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortcut_to_a_folder_is_followed_until_it_is_gone() {
    let world = World::running("").await;
    let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
    let deeper = world.drive.folder(&elsewhere, "Deeper");
    upload_into(&world, &deeper, "before.mp4");
    let shortcut = world.drive.shortcut(&world.inbox, "Trip", &elsewhere);
    world.wait_for_file("Trip/Deeper/before.mp4").await;
    upload_into(&world, &elsewhere, "after.mp4");
    world.wait_for_file("Trip/after.mp4").await;
    world.drive.rename(&elsewhere, "Nowhere");
    world.drive.touch(&deeper);
    upload_into(&world, &deeper, "later.mp4");
    world.wait_for_file("Trip/Deeper/later.mp4").await;

    // A refused page token has everything listed again, the folder that the shortcut leads to as well.
    world.drive.refuse_page_tokens_before_now();
    upload_into(&world, &elsewhere, "listed.mp4");
    world.wait_for_file("Trip/listed.mp4").await;

    world.drive.trash(&shortcut);
    upload_into(&world, &elsewhere, "unwatched.mp4");
    upload_into(&world, &world.inbox, "last.mp4");
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(
        world.delivered(),
        ["Trip/Deeper/before.mp4", "Trip/Deeper/later.mp4", "Trip/after.mp4", "Trip/listed.mp4", "last.mp4"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shortcuts_that_lead_in_circles_end() {
    let world = World::running("").await;
    let (root, inbox) = (world.drive.root_id(), world.inbox.clone());
    let below = world.drive.folder(&inbox, "Below");
    world.drive.shortcut(&below, "Up", &inbox);
    world.drive.shortcut(&below, "Self", &below);
    let left = world.drive.folder(&root, "Left");
    let right = world.drive.folder(&root, "Right");
    world.drive.shortcut(&left, "To right", &right);
    world.drive.shortcut(&right, "To left", &left);
    let circle = world.drive.shortcut(&inbox, "Circle", &left);
    upload_into(&world, &right, "film.mp4");
    upload_into(&world, &below, "below.mp4");
    world.wait_for_file("Circle/To right/film.mp4").await;
    world.wait_for_file("Below/below.mp4").await;
    world.drive.refuse_page_tokens_before_now();
    upload_into(&world, &inbox, "last.mp4");
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["Below/below.mp4", "Circle/To right/film.mp4", "last.mp4"]);

    // Without the way in, the two hold only each other, which is nothing.
    world.drive.trash(&circle);
    upload_into(&world, &inbox, "cut.mp4");
    world.wait_for_file("cut.mp4").await;
    upload_into(&world, &right, "between.mp4");
    upload_into(&world, &inbox, "later.mp4");
    world.wait_for_file("later.mp4").await;
    assert!(!world.delivered().iter().any(|path| path.ends_with("between.mp4")));
    world.drive.shortcut(&inbox, "Again", &left);
    world.wait_for_file("Again/To right/between.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shortcuts_hold_a_folder_until_both_are_gone() {
    let world = World::running("").await;
    let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
    let first = world.drive.shortcut(&world.inbox, "First", &elsewhere);
    upload_into(&world, &elsewhere, "1.mp4");
    world.wait_for_file("First/1.mp4").await;
    let second = world.drive.shortcut(&world.inbox, "Second", &elsewhere);
    world.drive.trash(&first);
    upload_into(&world, &world.inbox, "between.mp4");
    world.wait_for_file("between.mp4").await;
    upload_into(&world, &elsewhere, "2.mp4");
    world.wait_for_file("Second/2.mp4").await;
    world.drive.delete(&second);
    upload_into(&world, &elsewhere, "3.mp4");
    upload_into(&world, &world.inbox, "last.mp4");
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered(), ["First/1.mp4", "Second/2.mp4", "between.mp4", "last.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortcut_to_a_shared_drive_has_that_drive_read_as_well() {
    let world = World::running("").await;
    let shared = world.drive.shared_drive("Team");
    let folder = world.drive.folder(&shared, "Rushes");
    world.drive.shortcut(&world.inbox, "Team", &folder);
    upload_into(&world, &folder, "first.mp4");
    world.wait_for_file("Team/first.mp4").await;
    world
        .wait("it has a channel of its own", async || {
            world.drive.channels().iter().any(|channel| channel.log == shared)
        })
        .await;
    upload_into(&world, &folder, "second.mp4");
    world.wait_for_file("Team/second.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shortcuts_are_left_alone_if_that_is_configured_or_if_nothing_is_there() {
    let mut world = World::with_folder("", "shortcuts = false").await;
    world.start().await;
    let film = upload_into(&world, &world.drive.root_id(), "film.mp4");
    world.drive.shortcut(&world.inbox, "film.mp4", &film);
    world.wait("it is said", async || world.log().contains("`shortcuts` is false")).await;
    assert_eq!(world.terminate().await, 0);
    world.replace_config("shortcuts = false", "shortcuts = true");
    world.start().await;
    let gone = upload_into(&world, &world.drive.root_id(), "gone.mp4");
    world.drive.shortcut(&world.inbox, "gone.mp4", &gone);
    world.drive.delete(&gone);
    upload_into(&world, &world.inbox, "last.mp4");
    world.wait_for_file("last.mp4").await;
    world.wait_until_idle().await;
    assert_eq!(world.delivered().last().unwrap(), "last.mp4");
    assert!(!world.delivered().contains(&"gone.mp4".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_looked_at_holds_up_nobody() {
    for action in [
        Action::status(403, "insufficientPermissions"),
        Action::status(500, "internalError"),
        Action::ResetAfter { bytes: 0 },
    ] {
        let world = World::running("[sync]\npoll = \"1s\"").await;
        let film = upload_into(&world, &world.drive.root_id(), "film.mp4");
        let matching = Matching::operation("files.get").file(&film);
        world.drive.fail(Fault { matching, times: u32::MAX, action });
        world.drive.shortcut(&world.inbox, "film.mp4", &film);
        upload_into(&world, &world.inbox, "other.mp4");
        let path = world.videos().join("other.mp4");
        world.wait_for("the others go on", Duration::from_mins(1), async || path.exists()).await;
        world.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_drive_that_cannot_be_followed_keeps_nobody_from_being_ready() {
    let world = World::running("").await;
    let shared = world.drive.shared_drive("Team");
    let folder = world.drive.folder(&shared, "Rushes");
    world.drive.fail(Fault::always("changes.getStartPageToken", Action::status(404, "notFound")));
    world.drive.shortcut(&world.inbox, "Team", &folder);
    world.wait("it is said", async || world.log().contains("not a member of a shared drive")).await;
    upload_into(&world, &world.inbox, "film.mp4");
    world.wait_for_file("film.mp4").await;
    world.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_leaves_stays_where_another_shortcut_holds_it() {
    let mut world = World::new("").await;
    let other = world.drive.folder(&world.drive.root_id(), "Other");
    let there = world.home().join("other");
    world.add_config(&format!("[[folder]]\nid = {other:?}\ndestination = {there:?}"));
    let above = world.drive.folder(&world.inbox, "Above");
    let folder = world.drive.folder(&above, "Folder");
    world.drive.shortcut(&other, "Held", &folder);
    world.start().await;
    upload_into(&world, &folder, "1.mp4");
    world.wait_for_file("Above/Folder/1.mp4").await;
    world.drive.move_to(&above, &world.drive.root_id());
    upload_into(&world, &folder, "2.mp4");
    let path = there.join("Held/2.mp4");
    world.wait("it is delivered by the shortcut", async || path.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortcut_and_its_folder_may_change_on_one_page() {
    for shortcut_first in [true, false] {
        let world = World::running("[sync]\npoll = \"1s\"").await;
        let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
        let shortcut = world.drive.shortcut(&world.inbox, "Trip", &elsewhere);
        upload_into(&world, &elsewhere, "before.mp4");
        world.wait_for_file("Trip/before.mp4").await;
        world.wait_until_idle().await;
        world.drive.set_notifications(false);
        world.drive.set_change_delay(Duration::from_millis(1500));
        if shortcut_first {
            world.drive.trash(&shortcut);
            world.drive.rename(&elsewhere, "Renamed");
        } else {
            world.drive.rename(&elsewhere, "Renamed");
            world.drive.trash(&shortcut);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.drive.set_change_delay(Duration::ZERO);
        upload_into(&world, &elsewhere, "after.mp4");
        upload_into(&world, &world.inbox, "last.mp4");
        world.wait_for_file("last.mp4").await;
        world.wait_until_idle().await;
        assert_eq!(
            world.delivered(),
            ["Trip/before.mp4", "last.mp4"],
            "the shortcut first: {shortcut_first}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortcut_and_a_change_of_its_folder_may_come_on_one_page() {
    let world = World::running("[sync]\npoll = \"1s\"").await;
    world.drive.set_notifications(false);
    world.drive.set_change_delay(Duration::from_millis(1500));
    let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
    upload_into(&world, &elsewhere, "film.mp4");
    world.drive.shortcut(&world.inbox, "Trip", &elsewhere);
    world.drive.rename(&elsewhere, "Renamed");
    world.wait_for_file("Trip/film.mp4").await;
    world.drive.set_change_delay(Duration::ZERO);
    upload_into(&world, &elsewhere, "after.mp4");
    world.wait_for_file("Trip/after.mp4").await;
}
