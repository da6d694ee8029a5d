//! What lies at the places of delivered files: the audit's own look at the disk. It writes nothing.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use sha2::Digest;

use super::report::Outcome;
use crate::model::delivery::{Identity, PublishedFile};
use crate::model::file::{Checksum, Checksums};

/// A disk that does not answer a look within this time does not answer at all.
const PATIENCE: Duration = Duration::from_mins(2);
/// Whoever waits for a disk shows that it is alive this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// The hidden folder of a destination, and the file in it that tells the destination from an empty mount point.
const MARKER: &str = ".gdrive-webhook/marker";

/// A delivered file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The destination.
    pub(super) root: PathBuf,
    /// As it was when it was put there.
    pub(super) file: PublishedFile,
    /// What its bytes hash to.
    pub(super) checksums: Checksums,
}

/// How closely files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Size and modification time.
    Outside,
    /// Every byte.
    Inside,
}

/// What became of these files, and why, in their order.
pub(super) async fn look(places: Vec<Place>, how: Look) -> Vec<(Outcome, String)> {
    let mut seen = Vec::with_capacity(places.len());
    match how {
        Look::Outside => {
            let count = places.len();
            let look = move || places.iter().map(|place| of(place, how)).collect::<Vec<_>>();
            let silent = || vec![(Outcome::Unseen, "the disk does not answer".to_owned()); count];
            seen = patiently(look, Some(PATIENCE)).await.unwrap_or_else(silent);
        }
        Look::Inside => {
            for place in places {
                let looked = patiently(move || of(&place, how), None).await;
                seen.push(looked.unwrap_or((Outcome::Unseen, "it could not be looked at".to_owned())));
            }
        }
    }
    seen
}

/// What keeps a destination from being looked at, if anything does. `marker`: what the database knows it by.
pub(super) async fn unusable(root: PathBuf, marker: String) -> Option<String> {
    let shown = root.display().to_string();
    let read = move || match fs::read_to_string(root.join(MARKER)) {
        Ok(text) if text.lines().next().unwrap_or_default().trim() == marker => None,
        Ok(_) => Some("it has the marker of another destination".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("its marker is missing".to_owned()),
        Err(error) => Some(format!("its marker cannot be read: {error}")),
    };
    let silent = || Some("the disk does not answer".to_owned());
    let why = patiently(read, Some(PATIENCE)).await.unwrap_or_else(silent)?;
    Some(format!("the destination {shown} cannot be looked at: {why}; is its disk mounted?"))
}

/// Runs a look at a disk in a thread of its own. `None`: it did not end in time, or failed.
async fn patiently<T: Send + 'static>(
    look: impl FnOnce() -> T + Send + 'static,
    limit: Option<Duration>,
) -> Option<T> {
    let mut looking = tokio::task::spawn_blocking(look);
    let mut waited = Duration::ZERO;
    while limit.is_none_or(|limit| waited < limit) {
        match tokio::time::timeout(SIGN_OF_LIFE, &mut looking).await {
            Ok(looked) => return looked.ok(),
            Err(_) => waited += SIGN_OF_LIFE,
        }
    }
    None
}

fn of(place: &Place, how: Look) -> (Outcome, String) {
    let path = place.file.path.under(&place.root);
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if is_absent(&error) => return (Outcome::TakenAway, String::new()),
        Err(error) => return (Outcome::Unseen, format!("{} cannot be looked at: {error}", path.display())),
    };
    if !found.is_file() {
        return (Outcome::Changed, format!("{} is not a file any more", path.display()));
    }
    match (how, place.checksums.strongest()) {
        (Look::Inside, Some(sum)) => match hash(&path, &sum) {
            Ok(hex) if hex == sum.hex() => (Outcome::Here, String::new()),
            Ok(_) if is_as_delivered(&found, &place.file) => {
                let why = "has other bytes than were delivered, although its size and time are the same; check the disk";
                (Outcome::Changed, format!("{} {why}", path.display()))
            }
            Ok(_) => changed(&path),
            Err(error) => (Outcome::Unseen, format!("{} cannot be read: {error}", path.display())),
        },
        (Look::Inside | Look::Outside, _) if is_as_delivered(&found, &place.file) => {
            (Outcome::Here, String::new())
        }
        (Look::Inside | Look::Outside, _) => changed(&path),
    }
}

fn changed(path: &Path) -> (Outcome, String) {
    (Outcome::Changed, format!("{} was changed since it was delivered", path.display()))
}

/// A folder on the way may have gone too, or be a file now.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Times by which file systems such as FAT move modification times when they round them.
const ROUNDED: u64 = 2_000_000_000;

fn is_as_delivered(found: &Metadata, file: &PublishedFile) -> bool {
    let Identity::File { modified_ns: delivered_ns, .. } = file.identity;
    let modified_ns = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    found.len() == file.size && modified_ns.abs_diff(delivered_ns) < ROUNDED
}

/// The digest of a file, by the algorithm of this checksum.
fn hash(path: &Path, like: &Checksum) -> io::Result<String> {
    let file = File::open(path)?;
    let hex = match like {
        Checksum::Sha256(_) => digest::<sha2::Sha256>(&file),
        Checksum::Sha1(_) => digest::<sha1::Sha1>(&file),
        Checksum::Md5(_) => digest::<md5::Md5>(&file),
    };
    // What was read once is not needed again: others need the memory more. A file system that takes no advice is fine.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    hex
}

fn digest<D: Digest>(mut file: &File) -> io::Result<String> {
    let (mut hasher, mut buffer) = (D::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RelativePath;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn place(home: &Path, name: &str) -> Place {
        let found = fs::metadata(home.join(name)).unwrap();
        let file = PublishedFile {
            path: RelativePath::from_stored(name),
            identity: Identity::File {
                inode: found.ino(),
                modified_ns: found.mtime() * 1_000_000_000 + found.mtime_nsec(),
            },
            size: found.len(),
            checksum: None,
            replaces: false,
            adopted: false,
        };
        let checksums = Checksums { sha256: Some(ABC.to_owned()), ..Checksums::default() };
        Place { root: home.to_owned(), file, checksums }
    }

    async fn seen(place: &Place) -> [Outcome; 2] {
        let mut seen = Vec::new();
        for how in [Look::Outside, Look::Inside] {
            seen.push(look(vec![place.clone()], how).await.remove(0).0);
        }
        seen.try_into().unwrap()
    }

    #[tokio::test]
    async fn a_file_is_here_changed_or_taken_away() {
        use Outcome::{Changed, Here, TakenAway, Unseen};
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.mp4");
        fs::write(&path, "abc").unwrap();
        let place = place(home.path(), "a.mp4");
        assert_eq!(seen(&place).await, [Here, Here]);

        let touch = |time| File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        touch(before + Duration::from_secs(1));
        assert_eq!(seen(&place).await, [Here, Here], "a file system may round times");
        touch(before + Duration::from_secs(2));
        assert_eq!(seen(&place).await, [Changed, Here], "its bytes are the same");
        fs::write(&path, "abd").unwrap();
        touch(before + Duration::from_secs(9));
        assert_eq!(seen(&place).await, [Changed, Changed]);
        touch(before);
        assert_eq!(seen(&place).await, [Here, Changed], "only its bytes tell");
        fs::write(&path, "abcd").unwrap();
        touch(before);
        assert_eq!(seen(&place).await, [Changed, Changed]);
        fs::remove_file(&path).unwrap();
        assert_eq!(seen(&place).await, [TakenAway, TakenAway]);
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert_eq!(seen(&place).await, [Changed, Changed]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(seen(&place).await, [Changed, Changed]);

        let below = Place {
            file: PublishedFile { path: RelativePath::from_stored("b/a.mp4"), ..place.file.clone() },
            ..place.clone()
        };
        fs::write(home.path().join("b"), "no folder").unwrap();
        assert_eq!(seen(&below).await, [TakenAway, TakenAway]);
        let long = PublishedFile { path: RelativePath::from_stored("x"), ..place.file };
        let long =
            Place { file: long, root: home.path().join("y/".repeat(3000)), checksums: place.checksums };
        assert_eq!(seen(&long).await, [Unseen, Unseen]);
    }

    #[tokio::test]
    async fn each_checksum_of_drives_is_computed() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("a.mp4"), "abc").unwrap();
        let place = place(home.path(), "a.mp4");
        let sums = [
            Checksums {
                sha1: Some("a9993e364706816aba3e25717850c26c9cd0d89d".into()),
                ..Checksums::default()
            },
            Checksums { md5: Some("900150983cd24fb0d6963f7d28e17f72".into()), ..Checksums::default() },
        ];
        for checksums in sums {
            let place = Place { checksums, ..place.clone() };
            assert_eq!(seen(&place).await, [Outcome::Here, Outcome::Here]);
        }
    }

    #[tokio::test]
    async fn a_mount_point_without_its_disk_is_not_taken_for_an_emptied_destination() {
        let home = tempfile::tempdir().unwrap();
        let asked = async || unusable(home.path().to_owned(), "m".to_owned()).await;
        assert!(asked().await.unwrap().contains("is its disk mounted?"));
        fs::create_dir(home.path().join(".gdrive-webhook")).unwrap();
        for (text, is_usable) in [("m\n", true), ("m\nledger\n", true), ("other\n", false), ("", false)] {
            fs::write(home.path().join(MARKER), text).unwrap();
            assert_eq!(asked().await.is_none(), is_usable, "{text:?}");
        }
    }
}
