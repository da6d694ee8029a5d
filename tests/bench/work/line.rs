//! One file over a line whose connections are slow and far away: what several streams are for.

use std::time::Duration;

use crate::Bench;
use crate::daemon::{Daemon, accepts};
use crate::race::{Contestant, race};
use crate::report::{Goal, Section, size};
use crate::server::{Scheme, Server};

const SEED: u64 = 2;
const RATE: u64 = 50_000_000;
const ROUND_TRIP: Duration = Duration::from_millis(30);

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    let server = Server::emulator(bench)?;
    let files = [server.publish("film.mp4", SEED, bench.options.line_size)?];
    let streams = |count: u32| format!("[download]\nstreams = {count}\n");
    let counts: &[u32] = if accepts(&server, &streams(4))? { &[4, 1] } else { &[] };
    let mut contestants: Vec<Box<dyn Contestant + '_>> = Vec::new();
    for count in counts {
        contestants.push(Box::new(Daemon {
            name: format!("gdrive-webhook sync, streams = {count}"),
            server: &server,
            scheme: Scheme::Http,
            more: streams(*count),
        }));
    }
    if counts.is_empty() {
        bench.leave_out("a daemon with `download.streams`: several streams are not compared with one");
        contestants.push(Box::new(Daemon {
            name: "gdrive-webhook sync".to_owned(),
            server: &server,
            scheme: Scheme::Http,
            more: String::new(),
        }));
    }
    server.drive.set_rate(Some(RATE));
    server.drive.set_latency(ROUND_TRIP);
    let mut section = Section::new(format!(
        "One file of {} at 50 MB/s per connection and 30 ms per round trip",
        size(bench.options.line_size)
    ));
    section.lines = race(&server, &files, &mut contestants)?;
    section.compare(0, "gdrive-webhook sync, streams = 1", Goal::AtLeast(3.6));
    section
        .notes
        .push("The emulator serves these bytes itself, and holds each connection to that rate.".to_owned());
    Ok(vec![section])
}
