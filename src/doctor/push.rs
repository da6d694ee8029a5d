//! The push channel: whether Google has called on it, as far as the running daemon knows.

use jiff::Timestamp;
use serde_json::Value;

use super::facts::Facts;
use super::finding::Told;
use super::google::closed;
use super::trip::Trip;
use crate::admin::status::{ChannelReport, Process};

/// Google calls within seconds after a channel is opened.
const FIRST_CALL: i64 = 60;

pub(super) fn channel(facts: &Facts<'_>) -> Vec<Told> {
    let Some(report) = facts.daemon.report() else { return vec![Told::not_checked("no daemon runs")] };
    if matches!(facts.trip, Trip::Nowhere) {
        return vec![Told::not_checked("there is no public address")];
    }
    let live: Vec<&ChannelReport> =
        report.channels.iter().filter(|channel| channel.state == "live").collect();
    let Some(process) = &report.process else { return vec![Told::not_checked("no daemon runs")] };
    if live.is_empty() {
        if let Some(because) = closed(facts) {
            return vec![Told::not_checked(because)];
        }
        let error =
            report.engines.iter().find(|engine| engine.name == "channels").and_then(|e| e.error.as_deref());
        let what = error
            .map_or_else(|| "no channel is open".to_owned(), |error| format!("no channel is open: {error}"));
        return vec![Told::failed(
            what,
            "see the public address above; `gdrive-webhook status` says when the next attempt is",
        )];
    }
    live.into_iter().map(|channel| called(facts, process, channel).about(&channel.log)).collect()
}

fn called(facts: &Facts<'_>, process: &Process, channel: &ChannelReport) -> Told {
    let days = (channel.seconds_left + 43_200) / 86_400;
    let left = if days > 1 {
        format!("{days} days left")
    } else {
        format!("{} hours left", channel.seconds_left / 3600)
    };
    // When it was opened, unless Drive has granted less than was asked for.
    let asked = facts.settings.channel.lifetime.as_secs() as i64;
    let age = Timestamp::now().as_second() - (channel.expires.as_second() - asked);
    match is_confirmed(facts, process, channel, age) {
        Some(true) => Told::ok(format!("Google has called on it, {left}")),
        Some(false) if age < FIRST_CALL => Told::warning(
            "Google has not called on it yet; it was opened a moment ago",
            "look again in a minute",
        ),
        Some(false) => Told::failed(
            format!("Google has not called on it since it was opened; only polling finds new files ({left})"),
            "check that the public address is reachable from the internet, not from this machine only, and that no firewall \
             or login page stands before it",
        ),
        None => Told::ok(format!("open, {left}")),
    }
}

/// Whether Google has called: as the daemon says, or as its counts show. A channel of an earlier run is not called again
/// until something changes.
fn is_confirmed(facts: &Facts<'_>, process: &Process, channel: &ChannelReport, age: i64) -> Option<bool> {
    let channels = facts.daemon.json().and_then(|json| json["channels"].as_array());
    let told = channels.into_iter().flatten().find(|told| told["id"] == channel.id.as_str());
    match told.and_then(|told| told.get("confirmed")) {
        Some(Value::Bool(is_confirmed)) => return Some(*is_confirmed),
        Some(Value::Null) => return Some(false),
        Some(_) => return Some(true),
        None => {}
    }
    let up = Timestamp::now().as_second() - process.started.as_second();
    match process.notifications_accepted {
        0 if age <= up => Some(false),
        0 => None,
        _ => Some(true),
    }
}
