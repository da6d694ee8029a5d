//! Random users, random faults and random crashes against the daemon, held against a plain picture of the rules.
//!
//! `MODEL_SEQUENCES` says how many sequences are played, `MODEL_AT_ONCE` how many of them side by side, `MODEL_SEED`
//! which one is the first: each sequence follows from its seed.

mod audited;
mod beforehand;
mod cleaner;
mod destination;
mod disk;
mod others;
mod plain;
mod play;
mod soak;
mod trouble;
mod user;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::luck;
use play::{Counts, Play};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_users_faults_and_crashes_do_the_destination_is_what_the_rules_say() {
    let sequences = luck::number("MODEL_SEQUENCES").unwrap_or(24);
    let at_once = luck::number("MODEL_AT_ONCE").unwrap_or(12);
    let first = luck::seed("MODEL_SEED");
    let places = Arc::new(Semaphore::new(at_once as usize));
    let (mut plays, mut seeds) = (JoinSet::new(), HashMap::new());
    for seed in first..first + sequences {
        let (place, runtime) = (places.clone().acquire_owned().await.unwrap(), Handle::current());
        // A thread each: a sequence waits for processes and reads files.
        let play = plays.spawn_blocking(move || {
            let _place = place;
            runtime.block_on(async {
                let mut play = Play::new(seed).await;
                let wrong = play.run().await;
                let violation = (!wrong.is_empty())
                    .then(|| format!("MODEL_SEED={seed}\n{}\n{}", wrong.join("\n"), play.story()));
                (violation, std::mem::take(&mut play.counts))
            })
        });
        seeds.insert(play.id(), seed);
    }
    let (mut violations, mut counts) = (Vec::new(), Counts::new());
    let mut played = 0_u64;
    while let Some(ended) = plays.join_next().await {
        let (violation, counted) = ended.unwrap_or_else(|error| {
            let seed = seeds.get(&error.id()).copied().unwrap_or_default();
            (Some(format!("MODEL_SEED={seed}\n{error}")), Counts::new())
        });
        violations.extend(violation);
        for (what, count) in counted {
            *counts.entry(what).or_default() += count;
        }
        played += 1;
        if played.is_multiple_of(100) {
            println!("{played} sequences played, {} violations", violations.len());
        }
    }
    println!("rarer hands: {counts:?}");
    assert!(
        violations.is_empty(),
        "{} of {sequences} sequences:\n{}",
        violations.len(),
        violations.join("\n\n")
    );
    println!("{sequences} sequences, no violation");
}

/// How long a sequence may take to heal after its last fault: the longest waits between attempts are below it.
const HEALING: Duration = Duration::from_mins(3);
