//! A Drive to begin with: filled from a directory, emptied, and what its user consents to.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Command, Outcome, Refused};

pub(super) fn seed(command: &Command) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Seed {
        directory: PathBuf,
        into: Option<String>,
    }
    let seed: Seed = command.json()?;
    let into = command.parent(seed.into.as_deref());
    command.emulator.with_state(|state| state.known(&into).map(drop))?;
    let seeded = command.emulator.seed(&seed.directory, &into);
    let seeded = seeded.map_err(|error| Refused(400, error.to_string()))?;
    Ok(json!(seeded))
}

/// Where My Drive is now.
pub(super) fn reset(command: &Command) -> Value {
    command.emulator.reset();
    json!({"root": command.emulator.root_id()})
}

pub(super) fn consent(command: &Command) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Consent {
        scopes: Option<Vec<String>>,
        asks: Option<bool>,
    }
    let Consent { scopes, asks } = command.json()?;
    if let Some(asks) = asks {
        command.emulator.set_asking_for_consent(asks);
    }
    let scopes = scopes.as_ref().map(|scopes| scopes.iter().map(String::as_str).collect::<Vec<_>>());
    command.emulator.set_consented_scopes(scopes.as_deref());
    Ok(json!({}))
}
