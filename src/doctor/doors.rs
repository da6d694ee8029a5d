//! The addresses that the daemon listens on: free, or in use by the daemon itself.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::facts::Facts;
use super::finding::Told;
use super::ports::{Port, named};
use super::running::Daemon;

pub(super) fn ports(facts: &Facts<'_>) -> Vec<Told> {
    let settings = facts.settings;
    let [webhook, admin] = &facts.ports;
    vec![
        port(facts, settings.receiver.listen, "webhook", webhook).about("webhook.listen"),
        port(facts, settings.admin.listen, "admin", admin).about("admin.listen"),
    ]
}

fn port(facts: &Facts<'_>, address: SocketAddr, name: &str, port: &Port) -> Told {
    let pid = facts.daemon.pid();
    let process = facts.daemon.report().and_then(|report| report.process.as_ref());
    let listens =
        process.into_iter().flat_map(|process| &process.addresses).filter(|known| known.name == name);
    let listens: Vec<&str> = listens.map(|known| known.address.as_str()).collect();
    match (port, pid) {
        (Port::Taken(_), Some(pid)) if listens.contains(&address.to_string().as_str()) => {
            Told::ok(format!("{address}, in use by the running daemon (process {pid})"))
        }
        (_, Some(pid)) if !listens.is_empty() => Told::warning(
            format!(
                "the running daemon (process {pid}) listens on {} instead of {address}",
                listens.join(", ")
            ),
            "restart the daemon if the configuration is right; where systemd listens, change gdrive-webhook.socket instead",
        ),
        (Port::Free, _) => Told::ok(format!("{address} is free")),
        (Port::Taken(Some(1)), _) => {
            Told::ok(format!("{address}: systemd listens there, and hands it to the daemon when it starts"))
        }
        (Port::Taken(holder), _) => {
            let who = match (&facts.daemon, holder) {
                (_, Some(holder)) => format!("process {holder}{}", named(*holder)),
                (Daemon::Unclear(why), None) if name == "admin" => {
                    format!("a program that does not show that it is the daemon ({why})")
                }
                (_, None) => "another program".to_owned(),
            };
            Told::failed(
                format!("{address} is in use by {who}"),
                format!("stop that program, or write another port in {name}.listen"),
            )
        }
        (Port::Unusable(error), _) if error.kind() == ErrorKind::AddrNotAvailable => Told::failed(
            format!("{address} is not an address of this machine"),
            format!("write one that is in {name}.listen, such as 127.0.0.1:{}", address.port()),
        ),
        (Port::Unusable(error), _) => Told::failed(
            format!("{address} cannot be listened on: {error}"),
            format!("write a port above 1023 in {name}.listen"),
        ),
    }
}
