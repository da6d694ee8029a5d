//! What the daemon needs at its worst, and when nothing happens that concerns it.

use std::time::{Duration, Instant};

use super::backlog::{UpToDate, foreign_change, foreign_changes};
use crate::Bench;
use crate::daemon::{Home, accepts, webhook};
use crate::report::{Comparison, Goal, Line, Section, Unit, size};
use crate::server::{Scheme, Server, check};

const SEED: u64 = 1;
const MOST: f64 = 48.0;
const MOST_IDLE: f64 = 16.0;

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    let mut section = Section::new("Memory of the daemon");
    let file = size(bench.options.size);
    let changes = bench.options.changes;
    let cases = [
        (format!("{file} over TLS"), true, 0),
        (format!("a backlog of {changes} changes"), false, changes),
        ("both at once".to_owned(), true, changes),
    ];
    for (name, with_file, changes) in cases {
        let (peak, streams) = peak(bench, with_file, changes)?;
        let name = if with_file { format!("{name}, {streams}") } else { name };
        add(&mut section, bench, &name, peak, MOST);
    }
    let idle = idle(bench)?;
    let minutes = bench.options.idle.as_secs_f64() / 60.0;
    add(&mut section, bench, &format!("idle after {minutes:.0} min of changes"), idle, MOST_IDLE);
    section.notes.push("The first three are the most that was resident at any time during `sync`; the last is `run`, after twenty foreign changes a second, each with its notification.".to_owned());
    Ok(vec![section])
}

fn add(section: &mut Section, bench: &Bench, name: &str, bytes: u64, most: f64) {
    let value = bytes as f64 / f64::from(1 << 20);
    bench.say(&format!("  {name}: {value:.1} MiB"));
    let goal = Goal::AtMost(most);
    section.comparisons.push(Comparison { what: name.to_owned(), value, goal, unit: " MiB" });
    section.lines.push(Line::of(format!("gdrive-webhook: {name}"), Unit::Mebibytes, vec![value]));
}

/// The most that was resident during one `sync`, and over how many streams the file came.
fn peak(bench: &Bench, with_file: bool, changes: usize) -> anyhow::Result<(u64, &'static str)> {
    let server = Server::start(bench)?;
    let scheme = if bench.certificate.is_some() { Scheme::Https } else { Scheme::Http };
    let streams = "[download]\nstreams = 4\n";
    let (more, how) = if accepts(&server, streams)? { (streams, "4 streams") } else { ("", "1 stream") };
    let home = UpToDate::make(&server, scheme, more)?;
    let mut files = Vec::new();
    if with_file {
        files.push(server.publish("film.mp4", SEED, bench.options.size)?);
    }
    foreign_changes(&server, changes);
    let cost = home.catch_up()?;
    if with_file {
        check(&files, &home.home.files)?;
        crate::place::remove(&home.home.path)?;
    }
    Ok((cost.peak, how))
}

/// What is resident when foreign changes, and notifications of them, have been coming for a while.
fn idle(bench: &Bench) -> anyhow::Result<u64> {
    const BETWEEN: Duration = Duration::from_millis(50);
    const REST: Duration = Duration::from_secs(3);
    let server = Server::emulator(bench)?;
    let home = Home::make(&server, Scheme::Http, bench.place.fresh("home")?, &webhook()?, "")?;
    let mut running = home.run(bench)?;
    let elsewhere = server.drive.folder(&server.drive.root_id(), "Elsewhere");
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < bench.options.idle {
        foreign_change(&server, &elsewhere, count);
        count += 1;
        std::thread::sleep(BETWEEN);
    }
    std::thread::sleep(REST);
    running.check(&home.log())?;
    Ok(running.resident())
}
