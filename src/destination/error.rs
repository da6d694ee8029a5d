//! Why something cannot be done at a destination, in words that help.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::process::geteuid;

use super::marker;
use crate::model::RelativePath;
use crate::owner::{self, Want};
use crate::spool::HIDDEN;

/// Why a file could not be published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name was taken meanwhile.
    #[error("{path} is taken")]
    Taken {
        /// Below the destination.
        path: RelativePath,
    },
    /// The file to be replaced was changed since it was delivered.
    #[error("{path} was changed since it was delivered")]
    Changed {
        /// Below the destination.
        path: RelativePath,
    },
    /// It is another directory than the one that files were delivered to: most likely its disk is not mounted.
    #[error(
        "{path} is not the directory that files were delivered to: {why}; is its disk mounted? To accept it as a new destination: \
         {}",
        accept(.path, geteuid())
    )]
    NotMounted {
        /// The destination.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The downloaded file was removed before it was put in its place.
    #[error(
        "the downloaded file is no longer in {hidden}: something has removed or moved it; it is downloaded again. Keep whatever \
         cleans or empties this folder away from {hidden}"
    )]
    PartGone {
        /// The hidden folder.
        hidden: PathBuf,
    },
    /// Another daemon uses it.
    #[error(
        "{who} is delivering to {path}; two databases cannot share a destination: give one of them another destination, for \
         example a folder below it, or stop one of them"
    )]
    InUse {
        /// The destination.
        path: PathBuf,
        /// Who, as far as that is known.
        who: String,
    },
    /// There is no space for any file.
    #[error("{why}")]
    NoRoom {
        /// In words, with the remedy.
        why: String,
    },
    /// The disk or the permissions say no.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// An error of the system; if it is about owners and modes, with an explanation.
    pub(crate) fn io(doing: &'static str, path: PathBuf, source: io::Error) -> Self {
        let source = owner::explained(source, &path, Want::Write);
        Self::Io { doing, path, source }
    }

    /// Whether the disk does not give the bytes of a file that it has: they are lost, or a cable is loose.
    pub fn is_damage(&self) -> bool {
        let damages =
            [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::BADE].map(|errno| Some(errno.raw_os_error()));
        matches!(self, Self::Io { doing: "read", source, .. } if damages.contains(&source.raw_os_error()))
    }

    /// A copy, for another delivery with the same error.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Taken { path } => Self::Taken { path: path.clone() },
            Self::Changed { path } => Self::Changed { path: path.clone() },
            Self::NotMounted { path, why } => Self::NotMounted { path: path.clone(), why },
            Self::PartGone { hidden } => Self::PartGone { hidden: hidden.clone() },
            Self::InUse { path, who } => Self::InUse { path: path.clone(), who: who.clone() },
            Self::NoRoom { why } => Self::NoRoom { why: why.clone() },
            Self::Io { doing, path, source } => Self::Io {
                doing,
                path: path.clone(),
                source: match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                },
            },
        }
    }
}

/// The command that makes an empty marker. What another user makes in the hidden folder is not trusted.
fn accept(root: &Path, us: Uid) -> String {
    let hidden = root.join(HIDDEN);
    let (folder, marker) = (owner::shell(&hidden), owner::shell(&hidden.join(marker::NAME)));
    let sudo = if us.is_root() { String::new() } else { format!("sudo -u {} ", sudoer(us)) };
    format!("{sudo}mkdir -p {folder} && {sudo}truncate -s 0 {marker}")
}

/// A user as `sudo` takes it: one without a name by the number.
fn sudoer(us: Uid) -> String {
    let name = owner::user(us.as_raw());
    if name.parse::<u32>().is_ok() { format!("'#{name}'") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_accepts_a_destination_fits_its_path_and_the_user() {
        let command = |path: &str, us| accept(Path::new(path), Uid::from_raw(us));
        assert_eq!(
            command("/srv/videos", 0),
            "mkdir -p /srv/videos/.gdrive-webhook && truncate -s 0 /srv/videos/.gdrive-webhook/marker"
        );
        assert_eq!(
            command("/srv/my videos", 54_321),
            "sudo -u '#54321' mkdir -p '/srv/my videos/.gdrive-webhook' && sudo -u '#54321' truncate -s 0 \
             '/srv/my videos/.gdrive-webhook/marker'"
        );
    }

    #[test]
    fn it_empties_the_marker_of_another_destination() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("my videos");
        for _ in 0..2 {
            let command = accept(&root, Uid::ROOT);
            assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
            let marker = root.join(HIDDEN).join(marker::NAME);
            assert_eq!(std::fs::read(&marker).unwrap(), b"");
            std::fs::write(&marker, "another").unwrap();
        }
    }
}
