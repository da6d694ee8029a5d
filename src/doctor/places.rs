//! The destinations, by what was seen there and by what the running daemon says of them.

use super::facts::Facts;
use super::finding::{Outcome, Told};

pub(super) fn destinations(facts: &Facts<'_>) -> Vec<Told> {
    let held = |path: &str| {
        let report = facts.daemon.report()?;
        report.destinations.iter().find(|held| held.path == path)
    };
    let judge = |(path, told): &(std::path::PathBuf, Told)| {
        let path = path.display().to_string();
        let told = match held(&path) {
            Some(held) if told.outcome != Outcome::Failed => Told::said(Outcome::Failed, &held.problem),
            _ => told.clone(),
        };
        let is_named = told.detail.contains(&path);
        let detail = if is_named { told.detail } else { format!("{path}: {}", told.detail) };
        Told { detail, ..told }
    };
    facts.destinations.iter().map(judge).collect()
}
