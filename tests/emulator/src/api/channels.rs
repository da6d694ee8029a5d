//! `changes.watch`, `files.watch` and `channels.stop`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::call::Call;
use super::discovery::body;
use super::error::ApiError;
use super::params::encode;
use super::{changes, drives, files};
use crate::drive::channel::{Channel, Outgoing, Target};
use crate::drive::content::hex;
use crate::drive::tree::milliseconds;
use crate::inner::Inner;
use crate::oauth::credentials::PROJECT_NUMBER;
use crate::serve::body::Reply;
use crate::world::World;

const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);
const LONGEST_FOR_CHANGES: Duration = Duration::from_hours(7 * 24);
const LONGEST_FOR_FILES: Duration = Duration::from_hours(24);
const LONGEST_ID: usize = 64;
const LONGEST_TOKEN: usize = 256;

pub(crate) async fn watch_changes(inner: &Arc<Inner>, call: &Call) -> Result<Reply, ApiError> {
    let target = {
        let state = inner.state();
        drives::included(call)?;
        let (name, log) = changes::log(&state, call)?;
        changes::page_token(log, call)?;
        Target::Log(name.to_owned())
    };
    watch(inner, call, target, "changes", LONGEST_FOR_CHANGES).await
}

pub(crate) async fn watch_file(inner: &Arc<Inner>, call: &Call) -> Result<Reply, ApiError> {
    let id = files::visible(&inner.state(), call)?.id.clone();
    let path = format!("files/{}", encode(&id));
    watch(inner, call, Target::File(id), &path, LONGEST_FOR_FILES).await
}

async fn watch(
    inner: &Arc<Inner>,
    call: &Call,
    target: Target,
    path: &str,
    longest: Duration,
) -> Result<Reply, ApiError> {
    call.check_mask("Channel")?;
    let wanted = Wanted::parse(&call.body)?;
    let synced = {
        let mut state = inner.state();
        wanted.check(&state, inner.allow_http_loopback)?;
        let channel = open(&state, call, &wanted, target, path, longest)?;
        let answer = answer(&channel);
        let sync = state.channels.open(channel);
        (announce_sync(&state, sync), answer)
    };
    let (synced, answer) = synced;
    if let Some(synced) = synced {
        // A receiver that does not answer must not hold the watch for ever.
        let _ = tokio::time::timeout(Duration::from_secs(5), synced).await;
    }
    call.answer(answer, "Channel", "*")
}

/// Sends the `sync` message, a moment after the answer or so that the answer can wait for it.
fn announce_sync(state: &World, message: crate::drive::channel::Message) -> Option<oneshot::Receiver<()>> {
    const AFTER_THE_ANSWER: Duration = Duration::from_millis(20);
    if !state.settings.notifications {
        return None;
    }
    let mut outgoing = Outgoing::plain(message);
    let synced = if state.settings.sync_before_answer {
        let (attempted, synced) = oneshot::channel();
        outgoing.attempted = Some(attempted);
        Some(synced)
    } else {
        outgoing.not_before = Some(Instant::now() + AFTER_THE_ANSWER);
        None
    };
    state.post(outgoing);
    synced
}

fn open(
    state: &World,
    call: &Call,
    wanted: &Wanted,
    target: Target,
    path: &str,
    longest: Duration,
) -> Result<Channel, ApiError> {
    let now = state.now();
    let mut expires = match wanted.expiration {
        None => now + milliseconds(DEFAULT_LIFETIME),
        Some(time) if time <= now => return Err(ApiError::invalid_value("expiration")),
        Some(time) => time.min(now.saturating_add(milliseconds(longest))),
    };
    if let Some(cap) = state.settings.channel_lifetime_cap {
        expires = expires.min(now + milliseconds(cap));
    }
    let mut query: Vec<String> = call
        .params
        .pairs()
        .filter(|(name, _)| !matches!(*name, "alt" | "access_token" | "oauth_token"))
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .chain(["alt=json".to_owned()])
        .collect();
    query.sort();
    Ok(Channel {
        id: wanted.id.clone(),
        token: wanted.token.clone(),
        address: wanted.address.clone(),
        resource_id: resource_id(&state.root, &target),
        resource_uri: format!("https://www.googleapis.com/drive/v3/{path}?{}", query.join("&")),
        target,
        created: now,
        // Google's times end in 000.
        expires: expires / 1000 * 1000,
        stopped: None,
        last_number: 0,
    })
}

/// The same for every channel on one resource.
fn resource_id(root: &str, target: &Target) -> String {
    let mut id = hex(&Sha256::digest(format!("{root} {target:?}")));
    id.truncate(27);
    id
}

fn answer(channel: &Channel) -> Value {
    let mut answer = json!({
        "kind": "api#channel",
        "id": channel.id,
        "resourceId": channel.resource_id,
        "resourceUri": channel.resource_uri,
        "expiration": channel.expires.to_string(),
    });
    if let Some(token) = &channel.token {
        answer["token"] = json!(token);
    }
    answer
}

/// The channel a client asks for.
struct Wanted {
    id: String,
    kind: String,
    address: String,
    token: Option<String>,
    expiration: Option<i64>,
}

impl Wanted {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = body::read(body, "Channel")?;
        let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let needed = |name: &str| text(name).ok_or_else(|| ApiError::required(name));
        let expiration = match &body["expiration"] {
            Value::Null => None,
            value => {
                let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                Some(
                    number
                        .ok_or_else(|| ApiError::bad_type("expiration", "TYPE_INT64", &value.to_string()))?,
                )
            }
        };
        Ok(Self {
            id: needed("id")?,
            kind: needed("type")?,
            address: needed("address")?,
            token: text("token"),
            expiration,
        })
    }

    fn check(&self, state: &World, http_loopback: bool) -> Result<(), ApiError> {
        if !matches!(self.kind.as_str(), "web_hook" | "webhook") {
            let text = format!("Unknown channel type: {}", self.kind);
            return Err(ApiError::new(400, "push.channelTypeNotSupported", text));
        }
        if self.id.chars().count() > LONGEST_ID {
            return Err(ApiError::invalid_value("id"));
        }
        if self.token.as_ref().is_some_and(|token| token.chars().count() > LONGEST_TOKEN) {
            return Err(ApiError::invalid_value("token"));
        }
        let url = reqwest::Url::parse(&self.address).ok();
        let allowed = url.as_ref().is_some_and(|url| {
            url.scheme() == "https" || (url.scheme() == "http" && http_loopback && is_loopback(url))
        });
        if !allowed {
            let text = format!("WebHook callback must be HTTPS: {}", self.address);
            return Err(ApiError::new(400, "push.webhookUrlNotHttps", text));
        }
        if state.channels.is_used(&self.id) {
            let text = format!("Channel id {} not unique", self.id);
            return Err(ApiError::new(400, "channelIdNotUnique", text));
        }
        Ok(())
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// 204; a channel that is unknown, stopped or over is not found.
pub(crate) fn stop(state: &mut World, call: &Call) -> Result<Reply, ApiError> {
    let body = body::read(&call.body, "Channel")?;
    let needed = |name: &str| body[name].as_str().ok_or_else(|| ApiError::required(name));
    let (id, resource_id) = (needed("id")?, needed("resourceId")?);
    let now = state.now();
    if !state.channels.stop(id, resource_id, now) {
        let text = format!("Channel '{id}' not found for project '{PROJECT_NUMBER}'");
        return Err(ApiError::new(404, "notFound", text));
    }
    for _ in 0..state.settings.stragglers {
        let message = state.channels.straggler(id);
        state.send(message.into_iter().collect());
    }
    Ok(Reply::empty(204))
}
