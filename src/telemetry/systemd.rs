//! What systemd is told, where it listens; elsewhere these calls do nothing.

use sd_notify::NotifyState;

/// Everything is open and listening.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The way out has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd did not take a message");
    }
}
