//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// The daemon beside other programs, on the same bytes, in turn.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// What to measure; everything if nothing is named
    pub(crate) works: Vec<Work>,
    /// How often each contestant has its turn
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Only contestants whose name has this in it; for a profile
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Small sizes: whether everything can be measured, and little else
    #[arg(long)]
    pub(crate) short: bool,
    /// The large file
    #[arg(long, value_parser = size, default_value = "4GiB")]
    pub(crate) size: u64,
    /// How many small files
    #[arg(long, default_value_t = 1000)]
    pub(crate) files: u64,
    /// The file that comes over the slow line
    #[arg(long, value_parser = size, default_value = "1GiB")]
    pub(crate) line_size: u64,
    /// How many files are put into the folder of the running daemon
    #[arg(long, default_value_t = 40)]
    pub(crate) deliveries: usize,
    /// How many changes of foreign files there are to catch up with
    #[arg(long, default_value_t = 100_000)]
    pub(crate) changes: usize,
    /// How many files the ledger knows already
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub(crate) known: Vec<u64>,
    /// How many changes are caught up with beside them
    #[arg(long, default_value_t = 40_000)]
    pub(crate) news: usize,
    /// How long foreign changes go on before the memory of the idle daemon is read
    #[arg(long, value_parser = seconds, default_value = "180")]
    pub(crate) idle: Duration,
    /// Write the table as a picture
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write every figure as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// A directory on a real disk; otherwise one below the target directory
    #[arg(long, value_name = "DIR", env = "BENCH_DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Fail if a row or a contestant is left out
    #[arg(long)]
    pub(crate) complete: bool,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// One subject of measurement, and the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// One large file over plain HTTP
    Plain,
    /// The same over TLS, and what it costs in CPU time
    Tls,
    /// Many small files
    Many,
    /// One file over a line whose connections are slow and far away
    Line,
    /// From a file in the folder to the file on the disk
    Latency,
    /// What the daemon needs at its worst, and when nothing happens
    Memory,
    /// Foreign changes to catch up with
    Changes,
    /// The cost of a change as the ledger grows
    Ledger,
}

impl Options {
    /// As written, then as meant.
    pub(crate) fn read() -> Self {
        let mut options = Self::parse();
        if options.works.is_empty() {
            options.works = Work::value_variants().to_vec();
        }
        if options.short {
            options.shrink();
        }
        options.rounds = options.rounds.max(1);
        options
    }

    fn shrink(&mut self) {
        self.rounds = self.rounds.min(2);
        self.size = self.size.min(64 << 20);
        self.files = self.files.min(40);
        self.line_size = self.line_size.min(64 << 20);
        self.deliveries = self.deliveries.min(6);
        self.changes = self.changes.min(4000);
        self.known = self.known.iter().map(|count| count / 10).collect();
        self.news = self.news.min(1000);
        self.idle = self.idle.min(Duration::from_secs(5));
    }
}

/// `4GiB`, `64MiB`, or bytes.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(format!("{unit} is no unit; there are KiB, MiB and GiB")),
    };
    number.parse::<u64>().map(|number| number << shift).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|error: std::num::ParseIntError| error.to_string())
}
