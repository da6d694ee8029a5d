//! The subjects of measurement.

mod backlog;
mod changes;
mod latency;
mod ledger;
mod line;
mod many;
mod memory;
mod single;
mod statements;

use crate::Bench;
use crate::options::Work;
use crate::report::Section;
use crate::server::Server;

/// Measures one subject; `None`: it is left out, and the bench knows why.
pub(crate) fn measure(bench: &Bench, work: Work) -> anyhow::Result<Vec<Section>> {
    match work {
        Work::Plain => single::plain(bench),
        Work::Tls => single::tls(bench),
        Work::Many => many::measure(bench),
        Work::Line => line::measure(bench),
        Work::Latency => latency::measure(bench),
        Work::Memory => memory::measure(bench),
        Work::Changes => changes::measure(bench),
        Work::Ledger => ledger::measure(bench),
    }
}

/// Where the change log stands.
fn page_token(server: &Server<'_>) -> anyhow::Result<String> {
    let url = format!("{}/drive/v3/changes/startPageToken", server.drive.url());
    let request = crate::client()?.get(url).bearer_auth(server.drive.access_token());
    let answer: serde_json::Value =
        server.bench.runtime.block_on(async { request.send().await?.error_for_status()?.json().await })?;
    Ok(answer["startPageToken"].as_str().unwrap_or_default().to_owned())
}
