//! Distinguishes a destination from the empty mount point of its disk: a file in its hidden folder, whose content the
//! ledger knows.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::owner::{self, Absent};
use crate::spool::{HIDDEN, sync_directory};

/// The name of the file.
const NAME: &str = "marker";
/// The temporary name of the file.
const UNFINISHED: &str = "marker.new";

/// The identity of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    /// One that the ledger has.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new one.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// As the ledger has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What there is.
#[derive(Debug)]
pub(super) enum Seen {
    /// No file.
    Nothing,
    /// An empty file: the user says that this is the destination.
    Empty,
    /// A marker.
    Marker(Marker),
}

/// Looks for the marker of a destination.
pub(super) fn read(root: &Path) -> io::Result<Seen> {
    match fs::read_to_string(root.join(HIDDEN).join(NAME)) {
        Ok(text) if text.trim().is_empty() => Ok(Seen::Empty),
        Ok(text) => Ok(Seen::Marker(Marker(text.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Seen::Nothing),
        Err(error) => Err(error),
    }
}

/// Gives a destination its marker, durably.
pub(super) fn write(root: &Path, marker: &Marker) -> io::Result<()> {
    let hidden = root.join(HIDDEN);
    let unfinished = hidden.join(UNFINISHED);
    let mut file = owner::open(&unfinished, Absent::Make)?;
    file.set_len(0)?;
    writeln!(file, "{}", marker.0)?;
    file.sync_all()?;
    fs::rename(&unfinished, hidden.join(NAME))?;
    sync_directory(&hidden)
}
