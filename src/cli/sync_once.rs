//! `sync`: one pass and out. `--dry-run` does the pass on a copy of the ledger and downloads nothing.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::history::outlook;
use super::scratch::{self, Scratch};
use super::show::{printable, size};
use crate::admin::deliveries::past;
use crate::config::{Settings, follow};
use crate::daemon::Instruments;
use crate::model::{Delivery, Stage};
use crate::store::{self, Access, Store};
use crate::task::wake_up;
use crate::telemetry::transfers::Transfers;

/// A delivery that waits longer than this is left to the next pass.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the progress line is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// The stages of a file that is wanted and not in its place yet.
const OPEN: [Stage; 4] = [Stage::Unready, Stage::Pending, Stage::Downloading, Stage::Publishing];

pub(super) async fn sync(settings: &Settings, stop: CancellationToken) -> anyhow::Result<Exit> {
    let began = Timestamp::now();
    let instruments = Instruments::open(settings, Access::Exclusive).await?;
    let (wake, _wakeups) = wake_up();
    let (_, wanted) = watch::channel(follow::to_deliver(settings));
    let mut engine = instruments.deliveries(wanted, wake);
    let read = stop.run_until_cancelled(catch_up(&instruments, settings)).await;
    let transfers = instruments.transfers.clone();
    let finished = tokio::select! {
        drained = stop.run_until_cancelled(engine.drain(PATIENCE)) => drained.transpose()?.is_some(),
        () = draw(&transfers) => false,
    };
    clear_line();
    engine.stop().await;
    let is_complete = tell(&instruments, began, matches!(read, Some(Err(_)))).await?;
    instruments.store.close().await;
    // What Drive refused is reported last, when everything that was known has been fetched.
    match read {
        Some(read) => drop(read?),
        None => anyhow::bail!("interrupted; unfinished downloads resume at the next start"),
    }
    anyhow::ensure!(finished, "interrupted; unfinished downloads resume at the next start");
    Ok(if is_complete { Exit::Done } else { Exit::Failed })
}

pub(super) async fn dry_run(settings: &Settings, stop: CancellationToken) -> anyhow::Result<Exit> {
    scratch::tidy(&settings.state_dir);
    let scratch = Scratch::create(&settings.state_dir)?;
    let outcome = stop.run_until_cancelled(dry_run_in(settings, scratch.path())).await;
    outcome.unwrap_or_else(|| Err(anyhow::anyhow!("interrupted; nothing was changed")))
}

async fn dry_run_in(settings: &Settings, scratch: &Path) -> anyhow::Result<Exit> {
    let copy = scratch.join("state.db");
    match Store::copy(&settings.store, &copy).await {
        Ok(()) | Err(store::Error::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let store = store::Config { url: format!("sqlite:{}", copy.display()) };
    let instruments = Instruments::open(&Settings { store, ..settings.clone() }, Access::Exclusive).await?;
    let began = Timestamp::now();
    let left_out = catch_up(&instruments, settings).await?;
    let deliveries = instruments.store.in_stages(&OPEN, i64::MAX).await?;
    for delivery in &deliveries {
        let path = delivery.wanted.under(&delivery.destination);
        println!(
            "would download {} ({}) to {}",
            printable(&delivery.name),
            known_size(delivery),
            path.display()
        );
    }
    for delivery in instruments.store.failed().await? {
        println!("has failed before: {}", failed(&delivery));
    }
    for (reason, count) in left_out {
        println!("left out: {}: {}", files(count), printable(&reason));
    }
    for (reason, count) in instruments.store.skipped(began).await? {
        let reason = reason.as_deref().unwrap_or("no reason is known");
        println!("would be skipped: {}: {}", files(count), printable(reason));
    }
    println!("{} would be downloaded; nothing was changed", files(deliveries.len() as i64));
    instruments.store.close().await;
    Ok(Exit::Done)
}

/// Reads what is new. What comes back are the files that are left where they are, counted by the class of the reason.
async fn catch_up(instruments: &Instruments, settings: &Settings) -> anyhow::Result<BTreeMap<String, i64>> {
    let (deliveries, _delivery_wakeups) = wake_up();
    let (keeper, _keeper_wakeups) = wake_up();
    let (_, wanted) = watch::channel(follow::to_sync(settings));
    let mut engine = instruments.sync(wanted, deliveries, keeper);
    engine.catch_up().await?;
    Ok(engine.left_out().await?)
}

fn files(count: i64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Says what became of each delivery, and how many are not in their place. Whether everything is, and can be. `is_unread`:
/// Drive may have more.
async fn tell(instruments: &Instruments, since: Timestamp, is_unread: bool) -> anyhow::Result<bool> {
    let (mut delivered, mut left) = (0, 0);
    for delivery in &instruments.store.moved_since(since).await? {
        let reason = printable(delivery.reason.as_deref().unwrap_or("not finished"));
        let name = printable(&delivery.name);
        match delivery.stage {
            Stage::Done => {
                delivered += 1;
                let place = delivery.published.as_ref().map_or(&delivery.wanted, |file| &file.path);
                println!(
                    "delivered {} ({})",
                    place.under(&delivery.destination).display(),
                    known_size(delivery)
                );
            }
            Stage::Skipped => println!("skipped {name}: {reason}"),
            // Told below.
            Stage::Failed => {}
            Stage::Unready | Stage::Pending | Stage::Downloading | Stage::Publishing => {}
            Stage::Superseded | Stage::Existing => {}
        }
    }
    // Since earlier passes as well.
    for delivery in &instruments.store.failed().await? {
        left += 1;
        println!("FAILED {}", failed(delivery));
    }
    let holds = instruments.holds.snapshot();
    for delivery in instruments.store.in_stages(&OPEN, i64::MAX).await? {
        left += 1;
        let is_held = |(path, _): &(String, _)| *path == delivery.destination.to_string_lossy();
        if !holds.iter().any(is_held) {
            let reason = delivery.reason.as_deref().unwrap_or("not finished");
            println!("waiting {}: {}", printable(&delivery.name), printable(reason));
        }
    }
    for (path, hold) in &holds {
        println!("{path} cannot be used: {}", hold.why);
    }
    let unread = if is_unread { "; Drive could not be read, so new files are not among them" } else { "" };
    println!("{delivered} delivered, {left} waiting or failed{unread}");
    Ok(left == 0 && holds.is_empty())
}

/// Which file, why, and what brings it again.
fn failed(delivery: &Delivery) -> String {
    let reason = printable(delivery.reason.as_deref().unwrap_or("no reason is known"));
    let what = outlook(&past(delivery), Timestamp::now()).unwrap_or_default();
    format!("{}: {reason}; {what}", printable(&delivery.name))
}

fn known_size(delivery: &Delivery) -> String {
    delivery.size.map_or_else(|| "unknown size".to_owned(), size)
}

/// Draws one line of progress on a terminal, for ever; elsewhere only waits.
async fn draw(transfers: &Transfers) {
    let terminal = std::io::stderr().is_terminal();
    loop {
        tokio::time::sleep(DRAW).await;
        let running = transfers.snapshot();
        if !terminal || running.is_empty() {
            continue;
        }
        let (received, total) = running.iter().fold((0, 0), |(received, total), (_, transfer)| {
            (received + transfer.received(), total + transfer.size)
        });
        let filled = (received * 30).checked_div(total).unwrap_or(30).min(30) as usize;
        let names =
            running.iter().map(|(_, transfer)| printable(&transfer.name)).collect::<Vec<_>>().join(", ");
        let names: String = names.chars().take(50).collect();
        let bar = format!("{}{}", "#".repeat(filled), "-".repeat(30 - filled));
        // A terminal that is gone is no reason to stop.
        let _ = write!(std::io::stderr(), "\r\x1b[K[{bar}] {} of {}  {names}", size(received), size(total));
    }
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}
