//! `channels list` and `channels stop`.

use jiff::Timestamp;

use super::Exit;
use super::show::{columns, duration};
use crate::channel;
use crate::config::Settings;
use crate::daemon::connect;
use crate::model::channel::Address;
use crate::model::{Channel, ChannelState};
use crate::store::{Access, Store};

pub(super) async fn list(settings: &Settings) -> anyhow::Result<Exit> {
    if !settings.store.path().exists() {
        println!("no channels: there is no ledger at {} yet", settings.store.path().display());
        return Ok(Exit::Done);
    }
    let store = Store::open(&settings.store, Access::Shared).await?;
    let channels = store.channels().await?;
    if channels.is_empty() {
        println!("no channels");
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = channels.iter().map(|channel| row(channel, now)).collect();
    print!("{}", columns(&rows));
    Ok(Exit::Done)
}

fn row(channel: &Channel, now: Timestamp) -> Vec<String> {
    vec![
        channel.id.to_string(),
        channel.state.as_str().to_owned(),
        channel.log.to_string(),
        format!("{} left", duration(channel.expires.as_second() - now.as_second())),
        channel.address.clone(),
    ]
}

/// Needs the ledger for itself: the daemon would go on believing in channels that are stopped behind its back.
pub(super) async fn stop(settings: &Settings, all: bool) -> anyhow::Result<Exit> {
    let (drive, _) = connect(settings)?;
    let store = Store::open(&settings.store, Access::Exclusive).await?;
    let mut stopped = 0;
    for channel in store.channels().await? {
        if channel.state != ChannelState::Ended && (all || is_unused(&channel, settings)) {
            channel::stop(&drive, &store, &channel).await?;
            println!("stopped {} on {}", channel.id, channel.log);
            stopped += 1;
        }
    }
    println!("{stopped} channels stopped");
    store.close().await;
    Ok(Exit::Done)
}

fn is_unused(channel: &Channel, settings: &Settings) -> bool {
    let is_elsewhere = settings.channel.address.fixed().is_none_or(|address| address != channel.address);
    channel.state != ChannelState::Live
        || (is_elsewhere && !matches!(settings.channel.address, Address::Ngrok { .. }))
}
