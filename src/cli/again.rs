//! `retry` and `redeliver`: asks the running daemon to bring files again; where none runs, they are put in the queue of
//! the database, and the next run brings them.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;

use super::Exit;
use super::ask::request;
use super::begin::missing;
use super::show::printable;
use crate::admin::deliveries::{self, Answer, Outcome};
use crate::config::Settings;
use crate::model::DeliveryId;
use crate::store::{Access, Store};

/// The options of `retry`.
#[derive(Clone, Debug, Args)]
pub(super) struct Retry {
    /// The ids of the files, as `history` and `status` print them; not those of Drive
    #[arg(required_unless_present_any = ["failed", "skipped"], conflicts_with_all = ["failed", "skipped"], value_name = "ID")]
    ids: Vec<String>,
    /// All files that failed
    #[arg(long)]
    failed: bool,
    /// All files that were skipped, except those that a setting leaves out
    #[arg(long)]
    skipped: bool,
}

/// The options of `redeliver`.
#[derive(Clone, Debug, Args)]
pub(super) struct Redeliver {
    /// The ids of the files, as `history` prints them; not those of Drive
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Retry(String),
    Redeliver(String),
    RetryFailed,
    RetrySkipped,
}

impl Retry {
    fn wishes(self) -> Vec<Wish> {
        let all = [self.failed.then_some(Wish::RetryFailed), self.skipped.then_some(Wish::RetrySkipped)];
        self.ids.into_iter().map(Wish::Retry).chain(all.into_iter().flatten()).collect()
    }
}

impl Wish {
    /// The request to the daemon.
    fn path(&self) -> [&str; 4] {
        match self {
            Self::Retry(id) => ["api", "deliveries", id, "retry"],
            Self::Redeliver(id) => ["api", "deliveries", id, "redeliver"],
            Self::RetryFailed => ["api", "deliveries", "failed", "retry"],
            Self::RetrySkipped => ["api", "deliveries", "skipped", "retry"],
        }
    }

    /// The same without the daemon.
    async fn in_database(&self, store: &Store) -> anyhow::Result<Answer> {
        let now = Timestamp::now();
        Ok(match self {
            Self::Retry(id) => deliveries::retry(store, &DeliveryId::new(id.as_str()), now).await?,
            Self::Redeliver(id) => deliveries::redeliver(store, &DeliveryId::new(id.as_str()), now).await?,
            Self::RetryFailed => deliveries::retry_failed(store, now).await?,
            Self::RetrySkipped => deliveries::retry_skipped(store, now).await?,
        })
    }
}

pub(super) async fn retry(settings: &Settings, options: Retry) -> anyhow::Result<Exit> {
    bring(settings, &options.wishes()).await
}

pub(super) async fn redeliver(settings: &Settings, options: Redeliver) -> anyhow::Result<Exit> {
    bring(settings, &options.ids.into_iter().map(Wish::Redeliver).collect::<Vec<_>>()).await
}

/// The daemon is asked for the first one; if it does not run, the database has to do for all of them.
async fn bring(settings: &Settings, wishes: &[Wish]) -> anyhow::Result<Exit> {
    let (mut store, mut exit, mut count) = (None, Exit::Done, 0);
    for wish in wishes {
        let answer = match &store {
            Some(store) => wish.in_database(store).await?,
            None => match request(settings, Method::POST, &wish.path(), &[]).await? {
                Some(answer) => answer,
                None => wish.in_database(store.insert(open(settings).await?)).await?,
            },
        };
        count += answer.count;
        let said = printable(&answer.said);
        match answer.outcome {
            Outcome::Done => println!("{said}"),
            Outcome::Refused | Outcome::Unknown => {
                exit = Exit::Failed;
                eprintln!("gdrive-webhook: {said}");
            }
        }
    }
    if let Some(store) = store {
        store.close().await;
        if count > 0 {
            println!(
                "no daemon runs; the next `gdrive-webhook run` or `gdrive-webhook sync` downloads what is in the queue"
            );
        }
    }
    Ok(exit)
}

/// The database for this command alone.
async fn open(settings: &Settings) -> anyhow::Result<Store> {
    Store::open(&settings.store, Access::Existing)
        .await
        .map_err(|error| missing(error, settings))
        .with_context(|| format!("no daemon answers at {}", settings.admin.listen))
}
