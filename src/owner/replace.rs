//! A file gets a new content in one step: after a crash it has the old one or the new one. Who may open which file for that,
//! with which mode and for whom, is the caller's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::{self as sys, AtFlags};

use super::durable;

/// The file that is written meanwhile. It lies in the same directory, and is gone afterwards.
#[derive(Debug)]
pub struct Meanwhile<'a> {
    /// What it is called.
    pub name: &'a OsStr,
    /// The file, open for writing. What is in it does not count.
    pub file: File,
}

/// Whether the name of the file is durable as well, as it must be if there was none before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewName {
    /// After this.
    Durable,
    /// When the caller makes it so.
    Later,
}

/// Gives the file of this name a new content, whatever had the name before. The content is durable.
pub fn replace(
    directory: impl AsFd,
    name: &OsStr,
    Meanwhile { name: meanwhile, file }: Meanwhile<'_>,
    content: &[u8],
    durability: NewName,
) -> io::Result<()> {
    let written =
        fill(file, content).and_then(|()| Ok(sys::renameat(&directory, meanwhile, &directory, name)?));
    if written.is_err() {
        // What is left of the attempt is of no use, and the error says what matters.
        let _ = sys::unlinkat(&directory, meanwhile, AtFlags::empty());
    }
    written?;
    match durability {
        NewName::Durable => Ok(durable(sys::fsync(&directory))?),
        NewName::Later => Ok(()),
    }
}

fn fill(mut file: File, content: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn replaced(home: &Path, name: &str, file: File) -> io::Result<()> {
        let meanwhile = Meanwhile { name: OsStr::new("new"), file };
        replace(File::open(home)?, OsStr::new(name), meanwhile, b"content", NewName::Durable)
    }

    #[test]
    fn a_file_has_its_new_content_alone_and_nothing_lies_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let at = |name| home.path().join(name);
        for earlier in [None, Some("old"), Some("old and longer")] {
            if let Some(earlier) = earlier {
                fs::write(at("file"), earlier).unwrap();
            }
            // As a crash has left it.
            fs::write(at("new"), "something that is longer").unwrap();
            let reader = File::open(at("file")).ok();
            replaced(home.path(), "file", File::options().write(true).open(at("new")).unwrap()).unwrap();
            assert_eq!(fs::read_to_string(at("file")).unwrap(), "content");
            let read = reader.map(|reader| io::read_to_string(reader).unwrap());
            assert!(
                read.is_none_or(|read| Some(read.as_str()) == earlier),
                "whoever reads the old one reads on"
            );
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_as_it_was_and_nothing_lies_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let at = |name| home.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        assert!(replaced(home.path(), "folder", File::create(at("new")).unwrap()).is_err());
        fs::write(at("file"), "old").unwrap();
        fs::write(at("new"), "").unwrap();
        assert!(replaced(home.path(), "file", File::open(at("new")).unwrap()).is_err(), "not for writing");
        assert_eq!(fs::read_to_string(at("file")).unwrap(), "old");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }
}
