//! `channels list` and `channels stop`.

use jiff::Timestamp;

use super::Exit;
use super::ask::Asked;
use super::begin::{alone, missing};
use super::show::{columns, duration};
use super::status::{ask, called, look};
use crate::admin::status::ChannelReport;
use crate::channel;
use crate::config::{Problems, Settings};
use crate::daemon::connect;
use crate::model::channel::Address;
use crate::model::{Channel, ChannelState};
use crate::store::{Access, Store};

/// The running daemon knows best; without one the database does.
pub(super) async fn list(settings: &Settings, problems: Option<&Problems>) -> anyhow::Result<Exit> {
    let report = match ask(settings, problems).await? {
        Asked::Answered(report) => *report,
        Asked::Mistaken(exit) => return Ok(exit),
        Asked::Nobody => look(settings).await?,
    };
    if report.channels.is_empty() {
        println!("no channels");
    }
    let now = Timestamp::now();
    print!("{}", columns(&report.channels.iter().map(|channel| row(channel, now)).collect::<Vec<_>>()));
    Ok(Exit::Done)
}

fn row(channel: &ChannelReport, now: Timestamp) -> Vec<String> {
    vec![
        channel.id.clone(),
        channel.state.clone(),
        channel.log.clone(),
        format!("{} left", duration(channel.seconds_left)),
        called(channel, now),
        channel.address.clone(),
    ]
}

/// Needs the ledger for itself: the daemon would go on believing in channels that are stopped behind its back.
pub(super) async fn stop(settings: &Settings, all: bool) -> anyhow::Result<Exit> {
    alone(settings).await?;
    let store =
        Store::open(&settings.store, Access::Existing).await.map_err(|error| missing(error, settings))?;
    let (drive, _) = connect(settings)?;
    let mut stopped = 0;
    for channel in store.channels().await? {
        if channel.state != ChannelState::Ended && (all || is_unused(&channel, settings)) {
            channel::stop(&drive, &store, &channel).await?;
            println!("stopped {} on {}", channel.id, channel.log);
            stopped += 1;
        }
    }
    println!("{stopped} {} stopped", if stopped == 1 { "channel" } else { "channels" });
    store.close().await;
    Ok(Exit::Done)
}

fn is_unused(channel: &Channel, settings: &Settings) -> bool {
    let is_elsewhere = settings.channel.address.fixed().is_none_or(|address| address != channel.address);
    channel.state != ChannelState::Live
        || (is_elsewhere && !matches!(settings.channel.address, Address::Ngrok { .. }))
}
