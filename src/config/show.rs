//! The configuration in effect, as a file that could be loaded in its place. There is no secret in it: secrets are in
//! files of their own, and only their paths stand here.

use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};

use super::Settings;
use super::validate::NGROK_API;
use crate::model::channel::Address;
use crate::model::delivery::OnUpdate;
use crate::sync::rules::Folder;
use crate::telemetry::log::Format;

/// Renders it.
pub fn show(settings: &Settings) -> String {
    let mut root = Table::new();
    put(&mut root, "shutdown_grace", duration(settings.shutdown_grace));
    root.insert("google".to_owned(), google(settings).into());
    root.insert("webhook".to_owned(), webhook(settings).into());
    let mut channel = Table::new();
    put(&mut channel, "lifetime", duration(settings.channel.lifetime));
    put(&mut channel, "renew_before", duration(settings.channel.renew_before));
    root.insert("channel".to_owned(), channel.into());
    let mut sync = Table::new();
    put(&mut sync, "poll", duration(settings.sync.poll));
    put(&mut sync, "reconcile", duration(settings.sync.reconcile));
    root.insert("sync".to_owned(), sync.into());
    let mut download = Table::new();
    put(&mut download, "concurrency", settings.delivery.concurrency as i64);
    put(&mut download, "streams", settings.download.streams as i64);
    put(&mut download, "stall", duration(settings.download.stall));
    put(&mut download, "rate_limit", size(settings.download.rate_limit));
    put(&mut download, "reserve", size(settings.delivery.reserve));
    put(&mut download, "acknowledge_abuse", settings.download.acknowledge_abuse);
    root.insert("download".to_owned(), download.into());
    let mut state = Table::new();
    put(&mut state, "dir", path(&settings.state_dir));
    let database = settings.store.path();
    put(
        &mut state,
        "url",
        format!("sqlite:{}", path(database.strip_prefix(&settings.state_dir).unwrap_or(&database))),
    );
    root.insert("state".to_owned(), state.into());
    let mut admin = Table::new();
    put(&mut admin, "listen", settings.admin.listen.to_string());
    maybe(&mut admin, "token_file", settings.admin.token_file.as_deref().map(path));
    root.insert("admin".to_owned(), admin.into());
    let mut log = Table::new();
    put(&mut log, "level", settings.log.level.clone());
    put(&mut log, "format", format_word(settings.log.format));
    root.insert("log".to_owned(), log.into());
    root.insert("folder".to_owned(), settings.folders.iter().map(folder).collect::<Vec<Table>>().into());
    format!("# {}, with the environment and the defaults\n{root}", settings.source.display())
}

fn google(settings: &Settings) -> Table {
    let mut google = Table::new();
    maybe(&mut google, "credentials", settings.google.credentials.as_deref().map(path));
    put(&mut google, "token", path(&settings.google.token));
    maybe(&mut google, "impersonate", settings.google.impersonate.clone());
    put(&mut google, "api_url", settings.drive.api_url.clone());
    google
}

fn webhook(settings: &Settings) -> Table {
    let mut webhook = Table::new();
    put(&mut webhook, "listen", settings.receiver.listen.to_string());
    put(&mut webhook, "path", settings.receiver.path.clone());
    let (public_url, ngrok_api) = match &settings.channel.address {
        Address::Nowhere => (None, NGROK_API),
        Address::Fixed(address) => (address.strip_suffix(&settings.receiver.path), NGROK_API),
        Address::Ngrok { api, .. } => (Some("ngrok"), api.as_str()),
    };
    maybe(&mut webhook, "public_url", public_url.map(str::to_owned));
    put(&mut webhook, "ngrok_api", ngrok_api.to_owned());
    maybe(&mut webhook, "site_verification", settings.receiver.site_verification.clone());
    webhook
}

fn folder(folder: &Folder) -> Table {
    let mut table = Table::new();
    let id = match &folder.resource_key {
        Some(key) => format!("https://drive.google.com/drive/folders/{}?resourcekey={key}", folder.id),
        None => folder.id.to_string(),
    };
    put(&mut table, "id", id);
    put(&mut table, "destination", path(&folder.destination));
    put(&mut table, "recursive", folder.recursive);
    put(&mut table, "include", folder.include.clone());
    put(&mut table, "extensions", folder.extensions.clone());
    put(&mut table, "name", folder.name.patterns().to_vec());
    put(&mut table, "exclude", folder.exclude.patterns().to_vec());
    put(&mut table, "min_size", folder.min_size as i64);
    maybe(&mut table, "max_size", folder.max_size.map(|size| size as i64));
    put(&mut table, "existing", folder.existing.as_str());
    put(&mut table, "path", folder.path.to_string());
    let on_update = match folder.on_update {
        OnUpdate::Replace => "replace",
        OnUpdate::KeepBoth => "keep-both",
        OnUpdate::Ignore => "ignore",
    };
    put(&mut table, "on_update", on_update);
    put(&mut table, "shortcuts", folder.shortcuts);
    put(&mut table, "file_mode", format!("{:04o}", folder.file_mode));
    put(&mut table, "dir_mode", format!("{:04o}", folder.dir_mode));
    table
}

fn put(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

fn maybe(table: &mut Table, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        put(table, key, value);
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// In the largest unit that divides it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["GiB", "MiB", "KiB"];
    let in_unit = |(unit, shift): (&str, u32)| {
        (bytes != 0 && bytes.trailing_zeros() >= shift).then(|| format!("{}{unit}", bytes >> shift))
    };
    let whole = UNITS.into_iter().zip([30, 20, 10]).find_map(in_unit);
    whole.unwrap_or_else(|| if bytes == 0 { "0".to_owned() } else { format!("{bytes}B") })
}

/// In the largest unit that divides it.
fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        _ if millis > 0 => format!("{}ms", duration.as_millis()),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn format_word(format: Format) -> &'static str {
    match format {
        Format::Auto => "auto",
        Format::Text => "text",
        Format::Json => "json",
    }
}
