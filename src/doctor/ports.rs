//! Whether an address can be listened on, and who listens there already.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// How it is with one address.
#[derive(Debug)]
pub(super) enum Port {
    /// It can be used.
    Free,
    /// A program listens there: its process, if that can be seen.
    Taken(Option<u32>),
    /// It cannot be used at all.
    Unusable(io::Error),
}

impl Port {
    /// Binds it for a moment.
    pub(super) fn look(address: SocketAddr) -> Self {
        match TcpListener::bind(address) {
            Ok(_) => Self::Free,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Self::Taken(listener(address.port())),
            Err(error) => Self::Unusable(error),
        }
    }
}

/// The process that listens on a port, as far as this user may see it.
fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let link = format!("socket:[{}]", tables.iter().find_map(|table| inode(table, port))?);
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == link.as_str())
    };
    pids.into_iter().find(has_it)
}

/// The inode of the socket that listens on a port.
fn inode(table: &str, port: u16) -> Option<&str> {
    /// A listening socket.
    const LISTENING: &str = "0A";
    // 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 1 …
    let ends = format!(":{port:04X}");
    let is_it = |words: &Vec<&str>| words.len() > 9 && words[1].ends_with(&ends) && words[3] == LISTENING;
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(is_it).map(|words| words[9])
}

/// ` (nginx)`, or nothing if its name cannot be seen.
pub(super) fn named(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim().is_empty() { String::new() } else { format!(" ({})", name.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_that_listens_on_a_port_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
                     0: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n   \
                     1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(inode(table, 8080), Some("222"));
        assert_eq!(inode(table, 80), None);
    }

    #[test]
    fn a_port_is_free_or_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(matches!(Port::look(address), Port::Taken(_)));
        assert!(matches!(Port::look("192.0.2.1:1".parse().unwrap()), Port::Unusable(_)));
        drop(listener);
        assert!(matches!(Port::look(address), Port::Free));
    }
}
