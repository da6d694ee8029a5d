//! What systemd is told, and what it gives: where it is not there, these calls do nothing.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use sd_notify::NotifyState;

/// Everything is open and listening.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; `ready` ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the time of a reload is not known"),
    }
}

/// The way out has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What is going on, in one line.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The program lives.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often systemd wants to hear `alive`, if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether systemd started the program and listens to it.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd did not take a message");
    }
}

/// The socket that systemd listens on for the webhook address, and hands over. To be called once, before there is a
/// second thread: the variables that announce it are taken away, so that no child believes that they are its own.
pub fn inherited_socket() -> Option<TcpListener> {
    match listenfd::ListenFd::from_env().take_tcp_listener(0) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, "what systemd hands over is not a TCP socket; it is left alone");
            None
        }
    }
}

/// Whether standard error goes to the journal, which says so by naming it.
pub fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr().as_fd()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}
