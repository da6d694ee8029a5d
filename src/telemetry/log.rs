//! The log: text where a person reads, JSON lines where a machine does. Goes to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// `[log]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives like `info,gdrive_webhook::drive=debug`.
    pub level: String,
    /// How lines look.
    pub format: Format,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto }
    }
}

/// Libraries that write secrets or noise below `warn`: yup-oauth2 logs refresh tokens and client secrets at debug.
const QUIET: [&str; 5] = ["yup_oauth2=warn", "hyper_util=warn", "h2=warn", "rustls=warn", "sqlx=warn"];

/// Checks a level without using it. A bare word would pass for the name of a module, and then nothing is logged.
pub fn check_level(level: &str) -> Result<(), String> {
    let bare_words = level.split(',').map(str::trim).filter(|directive| !directive.contains('='));
    for word in bare_words {
        word.parse::<LevelFilter>().map_err(|_| format!("`{word}` is no level"))?;
    }
    EnvFilter::builder().parse(level).map(|_| ()).map_err(|error| error.to_string())
}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Turns the log on for the whole program. A second call changes nothing.
pub fn start(config: &Config) {
    let mut filter = EnvFilter::builder().parse_lossy(&config.level);
    for directive in QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let json = match config.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    if started.is_err() {
        tracing::debug!("the log was on already");
    }
}
