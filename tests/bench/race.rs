//! Contestants in turn, round after round, so that whatever else the machine does strikes all of them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::process::Cost;
use crate::report::{Line, Unit};
use crate::server::{Published, Server, check};

pub(crate) trait Contestant {
    fn name(&self) -> String;

    /// Brings the files into `files` below this directory, which is empty otherwise.
    fn fetch(&mut self, into: &Path, limit: Duration) -> anyhow::Result<Cost>;
}

/// Everybody's turn, as often as there are rounds. What is on the disk afterwards is checked outside the time.
pub(crate) fn race(
    server: &Server<'_>,
    files: &[Published],
    contestants: &mut [Box<dyn Contestant + '_>],
) -> anyhow::Result<Vec<Line>> {
    let bench = server.bench;
    let mut lines: Vec<Line> =
        contestants.iter().map(|contestant| Line::new(contestant.name(), Unit::Seconds)).collect();
    let bytes = files.iter().map(|file| file.size).sum();
    // Slower than this is no contestant, but a hang.
    let limit = Duration::from_mins(2) + Duration::from_secs(bytes / (4 << 20));
    // Where many files were deleted, ext4 takes long to find an inode for the next minute: those stay until the end,
    // without their bytes.
    let keep = files.len() > 1;
    for round in 1..=bench.options.rounds {
        for turn in 0..contestants.len() {
            // Nobody is always first, or always behind the same one.
            let next = (turn + round - 1) % contestants.len();
            let (contestant, line) = (&mut contestants[next], &mut lines[next]);
            if bench.options.only.as_ref().is_some_and(|only| !contestant.name().contains(only)) {
                continue;
            }
            let into = if keep {
                bench.place.fresh(&format!("round-{round}-{next}"))?
            } else {
                bench.place.fresh("round")?
            };
            let cost = contestant.fetch(&into, limit).with_context(|| contestant.name())?;
            check(files, &into.join("files")).with_context(|| contestant.name())?;
            if keep {
                crate::place::empty(&into.join("files"))?;
            }
            bench.say(&format!(
                "  round {round}: {} {:.2} s, {:.2} s CPU",
                contestant.name(),
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64()
            ));
            line.add(cost);
            line.bytes = bytes;
        }
    }
    bench.place.remove_all("round")?;
    Ok(lines)
}
