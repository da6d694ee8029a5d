//! Messages to systemd while the program runs: the status in one line, and the watchdog's keep-alive as long as every
//! engine makes progress.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::admin::status::{Live, Recorded, readiness, summary};
use crate::store::Store;
use crate::telemetry::systemd;

/// How often the status line is updated.
const LOOK: Duration = Duration::from_secs(2);

/// The longest wait for the database, so that it does not delay the keep-alive.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends them until `stop`; does nothing without systemd.
pub(super) async fn to_systemd(store: Store, mut live: Live, stop: CancellationToken) {
    if !systemd::is_there() {
        return;
    }
    // Three times within systemd's timeout.
    let watchdog = systemd::watchdog();
    let look = watchdog.map_or(LOOK, |patience| (patience / 3).min(LOOK));
    let (mut said, mut is_stuck) = (String::new(), false);
    let mut recorded = Recorded::default();
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
                    "a part of the daemon makes no progress; systemd's watchdog, if it is enabled, restarts the daemon"
                );
            }
            Some(_) => {}
        }
        if said.is_empty() || is_stuck || live.has_news() {
            // The engines that need the database report its failure.
            if let Ok(Ok(known)) = tokio::time::timeout(PATIENCE, Recorded::read(&store)).await {
                recorded = known;
            }
            let now = Timestamp::now();
            let summary = summary(&live, &readiness(&live, &recorded, now), &recorded.channels, now);
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
