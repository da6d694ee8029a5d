//! Parts on their way to their places.

use std::fs;
use std::path::Path;

use rustix::fs::RenameFlags;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::destination::calls::faults::inject;
use crate::destination::{Claimant, Destination, Opening, Rights, Settled};
use crate::model::DeliveryId;
use crate::model::file::Checksum;
use crate::spool::checksum::Hasher;
use crate::spool::{Buffers, Expected, Part, Sink, Verification};

pub(in crate::destination) fn path(text: &str) -> RelativePath {
    RelativePath::from_stored(text)
}

pub(in crate::destination) fn id(text: &str) -> DeliveryId {
    DeliveryId::new(text)
}

pub(in crate::destination) async fn part(
    place: &Local,
    name: &str,
    content: &'static [u8],
) -> Arc<VerifiedPart> {
    let mut hasher = Hasher::like(&Checksum::Md5(String::new()));
    hasher.update(content);
    let expected = Expected { size: content.len() as u64, checksum: hasher.finish(), modified: None };
    let part = Part::open(place.spool(), &id(name), expected).await.unwrap();
    let sink = Sink::new(part, 1, &Buffers::default());
    let mut lane = sink.lane(0);
    assert!(lane.write(content).await);
    lane.close().await;
    match sink.finish().await.unwrap() {
        Verification::Verified(part) => Arc::new(part),
        Verification::Wrong { why, .. } => panic!("{why}"),
    }
}

fn file_of(part: &VerifiedPart, at: &str, replaces: bool) -> PublishedFile {
    PublishedFile {
        path: path(at),
        identity: Identity::File { inode: part.inode(), modified_ns: part.modified_ns() },
        size: part.size(),
        checksum: Some(part.checksum().clone()),
        replaces,
        adopted: false,
    }
}

fn planned(part: &Arc<VerifiedPart>, file: PublishedFile, earlier: Option<&PublishedFile>) -> Planned {
    Planned { part: Arc::clone(part), file, earlier: earlier.cloned(), waits: Waits::AsPart }
}

fn put(place: &Local, part: &Arc<VerifiedPart>, at: &str) -> Result<(), Error> {
    let file = file_of(part, at, false);
    place.publish(&[planned(part, file, None)]).remove(0)
}

fn replace(place: &Local, part: &Arc<VerifiedPart>, earlier: &PublishedFile) -> Result<(), Error> {
    let file = file_of(part, &earlier.path.to_string(), true);
    place.publish(&[planned(part, file, Some(earlier))]).remove(0)
}

/// The deliveries whose part waits. What was moved leaves a witness.
fn waiting(place: &Local) -> Vec<DeliveryId> {
    let parts = place.parts().unwrap();
    parts.into_iter().filter(|id| place.spool().path(id).exists()).collect()
}

pub(in crate::destination) fn read(place: &Local, at: &str) -> String {
    fs::read_to_string(place.absolute(&path(at))).unwrap()
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let new = part(&place, "d1", b"new").await;
    fs::write(home.path().join("film.mp4"), "mine").unwrap();
    assert!(matches!(put(&place, &new, "film.mp4"), Err(Error::Taken { .. })));
    assert_eq!(read(&place, "film.mp4"), "mine");
    assert_eq!(
        place.free_place(&path("film.mp4"), "1AbC", &HashSet::new()).unwrap(),
        path("film [1AbC].mp4")
    );
    put(&place, &new, "film [1AbC].mp4").unwrap();
    assert_eq!(
        place.free_place(&path("film.mp4"), "1AbC", &HashSet::new()).unwrap(),
        path("film [1AbC-2].mp4")
    );
    assert_eq!(waiting(&place), []);
}

#[tokio::test]
async fn many_at_once_get_places_of_their_own_and_outcomes_of_their_own() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let mut wishes = Vec::new();
    for (name, wanted) in [("d1", "film.mp4"), ("d2", "film.mp4"), ("d3", "a/film.mp4"), ("d4", "film.mp4")] {
        let part = part(&place, name, b"new").await;
        wishes.push(Wish { part, wanted: path(wanted), mark: name.to_owned(), earlier: None });
    }
    let planned: Vec<Planned> = place.plan(&wishes).unwrap().into_iter().map(Result::unwrap).collect();
    let paths: Vec<String> = planned.iter().map(|planned| planned.file.path.to_string()).collect();
    assert_eq!(paths, ["film.mp4", "film [d2].mp4", "a/film.mp4", "film [d4].mp4"]);
    fs::write(home.path().join("film [d2].mp4"), "mine").unwrap();
    let outcomes = place.publish(&planned);
    assert!(matches!(outcomes[..], [Ok(()), Err(Error::Taken { .. }), Ok(()), Ok(())]), "{outcomes:?}");
    assert_eq!(read(&place, "film [d2].mp4"), "mine");
    assert_eq!(waiting(&place), [id("d2")]);

    let earlier = Some(planned[0].file.clone());
    fs::write(home.path().join("a/film.mp4"), "edited").unwrap();
    let mut newer = Vec::new();
    for (name, earlier) in [("d5", earlier), ("d6", Some(planned[2].file.clone()))] {
        let wanted = earlier.as_ref().unwrap().path.clone();
        let part = part(&place, name, b"newer").await;
        newer.push(Wish { part, wanted, mark: name.to_owned(), earlier });
    }
    let planned: Vec<Planned> = place.plan(&newer).unwrap().into_iter().map(Result::unwrap).collect();
    assert!(place.publish(&planned).into_iter().all(|outcome| outcome.is_ok()));
    let found = ["film.mp4", "a/film.mp4", "a/film [d6].mp4"].map(|at| read(&place, at));
    assert_eq!(found, ["newer", "edited", "newer"]);
}

#[tokio::test]
async fn only_an_untouched_file_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let first = part(&place, "d1", b"first").await;
    let earlier = file_of(&first, "a/film.mp4", false);
    put(&place, &first, &earlier.path.to_string()).unwrap();
    let second = part(&place, "d2", b"second").await;
    replace(&place, &second, &earlier).unwrap();
    assert_eq!(read(&place, "a/film.mp4"), "second");
    assert_eq!(waiting(&place), [], "the earlier content is gone");

    let third = part(&place, "d3", b"third").await;
    assert!(
        matches!(replace(&place, &third, &earlier), Err(Error::Changed { .. })),
        "it is another file by now"
    );
    let earlier = file_of(&second, "a/film.mp4", true);
    fs::write(home.path().join("a/film.mp4"), "edited").unwrap();
    assert!(matches!(replace(&place, &third, &earlier), Err(Error::Changed { .. })));
    assert_eq!(read(&place, "a/film.mp4"), "edited");
}

#[tokio::test]
async fn the_disk_tells_what_a_crash_interrupted() {
    let home = tempfile::tempdir().unwrap();
    Local::open(home.path(), None, Rights::default()).unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let new = part(&place, "d1", b"new").await;
    let planned = file_of(&new, "film.mp4", false);
    assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::NotYet, "before the rename");
    put(&place, &new, &planned.path.to_string()).unwrap();
    assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Published, "after it");
    fs::remove_file(home.path().join("film.mp4")).unwrap();
    assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Published, "and taken away");
    place.forget_moves(&[id("d1")]);
    assert_eq!(place.settle(&id("d1"), &planned, None).unwrap(), Settled::Lost, "the evidence is gone");
    assert_eq!(place.parts().unwrap(), [], "and nothing else is left");
}

#[tokio::test]
async fn a_part_that_is_gone_or_replaced_is_never_taken_for_published() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let wish = |part| Wish { part, wanted: path("film.mp4"), mark: "d".to_owned(), earlier: None };
    let gone = |outcome: &Result<_, Error>| matches!(outcome, Err(Error::PartGone { .. }));
    let hands: [fn(&Path); 4] = [
        |part| fs::remove_file(part).unwrap(),
        |part| {
            fs::remove_file(part).unwrap();
            fs::write(part, "another").unwrap();
        },
        |part| fs::hard_link(part, part.with_extension("link")).unwrap(),
        |part| {
            let aside = part.with_extension("aside");
            fs::rename(part, &aside).unwrap();
            std::os::unix::fs::symlink(aside, part).unwrap();
        },
    ];
    for (number, hand) in hands.into_iter().enumerate() {
        for is_planned in [false, true] {
            let part = part(&place, &format!("d{number}{is_planned}"), b"new").await;
            let file = file_of(&part, "film.mp4", false);
            if is_planned {
                let planned = planned(&part, file.clone(), None);
                hand(&part.path());
                assert!(gone(&place.publish(&[planned]).remove(0)), "{number}");
            } else {
                hand(&part.path());
                assert!(gone(&place.plan(&[wish(part)]).unwrap().remove(0).map(drop)), "{number}");
            }
        }
    }
    assert!(!home.path().join("film.mp4").exists());

    // A note of an earlier move proves nothing.
    let part = part(&place, "d9", b"new").await;
    part.is_moved().unwrap();
    let planned = place.plan(&[wish(part.clone())]).unwrap().remove(0).unwrap();
    fs::remove_file(part.path()).unwrap();
    assert_eq!(place.settle(&id("d9"), &planned.file, None).unwrap(), Settled::Lost);
}

#[tokio::test]
async fn an_interrupted_replacement_is_finished_and_keeps_what_was_edited() {
    for (edited, taken, left) in [
        (false, false, vec!["film.mp4"]),
        (true, false, vec!["film [kept].mp4", "film.mp4"]),
        (false, true, vec![]),
        (true, true, vec!["film.mp4"]),
    ] {
        let home = tempfile::tempdir().unwrap();
        Local::open(home.path(), None, Rights::default()).unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let first = part(&place, "d1", b"first").await;
        let earlier = file_of(&first, "film.mp4", false);
        put(&place, &first, &earlier.path.to_string()).unwrap();
        let second = part(&place, "d2", b"second").await;
        let planned = file_of(&second, "film.mp4", true);
        if edited {
            fs::write(home.path().join("film.mp4"), "edited by hand").unwrap();
        }
        // The exchange happened, and then the power went.
        let film = home.path().join("film.mp4");
        sys::renameat_with(second.folder(), second.name(), sys::CWD, &film, RenameFlags::EXCHANGE).unwrap();
        if taken {
            fs::remove_file(&film).unwrap();
        }
        assert_eq!(place.settle(&id("d2"), &planned, Some(&earlier)).unwrap(), Settled::Published);
        assert_eq!(waiting(&place), []);
        let mut names: Vec<String> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        assert_eq!(names, left);
        match (edited, taken) {
            (_, false) => assert_eq!(read(&place, "film.mp4"), "second"),
            (true, true) => {
                assert_eq!(read(&place, "film.mp4"), "edited by hand", "it is kept in the free place");
            }
            (false, true) => {}
        }
    }
}

#[tokio::test]
async fn no_symbolic_link_is_followed() {
    let home = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    std::os::unix::fs::symlink(outside.path(), home.path().join("link")).unwrap();
    let new = part(&place, "d1", b"new").await;
    assert!(put(&place, &new, "link/film.mp4").is_err());
    assert_eq!(
        place.free_place(&path("link/film.mp4"), "x", &HashSet::new()).unwrap(),
        path("link_/film.mp4")
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn nothing_is_published_from_a_folder_that_is_another_one_by_now() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let part = part(&place, "d1", b"new").await;
    let hidden = home.path().join(crate::spool::HIDDEN);
    fs::rename(&hidden, home.path().join("aside")).unwrap();
    fs::create_dir(&hidden).unwrap();
    fs::copy(home.path().join("aside/marker"), hidden.join("marker")).unwrap();
    let wish = Wish { part, wanted: path("film.mp4"), mark: "d1".to_owned(), earlier: None };
    assert!(matches!(place.plan(&[wish]), Err(Error::NotMounted { .. })));
    Local::open(home.path(), Some(place.marker()), Rights::default()).unwrap().check().unwrap();
}

#[test]
fn what_is_planted_as_a_marker_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let marker = home.path().join(crate::spool::HIDDEN).join("marker");
    let token = home.path().join("token.json");
    fs::write(&token, "secret").unwrap();
    fs::remove_file(&marker).unwrap();
    std::os::unix::fs::symlink(&token, &marker).unwrap();
    for known in [None, Some(place.marker())] {
        let error = Local::open(home.path(), known, Rights::default()).unwrap_err();
        assert!(error.to_string().contains("marker is a symbolic link"), "{error}");
    }
    assert!(place.check().is_err() && place.mark().is_err());
    fs::remove_file(&marker).unwrap();
    std::os::unix::fs::symlink(&token, marker.with_extension("new")).unwrap();
    assert!(place.mark().is_err());
    assert_eq!(fs::read_to_string(&token).unwrap(), "secret");
}

#[tokio::test]
async fn what_waits_for_the_disk_leaves_the_threads_of_the_runtime() {
    let home = tempfile::tempdir().unwrap();
    let by = Claimant { id: "database".to_owned(), path: "state.db".into() };
    let opening = Opening { rights: Rights::default(), known: None, by };
    let (place, _) = Destination::open(home.path(), opening).await.unwrap();
    let Destination::Local(local) = &place;
    let part = part(local, "d1", b"new").await;
    let expected = Expected { size: 3, checksum: part.checksum().clone(), modified: None };
    // This thread may do nothing of the kind.
    let _injected = inject(|_, _, _| Err(Errno::IO));
    let wish = Wish { part, wanted: path("a/film.mp4"), mark: "d1".to_owned(), earlier: None };
    let planned = place.plan(vec![wish]).await.unwrap().remove(0).unwrap();
    let file = planned.file.clone();
    place.publish(vec![planned]).await.unwrap().remove(0).unwrap();
    assert_eq!(place.settle(id("d1"), file.clone(), None).await.unwrap(), Settled::Published);
    assert_eq!(place.alike(file.path.clone(), "d1".to_owned(), 3).await.unwrap(), [path("a/film.mp4")]);
    let found = place.lies_there(file.path.clone(), expected, CancellationToken::new()).await.unwrap();
    assert_eq!(found, Some(PublishedFile { adopted: true, ..file }));
}
