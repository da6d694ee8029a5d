//! Files that lie at their place before they are delivered: another tool has copied them, or the database is lost. They are
//! looked for before anything is downloaded.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Error;
use super::publisher::mark;
use crate::destination::Destination;
use crate::download;
use crate::model::delivery::PublishedFile;
use crate::model::{Delivery, RelativePath};
use crate::spool::Expected;
use crate::store::Store;

/// Adopts the file that a delivery would bring, if it lies there. It is recorded as delivered then.
pub(super) async fn adopt(
    store: &Store,
    place: &Destination,
    delivery: &Delivery,
    expected: &Expected,
    stop: &CancellationToken,
) -> Result<Option<PublishedFile>, Error> {
    for path in place.alike(delivery.wanted.clone(), mark(delivery), expected.size).await? {
        if let Some(file) = adopt_at(store, place, delivery, expected, path, stop).await? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

async fn adopt_at(
    store: &Store,
    place: &Destination,
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
    let found = match place.lies_there(path.clone(), expected.clone(), stop.clone()).await {
        // The next attempt may be able to read it.
        Err(error) if error.is_damage() && delivery.attempt > 0 => {
            let path = place.absolute(&path);
            warn!(path = %path.display(), %error, "a file that lies there already cannot be read; it is taken for another one");
            return Ok(None);
        }
        found => found?,
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{Claimant, Opening, Rights};
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
        let by = Claimant { id: "d".to_owned(), path: home.path().join("state.db") };
        let opening = Opening { rights: Rights::default(), known: None, by };
        let (place, _) = Destination::open(&videos, opening).await.unwrap();
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
