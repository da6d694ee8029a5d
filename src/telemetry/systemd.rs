//! Messages to systemd, and sockets from it. Without systemd these calls do nothing. They never block: a wrapper or a
//! container runtime may set the notification socket and never read it.

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::time::{ClockId, clock_gettime};

/// The longest wait for a busy systemd, for messages that change the state of the service.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest status line in characters. systemd drops messages that are far longer.
const LINE: usize = 300;

/// Everything is open and listening.
pub fn ready() {
    tell("READY=1", Some(PATIENCE));
}

/// The configuration is read again; `ready` ends it.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"), Some(PATIENCE));
}

/// The program is stopping.
pub fn stopping() {
    tell("STOPPING=1", Some(PATIENCE));
}

/// The status in one line.
pub fn status(text: &str) {
    tell(&format!("STATUS={}", line(text)), None);
}

/// The keep-alive of the watchdog.
pub fn alive() {
    tell("WATCHDOG=1", None);
}

/// The timeout of systemd's watchdog, if it is enabled.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|_| is_ours).map(Duration::from_micros)
}

/// Whether systemd started the program and takes its messages.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn tell(message: &str, patience: Option<Duration>) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&name, message, patience) {
        tracing::debug!(%error, "systemd did not take a message");
    }
}

fn send(name: &OsStr, message: &str, patience: Option<Duration>) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    match patience {
        Some(_) => socket.set_write_timeout(patience)?,
        None => socket.set_nonblocking(true)?,
    }
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// The sockets that systemd listens on for the webhook address and passes to the program. Call it once, before there is a
/// second thread: it removes the environment variables that announce them, so that no child process uses them.
pub fn inherited_sockets() -> io::Result<Vec<TcpListener>> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        let wrong = |why: &str| {
            let what = "cannot use the sockets from systemd";
            io::Error::other(format!(
                "{what}: socket {} {why}; see ListenStream= in the socket unit",
                index + 1
            ))
        };
        let socket = handed.take_tcp_listener(index).map_err(|_| wrong("is not a TCP socket"))?;
        let socket = socket.ok_or_else(|| wrong("is missing"))?;
        if !sockopt::socket_acceptconn(&socket).unwrap_or(true) {
            return Err(wrong("does not listen"));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Whether standard error goes to the journal: then `JOURNAL_STREAM` names it.
pub fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr().as_fd()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_short_line() {
        assert_eq!(line("a\nb\u{1b}"), "a b ");
        assert_eq!(line(&"ü".repeat(1000)).chars().count(), LINE + 1);
    }

    #[test]
    fn a_socket_that_nobody_reads_holds_nobody_up() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let deaf = UnixDatagram::bind(&path).unwrap();
        let mut taken = 0;
        while send(path.as_os_str(), "WATCHDOG=1", None).is_ok() {
            taken += 1;
            assert!(taken < 100_000, "it is never full");
        }
        let began = std::time::Instant::now();
        let refused = send(path.as_os_str(), "READY=1", Some(Duration::from_millis(20)));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(began.elapsed() < Duration::from_secs(10));
        drop(deaf);
    }
}
