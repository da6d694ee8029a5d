//! Files that lie at their place before they are delivered: another tool has copied them, or the database is lost. They are
//! looked for before anything is downloaded.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::blocking::blocking;
use super::publisher::mark;
use crate::destination::{Local, Lying};
use crate::download;
use crate::model::delivery::PublishedFile;
use crate::model::{Delivery, Naming, Refusal, RelativePath};
use crate::spool::Expected;
use crate::store::Store;

/// So many names with a mark are looked at. More files of one name and one size do not lie in one folder.
const ROUNDS: u32 = 10;

/// Adopts the file that a delivery would bring, if it lies there. It is recorded as delivered then.
pub(super) async fn adopt(
    store: &Store,
    place: &Local,
    delivery: &Delivery,
    expected: &Expected,
    stop: &CancellationToken,
) -> Result<Option<PublishedFile>, Error> {
    let mark = mark(delivery);
    for wanted in spellings(&delivery.wanted) {
        // Names with its own mark first: without one, two files of one name and one content could take each other's.
        let marked = (1..=ROUNDS).map(|round| wanted.marked(&mark, round));
        for path in first_there(place, marked.collect(), expected).await?.into_iter().chain([wanted]) {
            if is_alike(place, &path, expected).await?
                && let Some(file) = adopt_at(store, place, delivery, expected, path, stop).await?
            {
                return Ok(Some(file));
            }
        }
    }
    Ok(None)
}

/// Those that are there, up to the first that is not.
async fn first_there(
    place: &Local,
    paths: Vec<RelativePath>,
    expected: &Expected,
) -> Result<Vec<RelativePath>, Error> {
    let (place, size) = (place.clone(), expected.size);
    let there = blocking(move || {
        let mut there = Vec::new();
        for path in paths {
            if place.look(&path, size)? == Lying::Nothing {
                break;
            }
            there.push(path);
        }
        Ok(there)
    });
    Ok(there.await?)
}

async fn is_alike(place: &Local, path: &RelativePath, expected: &Expected) -> Result<bool, Error> {
    let (place, path, size) = (place.clone(), path.clone(), expected.size);
    Ok(blocking(move || place.look(&path, size)).await? == Lying::Alike)
}

async fn adopt_at(
    store: &Store,
    place: &Local,
    delivery: &Delivery,
    expected: &Expected,
    path: RelativePath,
    stop: &CancellationToken,
) -> Result<Option<PublishedFile>, Error> {
    let holder = store.holder(place.root(), &path).await?;
    if holder.as_ref().is_some_and(|holder| holder.file_id != delivery.file_id) {
        // Two files in Drive can be the same. Each of them is delivered.
        return Ok(None);
    }
    let (reading, expected, reader) = (place.clone(), expected.clone(), stop.clone());
    let found = blocking(move || reading.lies_there(&path, &expected, &|| !reader.is_cancelled())).await?;
    let Some(found) = found else {
        return if stop.is_cancelled() { Err(download::Error::Stopped.into()) } else { Ok(None) };
    };
    let earlier = holder.and_then(|holder| holder.published);
    let as_found = |earlier: PublishedFile| PublishedFile { adopted: true, replaces: false, ..earlier };
    let is_own = earlier.is_some_and(|earlier| !earlier.adopted && as_found(earlier) == found);
    let file = PublishedFile { adopted: !is_own, ..found };
    let is_done = store.adopt(&delivery.id, &file, Timestamp::now()).await?;
    Ok(is_done.then_some(file))
}

/// The wanted path, and what a disk that accepts only what Windows does has made of it.
fn spellings(wanted: &RelativePath) -> Vec<RelativePath> {
    let portable = |name: &str| Naming::ANY.after(Refusal::Character, name).map(|naming| naming.apply(name));
    let names = wanted.directories().iter().map(String::as_str).chain([wanted.file_name()]);
    let spelled: Vec<String> = names.map(|name| portable(name).unwrap_or_else(|| name.to_owned())).collect();
    let portable = RelativePath::from_segments(spelled);
    if portable == *wanted { vec![portable] } else { vec![wanted.clone(), portable] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Rights;
    use crate::model::Stage;
    use crate::model::file::Checksum;
    use crate::spool::checksum::Hasher;
    use crate::store::{Access, Config};

    #[tokio::test]
    async fn a_stop_ends_the_reading_of_a_file_that_lies_there() {
        let home = tempfile::tempdir().unwrap();
        let videos = home.path().join("videos");
        let url = format!("sqlite:{}", home.path().join("state.db").display());
        let store = Store::open(&Config { url }, Access::Exclusive).await.unwrap();
        store.put_bare("d1", videos.to_str().unwrap(), 1, Stage::Downloading).await;
        let delivery = store.in_stages(&[Stage::Downloading], 1).await.unwrap().remove(0);
        let place = Local::open(&videos, None, Rights::default()).unwrap();
        std::fs::write(delivery.wanted.under(&videos), "film").unwrap();
        let mut hasher = Hasher::like(&Checksum::Sha256(String::new()));
        hasher.update(b"film");
        let expected = Expected { size: 4, checksum: hasher.finish(), modified: None };
        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = adopt(&store, &place, &delivery, &expected, &stop).await;
        assert!(matches!(stopped, Err(Error::Download(download::Error::Stopped))), "{stopped:?}");
        let found = adopt(&store, &place, &delivery, &expected, &CancellationToken::new()).await.unwrap();
        assert_eq!(found.map(|file| file.size), Some(4));
    }
}
