//! Directories whose names survive a power cut. The fsync of a file makes its bytes durable and promises nothing of its
//! name; that takes an fsync of the directory.

use std::fs::{File, create_dir, remove_file};
use std::io;
use std::path::Path;

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory and what is missing above it, each durable in its parent before anything is put into it.
pub(crate) fn make_directories(path: &Path) -> io::Result<()> {
    let parent =
        path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    let made = match (create_dir(path), parent) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_directories(parent)?;
            create_dir(path)
        }
        (made, _) => made,
    };
    match (made, parent) {
        (Ok(()), Some(parent)) => sync_directory(parent),
        (Err(_), _) if path.is_dir() => Ok(()),
        (made, _) => made,
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_with_everything_above_it() {
        let home = tempfile::tempdir().unwrap();
        let wanted = home.path().join("srv/new/videos");
        make_directories(&wanted).unwrap();
        assert!(wanted.is_dir());
        make_directories(&wanted).unwrap();
        make_directories(Path::new(".")).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(make_directories(&file).is_err());
        assert!(make_directories(&file.join("videos")).is_err());
        assert!(make_directories(Path::new("")).is_err());
    }
}
