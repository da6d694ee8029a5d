//! The log: text where a person reads, JSON lines where a machine does. Goes to standard error.

mod lines;

use std::io::IsTerminal;
use std::sync::Arc;

use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::systemd;
use lines::{Json, Prefixed, Text};

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
    /// Text on a terminal and in the journal, JSON otherwise.
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

/// The program's own events. Libraries see tokens, keys and requests, and some write them at `debug` or `trace`: whatever
/// the level says, they are heard from `warn` on only.
const OURS: &str = env!("CARGO_CRATE_NAME");
/// The statements that the database runs, without their values: no secret is in them. There are many; they are written
/// only if the level names them.
const STATEMENTS: &str = "sqlx::query";

/// Checks a level without using it. A bare word would pass for the name of a module, and then nothing is logged.
pub fn check_level(level: &str) -> Result<(), String> {
    let bare_words = level.split(',').map(str::trim).filter(|directive| !directive.contains('='));
    for word in bare_words {
        word.parse::<LevelFilter>().map_err(|_| format!("`{word}` is not a level"))?;
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

/// What another program said, as a log and a terminal can show it: one line without control characters, of so many
/// characters at most.
pub fn one_line(said: &str, limit: usize) -> String {
    let words = said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Changes what is logged while the program runs.
#[derive(Clone)]
pub struct Level(Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Level")
    }
}

impl Level {
    /// A handle without a log.
    pub fn none() -> Self {
        Self(Arc::new(|_| {}))
    }

    /// Uses this level from now on. The caller has checked it.
    pub fn set(&self, level: &str) {
        (self.0)(level);
    }
}

/// Starts the log for the whole program. A second call changes nothing.
pub fn start(config: &Config) -> Level {
    let (filter, handle) = reload::Layer::new(filter(&config.level));
    let is_terminal = std::io::stderr().is_terminal();
    // https://no-color.org
    let is_coloured = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_journal = systemd::is_journal();
    let is_json = match config.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !is_terminal && !is_journal,
    };
    let lines = fmt::layer::<Registry>().with_writer(std::io::stderr).with_ansi(is_coloured);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match (is_json, is_journal) {
        (true, false) => lines.fmt_fields(fmt::format::JsonFields::new()).event_format(Json).boxed(),
        (true, true) => lines.fmt_fields(fmt::format::JsonFields::new()).event_format(Prefixed(Json)).boxed(),
        (false, false) => lines.with_target(false).boxed(),
        (false, true) => lines.event_format(Prefixed(Text)).boxed(),
    };
    let permitted = filter_fn(is_permitted).with_max_level_hint(LevelFilter::TRACE);
    if tracing_subscriber::registry().with(lines.with_filter(filter.and(permitted))).try_init().is_err() {
        tracing::debug!("the log was already started");
        return Level::none();
    }
    say_what_is_beyond(&config.level);
    Level(Arc::new(move |level| match handle.reload(self::filter(level)) {
        Ok(()) => say_what_is_beyond(level),
        Err(error) => tracing::warn!(%error, "the level of the log cannot be changed"),
    }))
}

fn filter(level: &str) -> EnvFilter {
    // Without this, each statement that has to wait is a warning with its SQL. What fails is told by whoever asked for it.
    EnvFilter::builder().parse_lossy(format!("sqlx=error,{level}"))
}

/// Whether an event may be written at all, whatever the level says.
fn is_permitted(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata.target()) || *metadata.level() <= tracing::Level::WARN
}

/// Whether a target writes no secrets: the program's own, and sqlx's texts of statements. Values are bound to statements and
/// are not logged.
fn is_ours(target: &str) -> bool {
    target == STATEMENTS
        || target.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The directives for libraries that ask for more than they get.
fn beyond_warn(level: &str) -> Vec<&str> {
    let asks_for_more = |directive: &&str| {
        directive.split_once('=').is_some_and(|(target, level)| {
            let target = target.split('[').next().unwrap_or_default().trim();
            let is_more = level.trim().parse::<LevelFilter>().is_ok_and(|level| level > LevelFilter::WARN);
            is_more && !target.is_empty() && !is_ours(target)
        })
    };
    level.split(',').map(str::trim).filter(asks_for_more).collect()
}

fn say_what_is_beyond(level: &str) {
    let beyond = beyond_warn(level).join(",");
    if !beyond.is_empty() {
        tracing::warn!(
            directives = beyond,
            "log.level asks for details of libraries; libraries see tokens and keys, so only their warnings are logged"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_for_libraries_are_found() {
        let level = "debug, hyper=trace,gdrive_webhook::drive=trace,h2=warn,[{x}]=trace,gdrive_webhookx=info,sqlx=off,sqlx::query=debug";
        assert_eq!(beyond_warn(level), ["hyper=trace", "gdrive_webhookx=info"]);
        assert!(beyond_warn("trace").is_empty());
    }
}
