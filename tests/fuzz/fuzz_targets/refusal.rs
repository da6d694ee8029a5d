//! An answer of Drive's, or of a proxy's, that is no success. Input: a line with the status, a line with the value of
//! Retry-After, an empty line, and the body.

#![no_main]

use std::time::Duration;

use gdrive_webhook::drive::{Error, Fault};
use gdrive_webhook::http::retry_after;
use gdrive_webhook::retry::{Class, Policy, Verdict};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// A log line, a row of `status`.
const LONGEST: usize = 2000;

fuzz_target!(|answer: &[u8]| {
    let end = answer.windows(2).position(|two| two == b"\n\n").unwrap_or(answer.len());
    let (head, body) = (&answer[..end], answer.get(end + 2..).unwrap_or_default());
    let mut head = head.split(|&byte| byte == b'\n');
    let status = head.next().and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok());
    let Some(status) = status.filter(|status| (100..1000).contains(status)) else { return };
    let headers: HeaderMap =
        head.filter_map(|value| Some((RETRY_AFTER, HeaderValue::from_bytes(value).ok()?))).collect();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let asked = retry_after(&headers, now);
    assert!(asked.is_none_or(|asked| asked <= Duration::from_hours(1)), "{asked:?}");

    let error = Error::refusal("list changes", status, body, asked);
    assert_eq!((error.status(), error.retry_after()), (Some(status), asked));
    let text = error.to_string();
    assert!(text.starts_with(&format!("list changes: Drive answers {status}: ")), "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() <= LONGEST, "{} bytes", text.len());

    match Policy::CALL.decide(error.class(), 1, asked, 0.5) {
        Verdict::GiveUp => assert_eq!(error.class(), Class::Permanent),
        Verdict::After(wait) => assert!(wait >= asked.unwrap_or_default() && !wait.is_zero()),
    }
    // A proxy knows nothing of Drive: what it says is never the last word on a file.
    let is_json = body.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first));
    if !is_json {
        match status {
            429 => assert_eq!(error.fault(), Fault::RateLimit),
            400 | 403 | 404 | 408 | 410 | 500..=599 => assert_eq!(error.class(), Class::Transient),
            _ => assert_ne!(error.class(), Class::Permanent),
        }
    }
});
