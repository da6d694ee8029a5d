//! A notification as it stands in the headers of a request. It carries no content: only which channel it belongs to,
//! and that something happened.

use axum::http::HeaderMap;

use crate::model::ChannelId;

/// Drive's limits: 64 characters for a channel's id, 256 for its token.
const ID_LIMIT: usize = 64;
const TOKEN_LIMIT: usize = 256;

/// What a request claims to be. Nothing of it is believed before the channel and the token are found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The channel.
    pub channel: ChannelId,
    /// Its token; empty when there is none.
    pub token: &'a [u8],
    /// What happened.
    pub state: ResourceState,
    /// Grows from message to message, with gaps; tells nothing about what was lost.
    pub number: Option<u64>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceState {
    /// The channel begins.
    Sync,
    /// The log has grown. Drive's documentation says `change` in one place and `changed` in another.
    Change,
    /// Something this program does not know. Whatever it is, looking is right.
    Other,
}

/// Reads a notification. `None`: it is none.
pub fn parse(headers: &HeaderMap) -> Option<Notification<'_>> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let channel = text("x-goog-channel-id").filter(|id| !id.is_empty() && id.len() <= ID_LIMIT)?;
    let token = headers.get("x-goog-channel-token").map_or(&[][..], |value| value.as_bytes());
    if token.len() > TOKEN_LIMIT {
        return None;
    }
    let state = match text("x-goog-resource-state")? {
        "sync" => ResourceState::Sync,
        "change" | "changed" => ResourceState::Change,
        _ => ResourceState::Other,
    };
    let number = text("x-goog-message-number").and_then(|number| number.parse().ok());
    Some(Notification { channel: ChannelId::new(channel), token, state, number })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn googles_own_example_is_read() {
        let headers = headers(&[
            ("X-Goog-Channel-ID", "4ba78bf0-6a47-11e2-bcfd-0800200c9a66"),
            ("X-Goog-Channel-Token", "398348u3tu83ut8uu38"),
            ("X-Goog-Resource-State", "changed"),
            ("X-Goog-Message-Number", "96035"),
        ]);
        let notification = parse(&headers).unwrap();
        assert_eq!(notification.token, b"398348u3tu83ut8uu38");
        assert_eq!((notification.state, notification.number), (ResourceState::Change, Some(96035)));
    }

    #[test]
    fn ids_and_tokens_are_as_long_as_drive_allows() {
        let (id, token) = ("i".repeat(64), "t".repeat(256));
        for (word, state) in [
            ("sync", ResourceState::Sync),
            ("change", ResourceState::Change),
            ("changed", ResourceState::Change),
            ("trash", ResourceState::Other),
        ] {
            let headers = headers(&[
                ("x-goog-channel-id", &id),
                ("x-goog-channel-token", &token),
                ("x-goog-resource-state", word),
            ]);
            let read = parse(&headers).unwrap();
            assert_eq!((read.channel.as_str(), read.token), (id.as_str(), token.as_bytes()));
            assert_eq!((read.state, read.number), (state, None));
        }
    }

    #[test]
    fn what_is_no_notification_is_none() {
        let long = "x".repeat(257);
        for pairs in [
            &[][..],
            &[("x-goog-channel-id", "a")],
            &[("x-goog-resource-state", "change")],
            &[("x-goog-channel-id", ""), ("x-goog-resource-state", "change")],
            &[("x-goog-channel-id", &long[..65]), ("x-goog-resource-state", "change")],
            &[
                ("x-goog-channel-id", "a"),
                ("x-goog-resource-state", "change"),
                ("x-goog-channel-token", &long),
            ],
        ] {
            assert_eq!(parse(&headers(pairs)), None, "{pairs:?}");
        }
        let strange = headers(&[
            ("x-goog-channel-id", "a"),
            ("x-goog-resource-state", "novel"),
            ("x-goog-message-number", "-1"),
        ]);
        let notification = parse(&strange).unwrap();
        assert_eq!(
            (notification.state, notification.number, notification.token),
            (ResourceState::Other, None, &[][..])
        );
    }

    proptest! {
        #[test]
        fn any_header_values_are_survived(id in any::<Vec<u8>>(), token in any::<Vec<u8>>(), state in any::<Vec<u8>>()) {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-goog-channel-id", id), ("x-goog-channel-token", token), ("x-goog-resource-state", state)] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.insert(name, value);
                }
            }
            if let Some(notification) = parse(&headers) {
                prop_assert!(notification.channel.as_str().len() <= 64 && notification.token.len() <= 256);
            }
        }

        #[test]
        fn what_was_sent_is_what_is_read(
            id in "[!-~]{1,64}",
            token in "[ -~]{0,256}",
            state in "[a-z]{1,10}",
            number in any::<u64>(),
            others in prop::collection::vec(("[a-z0-9-]{1,20}", "[\\t -~]{0,40}"), 0..10),
        ) {
            let mut all = HeaderMap::new();
            for (name, value) in others {
                all.append(format!("z-{name}").parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let number_text = number.to_string();
            all.extend(headers(&[
                ("X-GOOG-CHANNEL-ID", &id),
                ("X-Goog-Channel-Token", &token),
                ("x-goog-resource-state", &state),
                ("X-Goog-Message-Number", &number_text),
            ]));
            let read = parse(&all).unwrap();
            prop_assert_eq!((read.channel.as_str(), read.token), (id.as_str(), token.as_bytes()));
            prop_assert_eq!(read.number, Some(number));
            prop_assert_eq!(read.state == ResourceState::Sync, state == "sync");
        }
    }
}
