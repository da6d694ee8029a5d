//! `history`: what became of each file, the latest first. Asks the running daemon; where none runs, the database.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;

use super::Exit;
use super::ask::{Asked, judge, request};
use super::begin::missing;
use super::show::{columns, duration, printable, relative, size};
use crate::admin::deliveries::{Again, HistoryReport, PAGE, PastReport, history as look};
use crate::config::{Problems, Settings};
use crate::model::Stage;
use crate::store::{Access, Earlier, Store, Which};

/// The options of `history`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Options {
    /// Only files that failed
    #[arg(long)]
    failed: bool,
    /// Show at most N files, the latest ones
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where the pages come from.
enum Source {
    Daemon,
    Database(Store),
}

pub(super) async fn history(
    settings: &Settings,
    problems: Option<&Problems>,
    options: Options,
) -> anyhow::Result<Exit> {
    let first = from_daemon(settings, options, options.limit, None).await;
    let (source, first) = match judge(first, problems)? {
        Asked::Answered(page) => (Source::Daemon, page),
        Asked::Mistaken(exit) => return Ok(exit),
        Asked::Nobody => {
            let store = open(settings).await?;
            let page = from_database(&store, options, options.limit, None).await?;
            (Source::Database(store), page)
        }
    };
    let report = all(settings, options, &source, first).await?;
    if let Source::Database(store) = source {
        store.close().await;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render(&report, options, Timestamp::now()));
    }
    Ok(Exit::Done)
}

async fn open(settings: &Settings) -> anyhow::Result<Store> {
    Store::open(&settings.store, Access::Shared)
        .await
        .map_err(|error| missing(error, settings))
        .with_context(|| format!("no daemon answers at {}", settings.admin.listen))
}

/// As many as were asked for, page by page.
async fn all(
    settings: &Settings,
    options: Options,
    source: &Source,
    first: HistoryReport,
) -> anyhow::Result<HistoryReport> {
    let mut report = first;
    while let Some(next) = report.next.take() {
        let open = options.limit.saturating_sub(u32::try_from(report.deliveries.len()).unwrap_or(u32::MAX));
        if open == 0 {
            report.next = Some(next);
            break;
        }
        let page = match source {
            Source::Daemon => from_daemon(settings, options, open, Some(&next))
                .await?
                .context("the daemon stopped meanwhile; run the command again")?,
            Source::Database(store) => from_database(store, options, open, Some(&next)).await?,
        };
        report.deliveries.extend(page.deliveries);
        report.next = page.next;
    }
    Ok(report)
}

async fn from_daemon(
    settings: &Settings,
    options: Options,
    limit: u32,
    before: Option<&str>,
) -> anyhow::Result<Option<HistoryReport>> {
    let limit = i64::from(limit).min(PAGE).to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(options.failed.then_some(("failed", "true")));
    query.extend(before.map(|before| ("before", before)));
    request(settings, Method::GET, &["api", "deliveries"], &query).await
}

async fn from_database(
    store: &Store,
    options: Options,
    limit: u32,
    before: Option<&str>,
) -> anyhow::Result<HistoryReport> {
    let which = if options.failed { Which::Failed } else { Which::All };
    let before = before.and_then(|before| before.parse().ok()).unwrap_or(Earlier::LATEST);
    Ok(look(store, which, before, i64::from(limit)).await?)
}

fn render(report: &HistoryReport, options: Options, now: Timestamp) -> String {
    if report.deliveries.is_empty() {
        return if options.failed {
            "no file has failed\n"
        } else {
            "no file was delivered, skipped or failed yet\n"
        }
        .to_owned();
    }
    let rows: Vec<Vec<String>> = report.deliveries.iter().map(row).collect();
    let mut text = String::new();
    for (line, delivery) in columns(&rows).lines().zip(&report.deliveries) {
        text += &format!("{line}\n");
        let why = [delivery.reason.as_deref().map(printable), outlook(delivery, now)];
        let why: Vec<String> = why.into_iter().flatten().collect();
        if !why.is_empty() {
            text += &format!("      {}\n", why.join("; "));
        }
    }
    if report.next.is_some() {
        text += &format!("  (the latest {}; --limit shows more)\n", report.deliveries.len());
    }
    text
}

fn row(delivery: &PastReport) -> Vec<String> {
    vec![
        delivery.time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        delivery.stage.clone(),
        printable(&delivery.name),
        delivery.size.map_or_else(|| "unknown size".to_owned(), size),
        delivery.seconds.map_or_else(|| "-".to_owned(), duration),
        printable(&delivery.path.display().to_string()),
        delivery.id.clone(),
    ]
}

/// What brings a file that is not in its place.
pub(super) fn outlook(delivery: &PastReport, now: Timestamp) -> Option<String> {
    let is_open = Stage::from_word(&delivery.stage).is_some_and(Stage::is_open);
    let later = delivery.next.filter(|next| *next > now).map(|next| relative(next, now));
    match (delivery.again?, later) {
        (Again::ByItself, Some(later)) if is_open => Some(format!("the next attempt {later}")),
        // It is at work on it.
        (Again::ByItself, None) if is_open => None,
        (Again::ByItself, later) => {
            Some(format!("Drive is asked about it again {}", later.unwrap_or_else(|| "soon".to_owned())))
        }
        (Again::BySetting, _) => Some(format!(
            "looked at again when that setting changes, or by `gdrive-webhook retry {}`",
            delivery.id
        )),
        (Again::ByRetry, _) => Some(format!("`gdrive-webhook retry {}` tries it again", delivery.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(stage: &str, again: Option<Again>, next: Option<i64>) -> PastReport {
        PastReport {
            id: "d1".to_owned(),
            file_id: "f1".to_owned(),
            name: "a\u{1b}film.mp4".to_owned(),
            size: Some(2048),
            stage: stage.to_owned(),
            time: Timestamp::UNIX_EPOCH,
            seconds: (stage == "done").then_some(90),
            path: "/srv/videos/film.mp4".into(),
            reason: (stage != "done").then(|| "why".to_owned()),
            again,
            next: next.map(|at| Timestamp::from_second(at).unwrap()),
        }
    }

    #[test]
    fn each_state_says_what_comes_next() {
        let now = Timestamp::from_second(1_000).unwrap();
        for (stage, again, next, expected) in [
            ("pending", Some(Again::ByItself), Some(1_060), Some("the next attempt in 1 min")),
            ("downloading", Some(Again::ByItself), Some(900), None),
            (
                "skipped",
                Some(Again::ByItself),
                Some(4_600),
                Some("Drive is asked about it again in 1 h 0 min"),
            ),
            ("skipped", Some(Again::ByItself), None, Some("Drive is asked about it again soon")),
            ("skipped", Some(Again::ByRetry), None, Some("`gdrive-webhook retry d1` tries it again")),
            ("done", None, None, None),
        ] {
            let said = outlook(&delivery(stage, again, next), now);
            assert_eq!(said.as_deref(), expected, "{stage} {again:?} {next:?}");
        }
        let setting = outlook(&delivery("failed", Some(Again::BySetting), None), now).unwrap();
        assert!(setting.contains("when that setting changes") && setting.contains("retry d1"), "{setting}");
    }

    #[test]
    fn a_line_for_each_delivery_and_one_for_its_reason() {
        let options = Options { failed: false, limit: 2, json: false };
        let deliveries = vec![delivery("done", None, None), delivery("failed", Some(Again::ByRetry), None)];
        let report = HistoryReport { deliveries, next: Some("1-1".to_owned()) };
        assert_eq!(
            render(&report, options, Timestamp::UNIX_EPOCH),
            "  1970-01-01 00:00:00Z  done    a\u{fffd}film.mp4  2.0 KiB  1 min  /srv/videos/film.mp4  d1\n\
             \u{20} 1970-01-01 00:00:00Z  failed  a\u{fffd}film.mp4  2.0 KiB  -      /srv/videos/film.mp4  d1\n\
             \u{20}     why; `gdrive-webhook retry d1` tries it again\n\
             \u{20} (the latest 2; --limit shows more)\n"
        );
        let none = HistoryReport::default();
        assert_eq!(
            render(&none, options, Timestamp::UNIX_EPOCH),
            "no file was delivered, skipped or failed yet\n"
        );
        let failed = Options { failed: true, ..options };
        assert_eq!(render(&none, failed, Timestamp::UNIX_EPOCH), "no file has failed\n");
    }
}
