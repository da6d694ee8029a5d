//! What has become of a login that cannot be used, and what helps.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::Error;
use super::endpoint::Refusal;
use super::grant::Grant;
use crate::owner::{self, Want};

/// Grants of an app in "Testing" end after seven days; one that died at about that age died of it.
const TESTING_DAYS: std::ops::RangeInclusive<i64> = 6..=8;

/// What is missing or damaged is mended by a login. What is there and may not be read is not.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Error {
    let why = owner::explain(error, path, Want::Read);
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::Credentials {
            path: path.to_owned(),
            why: format!("is the file of the login, and cannot be read: {why}"),
        },
        io::ErrorKind::NotFound => Error::LoginNeeded { why: format!("there is no {shown}") },
        _ => Error::LoginNeeded { why: format!("{shown} cannot be used: {why}") },
    }
}

/// What the token endpoint says of a login.
pub(super) fn explain_refusal(refusal: &Refusal, grant: &Grant, now: Timestamp) -> Error {
    if refusal.code() != "invalid_grant" {
        return Error::Refused {
            why: format!("{}; check the OAuth client in the Google Cloud console", refusal.said()),
        };
    }
    let age_days = grant.granted_at.map(|granted| now.duration_since(granted).as_hours() / 24);
    let why = match age_days {
        _ if refusal.subtype() == Some("invalid_rapt") => {
            "the organisation's session length has ended this login".to_owned()
        }
        _ if grant.ends_at.is_some_and(|ends_at| ends_at <= now) => format!(
            "Google had given the login for a limited time, which is over ({}), as it does while an app is in \"Testing\"; in the \
             Google Cloud console under Audience publish the app (\"In production\") and log in once more",
            refusal.said()
        ),
        Some(days) if TESTING_DAYS.contains(&days) => format!(
            "the login was {days} days old, and logins of an app whose consent screen is in \"Testing\" end after seven \
             days; in the Google Cloud console under Audience publish the app (\"In production\") and log in once more"
        ),
        _ => format!("the login has expired or was revoked: {}", refusal.said()),
    };
    Error::LoginNeeded { why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::grant::tests::grant;
    use super::*;

    fn refusal(error: &str) -> Refusal {
        serde_json::from_value(json!({"error": error, "error_description": "Bad Request"})).unwrap()
    }

    #[test]
    fn a_login_that_dies_after_seven_days_is_told_why() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |time| explain_refusal(&refusal("invalid_grant"), &grant(time), now).to_string();
        assert!(at(Some("2026-11-17T11:00:00Z")).contains("Testing"));
        assert!(at(Some("2026-06-17T11:00:00Z")).contains("expired or was revoked"));
        assert!(at(None).contains("gdrive-webhook login"));
        let ended = Grant { ends_at: Some(now), ..grant(Some("2026-11-23T11:00:00Z")) };
        let told = explain_refusal(&refusal("invalid_grant"), &ended, now).to_string();
        assert!(told.contains("limited time, which is over"), "{told}");
        let client = explain_refusal(&refusal("deleted_client"), &grant(None), now);
        assert!(matches!(client, Error::Refused { .. }), "a dead client needs no login but another client");
    }

    #[test]
    fn a_login_that_is_there_and_may_not_be_read_is_not_mended_by_another_login() {
        let path = Path::new("/nowhere/token.json");
        let told = |kind: io::ErrorKind| unreadable(path, &io::Error::from(kind)).to_string();
        let denied = told(io::ErrorKind::PermissionDenied);
        assert!(
            denied.starts_with("/nowhere/token.json: is the file of the login, and cannot be read"),
            "{denied}"
        );
        assert!(!denied.contains("run `gdrive-webhook login`"), "{denied}");
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::InvalidData] {
            assert!(told(kind).ends_with("run `gdrive-webhook login`"), "{}", told(kind));
        }
    }
}
