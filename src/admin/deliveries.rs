//! What `history` shows, and what `retry` and `redeliver` do: the same for a request to the running program and for a
//! command that finds none and works on the database.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::delivery::{Cause, Identity, PublishedFile};
use crate::model::name::printable;
use crate::model::{Delivery, DeliveryId, Stage};
use crate::store::{Asked, Earlier, Error, Past, Retried, Store, Which};

/// Deliveries in one answer at most; the next page begins where it ends.
pub const PAGE: i64 = 500;
/// A disk that does not answer must not hold up the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The precision of times on the coarsest file system, in nanoseconds.
const COARSE: u64 = 2_000_000_000;

/// A page of the history, the latest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryReport {
    /// The deliveries.
    pub deliveries: Vec<PastReport>,
    /// What to ask for the next page with, as `before`; absent if this is the last one.
    pub next: Option<String>,
}

/// One delivery. Times are RFC 3339, sizes are bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PastReport {
    /// Its id, for `retry` and `redeliver`.
    pub id: String,
    /// The file in Drive.
    pub file_id: String,
    /// Its name there.
    pub name: String,
    /// Its size.
    pub size: Option<u64>,
    /// How far it is.
    pub stage: String,
    /// When it came so far.
    pub time: Timestamp,
    /// Seconds from when it was found to when it was in its place.
    pub seconds: Option<i64>,
    /// Where it was put, or is to be put.
    pub path: PathBuf,
    /// Why it waits, failed or was skipped.
    pub reason: Option<String>,
    /// What brings it again, if it is not in its place.
    pub again: Option<Again>,
    /// When that is, if it happens by itself at a time that is known.
    pub next: Option<Timestamp>,
}

/// What brings a file that is not in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// Nobody has to do anything.
    ByItself,
    /// Another value of the setting that the reason names.
    BySetting,
    /// `retry`.
    ByRetry,
}

/// What became of a request to bring something again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it is as it was asked for.
    pub outcome: Outcome,
    /// In words.
    pub said: String,
    /// Deliveries that were put in the queue.
    pub count: u64,
}

/// Whether a request was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was.
    Done,
    /// The delivery is in another state.
    Refused,
    /// There is no such delivery.
    Unknown,
}

impl Answer {
    fn done(count: u64, said: String) -> Self {
        Self { outcome: Outcome::Done, said, count }
    }

    fn refused(said: String) -> Self {
        Self { outcome: Outcome::Refused, said, count: 0 }
    }

    fn unknown(id: &DeliveryId) -> Self {
        let said = format!(
            "no file in the history has the id {id}; `gdrive-webhook history` shows the ids, which are not those of Drive"
        );
        Self { outcome: Outcome::Unknown, said, count: 0 }
    }
}

/// A page of the history.
pub async fn history(
    store: &Store,
    which: Which,
    before: Earlier,
    limit: i64,
) -> Result<HistoryReport, Error> {
    let Past { deliveries, next } = store.past(which, before, limit.clamp(1, PAGE)).await?;
    Ok(HistoryReport {
        deliveries: deliveries.iter().map(past).collect(),
        next: next.map(|next| next.to_string()),
    })
}

/// One delivery, as `history` and `sync` show it.
pub fn past(delivery: &Delivery) -> PastReport {
    let place = delivery.published.as_ref().map_or(&delivery.wanted, |file| &file.path);
    let again = again(delivery);
    PastReport {
        id: delivery.id.to_string(),
        file_id: delivery.file_id.to_string(),
        name: delivery.name.clone(),
        size: delivery.size,
        stage: delivery.stage.as_str().to_owned(),
        time: delivery.updated,
        seconds: (delivery.stage == Stage::Done)
            .then(|| delivery.updated.as_second() - delivery.created.as_second()),
        path: place.under(&delivery.destination),
        reason: delivery.reason.clone(),
        again,
        next: match delivery.stage {
            Stage::Skipped => delivery.look_at,
            stage => stage.is_open().then_some(delivery.run_at),
        },
    }
}

/// What brings a delivery that is not in its place.
fn again(delivery: &Delivery) -> Option<Again> {
    match (delivery.stage, delivery.cause) {
        (Stage::Unready | Stage::Pending | Stage::Downloading | Stage::Publishing, _) => {
            Some(Again::ByItself)
        }
        (Stage::Done | Stage::Superseded | Stage::Existing, _) => None,
        (Stage::Failed | Stage::Skipped, Some(Cause::Setting)) => Some(Again::BySetting),
        (Stage::Skipped, Some(Cause::Permission | Cause::Refused)) => Some(Again::ByItself),
        (Stage::Failed, _) | (Stage::Skipped, None) => Some(Again::ByRetry),
    }
}

/// The command that tries a file again which does not come by itself.
pub fn remedy(delivery: &Delivery) -> Option<String> {
    let is_failed = delivery.stage == Stage::Failed || again(delivery) == Some(Again::ByRetry);
    is_failed.then(|| format!("gdrive-webhook retry {}", delivery.id))
}

/// Says that files have failed, and what to do.
pub fn failed(count: i64, last: &Delivery) -> String {
    let why = printable(last.reason.as_deref().unwrap_or("no reason is known"));
    let name = printable(&last.name);
    let which = match count {
        1 => format!("1 file has failed: {name} ({why})"),
        _ => format!("{count} files have failed, the last one {name} ({why})"),
    };
    let them = if count == 1 { "it" } else { "them" };
    format!(
        "{which}. `gdrive-webhook history --failed` shows {them}, `gdrive-webhook retry --failed` tries {them} again; to do \
         without {them}, move {them} out of the watched folder in Drive"
    )
}

/// Puts a delivery back in the queue that failed or was skipped.
pub async fn retry(store: &Store, id: &DeliveryId, now: Timestamp) -> Result<Answer, Error> {
    Ok(match store.retry(id, now).await? {
        Asked::Queued(delivery) => Answer::done(1, format!("{} is in the queue again", delivery.name)),
        Asked::Sooner(delivery) => Answer::done(1, format!("{} is tried again now", delivery.name)),
        Asked::Unknown => Answer::unknown(id),
        Asked::Unmoved(delivery) => Answer::refused(format!(
            "{} ({id}) cannot be tried again: {}",
            delivery.name,
            not_retried(&delivery)
        )),
    })
}

fn not_retried(delivery: &Delivery) -> String {
    match delivery.stage {
        Stage::Unready => "Drive has not said its size and checksum yet; it comes by itself".to_owned(),
        Stage::Pending => "it is in the queue already".to_owned(),
        Stage::Downloading | Stage::Publishing => "it is being downloaded".to_owned(),
        Stage::Done => format!(
            "it was delivered; `gdrive-webhook redeliver {}` downloads it again if it is no longer at the destination",
            delivery.id
        ),
        Stage::Failed | Stage::Skipped => newer(),
        Stage::Superseded => superseded(delivery),
        Stage::Existing => existing(),
    }
}

/// Puts a delivered file back in the queue, unless it is still where it was put. With a disk that does not answer, it is
/// not known whether it is.
pub async fn redeliver(store: &Store, id: &DeliveryId, now: Timestamp) -> Result<Answer, Error> {
    let known = store.delivery(id).await?;
    let done = known.filter(|delivery| delivery.stage == Stage::Done);
    if let Some(Delivery { name, destination, published: Some(file), .. }) = done {
        let path = file.path.under(&destination);
        match is_there(path.clone(), file).await {
            Look::There => {
                return Ok(Answer::done(
                    0,
                    format!(
                        "{name} is still at {} as it was delivered, and is not downloaded again; to download it again, move \
                         that file away first",
                        path.display()
                    ),
                ));
            }
            Look::Unknown(why) => {
                return Ok(Answer::refused(format!(
                    "cannot check whether {name} is still at {}: {why}",
                    path.display()
                )));
            }
            Look::Gone => {}
        }
    }
    Ok(match store.redeliver(id, now).await? {
        Asked::Queued(delivery) => Answer::done(1, format!("{} is in the queue again", delivery.name)),
        Asked::Unknown => Answer::unknown(id),
        Asked::Sooner(delivery) | Asked::Unmoved(delivery) => Answer::refused(format!(
            "{} ({id}) cannot be delivered again: {}",
            delivery.name,
            not_redelivered(&delivery)
        )),
    })
}

fn not_redelivered(delivery: &Delivery) -> String {
    match delivery.stage {
        Stage::Unready | Stage::Pending | Stage::Downloading | Stage::Publishing => {
            "it is in the queue already".to_owned()
        }
        Stage::Failed | Stage::Skipped => {
            format!("it was not delivered; `gdrive-webhook retry {}` tries it again", delivery.id)
        }
        Stage::Done => newer(),
        Stage::Superseded => superseded(delivery),
        Stage::Existing => existing(),
    }
}

fn newer() -> String {
    "the file has newer content now, and only that can be downloaded; see `gdrive-webhook history`".to_owned()
}

fn superseded(delivery: &Delivery) -> String {
    let why = delivery.reason.as_deref().unwrap_or("the file has newer content now");
    format!("it is not wanted any more: {why}")
}

fn existing() -> String {
    "it was there before the first run; existing = \"download\" downloads all such files of a folder"
        .to_owned()
}

/// What a look at the destination shows.
enum Look {
    /// The file as it was delivered.
    There,
    /// Another one, or none.
    Gone,
    /// Nothing.
    Unknown(String),
}

async fn is_there(path: PathBuf, file: PublishedFile) -> Look {
    let look = tokio::task::spawn_blocking(move || look_at(&path, &file));
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => Look::Unknown(error.to_string()),
        Err(_) => Look::Unknown("the disk does not answer; check that its server is reachable".to_owned()),
    }
}

/// By size and time. The inode is not asked for: some file systems change it.
fn look_at(path: &Path, file: &PublishedFile) -> Look {
    let Identity::File { modified_ns: delivered_ns, .. } = file.identity;
    match std::fs::symlink_metadata(path) {
        Ok(seen) => {
            let modified_ns = seen.mtime().saturating_mul(1_000_000_000).saturating_add(seen.mtime_nsec());
            let is_same =
                seen.is_file() && seen.len() == file.size && modified_ns.abs_diff(delivered_ns) <= COARSE;
            if is_same { Look::There } else { Look::Gone }
        }
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Look::Gone
        }
        Err(error) => Look::Unknown(error.to_string()),
    }
}

/// Puts all deliveries back in the queue that failed.
pub async fn retry_failed(store: &Store, now: Timestamp) -> Result<Answer, Error> {
    let Retried { count, .. } = store.retry_failed(now).await?;
    Ok(Answer::done(count, retried(count, ["failed", "failed"])))
}

/// Puts all deliveries back in the queue that were skipped, except those that a setting leaves out.
pub async fn retry_skipped(store: &Store, now: Timestamp) -> Result<Answer, Error> {
    let Retried { count, left } = store.retry_skipped(now).await?;
    let mut said = retried(count, ["was skipped", "were skipped"]);
    if left > 0 {
        let [stay, they] = if left == 1 { ["stays", "it is"] } else { ["stay", "they are"] };
        said += &format!(
            "; {left} more {stay} skipped because of on_update = \"ignore\": {they} downloaded when that is changed, or by \
             `gdrive-webhook retry ID`"
        );
    }
    Ok(Answer::done(count, said))
}

/// `were`: what happened to one file, and to several.
fn retried(count: u64, were: [&str; 2]) -> String {
    match count {
        0 => format!("no file that {} can be tried again", were[0]),
        1 => format!("1 file that {} is in the queue again", were[0]),
        _ => format!("{count} files that {} are in the queue again", were[1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_in_words() {
        let retried = |count| super::retried(count, ["was skipped", "were skipped"]);
        assert_eq!(retried(0), "no file that was skipped can be tried again");
        assert_eq!(retried(1), "1 file that was skipped is in the queue again");
        assert_eq!(retried(2), "2 files that were skipped are in the queue again");
    }

    #[test]
    fn a_file_is_still_there_if_its_size_and_time_are_those_of_its_delivery() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("film.mp4");
        let gone = |file: &PublishedFile| matches!(look_at(&path, file), Look::Gone);
        std::fs::write(&path, "123").unwrap();
        let seen = std::fs::metadata(&path).unwrap();
        let file = PublishedFile {
            path: crate::model::RelativePath::from_stored("film.mp4"),
            identity: Identity::File { inode: 0, modified_ns: seen.mtime() * 1_000_000_000 },
            size: 3,
            checksum: None,
            replaces: false,
            adopted: false,
        };
        assert!(matches!(look_at(&path, &file), Look::There));
        assert!(gone(&PublishedFile { size: 4, ..file.clone() }));
        let earlier = Identity::File { inode: 0, modified_ns: (seen.mtime() - 3) * 1_000_000_000 };
        assert!(gone(&PublishedFile { identity: earlier, ..file.clone() }));
        std::fs::remove_file(&path).unwrap();
        assert!(gone(&file));
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(gone(&file), "a link is another file");
        let below = home.path().join("film.mp4/deeper");
        assert!(matches!(look_at(&below, &file), Look::Gone));
    }
}
