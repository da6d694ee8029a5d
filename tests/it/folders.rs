//! Folders of the configuration that come, go and come back, while Drive fails or somebody makes a mistake.

use drive_emulator::{Action, Fault, Upload};

use crate::world::{World, content_of, text};

const NOT_WATCHED: &str = "a folder is not watched any more";

fn upload_into(world: &World, folder: &str, name: &str) -> String {
    world.drive.upload(Upload::new(folder, name, content_of(name, 1_000)))
}

/// The text of a `[[folder]]` whose files go into this directory below the home.
fn section(world: &World, id: &str, directory: &str, more: &str) -> String {
    format!("[[folder]]\nid = {id:?}\ndestination = {:?}\n{more}\n", world.home().join(directory))
}

async fn reload(world: &World) {
    let reload = world.output(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", text(&reload.stderr));
}

async fn wait_for(world: &World, path: &str) {
    let path = world.home().join(path);
    world.wait(&format!("{} is delivered", path.display()), async || path.exists()).await;
}

/// Whether a file keeps the program from being ready.
async fn is_named(world: &World, name: &str) -> bool {
    world.status().await["not_ready"].to_string().contains(name)
}

/// Waits until the log says it this often.
async fn said(world: &World, what: &str, times: usize) {
    world.wait(what, async || world.log().matches(what).count() >= times).await;
}

fn is_unavailable(times: u32) -> Fault {
    Fault::times("files.get", times, Action::status(503, "backendError"))
}

/// The first folder is configured as `root`. Its files come with their paths below it.
async fn world_of_the_root() -> World {
    let mut world = World::new("").await;
    let inbox = format!("{:?}", world.inbox);
    world.replace_config(&inbox, "\"root\"");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_remembered_when_drive_does_not_say_at_the_start_what_it_is() {
    let mut world = world_of_the_root().await;
    world.start().await;
    let root = world.drive.root_id();
    upload_into(&world, &root, "first.mp4");
    world.wait_for_file("first.mp4").await;
    assert_eq!(world.terminate().await, 0);

    upload_into(&world, &root, "while it was stopped.mp4");
    world.drive.fail(is_unavailable(1));
    world.start().await;
    world.wait_for_file("while it was stopped.mp4").await;
    assert!(!world.log().contains(NOT_WATCHED) && !world.log().contains("\"skipped\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_read_while_it_is_not_known_whose_a_watched_folder_is() {
    let mut world = World::new("").await;
    let (root, inbox) = (world.drive.root_id(), format!("{:?}", world.inbox));
    world.replace_config(&inbox, &format!("{root:?}"));
    world.start().await;
    assert_eq!(world.terminate().await, 0);

    // The same folder under its other name, which nobody has asked for yet.
    world.replace_config(&format!("id = {root:?}"), "id = \"root\"");
    upload_into(&world, &root, "while it was stopped.mp4");
    world.drive.fail(is_unavailable(2));
    world.start().await;
    world.wait_for_file("while it was stopped.mp4").await;
    assert!(!world.log().contains(NOT_WATCHED) && !world.log().contains("\"skipped\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_a_wrong_folder_was_configured_comes_once_the_right_one_is_back() {
    for existing in ["ignore", "download"] {
        let mut world = World::new("").await;
        let folder = world.drive.folder(&world.drive.root_id(), "Folder");
        upload_into(&world, &folder, "old.mp4");
        let right = section(&world, &folder, "second", &format!("existing = {existing:?}"));
        let wrong = right.replace(&folder, "1WrongWrongWrongWrongWrongWrongWr");
        world.add_config(&right);
        world.start().await;
        said(&world, "watching a new folder", 2).await;
        world.wait_until_idle().await;

        world.replace_config(&right, &wrong);
        reload(&world).await;
        said(&world, NOT_WATCHED, 1).await;
        upload_into(&world, &folder, "meanwhile.mp4");
        let below = world.drive.folder(&folder, "Below");
        upload_into(&world, &below, "deeper.mp4");
        world.upload("elsewhere.mp4", 1_000);
        world.wait_for_file("elsewhere.mp4").await;
        said(&world, "its folder is not in the configuration any more", 1).await;

        world.replace_config(&wrong, &right);
        reload(&world).await;
        wait_for(&world, "second/meanwhile.mp4").await;
        wait_for(&world, "second/Below/deeper.mp4").await;
        upload_into(&world, &folder, "after.mp4");
        wait_for(&world, "second/after.mp4").await;
        world.wait_until_idle().await;
        world.until_ready().await;
        assert_eq!(world.home().join("second/old.mp4").exists(), existing == "download");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_was_read_half_written_loses_nothing() {
    let mut world = World::new("").await;
    let folder = world.drive.folder(&world.drive.root_id(), "Folder");
    let below = world.drive.folder(&folder, "Below");
    upload_into(&world, &below, "old.mp4");
    let second_half = section(&world, &folder, "second", "");
    world.add_config(&second_half);
    world.start().await;
    upload_into(&world, &folder, "first.mp4");
    wait_for(&world, "second/first.mp4").await;

    world.replace_config(&second_half, "# half\n");
    reload(&world).await;
    said(&world, NOT_WATCHED, 1).await;
    upload_into(&world, &below, "meanwhile.mp4");
    world.upload("elsewhere.mp4", 1_000);
    world.wait_for_file("elsewhere.mp4").await;
    // A restart forgets nothing of it.
    assert_eq!(world.terminate().await, 0);
    upload_into(&world, &folder, "while it was stopped.mp4");
    world.start().await;

    world.replace_config("# half\n", &second_half);
    reload(&world).await;
    wait_for(&world, "second/Below/meanwhile.mp4").await;
    wait_for(&world, "second/while it was stopped.mp4").await;
    world.wait_until_idle().await;
    assert!(!world.home().join("second/Below/old.mp4").exists(), "`existing` is \"ignore\"");
    assert_eq!(world.log().matches(NOT_WATCHED).count(), 1, "it is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_left_the_configuration_holds_nothing_up() {
    let mut world = World::new("").await;
    let shared = world.drive.shared_drive("Shared");
    let folder = world.drive.folder(&world.drive.root_id(), "Folder");
    let below = world.drive.folder(&folder, "Below");
    let sections = [section(&world, &folder, "second", ""), section(&world, &shared, "third", "")];
    for section in &sections {
        world.add_config(section);
    }
    world.start().await;
    upload_into(&world, &below, "first.mp4");
    upload_into(&world, &shared, "shared.mp4");
    wait_for(&world, "second/Below/first.mp4").await;
    wait_for(&world, "third/shared.mp4").await;

    for section in &sections {
        world.replace_config(section, "");
    }
    reload(&world).await;
    said(&world, NOT_WATCHED, 2).await;
    world.drive.delete(&folder);
    world.drive.clear_requests();
    // Everything is compared.
    world.drive.refuse_page_tokens_before_now();
    world.upload("elsewhere.mp4", 1_000);
    world.wait_for_file("elsewhere.mp4").await;
    world.wait_until_idle().await;
    world.until_ready().await;
    let asked = world.drive.requests();
    for id in [&folder, &below, &shared] {
        let about = |text: &str| text.contains(id.as_str());
        let request = asked.iter().find(|request| about(&request.path) || about(&request.query));
        assert!(request.is_none(), "{request:?}");
    }
    assert!(!world.log().contains("Drive does not show a watched folder any more"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_has_left_the_configuration_for_a_day_is_new_when_it_comes_back() {
    let mut world = World::new("").await;
    let folder = world.drive.folder(&world.drive.root_id(), "Folder");
    let second = section(&world, &folder, "second", "");
    world.add_config(&second);
    world.start().await;
    said(&world, "watching a new folder", 2).await;
    world.replace_config(&second, "");
    reload(&world).await;
    said(&world, NOT_WATCHED, 1).await;
    assert_eq!(world.terminate().await, 0);

    let ledger = ledger(&world).await;
    let a_day_ago =
        "update folder set suspended_at = suspended_at - 24 * 60 * 60 * 1000 where suspended_at > 0";
    assert_eq!(sqlx::query(a_day_ago).execute(&ledger).await.unwrap().rows_affected(), 1);
    ledger.close().await;
    upload_into(&world, &folder, "meanwhile.mp4");
    world.start().await;
    world.upload("elsewhere.mp4", 1_000);
    world.wait_for_file("elsewhere.mp4").await;
    world.add_config(&second);
    reload(&world).await;
    said(&world, "watching a new folder", 3).await;
    world.wait_until_idle().await;
    upload_into(&world, &folder, "after.mp4");
    wait_for(&world, "second/after.mp4").await;
    world.wait_until_idle().await;
    assert!(!world.home().join("second/meanwhile.mp4").exists(), "`existing` is \"ignore\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_another_one_goes_to_that_one_while_it_is_not_configured() {
    let mut world = World::new("").await;
    let inner = world.drive.folder(&world.inbox, "Inner");
    let second = section(&world, &inner, "second", "");
    world.add_config(&second);
    world.start().await;
    upload_into(&world, &inner, "first.mp4");
    wait_for(&world, "second/first.mp4").await;

    world.replace_config(&second, "");
    reload(&world).await;
    said(&world, NOT_WATCHED, 1).await;
    upload_into(&world, &inner, "meanwhile.mp4");
    world.wait_for_file("Inner/meanwhile.mp4").await;

    world.add_config(&second);
    reload(&world).await;
    said(&world, "a folder is watched again", 1).await;
    upload_into(&world, &inner, "last.mp4");
    wait_for(&world, "second/last.mp4").await;
    world.wait_until_idle().await;
    assert!(!world.home().join("second/meanwhile.mp4").exists(), "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_in_a_folder_in_another_one_stays_named_while_that_one_is_configured() {
    let mut world = World::new("").await;
    let inner = world.drive.folder(&world.inbox, "Inner");
    let second = section(&world, &inner, "second", "");
    world.add_config(&second);
    world.start().await;
    world.drive.fail(Fault::always("files.media", Action::status(403, "cannotDownloadAbusiveFile")));
    upload_into(&world, &inner, "harmful.mp4");
    world.wait("it has failed", async || is_named(&world, "harmful.mp4").await).await;
    world.replace_config(&second, "");
    reload(&world).await;
    said(&world, NOT_WATCHED, 1).await;
    world.wait_until_idle().await;
    assert!(is_named(&world, "harmful.mp4").await, "{}", world.status().await["not_ready"]);
    world.drive.clear_faults();
    assert!(world.output(&["retry", "--failed"]).await.status.success());
    world
        .wait("it is tried again", async || !is_named(&world, "harmful.mp4").await && world.is_idle().await)
        .await;
    assert!(world.home().join("second/harmful.mp4").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shortcut_points_at_comes_by_the_shortcut_that_is_still_configured() {
    let mut world = World::new("").await;
    let root = world.drive.root_id();
    let (folder, outside) = (world.drive.folder(&root, "Folder"), world.drive.folder(&root, "Outside"));
    let second = section(&world, &folder, "second", "");
    world.add_config(&second);
    world.start().await;
    // Known by the first of them.
    world.drive.shortcut(&folder, "There", &outside);
    upload_into(&world, &outside, "first.mp4");
    wait_for(&world, "second/There/first.mp4").await;
    world.drive.shortcut(&world.inbox, "Here", &outside);

    world.replace_config(&second, "");
    reload(&world).await;
    said(&world, NOT_WATCHED, 1).await;
    // Listed again, as once a day.
    world.drive.refuse_page_tokens_before_now();
    upload_into(&world, &outside, "second.mp4");
    world.wait_for_file("Here/second.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_while_the_database_does_not_take_a_new_folder() {
    let mut world = World::running("").await;
    let folder = world.drive.folder(&world.drive.root_id(), "Folder");
    assert_eq!(world.terminate().await, 0);
    let ledger = ledger(&world).await;
    let refuse =
        "create trigger refuse before insert on folder begin select raise(abort, 'the disk is full'); end";
    sqlx::query(refuse).execute(&ledger).await.unwrap();
    world.add_config(&section(&world, &folder, "second", ""));
    world.upload("first.mp4", 1_000);
    world.spawn();
    said(&world, "Drive cannot be read", 1).await;
    sqlx::query("drop trigger refuse").execute(&ledger).await.unwrap();
    ledger.close().await;
    world.wait_for_file("first.mp4").await;
}

async fn ledger(world: &World) -> sqlx::AnyPool {
    sqlx::any::install_default_drivers();
    sqlx::AnyPool::connect(&format!("sqlite:{}", world.home().join("state.db").display())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_rules_for_a_folder_has_its_files_whichever_is_looked_at_later() {
    for failures in [1, 2, 3] {
        let mut world = World::running("").await;
        let folder = world.drive.folder(&world.drive.root_id(), "Folder");
        world.drive.fail(is_unavailable(failures));
        let rules = ["first", "second"].map(|directory| section(&world, &folder, directory, ""));
        world.add_config(&rules.concat());
        reload(&world).await;
        said(&world, "watching a new folder", 2).await;
        world.wait_until_idle().await;
        upload_into(&world, &folder, "film.mp4");
        wait_for(&world, "first/film.mp4").await;
        assert!(!world.home().join("second/film.mp4").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_below_and_shortcuts_count_from_when_they_are_switched_on() {
    for restarts in [false, true] {
        let mut world = World::with_folder("", "recursive = false\nshortcuts = false").await;
        let (root, inbox) = (world.drive.root_id(), world.inbox.clone());
        let below = world.drive.folder(&inbox, "Below");
        upload_into(&world, &below, "old.mp4");
        let pointed_at = upload_into(&world, &root, "pointed at.mp4");
        world.drive.shortcut(&inbox, "old shortcut.mp4", &pointed_at);
        world.start().await;
        world.upload("first.mp4", 1_000);
        world.wait_for_file("first.mp4").await;

        world.replace_config("recursive = false\nshortcuts = false", "recursive = true\nshortcuts = true");
        if restarts {
            world.terminate().await;
            world.start().await;
        } else {
            reload(&world).await;
        }
        said(&world, "was switched on for a folder", 1).await;
        world.wait_until_idle().await;
        upload_into(&world, &below, "new.mp4");
        world.wait_for_file("Below/new.mp4").await;
        world.drive.revise(&pointed_at, content_of("another content", 2_000));
        world.wait_for_file("old shortcut.mp4").await;

        // A comparison finds nothing more.
        world.drive.refuse_page_tokens_before_now();
        world.upload("last.mp4", 1_000);
        world.wait_for_file("last.mp4").await;
        world.wait_until_idle().await;
        assert_eq!(world.delivered(), ["Below/new.mp4", "first.mp4", "last.mp4", "old shortcut.mp4"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_come_when_folders_below_are_switched_on_and_existing_ones_are_wanted() {
    let mut world = World::with_folder("", "recursive = false\nexisting = \"download\"").await;
    let below = world.drive.folder(&world.inbox, "Below");
    upload_into(&world, &below, "old.mp4");
    world.start().await;
    world.replace_config("recursive = false", "recursive = true");
    reload(&world).await;
    world.wait_for_file("Below/old.mp4").await;
}
