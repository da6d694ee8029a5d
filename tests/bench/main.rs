//! The daemon beside the programs that one would use without it: on the same machine, on the same bytes, in turn.
//!
//! `cargo bench --bench bench` measures everything; `-- plain tls` names what to measure, and `-- --help` says how to
//! make it smaller. What a figure is compared with is installed by `.ci/bench`; what is not installed is left out, and
//! said. Figures never make it fail: a wrong byte does, and a program that fails.
//!
//! `server` is the Drive, `race` lets `Contestant`s have their turns, `work/` holds the subjects, `report`, `table` and
//! `picture` tell about them.

mod certificate;
mod curl;
mod daemon;
mod listener;
mod nginx;
mod options;
mod picture;
mod place;
mod process;
mod race;
mod rclone;
mod report;
mod server;
mod table;
mod tools;
mod work;

use std::cell::RefCell;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::certificate::Certificate;
use crate::options::Options;
use crate::place::Place;
use crate::report::Section;
use crate::tools::Tools;

/// What all works share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) tools: Tools,
    pub(crate) place: Place,
    pub(crate) certificate: Option<Certificate>,
    /// What was not measured, and why.
    left_out: RefCell<Vec<String>>,
    /// The emulator's.
    pub(crate) runtime: Runtime,
}

impl Bench {
    /// What is going on, beside the table.
    #[expect(clippy::unused_self, reason = "whoever measures says so")]
    pub(crate) fn say(&self, text: &str) {
        // A terminal that is gone is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// What cannot be measured here.
    pub(crate) fn leave_out(&self, what: impl Into<String>) {
        self.left_out.borrow_mut().push(what.into());
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let options = Options::read();
    let tools = Tools::find();
    // The source, what a contestant makes of it, and what is not freed yet of the one before.
    let room = options.size.max(options.line_size) * 4 + (2 << 30);
    let place = Place::new(options.dir.as_deref(), room)?;
    let certificate =
        tools.openssl.as_deref().map(|openssl| certificate::make(openssl, &place)).transpose()?;
    let runtime = Runtime::new()?;
    runtime.spawn(end_on_signals(place.path().to_owned()));
    let left_out = RefCell::new(tools.missing.clone());
    let bench = Bench { options, tools, place, certificate, left_out, runtime };
    let mut sections = Vec::new();
    for work in &bench.options.works {
        bench.say(&format!("{work:?}"));
        for section in work::measure(&bench, *work).with_context(|| format!("{work:?}"))? {
            println!("{}", table::text(&section));
            sections.push(section);
        }
    }
    let caption = caption(&bench);
    println!("{}", caption.join("\n"));
    write(&bench, &sections, &caption)?;
    let left_out = bench.left_out.borrow();
    anyhow::ensure!(!bench.options.complete || left_out.is_empty(), "left out: {}", left_out.join("; "));
    Ok(())
}

/// Under what circumstances the figures came about.
fn caption(bench: &Bench) -> Vec<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![format!(
        "{cores} cores ({}), {} rounds in turn, medians; server and contestants share the machine.",
        cpu.map_or("unknown", |(_, name)| name.trim()),
        bench.options.rounds
    )];
    lines.push(match bench.tools.nginx {
        Some(_) => "The one large file and the many small ones come from nginx (one process, sendfile, out of the page cache), everything else from the emulator.".to_owned(),
        None => "Media come from the emulator, without nginx.".to_owned(),
    });
    if bench.place.is_memory {
        lines.push("The files went to memory (tmpfs), not to a disk: fsync cost nothing.".to_owned());
    }
    lines.extend(bench.left_out.borrow().iter().map(|what| format!("Missing: {what}.")));
    lines
}

fn write(bench: &Bench, sections: &[Section], caption: &[String]) -> anyhow::Result<()> {
    if let Some(path) = &bench.options.json {
        let all =
            json!({"caption": caption, "sections": sections.iter().map(Section::json).collect::<Vec<_>>()});
        std::fs::write(path, format!("{all:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &bench.options.svg {
        std::fs::write(path, picture::svg(sections, caption))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// An interrupted bench leaves neither processes nor gigabytes behind.
async fn end_on_signals(place: std::path::PathBuf) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    process::kill_all();
    // What is left is less than what was there; nobody is left to be told.
    let _ = place::remove(&place);
    std::process::exit(130);
}

/// A client for the bench's own questions.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    gdrive_webhook::http::install_tls();
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?)
}
