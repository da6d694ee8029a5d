//! What is wrong with the configuration: every problem with its place, collected until the last one is known.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::path::PathBuf;

/// How much of a value a message repeats.
const QUOTE_LIMIT: usize = 60;

/// Where a value stands. The order is that of the report: the file from top to bottom, then the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Nowhere in particular.
    Nowhere,
    /// A file as a whole.
    File(PathBuf),
    /// A line of the configuration file, and for a slip of syntax the column; both count from 1.
    Line { file: PathBuf, line: usize, column: Option<usize> },
    /// A line of `.env`.
    DotEnv { file: PathBuf, line: usize },
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(file) => write!(f, "{}: ", file.display()),
            Self::Line { file, line, column: None } | Self::DotEnv { file, line } => {
                write!(f, "{}:{line}: ", file.display())
            }
            Self::Line { file, line, column: Some(column) } => {
                write!(f, "{}:{line}:{column}: ", file.display())
            }
            Self::Variable(name) => write!(f, "environment variable {name}: "),
        }
    }
}

/// Where each key stands, for what is found out about it later.
#[derive(Clone, Debug, Default)]
pub struct Lines(pub(super) HashMap<String, Place>);

/// All that is wrong, a line for each problem: file, line, key, what is wrong, and what would be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<(Place, String)>);

impl Problems {
    /// How many there are; never 0 in an error.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether one of them is about this, or may be: an unknown name may be any other one, and says what there is.
    pub(super) fn concern(&self, word: &str) -> bool {
        self.0.iter().any(|(_, text)| text.to_lowercase().contains(word))
    }

    /// Notes one.
    pub(super) fn add(&mut self, place: Place, text: impl Into<String>) {
        self.0.push((place, text.into()));
    }

    /// One alone.
    pub(super) fn one(place: Place, text: impl Into<String>) -> Self {
        Self(vec![(place, text.into())])
    }

    /// Takes over what another reader has found.
    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Everything that is wrong, from top to bottom, if anything is.
    pub(super) fn some(self) -> Option<Self> {
        self.or(()).err()
    }

    /// The value if nothing was wrong, everything that was otherwise.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|left, right| left.0.cmp(&right.0));
        Err(self)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, text)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            // Keys, globs and templates are repeated as they were written, and a terminal obeys control characters.
            for c in format!("{place}{text}").chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value as a message shows it: in quotes, without control characters, without the password of an address, and not
/// endless.
pub(super) fn quoted(value: &str) -> String {
    let hidden = value.split_once("://").and_then(|(scheme, rest)| {
        let (_, after) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://…@{after}"))
    });
    let value = hidden.as_deref().unwrap_or(value);
    match value.char_indices().nth(QUOTE_LIMIT) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_from_top_to_bottom() {
        let line = |line| Place::Line { file: "a.toml".into(), line, column: None };
        let mut problems = Problems::default();
        problems.add(Place::Variable("X".into()), "third");
        problems.add(line(10), "second");
        problems.add(line(9), "first");
        let told = problems.or(()).unwrap_err();
        assert_eq!(told.to_string(), "a.toml:9: first\na.toml:10: second\nenvironment variable X: third");
        assert_eq!(told.count(), 3);
        assert_eq!(Problems::default().or(1), Ok(1));
        let strange = Problems::one(Place::Nowhere, "unknown key a\u{1b}[31m\nb");
        assert_eq!(strange.to_string(), "unknown key a\\u{1b}[31m\\nb");
    }

    #[test]
    fn values_are_shown_tame() {
        assert_eq!(quoted("a\n\u{1b}[31m"), "\"a\\n\\u{1b}[31m\"");
        assert_eq!(quoted(&"ü".repeat(100)), format!("\"{}\"…", "ü".repeat(60)));
    }
}
