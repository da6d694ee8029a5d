//! From a file in the folder to the file on the disk, through the running daemon.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use drive_emulator::{Content, Upload};

use crate::Bench;
use crate::daemon::{Home, webhook};
use crate::report::{Comparison, Goal, Line, Section, Unit};
use crate::server::{Scheme, Server};

const SIZE: u64 = 1 << 20;
const FIRST_SEED: u64 = 5000;
/// Notifications that come close behind each other are gathered into one step: 250 ms after the last. Each file is to
/// meet a daemon, and a disk, that have come to rest.
const APART: Duration = Duration::from_millis(600);

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    let server = Server::emulator(bench)?;
    let count = bench.options.deliveries as u64;
    // Checksums are made when a content is uploaded first: not in the measured time.
    let elsewhere = server.drive.folder(&server.drive.root_id(), "Elsewhere");
    let contents: Vec<Content> = (0..count).map(|n| Content::pattern(FIRST_SEED + n, SIZE)).collect();
    for (n, content) in contents.iter().enumerate() {
        server.drive.upload(Upload::new(&elsewhere, &format!("{n}.txt"), content.clone()));
    }
    let home = Home::make(&server, Scheme::Http, bench.place.fresh("latency")?, &webhook()?, "")?;
    let running = home.run(bench)?;
    let mut delivered = Vec::new();
    // Behind the first message of its channel.
    std::thread::sleep(APART);
    for (n, content) in contents.iter().enumerate() {
        let name = format!("clip-{n:05}.mp4");
        delivered.push(deliver(&server, &home, &name, content)?);
        std::thread::sleep(APART);
    }
    let disk = fsyncs(&home.path, bench.options.deliveries)?;
    let calls = round_trips(&server, bench.options.deliveries)?;
    drop(running);
    let mut section = Section::new("From the upload of 1 MiB to the file in its place");
    let line = Line::of("gdrive-webhook run", Unit::Milliseconds, delivered);
    section.comparisons.push(Comparison {
        what: "median".to_owned(),
        value: line.median(),
        goal: Goal::AtMost(25.0),
        unit: " ms",
    });
    section.lines = vec![
        line,
        Line::of("the disk alone: write, fsync, rename, fsync", Unit::Milliseconds, disk),
        Line::of("one HTTP request over a kept connection", Unit::Milliseconds, calls),
    ];
    section.notes.push(
        "In between: a notification, a listing of changes, the media, and transactions of the ledger, each of which reaches the disk.".to_owned(),
    );
    Ok(vec![section])
}

/// Milliseconds from the upload to the final name.
fn deliver(server: &Server<'_>, home: &Home, name: &str, content: &Content) -> anyhow::Result<f64> {
    let path = home.files.join(name);
    let began = Instant::now();
    let id = server.drive.upload(Upload::new(&server.inbox, name, content.clone()));
    while !path.exists() {
        ensure!(began.elapsed() < Duration::from_secs(30), "{name} does not come");
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = began.elapsed();
    let sha256 = server.drive.content_sha256(&id);
    ensure!(Some(crate::server::sha256(&path)?) == sha256, "{name} is not what Drive has");
    Ok(took.as_secs_f64() * 1e3)
}

/// Milliseconds that the disk takes for what every delivery asks of it.
fn fsyncs(directory: &Path, count: usize) -> anyhow::Result<Vec<f64>> {
    let bytes = Content::pattern(FIRST_SEED, SIZE).slice(0, SIZE as usize);
    let mut times = Vec::new();
    for n in 0..count {
        let (part, name) = (directory.join("probe.part"), directory.join(format!("probe-{n}")));
        let began = Instant::now();
        let mut file = File::create(&part)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&part, &name)?;
        File::open(directory)?.sync_all()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(times)
}

/// Milliseconds of a call that the emulator has nothing to do for.
fn round_trips(server: &Server<'_>, count: usize) -> anyhow::Result<Vec<f64>> {
    let client = crate::client()?;
    let url = format!("{}/drive/v3/changes/startPageToken", server.drive.url());
    let token = server.drive.access_token();
    let mut times = Vec::new();
    server.bench.runtime.block_on(async {
        for _ in 0..=count {
            let began = Instant::now();
            client.get(&url).bearer_auth(&token).send().await?.error_for_status()?.bytes().await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(())
    })?;
    // The first one had to connect.
    times.remove(0);
    Ok(times)
}
