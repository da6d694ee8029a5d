//! A backlog of changes, most of which concern nobody here: what it costs, and what is found in it.

use drive_emulator::Upload;

use crate::world::{World, content_of, text};

/// `sync`, and the calls that it made of Drive.
async fn calls(world: &World) -> Vec<String> {
    world.drive.clear_requests();
    let output = world.output(&["sync"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all = world.drive.requests().into_iter().map(|request| request.operation);
    all.filter(|operation| operation.starts_with("changes.") || operation.starts_with("files.")).collect()
}

fn upload_into(world: &World, folder: &str, name: &str) -> String {
    world.drive.upload(Upload::new(folder, name, content_of(name, 1_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_nobody_costs_no_call_but_the_pages() {
    let world = World::new("").await;
    upload_into(&world, &world.drive.folder(&world.inbox, "Trip"), "old.mp4");
    calls(&world).await;
    let elsewhere = world.drive.folder(&world.drive.root_id(), "Elsewhere");
    world.drive.set_empty_pages(true);
    for n in 0..100 {
        let id = upload_into(&world, &elsewhere, &format!("{n}.mp4"));
        if n % 3 == 0 {
            world.drive.trash(&id);
        }
    }
    upload_into(&world, &world.drive.folder(&elsewhere, "Deeper"), "deep.mp4");
    let pages = calls(&world).await;
    assert!(pages.iter().all(|call| call == "changes.list"), "{pages:?}");
    // The token stands behind all of it.
    world.drive.set_empty_pages(false);
    assert_eq!(calls(&world).await, ["changes.list"]);
    assert!(world.delivered().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_a_page_of_nothing_is_found_where_it_is_by_then() {
    let world = World::new("").await;
    let trip = world.drive.folder(&world.inbox, "Trip");
    calls(&world).await;
    world.drive.set_empty_pages(true);
    upload_into(&world, &trip, "first.mp4");
    world.drive.rename(&trip, "Journey");
    upload_into(&world, &trip, "second.mp4");
    calls(&world).await;
    assert_eq!(world.delivered(), ["Journey/second.mp4", "Trip/first.mp4"]);
    upload_into(&world, &trip, "third.mp4");
    calls(&world).await;
    assert_eq!(world.delivered(), ["Journey/second.mp4", "Journey/third.mp4", "Trip/first.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_back_with_its_folder_is_not_new() {
    let world = World::new("").await;
    calls(&world).await;
    let trip = world.drive.folder(&world.inbox, "Trip");
    let film = upload_into(&world, &trip, "film.mp4");
    assert_eq!(calls(&world).await.iter().filter(|call| *call == "files.media").count(), 1);
    world.drive.move_to(&trip, &world.drive.root_id());
    calls(&world).await;
    // Both on one page: the folder is not known when the page is begun.
    world.drive.move_to(&trip, &world.inbox);
    world.drive.touch(&film);
    assert!(!calls(&world).await.contains(&"files.media".to_owned()));
    assert_eq!(world.delivered(), ["Trip/film.mp4"]);
}
