//! Distinguishes a destination from the empty mount point of its disk: a file in its hidden folder, whose content the
//! ledger knows.

use std::io;

use crate::spool::HiddenFolder;

/// The name of the file.
pub(super) const NAME: &str = "marker";
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
    /// A marker, and the id of the database that uses the destination, if it names one.
    Marker(Marker, Option<String>),
}

/// Looks for the marker of a destination in its hidden folder.
pub(super) fn read(folder: &HiddenFolder) -> io::Result<Seen> {
    let Some(content) = folder.read(NAME)? else { return Ok(Seen::Nothing) };
    Ok(match String::from_utf8_lossy(&content).trim() {
        "" => Seen::Empty,
        text => parse(text),
    })
}

fn parse(text: &str) -> Seen {
    let (marker, user) = text.split_once('\n').unwrap_or((text, ""));
    let user = Some(user.trim().to_owned()).filter(|user| !user.is_empty());
    Seen::Marker(Marker(marker.trim().to_owned()), user)
}

/// Gives a destination its marker, durably, with the id of the database that uses it.
pub(super) fn write(folder: &HiddenFolder, marker: &Marker, user: Option<&str>) -> io::Result<()> {
    let lines: Vec<&str> = [marker.as_str()].into_iter().chain(user).collect();
    folder.write(NAME, UNFINISHED, format!("{}\n", lines.join("\n")).as_bytes())?;
    folder.sync()
}
