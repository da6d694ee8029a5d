//! The emulator's conduct over HTTP: faults, settings, tokens, the clock, and what it saw.

use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Command, Outcome, Refused};
use crate::disturbance::Disturbance;
use crate::emulator::Emulator;
use crate::fault::Fault;

pub(super) fn obey(method: &Method, path: &[&str], command: &Command) -> Outcome {
    let emulator = &command.emulator;
    match (method.as_str(), path) {
        ("POST", ["faults"]) => emulator.fail(command.json::<Fault>()?),
        ("DELETE", ["faults"]) => emulator.clear_faults(),
        ("POST", ["notifications"]) => disturb(command)?,
        ("GET", ["notifications"]) => return Ok(json!({"notifications": emulator.notifications()})),
        ("GET", ["requests"]) => return Ok(requests(command)),
        ("DELETE", ["requests"]) => emulator.clear_requests(),
        ("GET", ["channels"]) => return Ok(json!({"channels": emulator.channels()})),
        ("POST", ["channels", "shorten"]) => {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Left {
                seconds: u64,
            }
            emulator.shorten_channels(Duration::from_secs(command.json::<Left>()?.seconds));
        }
        ("POST", ["connections", "go-away"]) => emulator.go_away(),
        ("POST", ["connections", "silence"]) => emulator.silence_connections(),
        ("POST", ["settings"]) => command.json::<Settings>()?.apply(emulator),
        ("POST", ["page-tokens", "refuse"]) => emulator.refuse_page_tokens_before_now(),
        ("POST", ["refresh-tokens", "revoke"]) => emulator.revoke_refresh_tokens(),
        ("POST", ["access-tokens", "expire"]) => emulator.expire_access_tokens(),
        ("POST", ["push"]) => emulator.push_now(),
        ("POST", ["clock"]) => {
            #[derive(Deserialize)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            struct Move {
                move_milliseconds: i64,
            }
            emulator.move_clock(command.json::<Move>()?.move_milliseconds);
            return Ok(json!({"now": emulator.now()}));
        }
        ("GET", ["health"]) => {}
        ("GET", ["credentials", kind]) => return credentials(emulator, kind),
        _ => return Err(Refused(404, format!("there is no {method} /control/{}", path.join("/")))),
    }
    Ok(json!({}))
}

/// A file as it goes to disk, so already text.
fn credentials(emulator: &Emulator, kind: &str) -> Outcome {
    Ok(Value::String(match kind {
        "service-account" => emulator.service_account_json(),
        "client" => emulator.installed_client_json(),
        "authorized-user" => emulator.authorized_user_json(),
        _ => {
            let text =
                format!("no credentials {kind:?}; there are service-account, client and authorized-user");
            return Err(Refused(404, text));
        }
    }))
}

fn requests(command: &Command) -> Value {
    let wanted = command.params.filled("operation");
    let requests = command.emulator.requests();
    let requests = requests.iter().filter(|request| wanted.is_none_or(|wanted| request.operation == wanted));
    json!({"requests": requests.collect::<Vec<_>>()})
}

fn disturb(command: &Command) -> Result<(), Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Order {
        disturbance: Kind,
        #[serde(default = "once")]
        times: u32,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
    enum Kind {
        Drop,
        Double,
        Delay { milliseconds: u64 },
        Swap,
    }
    const fn once() -> u32 {
        1
    }
    let order: Order = command.json()?;
    let disturbance = match order.disturbance {
        Kind::Drop => Disturbance::Drop,
        Kind::Double => Disturbance::Double,
        Kind::Delay { milliseconds } => Disturbance::Delay(Duration::from_millis(milliseconds)),
        Kind::Swap => Disturbance::Swap,
    };
    command.emulator.disturb_notifications(disturbance, order.times);
    Ok(())
}

/// What is given is set; what is not stays.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent, null and a number are three different orders")]
struct Settings {
    notifications: Option<bool>,
    sync_before_answer: Option<bool>,
    notifications_after_stop: Option<u32>,
    #[serde(deserialize_with = "given")]
    channel_lifetime_cap_seconds: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    rate: Option<Option<u64>>,
    latency_milliseconds: Option<u64>,
    noise: Option<Noise>,
    change_delay_milliseconds: Option<u64>,
    listing_lag_milliseconds: Option<u64>,
    shifting_listings: Option<bool>,
    descendant_entries: Option<bool>,
    removal_lag_milliseconds: Option<u64>,
    processing_delay_milliseconds: Option<u64>,
    empty_pages: Option<bool>,
    access_token_lifetime_seconds: Option<u64>,
    #[serde(deserialize_with = "given")]
    refresh_token_lifetime_seconds: Option<Option<u64>>,
}

/// `true` is one change, the least that Drive makes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Noise {
    Switch(bool),
    Changes(u32),
}

/// `null` is a value here, other than no value.
#[expect(clippy::option_option, reason = "absent, null and a number are three different orders")]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(deserializer).map(Some)
}

impl Settings {
    fn apply(self, emulator: &Emulator) {
        self.apply_to_tree(emulator);
        let Self { notifications, sync_before_answer, notifications_after_stop, .. } = self;
        if let Some(on) = notifications {
            emulator.set_notifications(on);
        }
        if let Some(before) = sync_before_answer {
            emulator.set_sync_before_answer(before);
        }
        if let Some(count) = notifications_after_stop {
            emulator.set_notifications_after_stop(count);
        }
        if let Some(cap) = self.channel_lifetime_cap_seconds {
            emulator.set_channel_lifetime_cap(cap.map(Duration::from_secs));
        }
        if let Some(rate) = self.rate {
            emulator.set_rate(rate);
        }
        if let Some(latency) = self.latency_milliseconds {
            emulator.set_latency(Duration::from_millis(latency));
        }
        if let Some(noise) = self.noise {
            emulator.set_noise(match noise {
                Noise::Switch(on) => u32::from(on),
                Noise::Changes(changes) => changes,
            });
        }
        if let Some(delay) = self.change_delay_milliseconds {
            emulator.set_change_delay(Duration::from_millis(delay));
        }
        if let Some(delay) = self.processing_delay_milliseconds {
            emulator.set_processing_delay(Duration::from_millis(delay));
        }
        if let Some(on) = self.empty_pages {
            emulator.set_empty_pages(on);
        }
        if let Some(lifetime) = self.access_token_lifetime_seconds {
            emulator.set_access_token_lifetime(Duration::from_secs(lifetime));
        }
        if let Some(lifetime) = self.refresh_token_lifetime_seconds {
            emulator.set_refresh_token_lifetime(lifetime.map(Duration::from_secs));
        }
    }

    fn apply_to_tree(&self, emulator: &Emulator) {
        if let Some(lag) = self.listing_lag_milliseconds {
            emulator.set_listing_lag(Duration::from_millis(lag));
        }
        if let Some(on) = self.shifting_listings {
            emulator.set_shifting_listings(on);
        }
        if let Some(on) = self.descendant_entries {
            emulator.set_descendant_entries(on);
        }
        if let Some(lag) = self.removal_lag_milliseconds {
            emulator.set_removal_lag(Duration::from_millis(lag));
        }
    }
}
