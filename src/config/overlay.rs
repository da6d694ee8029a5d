//! Lays the environment, and a `.env` file beside the working directory, over the file.

use std::collections::HashMap;
use std::path::Path;

use config::{Config, Environment, File, FileFormat};

use super::file::{Places, Written, fits};
use super::keys::{self, FOLDER};
use super::problem::{Place, Problems, quoted};
use super::raw::Raw;

/// What the variables that override the file begin with, without the separator.
const PREFIX: &str = "GDRIVE_WEBHOOK";
/// Between the prefix, the section and the key: keys have single underscores themselves.
const SEPARATOR: &str = "__";
/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "GDRIVE_WEBHOOK_CONFIG";

/// A variable, and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) place: Place,
}

impl Variable {
    /// One of the process's own.
    pub(super) fn of_process(name: String, value: String) -> Self {
        Self { place: Place::Variable(name.clone()), name, value }
    }
}

/// Whether a variable of this name concerns the configuration.
pub(super) fn is_ours(name: &str) -> bool {
    name == FILE_VARIABLE || is_override(name)
}

fn is_override(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(SEPARATOR))
}

/// What the file and the variables say together. Of several variables of one name the last counts. Variables that are
/// wrong are left out, with a problem each.
pub(super) fn lay(written: &mut Written, variables: impl IntoIterator<Item = Variable>, file: &Path) -> Raw {
    let mut latest: HashMap<String, Variable> = HashMap::new();
    for variable in variables.into_iter().filter(|variable| is_override(&variable.name)) {
        latest.insert(variable.name.clone(), variable);
    }
    let mut kept = HashMap::new();
    for variable in latest.into_values() {
        match checked(&variable, &mut written.places) {
            Ok(true) => drop(kept.insert(variable.name, variable.value)),
            Ok(false) => {}
            Err(what) => {
                let named = match variable.place {
                    Place::Variable(_) => what,
                    _ => format!("{}: {what}", variable.name),
                };
                written.problems.add(variable.place, named);
            }
        }
    }
    layered(&written.table, kept).unwrap_or_else(|error| {
        written.problems.add(Place::File(file.to_owned()), error.to_string());
        Raw::default()
    })
}

/// Whether the variable sets something; an empty one does not.
fn checked(variable: &Variable, places: &mut Places) -> Result<bool, String> {
    let written = variable.name.trim_start_matches(PREFIX).trim_start_matches(SEPARATOR);
    let path = written.to_lowercase().replace(SEPARATOR, ".");
    if path == FOLDER || path.starts_with("folder.") {
        return Err(
            "folders cannot be set in the environment; write them as [[folder]] in the file".to_owned()
        );
    }
    if keys::is_section(&path) {
        return Err(format!("{path} is a section; name one of its keys, as in {}__…", variable.name));
    }
    let Some(key) = keys::find(&path) else {
        return Err(format!("unknown key {path}; {}", keys::hint(&path)));
    };
    let capitals = written.to_uppercase();
    if written != capitals {
        return Err(format!("write it in capitals: {PREFIX}{SEPARATOR}{capitals}"));
    }
    if variable.value.is_empty() {
        return Ok(false);
    }
    places.insert(path.clone(), variable.place.clone());
    match fits(key.shape, &variable.value) {
        Ok(()) => Ok(true),
        Err(what) => Err(format!("{path}: {what}; write {}", key.want)),
    }
}

fn layered(table: &toml::Table, variables: HashMap<String, String>) -> Result<Raw, config::ConfigError> {
    // Without `try_parsing`: it would make the number 123 of the text 0123.
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(variables));
    Config::builder()
        .add_source(File::from_str(&table.to_string(), FileFormat::Toml))
        .add_source(environment)
        .build()?
        .try_deserialize()
}

/// Reads a `.env` file: `KEY=VALUE` lines, with `#` comments, quotes and a leading `export` if need be. Only variables
/// that concern the configuration are taken from it.
pub(super) fn dotenv(text: &str, file: &Path) -> (Vec<Variable>, Problems) {
    let (mut variables, mut problems) = (Vec::new(), Problems::default());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place::DotEnv { file: file.to_owned(), line: index + 1 };
        match assignment(line) {
            Ok((name, value)) if is_ours(name) => {
                variables.push(Variable { name: name.to_owned(), value: value.to_owned(), place });
            }
            Ok(_) => {}
            Err(what) => problems.add(place, what),
        }
    }
    (variables, problems)
}

fn assignment(line: &str) -> Result<(&str, &str), String> {
    let right = "write KEY=VALUE, or # before a comment";
    let (name, value) = line.split_once('=').ok_or_else(|| format!("{} has no =; {right}", quoted(line)))?;
    let name = name.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim_start();
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !is_name(name) {
        return Err(format!("{} is not the name of a variable; {right}", quoted(name)));
    }
    let value = value.trim();
    let Some(quote) = value.chars().next().filter(|first| ['"', '\''].contains(first)) else {
        let end = value.find(" #").unwrap_or(value.len());
        return Ok((name, value[..end].trim_end()));
    };
    match value[1..].split_once(quote) {
        Some((inside, after)) if after.trim().is_empty() || after.trim_start().starts_with('#') => {
            Ok((name, inside))
        }
        Some(_) => Err(format!("{name}: there is more after the closing {quote}; {right}")),
        None => Err(format!("{name}: the closing {quote} is missing; {right}")),
    }
}
