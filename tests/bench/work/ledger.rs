//! The cost of a change as the ledger grows: the same changes, caught up with by homes that know more and more files.

use std::fs;
use std::path::Path;
use std::str::FromStr as _;

use drive_emulator::{Content, Upload};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::backlog::{UpToDate, foreign_changes};
use super::statements;
use crate::Bench;
use crate::report::{Comparison, Goal, Line, Section, Unit};
use crate::server::{Scheme, Server};

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Section>> {
    let server = Server::emulator(bench)?;
    let half = bench.options.news / 2;
    let known: Vec<String> = (0..half)
        .map(|n| {
            let upload = Upload::new(&server.inbox, &format!("clip-{n:06}.mp4"), Content::bytes("x"));
            server.drive.upload(upload)
        })
        .collect();
    let home = UpToDate::make(&server, Scheme::Http, "")?;
    let mut ledgers = Vec::new();
    for count in &bench.options.known {
        let path = bench.place.join(&format!("ledger-{count}"));
        fs::copy(home.home.ledger(), &path)?;
        bench.runtime.block_on(fill(&path, *count))?;
        ledgers.push((Line::new(format!("gdrive-webhook sync, {count} known files"), Unit::Seconds), path));
    }
    foreign_changes(&server, half);
    for id in &known {
        server.drive.touch(id);
    }
    for round in 0..=bench.options.rounds {
        for turn in 0..ledgers.len() {
            // Nobody is always first.
            let next = (turn + round) % ledgers.len();
            let (line, path) = &mut ledgers[next];
            let cost = home.catch_up_from(path)?;
            // The first round brings the ledgers into memory, the emulator's answers included.
            if round > 0 {
                bench.say(&format!("  round {round}: {} {:.2} s", line.name, cost.wall.as_secs_f64()));
                line.add(cost);
            }
        }
    }
    let mut section = Section::new(format!(
        "{} changes caught up with, half of them foreign and half of files that were delivered before",
        2 * half
    ));
    let paths: Vec<_> = ledgers.iter().map(|(_, path)| path.clone()).collect();
    section.lines = ledgers.into_iter().map(|(line, _)| line).collect();
    // Part of the time is the server's, which is the same for all; the CPU time is the daemon's alone.
    for (what, figure) in [
        ("the slowest, times the fastest", Line::median as fn(&Line) -> f64),
        ("the same of the CPU time", Line::cpu),
    ] {
        let figures = || section.lines.iter().map(figure);
        let (least, most) = (figures().fold(f64::INFINITY, f64::min), figures().fold(0.0, f64::max));
        let what = what.to_owned();
        section.comparisons.push(Comparison {
            what,
            value: most / least,
            goal: Goal::AtMost(1.2),
            unit: "×",
        });
    }
    section.notes.push("One folder is known for each ten files.".to_owned());
    let largest = bench.options.known.iter().zip(&paths).max_by_key(|(known, _)| **known);
    let Some((known, path)) = largest else { return Ok(vec![section]) };
    Ok(vec![section, statements::measure(bench, &server, &home, *known, path)?])
}

/// Lets the ledger know so many files, as if all had been delivered. Every row is like the first one but for what has to
/// be its own.
async fn fill(path: &Path, count: u64) -> anyhow::Result<()> {
    let mut connection = open(path).await?;
    sqlx::query("update delivery set stage = 'done', place = wanted").execute(&mut connection).await?;
    let there: i64 =
        sqlx::query("select count(*) from delivery").fetch_one(&mut connection).await?.try_get(0)?;
    let random = "lower(hex(randomblob(16)))";
    let delivery = [
        ("id", random.to_owned()),
        ("seq", "(select max(seq) from delivery) + i".to_owned()),
        ("file_id", format!("'1' || {random}")),
        ("revision", format!("'0B' || {random}")),
        ("sha256", "lower(hex(randomblob(32)))".to_owned()),
    ];
    copies(&mut connection, "delivery", count.saturating_sub(there as u64), &delivery).await?;
    let folder = [
        ("id", format!("'1' || {random}")),
        ("parent_id", "t.id".to_owned()),
        ("name", "'Folder ' || i".to_owned()),
        ("watched", "0".to_owned()),
        // Listed, and not to be looked at again.
        ("listing", "'done'".to_owned()),
    ];
    copies(&mut connection, "folder", count / 10, &folder).await?;
    sqlx::query("update arrival set last = (select max(seq) from delivery)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn open(path: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite:{}", path.display()))?
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Off);
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// Copies a table's first row, with these columns exchanged for expressions of `i`, the number of the copy, and `t`, the
/// row. Columns that are younger than this bench are copied like all others.
async fn copies(
    connection: &mut SqliteConnection,
    table: &str,
    count: u64,
    own: &[(&str, String)],
) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let columns =
        sqlx::query("select name from pragma_table_info($1)").bind(table).fetch_all(&mut *connection);
    let columns: Vec<String> = columns.await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let values = columns.iter().map(|column| {
        let own = own.iter().find(|(name, _)| name == column);
        own.map_or_else(|| format!("t.{column}"), |(_, value)| value.clone())
    });
    let sql = format!(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < {count}) \
         insert into {table} ({}) select {} from n, (select * from {table} limit 1) t",
        columns.join(", "),
        values.collect::<Vec<_>>().join(", ")
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
