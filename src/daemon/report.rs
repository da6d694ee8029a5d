//! What systemd is told while the program runs: in one line what it does and what is wrong, and that it lives, as long
//! as every engine does.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::admin::status::{Live, readiness, summary};
use crate::store::Store;
use crate::telemetry::systemd;

/// How often the line is looked at; what has changed is to be seen soon.
const LOOK: Duration = Duration::from_secs(2);

/// Nothing keeps systemd from hearing that the program lives.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tells it until `stop`; nothing where nobody listens.
pub(super) async fn to_systemd(store: Store, mut live: Live, stop: CancellationToken) {
    if !systemd::is_there() {
        return;
    }
    // Twice in the time that systemd waits, and once more.
    let watchdog = systemd::watchdog();
    let look = watchdog.map_or(LOOK, |patience| (patience / 3).min(LOOK));
    let (mut said, mut is_stuck, mut channels) = (String::new(), false, Vec::new());
    loop {
        match live.stuck() {
            None => {
                is_stuck = false;
                if watchdog.is_some() {
                    systemd::alive();
                }
            }
            Some(engine) if !is_stuck => {
                is_stuck = true;
                error!(
                    engine,
                    "an engine does not go on; systemd's watchdog, if there is one, starts the program again"
                );
            }
            Some(_) => {}
        }
        if said.is_empty() || is_stuck || live.has_news() {
            // A database that fails, or whose disk does not answer, is named by the engines that need it.
            if let Ok(Ok(known)) = tokio::time::timeout(PATIENCE, store.channels()).await {
                channels = known;
            }
            let now = Timestamp::now();
            let summary = summary(&live, &readiness(&live, &channels, now), &channels, now);
            if summary != said {
                systemd::status(&summary);
                said = summary;
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(look)).await.is_none() {
            systemd::status("Stopping");
            return;
        }
    }
}
