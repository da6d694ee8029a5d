//! One daemon for a long time, with users at work and all faults at random: what it holds must not grow.
//!
//! `SOAK_SECONDS` says for how long; the suite looks for a moment only.

use std::fs;
use std::time::{Duration, Instant};

use super::play::Play;
use crate::luck;

/// What the process holds at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// KiB.
    resident: u64,
    handles: u64,
    threads: u64,
    tasks: u64,
}

async fn sample(play: &Play) -> Sample {
    let pid = play.world.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    };
    let process = play.world.status().await["process"].clone();
    Sample {
        resident: number("VmRSS"),
        handles: process["open_files"].as_u64().unwrap(),
        threads: number("Threads"),
        tasks: process["tasks"].as_u64().unwrap(),
    }
}

/// The middle one of the samples of a stretch: single moments go up and down with what is under way.
fn middle(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_holds_does_not_grow_with_time() {
    let seconds = luck::number("SOAK_SECONDS").unwrap_or(20);
    let mut play = Play::new(luck::seed("SOAK_SEED")).await;
    play.world.start().await;
    let began = Instant::now();
    let (mut samples, mut cleared, mut steps) = (Vec::new(), Instant::now(), 0_u64);
    // A machine that is busy with other things takes longer to show as much.
    while began.elapsed() < Duration::from_secs(seconds) || samples.len() < 10 {
        play.step();
        steps += 1;
        if cleared.elapsed() > Duration::from_mins(1) {
            play.clear_faults();
            cleared = Instant::now();
            println!("{:>5} s {steps:>6} steps {:?}", began.elapsed().as_secs(), samples.last());
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        if steps.is_multiple_of(8) {
            assert!(play.world.is_running(), "the daemon has ended by itself\n{}", play.world.log());
            samples.push(sample(&play).await);
        }
    }
    // A tenth of the time to warm up, then the same stretch at the beginning and at the end.
    let stretch = samples.len() / 10;
    let (early, late) = (&samples[stretch..2 * stretch], &samples[samples.len() - stretch..]);
    for (what, of) in [
        ("resident KiB", (|s: &Sample| s.resident) as fn(&Sample) -> u64),
        ("handles", |s| s.handles),
        ("threads", |s| s.threads),
        ("tasks", |s| s.tasks),
    ] {
        let (then, now) = (middle(early, of), middle(late, of));
        println!("{what}: {then} after a tenth of the time, {now} at the end");
        // Of things that are counted in dozens, some are under way at any moment.
        let slack = if what == "resident KiB" { then / 10 } else { then / 10 + 12 };
        // A moment is too short for the memory to have found its level.
        let is_settled = what != "resident KiB" || seconds >= 600;
        assert!(!is_settled || now <= then + slack, "{what} grew from {then} to {now}");
    }
    let wrong = play.end().await;
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), play.story());
}
