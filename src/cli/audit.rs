//! `audit`: asks the running daemon for an audit and waits for it; where none runs, makes it itself.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, Response, StatusCode};

use super::Exit;
use super::begin::missing;
use super::show::{columns, duration, printable, relative};
use crate::admin::audits::{Asked, Audits};
use crate::audit::{Auditor, Named, Outcome, Pace, Report, Scope, Tally, Waits};
use crate::config::{Settings, follow};
use crate::daemon::Instruments;
use crate::store::{self, Access};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So many files of each kind are printed.
const SHOWN: usize = 20;
/// How often the daemon is asked whether the audit has ended.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn audit(settings: &Settings, scope: Scope, json: bool) -> anyhow::Result<Exit> {
    let report = match ask(settings, scope).await? {
        Some(report) => report,
        None => make(settings, scope).await?,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render(&report, Timestamp::now()));
    }
    Ok(if report.is_well() { Exit::Done } else { Exit::Failed })
}

/// Has the daemon make an audit. `None`: no daemon answers.
async fn ask(settings: &Settings, scope: Scope) -> anyhow::Result<Option<Report>> {
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let token = settings.admin.token()?;
    let listen = settings.admin.listen;
    let url = format!("http://{listen}/api/audit");
    let signed = |request: RequestBuilder| match &token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let query = [("checksums", scope.checksums), ("fix", scope.fix)];
    let asked = match signed(client.post(&url).query(&query)).send().await {
        Err(error) if error.is_connect() => return Ok(None),
        answer => answer.with_context(|| format!("the daemon at {listen} (admin.listen) does not answer"))?,
    };
    let Asked { run, number } = answered(settings, asked).await?;
    loop {
        let answer = signed(client.get(&url)).send().await;
        let answer = answer
            .context("the daemon does not answer any more; when it does, run `gdrive-webhook audit` again")?;
        let Audits { standing, report } = answered(settings, answer).await?;
        anyhow::ensure!(
            standing.run == run,
            "the daemon was restarted during the audit; run `gdrive-webhook audit` again"
        );
        if standing.ended >= number {
            return match (standing.error, report) {
                (Some(error), _) => Err(anyhow::anyhow!("the audit did not finish: {error}")),
                (None, Some(report)) => Ok(Some(report)),
                (None, None) => Err(anyhow::anyhow!("the daemon has no report of the audit; see its log")),
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn answered<T: serde::de::DeserializeOwned>(
    settings: &Settings,
    answer: Response,
) -> anyhow::Result<T> {
    let (status, listen) = (answer.status(), settings.admin.listen);
    anyhow::ensure!(
        matches!(status, StatusCode::OK | StatusCode::ACCEPTED),
        "the program at {listen} (admin.listen) answers {status}; check that it is gdrive-webhook in this version, and that \
         admin.token_file is correct"
    );
    answer.json().await.with_context(|| {
        format!("the program at {listen} (admin.listen) does not answer with an audit; check that it is gdrive-webhook")
    })
}

/// Makes an audit while no daemon runs. Nothing is read into the database and nothing downloaded.
async fn make(settings: &Settings, scope: Scope) -> anyhow::Result<Report> {
    let instruments = Instruments::open(settings, Access::Existing).await.map_err(|error| match error
        .downcast::<store::Error>(
    ) {
        Ok(error) => missing(error, settings),
        Err(error) => error,
    })?;
    let wanted = follow::to_audit(settings);
    let auditor = Auditor {
        drive: &instruments.drive,
        store: &instruments.store,
        rules: &wanted.rules,
        scope,
        waits: Waits::default(),
        pace: Pace::Asked,
        reader: None,
        desk: None,
    };
    let report = auditor.run().await;
    instruments.store.close().await;
    Ok(report?)
}

/// One row for `status`.
pub(super) fn in_short(report: &Report, now: Timestamp) -> Vec<String> {
    let numbers = numbers(&report.total);
    let told: Vec<String> = numbers.iter().map(|(what, count)| format!("{count} {what}")).collect();
    vec![relative(report.ended, now), told.join(", ")]
}

/// What is worth saying of the files that are wanted.
fn numbers(tally: &Tally) -> Vec<(&'static str, u64)> {
    let numbers = [
        ("wanted", tally.wanted),
        ("here", tally.here),
        ("taken away since", tally.taken_away),
        ("changed since", tally.changed),
        ("waiting", tally.waiting),
        ("failed", tally.failed),
        ("skipped", tally.skipped),
        ("at destinations that cannot be looked at", tally.unseen),
        ("missing", tally.missing),
    ];
    let is_told = |(what, count): &(&str, u64)| *count > 0 || ["wanted", "here", "missing"].contains(what);
    numbers.into_iter().filter(is_told).collect()
}

fn render(report: &Report, now: Timestamp) -> String {
    let took = duration(report.ended.as_second() - report.began.as_second());
    let how = if report.checksums { ", with checksums" } else { "" };
    let mut text = format!("audit finished {}{how}, took {took}\n", relative(report.ended, now));
    let row = |(what, count): (&str, u64)| vec![count.to_string(), what.to_owned()];
    text += &columns(&numbers(&report.total).into_iter().map(row).collect::<Vec<_>>());
    let left_out = report.total.left_out.iter().map(|(why, count)| row((why.words(), *count)));
    text += &section("not wanted", &left_out.collect::<Vec<_>>());
    if report.folders.len() > 1 {
        let folder = |folder: &crate::audit::FolderReport| {
            let told: Vec<String> =
                numbers(&folder.tally).iter().map(|(what, count)| format!("{count} {what}")).collect();
            vec![printable(&folder.name), folder.destination.display().to_string(), told.join(", ")]
        };
        text += &section("folders", &report.folders.iter().map(folder).collect::<Vec<_>>());
    }
    for (outcome, title) in [
        (Outcome::Missing, "missing"),
        (Outcome::Unseen, "cannot be looked at"),
        (Outcome::Changed, "changed since they were delivered"),
        (Outcome::TakenAway, "taken away since they were delivered"),
        (Outcome::Failed, "failed"),
        (Outcome::Skipped, "skipped"),
        (Outcome::Waiting, "waiting"),
    ] {
        text += &section(title, &report.named(outcome).take(SHOWN).map(file).collect::<Vec<_>>());
        let more = report.named(outcome).skip(SHOWN).count();
        if more > 0 {
            text += &format!("  … and more; --json prints up to {} of them\n", SHOWN + more);
        }
    }
    text += &section(
        "problems",
        &report.problems.iter().map(|problem| vec![printable(problem)]).collect::<Vec<_>>(),
    );
    if report.queued > 0 {
        let files = if report.queued == 1 {
            "1 missing file was"
        } else {
            &format!("{} missing files were", report.queued)
        };
        text += &format!("{files} put in the queue\n");
    }
    if let Some(complaint) = report.complaint() {
        text += &format!("{complaint}\n");
    }
    text
}

fn file(named: &Named) -> Vec<String> {
    vec![printable(&named.path), printable(&named.reason), named.file_id.to_string()]
}

fn section(title: &str, rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { format!("{title}\n{}", columns(rows)) }
}
