//! The credentials, and whether Google lets them in. One call shows all of it; whatever refuses it is named once.

use super::facts::Facts;
use super::finding::Told;
use crate::drive::{Error, Fault};

pub(super) const CREDENTIALS: &str = "credentials";
pub(super) const CONNECTION: &str = "connection to Google";
pub(super) const ACCESS: &str = "access to Drive";
pub(super) const API: &str = "Drive API";
pub(super) const QUOTA: &str = "quota";

/// A clock that is off by more makes Google refuse assertions, and certificates look expired.
const TOLERATED: i64 = 5 * 60;

/// Which check an error of a call belongs to.
pub(super) fn blame(error: &Error) -> &'static str {
    match error.fault() {
        Fault::LoginNeeded | Fault::Credentials | Fault::Unauthorized => CREDENTIALS,
        Fault::RateLimit | Fault::DailyLimit => QUOTA,
        Fault::Forbidden if matches!(error.reason(), "accessNotConfigured" | "SERVICE_DISABLED") => API,
        Fault::Forbidden => ACCESS,
        _ => CONNECTION,
    }
}

/// What helps against it.
pub(super) fn remedy(error: &Error) -> String {
    match blame(error) {
        API => "enable the Google Drive API in the Google Cloud console, for the project that the credentials belong to: APIs & \
                Services, Library; it takes a few minutes to take effect"
            .to_owned(),
        ACCESS => "the credentials need the scope https://www.googleapis.com/auth/drive.readonly: run `gdrive-webhook login` again \
                   and tick its box, or for a service account that acts for a user, add the scope to the domain-wide delegation"
            .to_owned(),
        QUOTA => "wait: Google's limits per minute pass within minutes, those per day at midnight Pacific time; the daemon \
                  waits by itself. If it happens often, ask for more in the Google Cloud console (Quotas)"
            .to_owned(),
        CREDENTIALS => "run `gdrive-webhook login`, or for a service account, make a new key and put it in the place of the old one"
            .to_owned(),
        _ => error.remedy().unwrap_or("try again in a few minutes, and look at https://www.google.com/appsstatus").to_owned(),
    }
}

/// Why nothing further can be asked of Drive.
pub(super) fn closed(facts: &Facts<'_>) -> Option<String> {
    let title = match (&facts.google.credentials, &facts.google.account) {
        (Err(_), _) => CREDENTIALS,
        (Ok(_), Some(Err(error))) => blame(error),
        (Ok(_), None) => CONNECTION,
        (Ok(_), Some(Ok(_))) => return None,
    };
    Some(format!("of the {title}"))
}

fn refusal<'f>(facts: &'f Facts<'_>, title: &str) -> Option<&'f Error> {
    let error = facts.google.account.as_ref()?.as_ref().err()?;
    (blame(error) == title).then_some(error)
}

pub(super) fn credentials(facts: &Facts<'_>) -> Vec<Told> {
    let google = &facts.google;
    if let Err(error) = &google.credentials {
        let remedy = "put a service-account key or an OAuth client (\"Desktop app\") from the Google Cloud console there, or \
                      correct google.credentials";
        return vec![Told::failed(error.to_string(), remedy)];
    }
    let described = google.credentials.as_deref().unwrap_or_default();
    vec![match (refusal(facts, CREDENTIALS), &google.account) {
        (Some(error), _) => {
            let said = error.to_string();
            match said.split_once("; run `gdrive-webhook login`") {
                Some((said, _)) => Told::failed(said, "run `gdrive-webhook login`"),
                None => Told::failed(said, remedy(error)),
            }
        }
        (None, Some(Ok(account))) => Told::ok(format!("{described}; its Drive is that of {}", account.name)),
        (None, _) if refusal(facts, CONNECTION).is_some() => {
            Told::not_checked(format!("of the {CONNECTION}"))
        }
        (None, _) => Told::ok(format!("{described}; Google accepts them")),
    }]
}

pub(super) fn connection(facts: &Facts<'_>) -> Vec<Told> {
    let api = &facts.settings.drive.api_url;
    let network = "check the network, DNS, the firewall, and HTTPS_PROXY if this machine needs a proxy";
    vec![match (&facts.google.ahead, refusal(facts, CONNECTION)) {
        (Err(why), _) => Told::failed(format!("{api} does not answer: {why}"), network),
        (Ok(_), Some(error)) if error.fault() == Fault::Connection => {
            Told::failed(error.to_string(), network)
        }
        (Ok(_), Some(error)) => Told::failed(error.to_string(), remedy(error)),
        (Ok(_), None) => Told::ok(format!("{api} answers")),
    }]
}

pub(super) fn clock(facts: &Facts<'_>) -> Vec<Told> {
    vec![match facts.google.ahead {
        Err(_) => Told::not_checked(format!("of the {CONNECTION}")),
        Ok(None) => Told::not_checked("Google's answer does not say the time"),
        Ok(Some(ahead)) if ahead.abs() > TOLERATED => {
            let (by, way) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
            let by = if by < 7200 { format!("{} minutes", by / 60) } else { format!("{} hours", by / 3600) };
            Told::failed(
                format!("this machine's clock is {by} {way} Google's"),
                "set it, and keep it right: sudo timedatectl set-ntp true",
            )
        }
        Ok(Some(_)) => Told::ok("within five minutes of Google's"),
    }]
}

pub(super) fn access(facts: &Facts<'_>) -> Vec<Told> {
    granted(facts, ACCESS, "Drive can be read")
}

pub(super) fn api(facts: &Facts<'_>) -> Vec<Told> {
    granted(facts, API, "enabled")
}

pub(super) fn quota(facts: &Facts<'_>) -> Vec<Told> {
    granted(facts, QUOTA, "not used up")
}

fn granted(facts: &Facts<'_>, title: &str, good: &str) -> Vec<Told> {
    vec![match (refusal(facts, title), closed(facts)) {
        (Some(error), _) => Told::failed(error.bare(), remedy(error)),
        (None, Some(because)) => Told::not_checked(because),
        (None, None) => Told::ok(good),
    }]
}
