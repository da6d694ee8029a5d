//! Links, pipes, and files and folders of others in the place of the program's own.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::mpsc;
use std::time::Duration;

use super::*;

const STRANGER: u32 = 12_345;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn fifo(path: &Path) {
    sys::mknodat(CWD, path, sys::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// What comes of it, which must not take for ever.
fn soon<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    done.recv_timeout(Duration::from_secs(30)).expect("it hangs")
}

#[test]
fn no_link_is_followed_to_the_folder() {
    let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hidden = home.path().join(HIDDEN);
    symlink(outside.path(), &hidden).unwrap();
    for found in [HiddenFolder::find(home.path()).map(drop), HiddenFolder::make(home.path()).map(drop)] {
        let said = found.unwrap_err().to_string();
        assert!(said.contains(&format!("{} is a symbolic link or a file", hidden.display())), "{said}");
    }
    fs::remove_file(&hidden).unwrap();
    fifo(&hidden);
    let path = home.path().to_owned();
    assert!(
        soon(move || HiddenFolder::make(&path))
            .unwrap_err()
            .to_string()
            .contains("is a symbolic link or a file")
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_of_another_user_is_not_used_and_the_error_says_what_to_do() {
    if !geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let hidden = home.path().join(HIDDEN);
    for mode in [0o700, 0o777] {
        fs::create_dir(&hidden).unwrap();
        fs::set_permissions(&hidden, Permissions::from_mode(mode)).unwrap();
        chown(&hidden, Some(STRANGER), Some(STRANGER)).unwrap();
        for found in [HiddenFolder::find(home.path()).map(drop), HiddenFolder::make(home.path()).map(drop)] {
            let error = found.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            let said = error.to_string();
            let expected =
                [format!("{} belongs to {STRANGER}", hidden.display()), "sudo chown -Rh ".to_owned()];
            assert!(expected.iter().all(|expected| said.contains(expected)), "{said}");
        }
        assert_eq!(fs::read_dir(&hidden).unwrap().count(), 0, "nothing is put into it");
        fs::remove_dir(&hidden).unwrap();
    }
}

#[test]
fn a_folder_of_the_destination_s_owner_is_not_used_by_another_user() {
    if !geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let hidden = home.path().join(HIDDEN);
    fs::create_dir(&hidden).unwrap();
    for (path, mode) in [(home.path(), 0o777), (&hidden, 0o777)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let path = home.path().to_owned();
    // A thread has a user of its own, as far as the kernel is concerned.
    let found = std::thread::spawn(move || {
        let user = rustix::process::Uid::from_raw(STRANGER + 1);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        HiddenFolder::find(&path).map(drop)
    });
    let error = found.join().unwrap().unwrap_err();
    assert!(error.to_string().contains(&format!("belongs to {STRANGER}")), "{error}");
}

#[test]
fn a_folder_of_its_own_is_closed_to_others() {
    let home = tempfile::tempdir().unwrap();
    let hidden = home.path().join(HIDDEN);
    assert!(HiddenFolder::find(home.path()).unwrap().is_none() && !hidden.exists());
    assert!(HiddenFolder::find(&home.path().join("not there")).unwrap().is_none());
    HiddenFolder::make(home.path()).unwrap();
    assert_eq!(mode(&hidden), 0o700);
    for (before, after) in [(0o755, 0o700), (0o2777, 0o2700), (0o701, 0o700), (0o500, 0o500)] {
        fs::set_permissions(&hidden, Permissions::from_mode(before)).unwrap();
        HiddenFolder::find(home.path()).unwrap().unwrap();
        assert_eq!(mode(&hidden), after, "{before:o}");
    }
}

#[test]
fn root_works_for_the_owner_of_the_destination() {
    if !geteuid().is_root() {
        return;
    }
    let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    HiddenFolder::make(home.path()).unwrap().write("old", "old.new", b"").unwrap();
    fs::write(outside.path().join("file"), "").unwrap();
    symlink(outside.path().join("file"), home.path().join(HIDDEN).join("link")).unwrap();
    fifo(&home.path().join(HIDDEN).join("pipe"));
    chown(home.path(), Some(STRANGER), Some(STRANGER)).unwrap();
    let path = home.path().to_owned();
    let folder = soon(move || HiddenFolder::make(&path)).unwrap();
    folder.write("new", "new.new", b"").unwrap();
    for path in [home.path().join(HIDDEN), folder.path("old"), folder.path("new")] {
        assert_eq!(fs::metadata(&path).unwrap().uid(), STRANGER, "{}", path.display());
    }
    assert_eq!(fs::metadata(outside.path().join("file")).unwrap().uid(), 0);
    assert!(HiddenFolder::find(home.path()).unwrap().is_some(), "it belongs to the one it works for");
}

#[test]
fn only_files_of_its_own_are_opened() {
    type Plant<'a> = Box<dyn Fn(&Path) + 'a>;
    let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (folder, secret) = (HiddenFolder::make(home.path()).unwrap(), outside.path().join("token.json"));
    fs::write(&secret, "secret").unwrap();
    let target = secret.clone();
    let plants: [(&str, Plant<'_>); 6] = [
        ("is a symbolic link", Box::new(move |path| symlink(&target, path).unwrap())),
        ("is a symbolic link", Box::new(|path| symlink("nowhere", path).unwrap())),
        ("has another name as well", Box::new(|path| fs::hard_link(&secret, path).unwrap())),
        ("is a named pipe", Box::new(fifo)),
        ("is a directory", Box::new(|path| fs::create_dir(path).unwrap())),
        (
            "belongs to 12345",
            Box::new(|path| {
                fs::write(path, "theirs").unwrap();
                chown(path, Some(STRANGER), None).unwrap();
            }),
        ),
    ];
    for (why, plant) in &plants {
        if why.contains("12345") && !geteuid().is_root() {
            continue;
        }
        plant(&folder.path("marker"));
        let (reads, opens, writes) = (folder.clone(), folder.clone(), folder.clone());
        let read = soon(move || reads.read("marker")).map(drop);
        let opened = soon(move || opens.open("marker", Absent::Make)).map(drop);
        let written = soon(move || writes.write("other", "marker", b"content"));
        for outcome in [opened, written, read] {
            // A directory can be opened for reading.
            let said = outcome.unwrap_err().to_string();
            let is_told = said.contains(why) || *why == "is a directory" && said.contains("no regular file");
            assert!(is_told && said.contains("marker") && said.contains("remove it"), "{why}: {said}");
        }
        std::fs::rename(folder.path("marker"), folder.path("aside")).unwrap();
        let aside = folder.path("aside");
        if aside.is_dir() { fs::remove_dir(aside).unwrap() } else { folder.remove("aside").unwrap() }
    }
    assert_eq!(fs::read_to_string(outside.path().join("token.json")).unwrap(), "secret");
    assert!(folder.read("marker").unwrap().is_none(), "nothing was made");
    folder.write("marker", "meanwhile", b"content").unwrap();
    assert_eq!(folder.read("marker").unwrap().unwrap(), b"content");
    assert_eq!((folder.names().unwrap(), mode(&folder.path("marker"))), (vec!["marker".to_owned()], 0o600));
}

#[test]
fn a_file_is_private_whatever_it_was() {
    let home = tempfile::tempdir().unwrap();
    let folder = HiddenFolder::make(home.path()).unwrap();
    fs::write(folder.path("part"), "content").unwrap();
    fs::set_permissions(folder.path("part"), Permissions::from_mode(0o666)).unwrap();
    folder.open("part", Absent::Fail).unwrap();
    assert_eq!(
        (mode(&folder.path("part")), folder.read("part").unwrap().unwrap()),
        (0o600, b"content".to_vec())
    );
    assert_eq!(folder.open("none", Absent::Fail).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn another_folder_in_its_place_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let (hidden, aside) = (home.path().join(HIDDEN), home.path().join("aside"));
    let folder = HiddenFolder::make(home.path()).unwrap();
    assert!(folder.is_at(home.path()).unwrap());
    fs::rename(&hidden, &aside).unwrap();
    assert!(!folder.is_at(home.path()).unwrap());
    symlink(&aside, &hidden).unwrap();
    assert!(!folder.is_at(home.path()).unwrap(), "a link is another thing");
    fs::remove_file(&hidden).unwrap();
    fs::create_dir(&hidden).unwrap();
    assert!(!folder.is_at(home.path()).unwrap());
    folder.write("file", "meanwhile", b"").unwrap();
    assert_eq!(fs::read_dir(&hidden).unwrap().count(), 0, "what is done is done in the one that was opened");
}

#[test]
fn a_file_that_was_replaced_is_not_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = HiddenFolder::make(home.path()).unwrap();
    let file = folder.open("part", Absent::Make).unwrap();
    folder.open_again("part", &file, OFlags::RDONLY).unwrap();
    folder.write("part", "meanwhile", b"").unwrap();
    let said = folder.open_again("part", &file, OFlags::RDONLY).unwrap_err().to_string();
    assert!(said.contains("removed, moved or replaced it"), "{said}");
    folder.remove("part").unwrap();
    let said = folder.open_again("part", &file, OFlags::RDONLY).unwrap_err().to_string();
    assert!(said.contains("removed, moved or replaced it"), "{said}");
}
