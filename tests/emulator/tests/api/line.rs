//! A line that is slow and long: what each connection carries, and how long a round trip takes.

use std::time::{Duration, Instant};

use drive_emulator::{Content, Upload};

use crate::support::{Drive, drive};

const RATE: u64 = 4_000_000;
const SIZE: u64 = 2_000_000;

/// Bytes per second of a body, from its head to its end.
async fn rate(drive: &Drive, id: &str) -> f64 {
    let response = drive.media(id, None).await;
    let began = Instant::now();
    assert_eq!(response.bytes().await.unwrap().len() as u64, SIZE);
    SIZE as f64 / began.elapsed().as_secs_f64()
}

#[tokio::test]
async fn each_connection_carries_what_it_is_told_to() {
    const CLOSE: f64 = 0.03;
    const TRIES: usize = 10;
    let drive = drive().await;
    let id =
        drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", Content::pattern(3, SIZE)));
    drive.emulator.set_rate(Some(RATE));
    let mut found = Vec::new();
    // A busy machine may slow it down, but nothing may make it faster.
    for _ in 0..TRIES {
        let (a, b) = tokio::join!(rate(&drive, &id), rate(&drive, &id));
        found.extend([a / RATE as f64, b / RATE as f64]);
        assert!(found.iter().all(|share| *share < 1.0 + CLOSE), "{found:?}");
        if a.min(b) > RATE as f64 * (1.0 - CLOSE) {
            return;
        }
    }
    panic!("never near enough: {found:?}");
}

#[tokio::test]
async fn whoever_reads_late_does_not_get_everything_at_once() {
    let drive = drive().await;
    let size = 40_000_000;
    let id =
        drive.emulator.upload(Upload::new(&drive.emulator.root_id(), "a.mp4", Content::pattern(3, size)));
    let rate = 20_000_000;
    drive.emulator.set_rate(Some(rate));
    let mut response = drive.media(&id, None).await;
    // The buffers of two sockets hold less than comes in this time.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    let mut read = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        read += piece.len() as u64;
    }
    assert_eq!(read, size);
    let at_once = size as f64 - rate as f64 * began.elapsed().as_secs_f64();
    assert!(at_once < 1.2 * rate as f64, "{at_once} bytes came without being due");
}

#[tokio::test]
async fn a_round_trip_comes_before_each_connection_and_each_answer() {
    const ROUND_TRIP: Duration = Duration::from_millis(100);
    let drive = drive().await;
    drive.emulator.set_latency(ROUND_TRIP);
    let began = Instant::now();
    drive.ok("/drive/v3/changes/startPageToken").await;
    assert!(began.elapsed() >= 2 * ROUND_TRIP, "connecting and asking: {:?}", began.elapsed());
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        drive.ok("/drive/v3/changes/startPageToken").await;
        fastest = fastest.min(began.elapsed());
    }
    assert!((ROUND_TRIP..2 * ROUND_TRIP).contains(&fastest), "asking: {fastest:?}");
}
