//! The hidden folder of a destination, by its handle. Whoever can write to the destination can put something else in the
//! place of the folder, or can have made it before the program did. So it is opened once, without following a link, and
//! accepted only if it belongs to the program's user; it is closed to all others; and nothing in it is reached by a path.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, CWD, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use tracing::debug;

use super::durable::sync_directory;
use super::own;
use crate::owner::{self, Absent, Owner, process, shell, user};

/// The hidden folder at each destination.
pub const HIDDEN: &str = ".gdrive-webhook";
const PRIVATE: u32 = 0o700;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A file that shows to whom new files belong.
const PROBE: &str = "owner";
/// More than any file but a part has.
const SMALL_FILE: u64 = 16 << 20;

/// The name of a file that belongs to a part.
pub(super) fn beside(part: &str, extension: &str) -> String {
    let stem = part.rsplit_once('.').map_or(part, |(stem, _)| stem);
    format!("{stem}.{extension}")
}

/// An open hidden folder.
#[derive(Clone, Debug)]
pub struct Folder {
    handle: Arc<OwnedFd>,
    /// Where it was opened; for messages only.
    path: PathBuf,
    uid: u32,
}

impl Folder {
    /// Opens the folder of a destination, if it is there.
    pub(super) fn find(destination: &Path) -> io::Result<Option<Self>> {
        match sys::openat(CWD, destination, DIRECTORY, Mode::empty()) {
            Ok(above) => Self::find_in(&above, destination.join(HIDDEN)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, and makes it if it is missing.
    pub(super) fn make(destination: &Path) -> io::Result<Self> {
        let above = sys::openat(CWD, destination, DIRECTORY, Mode::empty())?;
        match owner::make_in(&above, HIDDEN.as_ref(), PRIVATE, None) {
            Ok(()) => sync_directory(&above)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let found = Self::find_in(&above, destination.join(HIDDEN))?;
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find_in(above: &OwnedFd, path: PathBuf) -> io::Result<Option<Self>> {
        let handle = match sys::openat(above, HIDDEN, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let said = format!(
                    "{} is a link or a file where the program's own folder is to be; remove it",
                    path.display()
                );
                return Err(owner::told(io::ErrorKind::NotADirectory, said));
            }
            Err(Errno::ACCESS) => {
                let stat = sys::statat(above, HIDDEN, AtFlags::SYMLINK_NOFOLLOW)?;
                return Err(if stat.st_uid == geteuid().as_raw() {
                    Errno::ACCESS.into()
                } else {
                    foreign(&path, stat.st_uid)
                });
            }
            Err(errno) => return Err(errno.into()),
        };
        let uid = sys::fstat(&handle)?.st_uid;
        let folder = Self { handle: Arc::new(handle), path, uid };
        folder.accept(above).map(Some)
    }

    /// Only if it belongs to this user, or to the one whom root works for here.
    fn accept(mut self, above: &OwnedFd) -> io::Result<Self> {
        let us = geteuid().as_raw();
        let heir = sys::fstat(above).map(|above| Owner { uid: above.st_uid, gid: above.st_gid })?;
        let heir = Some(heir).filter(|heir| us == 0 && heir.uid != 0);
        let is_ours = self.uid == us || heir.is_some_and(|heir| heir.uid == self.uid);
        if !(is_ours || self.belongs_to_whoever_writes(above)?) {
            return Err(foreign(&self.path, self.uid));
        }
        if let Some(heir) = heir {
            self.hand_over(heir)?;
            self.uid = self.stat_itself()?.st_uid;
        }
        self.close();
        Ok(self)
    }

    /// On some disks everything has the owner that it was mounted with, or that the server gives to strangers. There a
    /// folder of the program's own shows another owner than the program, and so does a new file.
    fn belongs_to_whoever_writes(&self, above: &OwnedFd) -> io::Result<bool> {
        if self.stat_itself()?.st_dev != sys::fstat(above)?.st_dev {
            return Ok(false);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let probe = || sys::openat(&self.handle, PROBE, flags, Mode::RUSR | Mode::WUSR);
        let made = match probe() {
            Err(Errno::EXIST) => self.remove(PROBE).is_ok().then(probe).unwrap_or(Err(Errno::EXIST)),
            made => made,
        };
        let Ok(made) = made else { return Ok(false) };
        let uid = sys::fstat(&made)?.st_uid;
        self.remove(PROBE)?;
        Ok(uid == self.uid)
    }

    /// Gives root's files in it, and itself, to the owner of the destination.
    fn hand_over(&self, heir: Owner) -> io::Result<()> {
        owner::hand_over(&File::from(self.handle.try_clone()?), heir)?;
        for name in self.names()? {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            // What cannot be opened like this is no file of the program's; whoever wants to use it says so.
            if let Ok(file) = sys::openat(&self.handle, name, flags, Mode::empty()) {
                owner::hand_over(&File::from(file), heir)?;
            }
        }
        Ok(())
    }

    /// Takes everybody else's access away. Where there are no modes it stays as it was mounted.
    fn close(&self) {
        let Ok(mode) = self.stat_itself().map(|stat| stat.st_mode & 0o7777) else {
            return;
        };
        if mode & !0o7700 == 0 {
            return;
        }
        // A setgid bit stays, if it may: under systemd nobody may set it.
        let close = |mode| sys::fchmod(&self.handle, Mode::from_raw_mode(mode));
        if let Err(error) = close(mode & !0o077).or_else(|_| close(PRIVATE)) {
            debug!(path = %self.path.display(), %error, "the hidden folder keeps its mode");
        }
    }

    /// Where a file in it was when it was opened; for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether it is still the folder of this destination: another disk may have been mounted over it, or it may have been
    /// removed.
    pub fn is_at(&self, destination: &Path) -> io::Result<bool> {
        let there = match sys::lstat(destination.join(HIDDEN)) {
            Ok(there) => there,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        own::is_same(&there, self)
    }

    /// Opens a file of the program's own for reading and writing. Its content stays.
    pub fn open(&self, name: &str, absent: Absent) -> io::Result<File> {
        self.open_in(&self.handle, name, absent)
    }

    /// The same in another directory.
    pub(super) fn open_in(&self, directory: impl AsFd, name: &str, absent: Absent) -> io::Result<File> {
        let made = if absent == Absent::Make { OFlags::CREATE } else { OFlags::empty() };
        let shown = self.path(name);
        let file = own::open(directory, name, OFlags::RDWR | made, self.uid, &shown)?;
        owner::keep_private(&file, &shown, self.heir()?)?;
        Ok(file)
    }

    /// Whom root's files in it are given to.
    fn heir(&self) -> io::Result<Option<Owner>> {
        if self.uid == 0 || !geteuid().is_root() {
            return Ok(None);
        }
        Ok(Some(Owner { uid: self.uid, gid: self.stat_itself()?.st_gid }))
    }

    /// Opens an open file once more by its name, in another way.
    pub(super) fn open_again(&self, name: &str, file: &File, flags: OFlags) -> io::Result<File> {
        let again = match own::open(&self.handle, name, flags, self.uid, &self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.taken_away(name)),
            again => again?,
        };
        if own::is_same(&sys::fstat(&again)?, file)? { Ok(again) } else { Err(self.taken_away(name)) }
    }

    fn taken_away(&self, name: &str) -> io::Error {
        let (path, folder) = (self.path(name), self.path.display());
        let said = format!(
            "{} is no longer there: something has removed, moved or replaced it; it is downloaded again. Keep whatever cleans \
             or empties this folder away from {folder}",
            path.display()
        );
        owner::told(io::ErrorKind::NotFound, said)
    }

    /// The content of a small file; `None` if there is none.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match own::open(&self.handle, name, OFlags::RDONLY, self.uid, &self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut content = Vec::new();
        file.take(SMALL_FILE).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// Gives a small file a new content, at once and durably; its name is durable after `sync`. A file is there under the
    /// other name meanwhile.
    pub fn write(&self, name: &str, meanwhile: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.open(meanwhile, Absent::Make)?;
        file.set_len(0)?;
        file.write_all(content)?;
        file.sync_data()?;
        self.rename(meanwhile, name)
    }

    /// Gives a file in it another name, whatever had that before.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(sys::renameat(&self.handle, from, &self.handle, to)?)
    }

    /// What bears this name, without following a link.
    pub fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match sys::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match sys::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The names of its files.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            // The program's own names are plain text.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes the names in it durable.
    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.handle)
    }

    /// The open folder.
    pub fn handle(&self) -> &Arc<OwnedFd> {
        &self.handle
    }

    /// The folder itself.
    pub(super) fn stat_itself(&self) -> io::Result<Stat> {
        Ok(sys::fstat(&self.handle)?)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn foreign(path: &Path, uid: u32) -> io::Error {
    let (owner, (us, _), path) = (user(uid), process(), shell(path));
    let said = format!(
        "{path} belongs to {owner}, who could change what {us} downloads into it; if this program ran as {owner} before, \
         sudo chown -Rh {us} {path}; if not, remove it"
    );
    owner::told(io::ErrorKind::PermissionDenied, said)
}

#[cfg(test)]
mod tests {
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
        for found in [Folder::find(home.path()).map(drop), Folder::make(home.path()).map(drop)] {
            let said = found.unwrap_err().to_string();
            assert!(said.contains(&format!("{} is a link or a file", hidden.display())), "{said}");
        }
        fs::remove_file(&hidden).unwrap();
        fifo(&hidden);
        let path = home.path().to_owned();
        assert!(soon(move || Folder::make(&path)).unwrap_err().to_string().contains("is a link or a file"));
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
            for found in [Folder::find(home.path()).map(drop), Folder::make(home.path()).map(drop)] {
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
    fn a_folder_of_its_own_is_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let hidden = home.path().join(HIDDEN);
        assert!(Folder::find(home.path()).unwrap().is_none() && !hidden.exists());
        assert!(Folder::find(&home.path().join("not there")).unwrap().is_none());
        Folder::make(home.path()).unwrap();
        assert_eq!(mode(&hidden), 0o700);
        for (before, after) in [(0o755, 0o700), (0o2777, 0o2700), (0o701, 0o700), (0o500, 0o500)] {
            fs::set_permissions(&hidden, Permissions::from_mode(before)).unwrap();
            Folder::find(home.path()).unwrap().unwrap();
            assert_eq!(mode(&hidden), after, "{before:o}");
        }
    }

    #[test]
    fn root_works_for_the_owner_of_the_destination() {
        if !geteuid().is_root() {
            return;
        }
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Folder::make(home.path()).unwrap().write("old", "old.new", b"").unwrap();
        fs::write(outside.path().join("file"), "").unwrap();
        symlink(outside.path().join("file"), home.path().join(HIDDEN).join("link")).unwrap();
        fifo(&home.path().join(HIDDEN).join("pipe"));
        chown(home.path(), Some(STRANGER), Some(STRANGER)).unwrap();
        let path = home.path().to_owned();
        let folder = soon(move || Folder::make(&path)).unwrap();
        folder.write("new", "new.new", b"").unwrap();
        for path in [home.path().join(HIDDEN), folder.path("old"), folder.path("new")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), STRANGER, "{}", path.display());
        }
        assert_eq!(fs::metadata(outside.path().join("file")).unwrap().uid(), 0);
        assert!(Folder::find(home.path()).unwrap().is_some(), "it belongs to the one it works for");
    }

    #[test]
    fn only_files_of_its_own_are_opened() {
        type Plant<'a> = Box<dyn Fn(&Path) + 'a>;
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (folder, secret) = (Folder::make(home.path()).unwrap(), outside.path().join("token.json"));
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
                let is_told =
                    said.contains(why) || *why == "is a directory" && said.contains("no regular file");
                assert!(is_told && said.contains("marker") && said.contains("remove it"), "{why}: {said}");
            }
            folder.rename("marker", "aside").unwrap();
            let aside = folder.path("aside");
            if aside.is_dir() { fs::remove_dir(aside).unwrap() } else { folder.remove("aside").unwrap() }
        }
        assert_eq!(fs::read_to_string(outside.path().join("token.json")).unwrap(), "secret");
        assert!(folder.read("marker").unwrap().is_none(), "nothing was made");
        folder.write("marker", "meanwhile", b"content").unwrap();
        assert_eq!(folder.read("marker").unwrap().unwrap(), b"content");
        assert_eq!(
            (folder.names().unwrap(), mode(&folder.path("marker"))),
            (vec!["marker".to_owned()], 0o600)
        );
    }

    #[test]
    fn a_file_is_private_whatever_it_was() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(home.path()).unwrap();
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
        let folder = Folder::make(home.path()).unwrap();
        assert!(folder.is_at(home.path()).unwrap());
        fs::rename(&hidden, &aside).unwrap();
        assert!(!folder.is_at(home.path()).unwrap());
        symlink(&aside, &hidden).unwrap();
        assert!(!folder.is_at(home.path()).unwrap(), "a link is another thing");
        fs::remove_file(&hidden).unwrap();
        fs::create_dir(&hidden).unwrap();
        assert!(!folder.is_at(home.path()).unwrap());
        folder.write("file", "meanwhile", b"").unwrap();
        assert_eq!(
            fs::read_dir(&hidden).unwrap().count(),
            0,
            "what is done is done in the one that was opened"
        );
    }

    #[test]
    fn a_file_that_was_replaced_is_not_opened_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(home.path()).unwrap();
        let file = folder.open("part", Absent::Make).unwrap();
        folder.open_again("part", &file, OFlags::RDONLY).unwrap();
        folder.write("part", "meanwhile", b"").unwrap();
        let said = folder.open_again("part", &file, OFlags::RDONLY).unwrap_err().to_string();
        assert!(said.contains("removed, moved or replaced it"), "{said}");
        folder.remove("part").unwrap();
        let said = folder.open_again("part", &file, OFlags::RDONLY).unwrap_err().to_string();
        assert!(said.contains("removed, moved or replaced it"), "{said}");
    }
}
