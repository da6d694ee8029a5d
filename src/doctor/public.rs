//! The public address: whether what is sent there arrives here.

use super::facts::Facts;
use super::finding::Told;
use super::trip::{Flaw, Trip};
use crate::model::channel::Address;

const SETTING: &str = "webhook.public_url";

pub(super) fn ngrok(facts: &Facts<'_>) -> Vec<Told> {
    let Address::Ngrok { api, port, .. } = &facts.settings.channel.address else { return Vec::new() };
    vec![match &facts.address {
        Err(why) => Told::failed(
            why.rsplit_once("; ").map_or(why.as_str(), |(what, _)| what),
            format!("start `ngrok http {port}`, or correct webhook.ngrok_api"),
        ),
        Ok(address) => {
            let address = address.as_deref().unwrap_or_default();
            Told::ok(format!("the agent at {api} has a tunnel to port {port}: {address}"))
        }
    }]
}

pub(super) fn address(facts: &Facts<'_>) -> Vec<Told> {
    let address = match &facts.address {
        Ok(address) => address.as_deref().unwrap_or_default(),
        Err(_) => return vec![Told::not_checked("of ngrok")],
    };
    let listen = facts.settings.receiver.listen;
    let lead = format!(
        "let the proxy or tunnel of {SETTING} lead to {listen} (webhook.listen), or correct {SETTING}"
    );
    vec![match &facts.trip {
        Trip::Nowhere => Told::warning(
            format!("{SETTING} is not set: Google cannot call, and new files are found by polling only"),
            format!("set {SETTING} to an https address that leads to {listen}, or to \"ngrok\""),
        ),
        Trip::NotMade(why) => Told::not_checked(why),
        Trip::Came => Told::ok(format!("a request to {address} came back here")),
        Trip::OtherDaemon => {
            Told::failed(format!("{address} leads to another gdrive-webhook, not to this one"), lead)
        }
        Trip::SomebodyElse(status) => {
            Told::failed(format!("{address} leads to something else, which answers {status}"), lead)
        }
        Trip::Gateway(status) => Told::failed(
            format!(
                "the proxy or tunnel at {address} answers {status}: it does not reach this machine's {listen}"
            ),
            lead,
        ),
        Trip::Redirect(to) => Told::failed(
            format!("{address} redirects to {to}, and Google follows no redirects"),
            format!("write the address that answers itself in {SETTING}"),
        ),
        Trip::Certificate(flaw) => certificate(address, *flaw),
        Trip::Plain => Told::failed(
            format!("{address} answers without encryption: it is http, not https"),
            "let the proxy or tunnel speak https there; Google calls https addresses only",
        ),
        Trip::Dead(why) => dead(facts, address, why),
    }]
}

fn certificate(address: &str, flaw: Flaw) -> Told {
    let (what, help) = match flaw {
        Flaw::Expired => ("has expired", "renew it"),
        Flaw::NotYetValid => ("is not valid yet", "check this machine's clock, or wait until it is"),
        Flaw::OtherName => ("is for another name", "get one for the name in webhook.public_url"),
        Flaw::Unknown => (
            "is self-signed, or not signed by an authority that this machine trusts",
            "get one from a public authority such as Let's Encrypt, and let the proxy send its whole chain",
        ),
        Flaw::Other => ("is not accepted", "get another one from a public authority"),
    };
    Told::failed(format!("the certificate of {address} {what}; Google does not call there"), help)
}

/// Some routers lead nobody from inside back inside.
fn dead(facts: &Facts<'_>, address: &str, why: &str) -> Told {
    let process = facts.daemon.report().and_then(|report| report.process.as_ref());
    match process.and_then(|process| process.last_notification) {
        Some(last) => Told::warning(
            format!("{address} cannot be reached from this machine ({why}), but Google called at {last}"),
            "nothing, if your router does not lead requests from inside back to this machine",
        ),
        None => Told::failed(
            format!("{address} does not answer: {why}"),
            "check its DNS name, the router and the firewall, and that the proxy or tunnel runs",
        ),
    }
}
