//! Foreign changes to catch up with: reading the log, and finding nothing in it.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::backlog::{UpToDate, foreign_changes};
use crate::Bench;
use crate::process::{self, Cost};
use crate::report::{Comparison, Goal, Line, Section, Unit, median};
use crate::server::{Scheme, Server};

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    let count = bench.options.changes;
    let server = Server::emulator(bench)?;
    let home = UpToDate::make(&server, Scheme::Http, "")?;
    foreign_changes(&server, count);
    server.drive.clear_requests();
    home.catch_up()?;
    let pages: Vec<(String, String)> = server
        .drive
        .requests()
        .into_iter()
        .filter(|request| request.operation == "changes.list")
        .map(|request| (request.path, request.query))
        .collect();
    let mut section = Section::new(format!("{count} foreign changes caught up with"));
    let mut ours = Line::new("gdrive-webhook sync", Unit::Seconds);
    let mut theirs = Line::new("curl, the same pages over one connection", Unit::Seconds);
    let (mut our_server, mut their_server) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.rounds {
        served(&server, &mut ours, &mut our_server, || home.catch_up())?;
        if bench.tools.curl.is_some() {
            served(&server, &mut theirs, &mut their_server, || curl(&server, &pages))?;
        }
    }
    let share = |line: &Line, server: &[f64]| 100.0 * median(server) / line.median().max(f64::MIN_POSITIVE);
    section.notes.push(format!(
        "{} pages. The server took its part: {:.2} s of CPU time for the daemon ({:.0} % of the time), {:.2} s for curl ({:.0} %).",
        pages.len(),
        median(&our_server),
        share(&ours, &our_server),
        median(&their_server),
        share(&theirs, &their_server),
    ));
    section.comparisons.push(Comparison {
        what: "CPU time of the daemon for a thousand changes".to_owned(),
        value: ours.cpu() * 1e6 / count as f64,
        goal: Goal::None,
        unit: " ms",
    });
    section.lines = vec![ours];
    if bench.tools.curl.is_some() {
        section.lines.push(theirs);
        section.comparisons.push(Comparison {
            what: "gdrive-webhook, times curl's time".to_owned(),
            value: section.lines[0].median() / section.lines[1].median(),
            goal: Goal::AtMost(3.0),
            unit: "×",
        });
    }
    Ok(vec![section])
}

/// Runs it, and notes what the server spent meanwhile.
fn served(
    server: &Server<'_>,
    line: &mut Line,
    spent: &mut Vec<f64>,
    run: impl FnOnce() -> anyhow::Result<Cost>,
) -> anyhow::Result<()> {
    let before = server.cpu();
    let cost = run()?;
    spent.push(server.cpu().saturating_sub(before).as_secs_f64());
    server.bench.say(&format!("  {} {:.2} s", line.name, cost.wall.as_secs_f64()));
    line.add(cost);
    Ok(())
}

/// One process, one connection, the very requests that the daemon made. Like Google, the emulator compresses its answers
/// only for clients that say `gzip` in their `User-Agent`, which the daemon does.
fn curl(server: &Server<'_>, pages: &[(String, String)]) -> anyhow::Result<Cost> {
    let place = &server.bench.place;
    let mut config = format!(
        "header = \"Authorization: Bearer {}\"\nfail\nsilent\nshow-error\ncompressed\nuser-agent = \"curl (gzip)\"\nnoproxy = \"*\"\n",
        server.drive.access_token()
    );
    for (path, query) in pages {
        writeln!(config, "url = \"{}{path}?{query}\"\noutput = \"/dev/null\"", server.drive.url())?;
    }
    let said = place.join("pages.conf");
    fs::write(&said, config)?;
    let program = server.bench.tools.curl.as_deref().unwrap_or_else(|| std::path::Path::new("curl"));
    let mut command = Command::new(program);
    command.args(["-q", "--globoff", "-K"]).arg(&said);
    process::run(&mut command, &place.join("curl.log"), Duration::from_mins(5))
}
