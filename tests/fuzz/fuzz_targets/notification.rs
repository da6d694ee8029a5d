//! Headers that anybody can send to the public door. Input: lines of `name: value`.

#![no_main]

use gdrive_webhook::channel::registry::Registry;
use gdrive_webhook::receiver::notification::{ResourceState, parse};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fn headers(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fuzz_target!(|text: &[u8]| {
    let headers = headers(text);
    let has = |name: &str| headers.contains_key(name);
    let Some(notification) = parse(&headers) else { return };
    assert!(has("x-goog-channel-id") && has("x-goog-resource-state"));
    let id = notification.channel.as_str();
    assert!((1..=64).contains(&id.len()) && notification.token.len() <= 256);
    assert!(!id.chars().any(|c| c.is_control() && c != '\t'));
    assert!(
        Registry::default()
            .authenticate(&notification.channel, notification.token, Default::default())
            .is_none()
    );

    // What was understood says everything: sent on alone, it is understood the same.
    let state = match notification.state {
        ResourceState::Sync => "sync",
        ResourceState::Change => "change",
        ResourceState::Other => "update",
    };
    let mut alone = HeaderMap::new();
    alone.insert("x-goog-channel-id", id.parse().unwrap());
    alone.insert("x-goog-channel-token", HeaderValue::from_bytes(notification.token).unwrap());
    alone.insert("x-goog-resource-state", HeaderValue::from_static(state));
    if let Some(number) = notification.number {
        alone.insert("x-goog-message-number", HeaderValue::from(number));
    }
    assert_eq!(parse(&alone).as_ref(), Some(&notification));
});
