//! One large file, plain and over TLS, and what TLS and verification cost in CPU time.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::page_token;
use crate::Bench;
use crate::curl::{Care, Curl};
use crate::daemon::Daemon;
use crate::listener::Listener;
use crate::race::{Contestant, race};
use crate::rclone::Rclone;
use crate::report::{Comparison, Goal, Line, Section, Unit, median, size};
use crate::server::{Published, Scheme, Server, each_piece};

const SEED: u64 = 1;
const NAME: &str = "film.mp4";

pub(crate) fn plain(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    let server = Server::start(bench)?;
    let files = [server.publish(NAME, SEED, bench.options.size)?];
    let mut section = Section::new(format!("One file of {} over HTTP", size(bench.options.size)));
    let mut contestants = vec![daemon(&server, Scheme::Http), single(&server, Scheme::Http)];
    contestants.extend(curls(&server, Scheme::Http, &files));
    section.lines = race(&server, &files, &mut contestants)?;
    section.compare(0, "curl -o", Goal::AtLeast(1.5));
    section.notes.push(PROMISE.to_owned());
    Ok(vec![section])
}

const PROMISE: &str = "The daemon's time is from the start of the process to its end, with login and listing; the file is verified by SHA-256, fsynced and in its place. `curl -o` does neither.";

pub(crate) fn tls(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    if bench.certificate.is_none() {
        return Ok(Vec::new());
    }
    let server = Server::start(bench)?;
    let token = page_token(&server)?;
    let files = [server.publish(NAME, SEED, bench.options.size)?];
    let mut section = Section::new(format!("One file of {} over TLS", size(bench.options.size)));
    let mut contestants = vec![daemon(&server, Scheme::Https), single(&server, Scheme::Https)];
    contestants.extend(curls(&server, Scheme::Https, &files));
    if let Some(program) = &bench.tools.rclone {
        for streams in [1, 4] {
            let program = program.clone();
            contestants.push(Box::new(Rclone { program, server: &server, transfers: 1, streams }));
        }
    }
    if let Some(python) = &bench.tools.python {
        contestants.push(Box::new(Listener {
            python: python.clone(),
            server: &server,
            scheme: Scheme::Https,
            page_token: token,
        }));
    }
    section.lines = race(&server, &files, &mut contestants)?;
    drop(contestants);
    section.compare(0, "curl -o", Goal::AtLeast(1.2));
    section.compare(0, "rclone", Goal::AtLeast(1.8));
    section.compare(0, "Flask", Goal::None);
    section.notes.push("rclone compares checksums, the listener nothing; its time is from the notification to the last byte in its file.".to_owned());
    let cpu = cpu(bench, &section, &files[0])?;
    Ok([Some(section), cpu].into_iter().flatten().collect())
}

/// The CPU seconds of the daemon beside those of curl and of the hash alone.
fn cpu(bench: &Bench, tls: &Section, file: &Published) -> anyhow::Result<Option<Section>> {
    let per_gib = f64::from(1 << 30) / file.size as f64;
    let scaled = |name: &str, line: &Line| {
        Line::of(name, Unit::Seconds, line.cpu.iter().map(|seconds| seconds * per_gib).collect())
    };
    let Some(curl) = tls.lines.iter().find(|line| line.name == "curl -o" && line.ran()) else {
        return Ok(None);
    };
    let path = bench.place.path().join("media").join(&file.id);
    if !path.exists() {
        return Ok(None);
    }
    let mut hash = Vec::new();
    for _ in 0..bench.options.rounds {
        hash.push(hash_seconds(&path)? * per_gib);
    }
    let mut section = Section::new("CPU seconds per GiB over TLS");
    section.lines = vec![
        scaled("gdrive-webhook sync, verified", &tls.lines[0]),
        scaled("curl -o", curl),
        Line::of("SHA-256 of the same bytes", Unit::Seconds, hash.clone()),
    ];
    let (ours, theirs) = (section.lines[0].median(), section.lines[1].median() + median(&hash));
    section.comparisons.push(Comparison {
        what: "gdrive-webhook, as a share of curl and the hash together".to_owned(),
        value: ours / theirs,
        goal: Goal::None,
        unit: "×",
    });
    Ok(Some(section))
}

/// CPU seconds of the hash alone, without reading.
fn hash_seconds(path: &std::path::Path) -> anyhow::Result<f64> {
    let (mut hash, mut spent) = (Sha256::new(), Duration::ZERO);
    each_piece(path, |bytes| {
        let before = thread_cpu();
        hash.update(bytes);
        spent += thread_cpu().saturating_sub(before);
    })?;
    std::hint::black_box(hash.finalize());
    Ok(spent.as_secs_f64())
}

/// CPU time of this thread, in nanoseconds as the scheduler counts it.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn daemon<'a>(server: &'a Server<'a>, scheme: Scheme) -> Box<dyn Contestant + 'a> {
    Box::new(Daemon { name: "gdrive-webhook sync".to_owned(), server, scheme, more: String::new() })
}

/// The same without a second connection: what looking for a faster way costs where there is none.
fn single<'a>(server: &'a Server<'a>, scheme: Scheme) -> Box<dyn Contestant + 'a> {
    let more = "[download]\nstreams = 1\n".to_owned();
    Box::new(Daemon { name: "gdrive-webhook sync, streams = 1".to_owned(), server, scheme, more })
}

fn curls<'a>(
    server: &'a Server<'a>,
    scheme: Scheme,
    files: &'a [Published],
) -> impl Iterator<Item = Box<dyn Contestant + 'a>> {
    let program = server.bench.tools.curl.clone();
    let care = program
        .into_iter()
        .flat_map(|program| [Care::None, Care::Verified].map(|care| (program.clone(), care)));
    care.map(move |(program, care)| Box::new(Curl { program, server, scheme, files, care }) as Box<_>)
}
