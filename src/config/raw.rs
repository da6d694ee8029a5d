//! The configuration as written: every key optional, every value still the text it was. What it means is decided in
//! `validate`.

use serde::Deserialize;

/// The whole of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) shutdown_grace: Option<String>,
    pub(super) google: Google,
    pub(super) webhook: Webhook,
    pub(super) channel: Channel,
    pub(super) sync: Sync,
    pub(super) folder: Vec<Folder>,
    pub(super) download: Download,
    pub(super) state: State,
    pub(super) admin: Admin,
    pub(super) log: Log,
}

/// `[google]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Google {
    pub(super) credentials: Option<String>,
    pub(super) token: Option<String>,
    pub(super) impersonate: Option<String>,
    pub(super) api_url: Option<String>,
}

/// `[webhook]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) listen: Option<String>,
    pub(super) path: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) ngrok_api: Option<String>,
    pub(super) site_verification: Option<String>,
}

/// `[channel]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Channel {
    pub(super) lifetime: Option<String>,
    pub(super) renew_before: Option<String>,
}

/// `[sync]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sync {
    pub(super) poll: Option<String>,
    pub(super) reconcile: Option<String>,
}

/// One `[[folder]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Folder {
    pub(super) id: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) recursive: Option<bool>,
    pub(super) include: Option<Vec<String>>,
    pub(super) extensions: Option<Vec<String>>,
    pub(super) name: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) min_size: Option<String>,
    pub(super) max_size: Option<String>,
    pub(super) existing: Option<String>,
    pub(super) path: Option<String>,
    pub(super) on_update: Option<String>,
    pub(super) shortcuts: Option<bool>,
    pub(super) file_mode: Option<String>,
    pub(super) dir_mode: Option<String>,
}

/// `[download]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Download {
    pub(super) concurrency: Option<i64>,
    pub(super) streams: Option<i64>,
    pub(super) stall: Option<String>,
    pub(super) rate_limit: Option<String>,
    pub(super) reserve: Option<String>,
    pub(super) acknowledge_abuse: Option<bool>,
}

/// `[state]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct State {
    pub(super) dir: Option<String>,
    pub(super) url: Option<String>,
}

/// `[admin]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Option<String>,
    pub(super) token_file: Option<String>,
}

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
}
