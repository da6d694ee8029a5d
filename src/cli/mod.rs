//! The command line: its commands and exit codes.

mod again;
mod ask;
mod audit;
mod begin;
mod channels;
mod doctor;
mod history;
mod login;
mod reload;
mod run;
mod scratch;
mod show;
mod status;
mod sync_once;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::audit::Scope;
use crate::config::{self, Problems};
use crate::drive::{self, Fault};
use crate::telemetry::log::{self, Format, Level};
use crate::{auth, channel, sync};

/// Turns Google Drive folders into an inbox: each new video is announced by a push notification, downloaded once,
/// verified, and moved to its destination.
#[derive(Debug, Parser)]
#[command(name = "gdrive-webhook", version = env!("GDRIVE_WEBHOOK_VERSION"), after_help = EXIT_CODES)]
struct Arguments {
    /// The configuration file [default: $GDRIVE_WEBHOOK_CONFIG, ./gdrive-webhook.toml, /etc/gdrive-webhook/gdrive-webhook.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The format of log lines; overrides log.format
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success, 1 failure, 64 wrong usage, 77 login needed, 78 wrong configuration";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run,
    /// List the changes once, download everything pending, and exit; exits with 1 if files wait or have failed
    Sync {
        /// Only print what would be downloaded
        #[arg(long)]
        dry_run: bool,
    },
    /// Log in to Google with an OAuth client of the type "Desktop app"
    Login(login::Options),
    /// Look at every prerequisite, from the configuration to the public address, and say what helps; changes nothing. Exits
    /// with 1 if something failed
    Doctor(doctor::Options),
    /// Show channels, downloads, the size of the queue, and each file that cannot be downloaded now or failed, with the reason
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with 0 only if the daemon runs and is ready; for health checks
        #[arg(long)]
        check: bool,
    },
    /// Compare what Drive has with the database and the destinations; exits with 1 if a file is missing, or if something cannot be
    /// looked at. A failed file is not a missing one
    Audit {
        /// Read every delivered file and compare its checksum
        #[arg(long)]
        checksums: bool,
        /// Put missing files in the queue
        #[arg(long)]
        fix: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the running daemon read its configuration again; a wrong file is refused
    Reload,
    /// Show what became of each file: delivered, failed or skipped, with the reason and what brings it again
    History(history::Options),
    /// Download files again that failed or were skipped
    #[command(
        override_usage = "gdrive-webhook retry <ID>...\n       gdrive-webhook retry [--failed] [--skipped]"
    )]
    Retry(again::Retry),
    /// Download delivered files again that are no longer at the destination
    Redeliver(again::Redeliver),
    /// List or stop push channels
    Channels {
        #[command(subcommand)]
        command: ChannelsCommand,
    },
    /// Check or print the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Run the daemon against an emulated Drive on this machine: no account, no configuration; --config has no effect
    #[cfg(feature = "demo")]
    Demo(crate::demo::Options),
}

#[derive(Debug, Subcommand)]
enum ChannelsCommand {
    /// List the channels
    List,
    /// Stop channels that are no longer used
    Stop {
        /// Stop all channels, including those in use
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration and print every mistake in it
    Check {
        /// The file to check [default: the one in effect]
        file: Option<PathBuf>,
        /// Also ask Google about the credentials and the folders
        #[arg(long)]
        online: bool,
    },
    /// Print the configuration that the file, the environment and the defaults give
    Show,
    /// Print the drop-in that lets the systemd unit write to the destinations
    Systemd,
}

impl Command {
    /// Whether the running daemon answers it. These commands also work with mistakes in the configuration.
    fn only_asks(&self) -> bool {
        matches!(
            self,
            Self::Status { .. } | Self::History(_) | Self::Channels { command: ChannelsCommand::List }
        )
    }

    /// The configuration file in its own arguments.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Config { command: ConfigCommand::Check { file, .. } } => file.as_deref(),
            _ => None,
        }
    }
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 64,
    LoginNeeded = 77,
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The command definition, for man pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program.
pub fn main() -> ExitCode {
    crate::process::prepare();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error).into(),
    };
    crate::http::install_tls();
    let prepared = match &arguments.command {
        Command::Run => match run::prepare(arguments.config.as_ref(), arguments.log_format) {
            Ok(prepared) => Some(prepared),
            Err(exit) => return exit.into(),
        },
        _ => None,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gdrive-webhook: cannot start the threads of the program: {error}");
            return Exit::Failed.into();
        }
    };
    // A task of its own, so that a wake-up does not also wake this thread. A panic prints its own message.
    let exit = runtime.block_on(runtime.spawn(dispatch(arguments, prepared))).unwrap_or(Exit::Failed);
    // A thread that waits for a line on standard input never ends by itself.
    runtime.shutdown_background();
    exit.into()
}

fn usage(error: &clap::Error) -> Exit {
    // If the terminal is gone, nothing can be printed.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

fn start_log(config: &log::Config, format: Option<Format>) -> Level {
    log::start(&log::Config { format: format.unwrap_or(config.format), ..config.clone() })
}

async fn dispatch(arguments: Arguments, prepared: Option<run::Prepared>) -> Exit {
    if let Some(prepared) = prepared {
        return run::run(prepared).await;
    }
    let Arguments { config, log_format, command } = arguments;
    #[cfg(feature = "demo")]
    let command = match command {
        Command::Demo(options) => return ended(crate::demo::run(options, interrupted()).await),
        other => other,
    };
    if let Command::Reload = command {
        // The daemon reports the mistakes: it reads the file, and keeps the configuration in effect.
        let (settings, problems) = config::load_leniently(config.as_deref());
        return reload::reload(&settings, problems.as_ref()).await.unwrap_or_else(|error| ended(Err(error)));
    }
    let (settings, problems) = config::load_leniently(command.file().or(config.as_deref()));
    if let Command::Doctor(options) = &command {
        return doctor::doctor(&settings, problems.as_ref(), options).await;
    }
    if let Some(problems) = problems.as_ref().filter(|_| !command.only_asks()) {
        if let Some(ignored) = &settings.ignored {
            eprintln!("gdrive-webhook: {ignored}");
        }
        return misconfigured(problems);
    }
    let problems = problems.as_ref();
    start_log(&settings.log, log_format);
    let is_about_it = matches!(command, Command::Config { .. });
    if let Some(why) = begin::placeless(&settings).filter(|_| !is_about_it) {
        eprintln!("gdrive-webhook: {why}");
        return Exit::Configuration;
    }
    if let Command::Sync { .. } = command
        && let Err(error) = begin::alone(&settings).await
    {
        return ended(Err(error));
    }
    match &command {
        Command::Sync { dry_run: false } => {
            if let Some(why) = begin::making(&settings) {
                eprintln!("gdrive-webhook: {why}");
                return Exit::Configuration;
            }
            begin::writing(&settings);
        }
        Command::Login(_)
        | Command::Audit { .. }
        | Command::Retry(_)
        | Command::Redeliver(_)
        | Command::Channels { command: ChannelsCommand::Stop { .. } } => begin::writing(&settings),
        Command::Config { command: ConfigCommand::Check { .. } } => {}
        _ => settings.ignored.iter().for_each(|ignored| warn!("{ignored}")),
    }
    let outcome = match command {
        Command::Sync { dry_run: false } => Box::pin(sync_once::sync(&settings, interrupted())).await,
        Command::Sync { dry_run: true } => Box::pin(sync_once::dry_run(&settings, interrupted())).await,
        Command::Login(options) => login::login(&settings, &options).await,
        Command::Status { json, check } => status::status(&settings, problems, json, check).await,
        Command::History(options) => history::history(&settings, problems, options).await,
        Command::Retry(options) => again::retry(&settings, options).await,
        Command::Redeliver(options) => again::redeliver(&settings, options).await,
        Command::Audit { checksums, fix, json } => {
            Box::pin(audit::audit(&settings, Scope { checksums, fix }, json)).await
        }
        Command::Channels { command: ChannelsCommand::List } => channels::list(&settings, problems).await,
        Command::Channels { command: ChannelsCommand::Stop { all } } => channels::stop(&settings, all).await,
        // Handled above.
        Command::Run | Command::Reload | Command::Doctor(_) => Ok(Exit::Failed),
        Command::Config { command } => Ok(begin::config(&command, &settings).await),
        #[cfg(feature = "demo")]
        Command::Demo(_) => Ok(Exit::Failed),
    };
    match outcome {
        Ok(exit) => exit,
        Err(error) => ended(Err(error)),
    }
}

fn misconfigured(problems: &Problems) -> Exit {
    eprintln!("{problems}");
    Exit::Configuration
}

fn ended(outcome: anyhow::Result<()>) -> Exit {
    if let Err(error) = &outcome {
        eprintln!("gdrive-webhook: {error:#}");
    }
    exit_of(outcome)
}

fn exit_of(outcome: anyhow::Result<()>) -> Exit {
    let Err(error) = outcome else { return Exit::Done };
    let by_auth = match error.downcast_ref::<auth::Error>() {
        Some(auth::Error::Credentials { .. }) => Exit::Configuration,
        Some(auth::Error::LoginNeeded { .. }) => Exit::LoginNeeded,
        Some(auth::Error::Refused { .. } | auth::Error::Unavailable { .. } | auth::Error::TooMany { .. })
        | None => Exit::Failed,
    };
    match refusal(&error).map(drive::Error::fault) {
        Some(Fault::LoginNeeded) => Exit::LoginNeeded,
        Some(_) | None => by_auth,
    }
}

/// Drive's error, if a command failed because of one.
fn refusal(error: &anyhow::Error) -> Option<&drive::Error> {
    let audit = match error.downcast_ref::<crate::audit::Error>() {
        Some(crate::audit::Error::Drive(error)) => Some(error),
        _ => None,
    };
    match (error.downcast_ref::<sync::Error>(), error.downcast_ref::<channel::Error>()) {
        (Some(sync::Error::Drive(error)), _) | (_, Some(channel::Error::Drive(error))) => Some(error),
        _ => audit,
    }
}

/// A token that SIGTERM or Ctrl-C cancels. A second signal ends the program at once; interrupted downloads resume at the
/// next start.
fn interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
            warn!("cannot handle SIGINT and SIGTERM; they end the program at once");
            return;
        };
        for count in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if count > 0 {
                info!("stopped at once by a second signal");
                std::process::exit(Exit::Failed as i32);
            }
            token.cancel();
        }
    });
    stop
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
