//! Distinguishes a destination from the empty mount point of its disk: a file in its hidden folder, whose content the
//! ledger knows.

use std::io;

use crate::spool::Folder;

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

/// Looks for the marker of a destination in its hidden folder.
pub(super) fn read(folder: &Folder) -> io::Result<Seen> {
    let Some(content) = folder.read(NAME)? else { return Ok(Seen::Nothing) };
    let text = String::from_utf8_lossy(&content);
    Ok(match text.trim() {
        "" => Seen::Empty,
        text => Seen::Marker(Marker(text.to_owned())),
    })
}

/// Gives a destination its marker, durably.
pub(super) fn write(folder: &Folder, marker: &Marker) -> io::Result<()> {
    folder.write(NAME, UNFINISHED, format!("{}\n", marker.0).as_bytes())?;
    folder.sync()
}
