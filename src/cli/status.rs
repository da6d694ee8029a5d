//! `status`: asks the running daemon; where none runs, what the database says.

use anyhow::Context;
use jiff::Timestamp;

use super::Exit;
use super::ask::{Asked, fetch, is_ready, judge};
use super::begin::missing;
use super::show::{columns, duration, printable, relative, size};
use crate::admin::status::{AddressReport, ChannelReport, DeliveryReport, EngineReport, Report, report};
use crate::config::{Problems, Settings};
use crate::store::{Access, Store};

pub(super) async fn status(
    settings: &Settings,
    problems: Option<&Problems>,
    json: bool,
    check: bool,
) -> anyhow::Result<Exit> {
    let report = match ask(settings, problems).await? {
        Asked::Answered(report) => *report,
        // Its mistakes may be about the token, which readiness is told without.
        Asked::Mistaken(_) if check && is_ready(settings).await => return Ok(Exit::Done),
        Asked::Mistaken(exit) => return Ok(exit),
        Asked::Nobody => look(settings).await?,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render(&report, Timestamp::now()));
    }
    let is_ready = report.process.is_some() && report.not_ready.is_empty();
    Ok(if check && !is_ready { Exit::Failed } else { Exit::Done })
}

/// Asks the daemon. A configuration with mistakes leads to it as well, if they are elsewhere in it, and a health check is
/// about the daemon.
pub(super) async fn ask(
    settings: &Settings,
    problems: Option<&Problems>,
) -> anyhow::Result<Asked<Box<Report>>> {
    judge(fetch(settings).await.map(|report| report.map(Box::new)), problems)
}

/// What the database says where no daemon runs.
pub(super) async fn look(settings: &Settings) -> anyhow::Result<Report> {
    let store = Store::open(&settings.store, Access::Shared).await;
    let store = store
        .map_err(|error| missing(error, settings))
        .with_context(|| format!("no daemon answers at {}", settings.admin.listen))?;
    let report = report(&store, None).await?;
    store.close().await;
    Ok(report)
}

fn render(report: &Report, now: Timestamp) -> String {
    let mut text = String::new();
    match &report.process {
        Some(process) => {
            let state = if report.not_ready.is_empty() { "ready" } else { "NOT READY" };
            text += &format!(
                "gdrive-webhook {}: {state}, running for {} (process {})\n",
                report.version,
                duration(now.as_second() - process.started.as_second()),
                process.pid
            );
            for reason in &report.not_ready {
                text += &format!("  {reason}\n");
            }
            if let Some(warning) = report.login.as_ref().and_then(|login| login.warning.as_ref()) {
                text += &format!("  {warning}\n");
            }
            let is_unknown = report.engines.iter().any(|e| e.name == "address" && e.error.is_some());
            let nowhere = if is_unknown {
                "no public address yet; polling meanwhile"
            } else {
                "no public address; polling only"
            };
            text += &format!("  notifications go to: {}\n", process.address.as_deref().unwrap_or(nowhere));
            if let Some(pause) = &process.calls_paused {
                let next = relative(pause.until, now);
                text += &format!("  calls to Drive are paused: {}; the next one {next}\n", pause.reason);
            }
            text += &format!(
                "  notifications: {}{}; refused requests: {}\n",
                process.notifications_accepted,
                process
                    .last_notification
                    .map_or(String::new(), |last| format!(", the last {}", relative(last, now))),
                process.notifications_refused
            );
            for address in process.addresses.iter().filter(|address| address.full_since.is_some()) {
                text += &full(address, now);
            }
        }
        None => text += "gdrive-webhook: not running; state from the database\n",
    }
    text += &section(
        "channels",
        report.channels.iter().map(|c| {
            let left = format!("{} left", duration(c.seconds_left));
            vec![c.state.clone(), c.log.clone(), left, called(c, now), c.id.clone()]
        }),
    );
    text += &section("parts of the daemon", report.engines.iter().map(|engine| row_of_engine(engine, now)));
    text += &section(
        "downloading",
        report.transfers.iter().map(|t| {
            let percent = (t.received * 100).checked_div(t.size).unwrap_or(100);
            vec![format!("{percent} %"), size(t.size), printable(&t.name), t.id.clone()]
        }),
    );
    text += &section(
        "deliveries",
        report.deliveries.iter().map(|(stage, count)| vec![stage.clone(), count.to_string()]),
    );
    text += &section(
        "folders with problems",
        report.folders.problems.iter().map(|folder| {
            let since = relative(folder.since, now);
            vec![printable(&folder.name), since, printable(&folder.problem), folder.id.clone()]
        }),
    );
    match report.folders.waiting {
        0 => {}
        1 => text += "  1 folder still has to be listed\n",
        count => text += &format!("  {count} folders still have to be listed\n"),
    }
    text += &section(
        "shared drives that are polled",
        report
            .folders
            .polled_drives
            .iter()
            .map(|drive| vec![drive.id.clone(), relative(drive.since, now), printable(&drive.problem)]),
    );
    text += &section(
        "destinations that cannot be used",
        report.destinations.iter().map(|d| vec![d.path.clone(), relative(d.since, now), d.problem.clone()]),
    );
    text += &section("last audit", report.audit.iter().map(|audit| super::audit::in_short(audit, now)));
    text += &section(
        "waiting, failed or skipped",
        report.attention.iter().map(|delivery| row_of_delivery(delivery, now)),
    );
    text
}

/// When Google last called on a channel.
pub(super) fn called(channel: &ChannelReport, now: Timestamp) -> String {
    match channel.last_call {
        Some(last) => format!("last call {}", relative(last, now)),
        None => "no call yet".to_owned(),
    }
}

fn full(address: &AddressReport, now: Timestamp) -> String {
    let since = address.full_since.unwrap_or(now);
    format!(
        "  the {} address {} has been full for {}: {} of {} connections, {} closed to make room\n",
        address.name,
        address.address,
        duration(now.as_second() - since.as_second()),
        address.connections,
        address.limit,
        address.closed_for_room
    )
}

fn section(title: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() { String::new() } else { format!("{title}\n{}", columns(&rows)) }
}

fn row_of_engine(engine: &EngineReport, now: Timestamp) -> Vec<String> {
    let outcome = match (&engine.error, &engine.done) {
        (Some(error), _) if engine.failures < 2 => format!("FAILED: {error}"),
        (Some(error), _) => format!("FAILED {} times: {error}", engine.failures),
        (None, Some(done)) => done.clone(),
        (None, None) => "has not run yet".to_owned(),
    };
    let due = match (engine.running, engine.due) {
        (true, _) => "running".to_owned(),
        (false, Some(due)) if due > now => format!("next {}", relative(due, now)),
        (false, Some(_)) => "next now".to_owned(),
        (false, None) => "idle".to_owned(),
    };
    vec![engine.name.clone(), due, outcome]
}

fn row_of_delivery(delivery: &DeliveryReport, now: Timestamp) -> Vec<String> {
    let next = match delivery.next {
        Some(next) if next > now => relative(next, now),
        Some(_) => "now".to_owned(),
        None => String::new(),
    };
    vec![
        delivery.stage.clone(),
        next,
        printable(&delivery.name),
        printable(delivery.reason.as_deref().unwrap_or_default()),
        delivery.remedy.clone().unwrap_or_else(|| delivery.id.clone()),
    ]
}
