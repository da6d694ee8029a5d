//! `kill -9`, and what is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::luck::{self, Luck};
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
    let mut world = World::running("[download]\nstreams = 1").await;
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
    let mut world = World::running("[download]\nstreams = 1").await;
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

/// Kills the daemon again and again at random moments while files come in; in the end each is there once and whole,
/// and nobody has ever seen one that was not. `CRASH_KILLS` and `CRASH_SEED` make it longer or repeat it.
#[tokio::test(flavor = "multi_thread")]
async fn random_kills_lose_nothing_double_nothing_and_show_nothing_half_made() {
    let kills = luck::number("CRASH_KILLS").unwrap_or(20);
    let mut luck = Luck::new(luck::seed("CRASH_SEED"));
    let mut world = World::running("[sync]\npoll = \"1s\"\n[download]\nconcurrency = 3").await;
    world.drive.set_rate(Some(8_000_000));
    let mut uploads: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let right: Arc<std::sync::Mutex<std::collections::HashMap<String, Vec<String>>>> = Arc::default();
    let (ended, watcher) = watch_all(&world, right.clone());
    for round in 0..kills {
        for _ in 0..=luck.below(3) {
            let name = format!("{:03}.mp4", uploads.len());
            let size = 1 + luck.below(4_000_000);
            let known = right.clone();
            // The watcher has to know the content before anybody can deliver it.
            known.lock().unwrap().entry(name.clone()).or_default().push(sha256_of(&name, size));
            let id = world.upload(&name, size);
            uploads.insert(name, id);
        }
        tokio::time::sleep(std::time::Duration::from_millis(luck.below(700))).await;
        world.kill();
        if round % 3 == 0 {
            world.spawn();
        } else {
            world.start().await;
        }
    }
    world.until_ready().await;
    let names: Vec<String> = uploads.keys().cloned().collect();
    world
        .wait_for("all are delivered", std::time::Duration::from_mins(2), async || world.delivered() == names)
        .await;
    world.wait_until_idle().await;
    ended.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().unwrap(), Vec::<String>::new());
    assert_eq!(world.delivered(), names, "each once");
    for (name, id) in &uploads {
        world.assert_same(name, id);
    }
    assert_eq!(world.status().await["deliveries"]["done"].as_u64().unwrap() as usize, uploads.len());
    assert!(world.parts().is_empty(), "{:?}", world.parts());
}

fn sha256_of(name: &str, size: u64) -> String {
    use sha2::{Digest, Sha256};
    let content = crate::world::content_of(name, size);
    Sha256::digest(content.slice(0, size as usize)).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads every file at the destination all the time.
fn watch_all(
    world: &World,
    right: Arc<std::sync::Mutex<std::collections::HashMap<String, Vec<String>>>>,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<Vec<String>>) {
    let videos = world.videos();
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    let thread = std::thread::spawn(move || {
        let mut wrong = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while !end.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir(&videos).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with('.') || !seen.insert(name.clone()) {
                    continue;
                }
                let digest = sha256(&entry.path());
                if !right.lock().unwrap().get(&name).is_some_and(|known| known.contains(&digest)) {
                    wrong.push(format!("{name} is visible and not whole"));
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        wrong
    });
    (ended, thread)
}
