//! `kill -9`, and what is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::world::{World, sha256};

const HUNDRED_MEGABYTES: u64 = 100_000_000;

/// Reads the destination all the time: a file under a final name that is not the whole content is a broken promise.
fn watch(
    world: &World,
    name: &str,
    right: String,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<Vec<String>>) {
    let path = world.videos().join(name);
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    let thread = std::thread::spawn(move || {
        let mut wrong = Vec::new();
        while !end.load(Ordering::Relaxed) {
            if path.exists() && sha256(&path) != right {
                wrong.push(format!("{} is visible and not whole", path.display()));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        wrong
    });
    (ended, thread)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_after_kill_9() {
    let mut world = World::running("").await;
    world.drive.set_rate(Some(40_000_000));
    let id = world.upload("big.mp4", HUNDRED_MEGABYTES);
    let (ended, watcher) = watch(&world, "big.mp4", world.drive.content_sha256(&id).unwrap());
    for quarter in 1..3 {
        world
            .wait("a part is there", async || {
                world
                    .parts()
                    .iter()
                    .any(|part| part.metadata().is_ok_and(|m| m.len() > quarter * HUNDRED_MEGABYTES / 4))
            })
            .await;
        world.kill();
        world.start().await;
    }
    world.wait_for_file("big.mp4").await;
    world.wait_until_idle().await;
    ended.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().unwrap(), Vec::<String>::new());
    world.assert_same("big.mp4", &id);
    assert_eq!(world.delivered(), ["big.mp4"]);
    assert!(world.parts().is_empty());

    let media: Vec<_> = world.drive.requests().into_iter().filter(|r| r.operation == "files.media").collect();
    assert_eq!(media.len(), 3, "{media:?}");
    let from = |range: &Option<String>| -> u64 {
        range.as_deref().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
    };
    assert!(from(&media[1].range) > HUNDRED_MEGABYTES / 4 && from(&media[2].range) > HUNDRED_MEGABYTES / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_keeps_what_is_there() {
    let mut world = World::running("").await;
    world.drive.set_rate(Some(5_000_000));
    let id = world.upload("big.mp4", 20_000_000);
    world
        .wait("a part is there", async || {
            world.parts().iter().any(|part| part.metadata().is_ok_and(|m| m.len() > 2_000_000))
        })
        .await;
    assert_eq!(world.terminate().await, 0, "a stop in the middle of a download is an orderly end");
    let kept = world.parts()[0].metadata().unwrap().len();
    assert!(kept > 2_000_000);
    world.drive.set_rate(None);
    world.start().await;
    world.wait_for_file("big.mp4").await;
    world.assert_same("big.mp4", &id);
    let ranges: Vec<_> = world
        .drive
        .requests()
        .into_iter()
        .filter(|r| r.operation == "files.media")
        .filter_map(|r| r.range)
        .collect();
    assert_eq!(ranges, [format!("bytes={kept}-")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_ledger_is_refused() {
    let world = World::running("").await;
    let output = world.output(&["sync"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::world::text(&output.stderr).contains("in use by another gdrive-webhook"));
}
