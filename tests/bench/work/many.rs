//! Many small files, over TLS, because rclone knows no other way.

use crate::Bench;
use crate::curl::{Care, Curl};
use crate::daemon::Daemon;
use crate::listener::Listener;
use crate::race::{Contestant, race};
use crate::rclone::Rclone;
use crate::report::{Goal, Section};
use crate::server::{Published, Scheme, Server};

const FILE_SIZE: u64 = 1 << 20;
const FIRST_SEED: u64 = 1000;

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    if bench.certificate.is_none() {
        return Ok(Vec::new());
    }
    let server = Server::start(bench)?;
    let token = super::page_token(&server)?;
    let files: Vec<Published> = (0..bench.options.files)
        .map(|n| server.publish(&format!("clip-{n:05}.mp4"), FIRST_SEED + n, FILE_SIZE))
        .collect::<anyhow::Result<_>>()?;
    let scheme = Scheme::Https;
    let mut contestants: Vec<Box<dyn Contestant + '_>> = Vec::new();
    for (name, more) in [
        ("gdrive-webhook sync", String::new()),
        ("gdrive-webhook sync, concurrency = 16", "[download]\nconcurrency = 16\n".to_owned()),
    ] {
        contestants.push(Box::new(Daemon { name: name.to_owned(), server: &server, scheme, more }));
    }
    if let Some(program) = bench.tools.rclone.clone() {
        contestants.push(Box::new(Rclone { program, server: &server, transfers: 16, streams: 1 }));
    }
    if let Some(program) = bench.tools.curl.clone() {
        contestants.push(Box::new(Curl {
            program,
            server: &server,
            scheme,
            files: &files,
            care: Care::None,
        }));
    }
    if let Some(python) = bench.tools.python.clone() {
        contestants.push(Box::new(Listener { python, server: &server, scheme, page_token: token }));
    }
    let mut section = Section::new(format!("{} files of 1 MiB over TLS", files.len()));
    section.lines = race(&server, &files, &mut contestants)?;
    for (ours, goal) in [(0, Goal::AtLeast(1.5)), (1, Goal::None)] {
        section.compare(ours, "rclone", goal);
        section.compare(ours, "curl", Goal::None);
    }
    Ok(vec![section])
}
