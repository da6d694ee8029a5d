//! Disks that refuse names, that lead nowhere by a rename, that know no exchange, no links, and no inode numbers.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use super::tests::{id, part, path, read};
use super::*;
use crate::destination::calls::Call;
use crate::destination::calls::faults::{Injected, inject};
use crate::destination::lying::Lying;
use crate::destination::{Rights, Settled};
use crate::model::delivery::Identity;
use crate::spool::Expected;

/// What lies at a destination, besides what is hidden.
fn shown(home: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with('.') && path.is_dir() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(home).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn wish(part: &Arc<VerifiedPart>, wanted: &str, earlier: Option<&PublishedFile>) -> Wish {
    Wish {
        part: Arc::clone(part),
        wanted: RelativePath::from_segments(wanted.split('/')),
        mark: "1AbC".to_owned(),
        earlier: earlier.cloned(),
    }
}

/// Inode and modification time.
fn seen(file: &PublishedFile) -> (u64, i64) {
    let Identity::File { inode, modified_ns } = file.identity;
    (inode, modified_ns)
}

/// Plans and publishes as the engine does: a place that counts as taken is planned once more.
fn deliver(place: &Local, wish: &Wish) -> Result<PublishedFile, Error> {
    for _ in 0..5 {
        let planned = place.plan(std::slice::from_ref(wish))?.remove(0)?;
        match place.publish(std::slice::from_ref(&planned)).remove(0) {
            Err(Error::Taken { .. } | Error::Changed { .. }) => {}
            outcome => return outcome.map(|()| planned.file),
        }
    }
    Err(Error::Taken { path: wish.wanted.clone() })
}

/// Nothing can be moved out of the hidden folder, as between two file systems. A copy lies beside its place.
fn only_within_a_folder() -> Injected {
    inject(|call, from, _| match call {
        Call::RenameNew | Call::Exchange | Call::Rename | Call::Link if from.ends_with(".part") => {
            Err(Errno::XDEV)
        }
        _ => Ok(()),
    })
}

#[tokio::test]
async fn where_nothing_can_be_moved_a_copy_takes_the_place_and_nothing_else_stays() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let _injected = only_within_a_folder();
    let first = deliver(&place, &wish(&part(&place, "d1", b"first").await, "a/film.mp4", None)).unwrap();
    assert_eq!(
        (read(&place, "a/film.mp4").as_str(), shown(home.path())),
        ("first", vec!["a/film.mp4".into()])
    );
    let metadata = fs::metadata(home.path().join("a/film.mp4")).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o7777), (seen(&first).0, 0o640));
    assert!(place.is_untouched(&first).unwrap());
    let hidden: Vec<_> =
        fs::read_dir(home.path().join(HIDDEN)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!hidden.iter().any(|name| name.to_str().unwrap().starts_with("d1.") && name != "d1.published"));

    // What lies there already is neither overwritten nor taken for the copy.
    let second = part(&place, "d2", b"second").await;
    let beside = deliver(&place, &wish(&second, "a/film.mp4", None)).unwrap();
    assert_eq!(beside.path, path("a/film [1AbC].mp4"));
    let newer =
        deliver(&place, &wish(&part(&place, "d3", b"newer").await, "a/film.mp4", Some(&first))).unwrap();
    assert_eq!((newer.path.clone(), newer.replaces), (path("a/film.mp4"), true));
    assert_eq!(read(&place, "a/film.mp4"), "newer");
    assert_eq!(shown(home.path()), ["a/film [1AbC].mp4", "a/film.mp4"], "no copy is left");
    fs::write(home.path().join("a/film.mp4"), "edited").unwrap();
    let last =
        deliver(&place, &wish(&part(&place, "d4", b"last").await, "a/film.mp4", Some(&newer))).unwrap();
    assert_eq!(
        (read(&place, "a/film.mp4").as_str(), read(&place, &last.path.to_string()).as_str()),
        ("edited", "last")
    );
    assert_eq!(place.parts().unwrap(), ["d1", "d2", "d3", "d4"].map(id), "their witnesses");
}

#[tokio::test]
async fn a_crash_around_a_copy_leaves_neither_a_copy_nor_a_doubt() {
    for (moved, taken, settled) in
        [(false, false, Settled::NotYet), (true, false, Settled::Published), (true, true, Settled::Published)]
    {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let folder = File::open(home.path()).unwrap();
        place.learned.learn_elsewhere(home.path(), &sys::fstat(&folder).unwrap());
        let part = part(&place, "d1", b"new").await;
        let planned = place.plan(&[wish(&part, "film.mp4", None)]).unwrap().remove(0).unwrap();
        assert_eq!(shown(home.path()), [".gdrive-webhook-d1"]);
        if moved {
            fs::rename(home.path().join(".gdrive-webhook-d1"), home.path().join("film.mp4")).unwrap();
            note_move(&part);
        }
        if taken {
            fs::remove_file(home.path().join("film.mp4")).unwrap();
        }
        assert_eq!(place.settle(&id("d1"), &planned.file, None).unwrap(), settled, "{moved} {taken}");
        if settled == Settled::Published {
            assert!(!part.path().exists(), "it would be published again");
        }
        place.discard(&id("d1")).unwrap();
        let left: Vec<&str> = if moved && !taken { vec!["film.mp4"] } else { vec![] };
        assert_eq!(shown(home.path()), left);
        assert_eq!(place.parts().unwrap(), []);
    }
}

#[tokio::test]
async fn a_copy_of_a_delivery_that_is_given_up_is_found_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let part = part(&place, "d1", b"new").await;
    fs::create_dir_all(home.path().join("a")).unwrap();
    for folder in ["", "a"] {
        let folder = home.path().join(folder);
        place.learned.learn_elsewhere(&folder, &sys::fstat(File::open(&folder).unwrap()).unwrap());
    }
    // Its folder is renamed in Drive between two attempts.
    place.plan(&[wish(&part, "a/film.mp4", None)]).unwrap().remove(0).unwrap();
    place.plan(&[wish(&part, "film.mp4", None)]).unwrap().remove(0).unwrap();
    assert_eq!(shown(home.path()), [".gdrive-webhook-d1"], "the first one is gone");
    fs::remove_file(part.path()).unwrap();
    assert_eq!(place.parts().unwrap(), [id("d1")], "by the copy alone");
    place.discard(&id("d1")).unwrap();
    assert_eq!(shown(home.path()), [""; 0]);
}

#[tokio::test]
async fn bytes_that_change_after_they_were_verified_are_not_copied() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    place.learned.learn_elsewhere(home.path(), &sys::fstat(File::open(home.path()).unwrap()).unwrap());
    for (name, bytes, why) in [("d1", "nEw", "have changed"), ("d2", "newer", "is no longer in")] {
        let part = part(&place, name, b"new").await;
        let modified = part.file().metadata().unwrap().modified().unwrap();
        fs::write(part.path(), bytes).unwrap();
        File::options().write(true).open(part.path()).unwrap().set_modified(modified).unwrap();
        let error = place.plan(&[wish(&part, "film.mp4", None)]).unwrap().remove(0).unwrap_err();
        assert!(error.to_string().contains(why), "{bytes}: {error}");
        assert_eq!(shown(home.path()), [""; 0]);
    }
}

/// A file system that refuses some names.
fn refuses(errno: Errno, is_refused: fn(&str) -> bool) -> Injected {
    inject(move |call, _, to| match call {
        Call::SyncFolder | Call::Read => Ok(()),
        // Without flags for renames, and without links: the plain rename tells.
        Call::RenameNew => Err(Errno::INVAL),
        Call::Link => Err(Errno::PERM),
        Call::MakeFolder | Call::Rename | Call::Exchange => {
            if is_refused(to) {
                Err(errno)
            } else {
                Ok(())
            }
        }
    })
}

#[tokio::test]
async fn a_name_that_the_file_system_refuses_is_replaced_by_one_that_it_accepts() {
    let windows: fn(&str) -> bool = |name| name.contains(['<', '>', ':', '"', '|', '?', '*']);
    let encrypted: fn(&str) -> bool = |name| name.len() > 143;
    let latin: fn(&str) -> bool = |name| !name.is_ascii();
    let long = format!("{}.mp4", "x".repeat(246));
    let shorter = format!("{}.mp4", "x".repeat(139));
    for (errno, is_refused, wanted, becomes, twin) in [
        (
            Errno::INVAL,
            windows,
            "Talks: all?/12:30 talk?.mp4",
            "Talks_ all_/12_30 talk_.mp4",
            "Talks_ all_/12_30 talk_ [1AbC].mp4",
        ),
        (Errno::NOENT, windows, "12:30 talk?.mp4", "12_30 talk_.mp4", "12_30 talk_ [1AbC].mp4"),
        (Errno::ILSEQ, latin, "été/täglich.mp4", "_t_/t_glich.mp4", "_t_/t_glich [1AbC].mp4"),
        (Errno::NAMETOOLONG, encrypted, &long, &shorter, &format!("{} [1AbC].mp4", "x".repeat(132))),
    ] {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let _injected = refuses(errno, is_refused);
        let first = deliver(&place, &wish(&part(&place, "d1", b"first").await, wanted, None)).unwrap();
        let second = deliver(&place, &wish(&part(&place, "d2", b"second").await, wanted, None)).unwrap();
        assert_eq!((first.path.to_string().as_str(), second.path.to_string().as_str()), (becomes, twin));
        assert_eq!((read(&place, becomes).as_str(), read(&place, twin).as_str()), ("first", "second"));
        assert_eq!(RelativePath::from_stored(&first.path.to_string()), first.path);
        // What is known is not tried again.
        let planned = place.plan(&[wish(&part(&place, "d3", b"third").await, wanted, None)]).unwrap();
        assert!(!is_refused(planned[0].as_ref().unwrap().file.path.file_name()));
    }
}

#[tokio::test]
async fn a_name_that_is_refused_in_every_form_is_an_error_with_words() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let _injected = refuses(Errno::INVAL, |_| true);
    let part = part(&place, "d1", b"new").await;
    let error = deliver(&place, &wish(&part, "täg:lich.mp4", None)).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("t_g_lich.mp4")), "{error}");
    let error = deliver(&place, &wish(&part, "fol:der/film.mp4", None)).unwrap_err();
    assert!(matches!(error, Error::Io { doing: "make the folders of", .. }), "{error}");
}

#[tokio::test]
async fn a_batch_makes_each_folder_durable_once() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let mut wishes = Vec::new();
    for number in 0..60 {
        let part = part(&place, &format!("d{number}"), b"new").await;
        wishes.push(wish(&part, &format!("a/b{}/c/{number}.mp4", number % 2), None));
    }
    let planned: Vec<Planned> = place.plan(&wishes).unwrap().into_iter().map(Result::unwrap).collect();
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    let injected = inject(move |call, _, _| {
        counted.set(counted.get() + u32::from(call == Call::SyncFolder));
        Ok(())
    });
    assert!(place.publish(&planned).iter().all(Result::is_ok));
    drop(injected);
    // The destination, a, a/b0, a/b0/c, a/b1, a/b1/c.
    assert_eq!(count.get(), 6);
    assert_eq!(shown(home.path()).len(), 60);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_durable_is_an_error_of_all_files_in_it_and_of_no_others() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let wishes = [
        wish(&part(&place, "d1", b"new").await, "a/1.mp4", None),
        wish(&part(&place, "d2", b"new").await, "a/2.mp4", None),
        wish(&part(&place, "d3", b"new").await, "3.mp4", None),
    ];
    let planned: Vec<Planned> = place.plan(&wishes).unwrap().into_iter().map(Result::unwrap).collect();
    for (errno, is_error) in [(Errno::IO, true), (Errno::INVAL, false)] {
        let mut number = 0;
        // The destination itself for `a`, then `a`, then the destination.
        let _injected = inject(move |call, _, _| {
            number += u32::from(call == Call::SyncFolder);
            if number == 2 && call == Call::SyncFolder { Err(errno) } else { Ok(()) }
        });
        if is_error {
            let outcomes = place.publish(&planned);
            assert!(
                matches!(outcomes[..], [Err(Error::Io { .. }), Err(Error::Io { .. }), Ok(())]),
                "{outcomes:?}"
            );
            continue;
        }
        // A file system without such a call can be used.
        let last = wish(&part(&place, "d4", b"new").await, "b/4.mp4", None);
        assert_eq!(deliver(&place, &last).unwrap().path, path("b/4.mp4"));
    }
}

#[tokio::test]
async fn an_edit_between_the_look_and_the_exchange_is_not_lost() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let first = deliver(&place, &wish(&part(&place, "d1", b"first").await, "film.mp4", None)).unwrap();
    let second = part(&place, "d2", b"second").await;
    let film = home.path().join("film.mp4");
    let mut edits = vec![film];
    let _injected = inject(move |call, _, _| {
        if call == Call::Exchange
            && let Some(film) = edits.pop()
        {
            fs::write(film, "edited in this moment").unwrap();
        }
        Ok(())
    });
    let beside = deliver(&place, &wish(&second, "film.mp4", Some(&first))).unwrap();
    assert_eq!(read(&place, "film.mp4"), "edited in this moment");
    assert_eq!(read(&place, &beside.path.to_string()), "second");
}

#[tokio::test]
async fn where_files_cannot_be_exchanged_only_an_untouched_one_is_replaced() {
    for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP] {
        let home = tempfile::tempdir().unwrap();
        let place = Local::open(home.path(), None, Rights::default()).unwrap();
        let _injected = inject(move |call, _, _| if call == Call::Exchange { Err(errno) } else { Ok(()) });
        let first = deliver(&place, &wish(&part(&place, "d1", b"first").await, "film.mp4", None)).unwrap();
        let second =
            deliver(&place, &wish(&part(&place, "d2", b"second").await, "film.mp4", Some(&first))).unwrap();
        assert_eq!((read(&place, "film.mp4").as_str(), second.replaces), ("second", true));
        fs::write(home.path().join("film.mp4"), "edited").unwrap();
        deliver(&place, &wish(&part(&place, "d3", b"third").await, "film.mp4", Some(&second))).unwrap();
        assert_eq!(shown(home.path()), ["film [1AbC].mp4", "film.mp4"]);
        assert_eq!(read(&place, "film.mp4"), "edited");
    }
}

#[tokio::test]
async fn a_file_whose_inode_number_changes_is_untouched_as_long_as_its_bytes_are() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let film = home.path().join("film.mp4");
    let delivered = deliver(&place, &wish(&part(&place, "d1", b"first").await, "film.mp4", None)).unwrap();
    let (inode, modified_ns) = seen(&delivered);
    let at = |inode, modified_ns| PublishedFile {
        identity: Identity::File { inode, modified_ns },
        ..delivered.clone()
    };
    let mounted_anew = at(inode + 1, modified_ns);
    assert!(place.is_untouched(&mounted_anew).unwrap());
    let rounded = at(inode, modified_ns - 1_999_999_999);
    assert!(place.is_untouched(&rounded).unwrap());
    let touched = at(inode, modified_ns - 2_000_000_000);
    assert!(!place.is_untouched(&touched).unwrap());
    let unknown = PublishedFile { checksum: None, ..mounted_anew.clone() };
    assert!(!place.is_untouched(&unknown).unwrap(), "nothing shows it");

    let second = part(&place, "d2", b"second").await;
    let newer = deliver(&place, &wish(&second, "film.mp4", Some(&mounted_anew))).unwrap();
    assert_eq!((newer.path.clone(), shown(home.path()).len()), (path("film.mp4"), 1));
    // Also after a crash.
    let identity = Identity::File { inode: 1, modified_ns: seen(&newer).1 };
    let newer = PublishedFile { identity, ..newer };
    assert_eq!(place.settle(&id("d2"), &newer, None).unwrap(), Settled::Published);

    // Other bytes of the same size at the same time.
    let modified = fs::metadata(&film).unwrap().modified().unwrap();
    fs::write(&film, "SECOND").unwrap();
    File::options().write(true).open(&film).unwrap().set_modified(modified).unwrap();
    assert!(!place.is_untouched(&newer).unwrap());
}

const DEFAULT_LIST: &str = "system.posix_acl_default";
const LIST: &str = "system.posix_acl_access";

/// A user of his own may read and write, everybody else nothing.
fn default_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 6, 12_345), (4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 0, u32::MAX)];
    let bytes = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entries.into_iter().flat_map(bytes).collect()].concat()
}

fn list(path: &Path) -> Option<Vec<u8>> {
    let mut list = vec![0; 1024];
    let length = sys::getxattr(path, LIST, &mut list[..]).ok()?;
    list.truncate(length);
    Some(list)
}

#[tokio::test]
async fn the_access_list_of_a_file_is_the_one_that_the_system_gives_to_files_made_there() {
    let home = tempfile::tempdir().unwrap();
    let hidden = home.path().join(HIDDEN);
    for mode in [0o640, 0o600, 0o664] {
        let rights = Rights { file_mode: mode, ..Rights::default() };
        let place = Local::open(home.path(), None, rights).unwrap();
        let shared = home.path().join(format!("shared {mode:o}"));
        fs::create_dir(&shared).unwrap();
        let given = sys::setxattr(&shared, DEFAULT_LIST, &default_list(), sys::XattrFlags::empty());
        if given == Err(Errno::OPNOTSUPP) {
            eprintln!("this file system has no access lists");
            return;
        }
        given.unwrap();
        let film = format!("shared {mode:o}/film.mp4");
        deliver(&place, &wish(&part(&place, "d1", b"new").await, &film, None)).unwrap();
        let like = shared.join("like");
        std::os::unix::fs::OpenOptionsExt::mode(File::options().create(true).write(true), mode)
            .open(&like)
            .unwrap();
        let delivered = home.path().join(&film);
        assert!(list(&like).is_some());
        assert_eq!(
            (list(&delivered), delivered.metadata().unwrap().mode()),
            (list(&like), like.metadata().unwrap().mode())
        );

        // A list of the hidden folder goes no further than that.
        sys::setxattr(&hidden, DEFAULT_LIST, &default_list(), sys::XattrFlags::empty()).unwrap();
        let plain = format!("plain {mode:o}/film.mp4");
        deliver(&place, &wish(&part(&place, "d2", b"new").await, &plain, None)).unwrap();
        let delivered = home.path().join(&plain);
        assert_eq!((list(&delivered), delivered.metadata().unwrap().mode() & 0o7777), (None, mode));
        sys::removexattr(&hidden, DEFAULT_LIST).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_lies_there_is_known_by_its_bytes() {
    let home = tempfile::tempdir().unwrap();
    let place = Local::open(home.path(), None, Rights::default()).unwrap();
    let part = part(&place, "d1", b"film").await;
    let expected = Expected { size: 4, checksum: part.checksum().clone(), modified: None };
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("a")).unwrap();
    fs::write(at("a/film.mp4"), "film").unwrap();
    fs::write(at("other.mp4"), "FILM").unwrap();
    fs::write(at("longer.mp4"), "films").unwrap();
    fs::create_dir(at("folder.mp4")).unwrap();
    std::os::unix::fs::symlink(at("a/film.mp4"), at("link.mp4")).unwrap();
    std::os::unix::fs::symlink(at("a"), at("b")).unwrap();
    let found = place.lies_there(&path("a/film.mp4"), &expected, &|| true).unwrap().unwrap();
    assert!(found.adopted && !found.replaces && place.is_untouched(&found).unwrap());
    for (name, looked) in [
        ("other.mp4", Lying::Alike),
        ("longer.mp4", Lying::Another),
        ("folder.mp4", Lying::Another),
        ("link.mp4", Lying::Another),
        ("b/film.mp4", Lying::Nothing),
        ("none.mp4", Lying::Nothing),
        ("a/film.mp4/film.mp4", Lying::Nothing),
    ] {
        assert_eq!(place.look(&path(name), 4).unwrap(), looked, "{name}");
        assert_eq!(place.lies_there(&path(name), &expected, &|| true).unwrap(), None, "{name}");
    }
    let lies_there = |goes_on: &dyn Fn() -> bool| {
        place.lies_there(&path("a/film.mp4"), &expected, goes_on).map(|found| found.is_some())
    };
    assert!(lies_there(&|| true).unwrap() && !lies_there(&|| false).unwrap(), "somebody waits for the end");
    for (errno, is_damage) in [(Errno::IO, true), (Errno::UCLEAN, true), (Errno::STALE, false)] {
        let _injected = inject(move |call, _, _| if call == Call::Read { Err(errno) } else { Ok(()) });
        let error = lies_there(&|| true).unwrap_err();
        assert_eq!(error.is_damage(), is_damage, "{errno}");
        assert!(error.to_string().contains("a/film.mp4"), "{error}");
    }

    // It stays its owner's.
    let newer = super::tests::part(&place, "d2", b"newer").await;
    let beside = deliver(&place, &wish(&newer, "a/film.mp4", Some(&found))).unwrap();
    assert_eq!((beside.path, beside.replaces), (path("a/film [1AbC].mp4"), false));
    assert_eq!(read(&place, "a/film.mp4"), "film");
}
