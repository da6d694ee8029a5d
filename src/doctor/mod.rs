//! Looks at every prerequisite, in the order in which a person sets things up. It asks first, and changes nothing; what the
//! answers mean is decided afterwards, by a table of small functions.

pub mod bundle;
mod database;
mod disks;
mod doors;
mod drive;
mod facts;
mod finding;
mod folders;
mod google;
mod local;
mod places;
mod ports;
mod public;
mod push;
mod running;
mod service;
mod trip;

use crate::config::{Problems, Settings};
use facts::Facts;
use finding::Told;
pub use finding::{Examination, Finding, Outcome};
pub use running::Daemon;

/// One prerequisite.
#[derive(Clone, Copy)]
struct Check {
    /// Its name in JSON.
    name: &'static str,
    /// Its name for people.
    title: &'static str,
    judge: fn(&Facts<'_>) -> Vec<Told>,
}

const fn check(name: &'static str, title: &'static str, judge: fn(&Facts<'_>) -> Vec<Told>) -> Check {
    Check { name, title, judge }
}

/// What comes first is needed by what comes later.
const CHECKS: &[Check] = &[
    CONFIGURATION,
    check("files", "files", local::files),
    check("state", "state directory", local::state),
    check("database", "database", local::database),
    check("credentials", google::CREDENTIALS, google::credentials),
    check("google", google::CONNECTION, google::connection),
    check("clock", "clock", google::clock),
    check("access", google::ACCESS, google::access),
    check("api", google::API, google::api),
    check("quota", google::QUOTA, google::quota),
    check("folder", "folder", folders::folders),
    check("downloads", "downloads", folders::downloads),
    check("destination", "destination", places::destinations),
    check("listen", "port", doors::ports),
    check("ngrok", "ngrok", public::ngrok),
    check("public", "public address", public::address),
    check("channel", "channel", push::channel),
];
const CONFIGURATION: Check = check("configuration", "configuration", local::configuration);
/// What `config check --online` asks of Google.
const ONLINE: [&str; 8] = ["credentials", "google", "clock", "access", "api", "quota", "folder", "downloads"];

/// Looks at everything. With mistakes in the configuration there is nothing else to look at.
/// What the daemon said is given back as well.
pub async fn examine(settings: &Settings, problems: Option<&Problems>) -> (Examination, Daemon) {
    if problems.is_some() {
        let facts = Facts::none(settings, problems);
        let blocked = |_: &Facts<'_>| vec![Told::not_checked("the configuration is wrong")];
        let rest = CHECKS.iter().skip(1).map(|known| Check { judge: blocked, ..*known });
        return (judged(&facts, std::iter::once(CONFIGURATION).chain(rest)), Daemon::Silent);
    }
    let facts = Facts::gather(settings).await;
    let examination = judged(&facts, CHECKS.iter().copied());
    (examination, facts.daemon)
}

/// Looks at the credentials and the folders only.
pub async fn online(settings: &Settings) -> Examination {
    let facts = Facts::online(settings).await;
    let checks = CHECKS.iter().filter(|known| ONLINE.contains(&known.name));
    judged(&facts, checks.copied())
}

fn judged(facts: &Facts<'_>, checks: impl Iterator<Item = Check>) -> Examination {
    let findings = checks.flat_map(|check| {
        let told = (check.judge)(facts);
        told.into_iter().map(move |told| told.of(check.name, check.title))
    });
    let names = facts.google.folders.iter().flat_map(drive::Folder::names).collect();
    Examination { version: env!("GDRIVE_WEBHOOK_VERSION").to_owned(), findings: findings.collect(), names }
}
