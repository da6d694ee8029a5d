//! What each statement of the daemon takes when the ledger is large, by the daemon's own log.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use drive_emulator::{Content, Upload};
use serde_json::Value;

use super::backlog::UpToDate;
use crate::Bench;
use crate::process;
use crate::report::{Comparison, Goal, Line, Section, Unit};
use crate::server::Server;

const LIMIT: Duration = Duration::from_mins(10);
/// New files, so that whatever a delivery takes is measured as well.
const NEW: usize = 200;
/// As many statements are shown, the slowest first.
const SHOWN: usize = 8;
/// No statement takes longer, at the median.
const MOST: f64 = 5.0;

pub(crate) fn measure(
    bench: &Bench,
    server: &Server<'_>,
    home: &UpToDate,
    known: u64,
    ledger: &Path,
) -> anyhow::Result<Section> {
    for n in 0..NEW {
        server.drive.upload(Upload::new(
            &server.inbox,
            &format!("new-{n:06}.mp4"),
            Content::pattern(n as u64, 100),
        ));
    }
    let config = home.home.path.join("gdrive-webhook.toml");
    let text = fs::read_to_string(&config)?;
    let logged = home.home.path.join("logged.toml");
    fs::write(&logged, format!("[log]\nlevel = \"info,sqlx::query=debug\"\nformat = \"json\"\n{text}"))?;
    home.put_back(ledger)?;
    let arguments = ["--config", "logged.toml", "sync"];
    process::run(&mut home.home.command(&arguments), &home.home.log(), LIMIT)?;
    let mut lines = read(&fs::read_to_string(home.home.log())?);
    ensure!(lines.len() > 10, "the daemon does not log its statements");
    lines.sort_by(|a, b| b.median().total_cmp(&a.median()));
    bench.say(&format!("  {} statements", lines.len()));
    let mut section = Section::new(format!("The slowest statements of a sync, {known} known files"));
    let slowest = lines.first().map_or(0.0, Line::median);
    section.comparisons.push(Comparison {
        what: "the slowest statement at the median".to_owned(),
        value: slowest,
        goal: Goal::AtMost(MOST),
        unit: "ms",
    });
    lines.truncate(SHOWN);
    section.lines = lines;
    section.notes.push("A statement by itself includes what the disk takes to make it durable.".to_owned());
    Ok(section)
}

/// How long each statement took each time, in milliseconds.
fn read(log: &str) -> Vec<Line> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in events.filter(|event| event["target"] == "sqlx::query") {
        let summary = event["summary"].as_str().unwrap_or_default();
        let whole = event["db.statement"].as_str().map(str::trim).filter(|text| !text.is_empty());
        let name: String = whole.unwrap_or(summary).chars().take(100).collect();
        // What the program does once is no part of a step.
        let is_setup = ["pragma", "create", "PRAGMA"].iter().any(|word| name.starts_with(word));
        if let (false, Some(seconds)) = (is_setup, event["elapsed_secs"].as_f64()) {
            times.entry(name).or_default().push(seconds * 1000.0);
        }
    }
    times.into_iter().map(|(name, values)| Line::of(name, Unit::Milliseconds, values)).collect()
}
