//! The folders of the configuration and what they are in Drive: their real ids, and the logs that speak of them. A folder
//! that leaves the configuration is suspended for a day, so that nothing is lost if it comes back.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::rules::{Existing, Folder as Rule, Rules};
use super::{Engine, Error};
use crate::drive::Fault;
use crate::model::{ChangeLog, File, FileId, Kind, ResourceKeys};
use crate::store::{Comparison, Folder, Listing, Scope, Settings, Watched};
use crate::task::Reason;

/// A folder that Drive does not show is asked for again this often, however often the engine is woken meanwhile.
pub(super) const FOLDER_WAIT: Duration = Duration::from_mins(1);
/// A folder that has left the configuration is remembered for this long: an edit may be half-finished, or a mistake.
const SUSPENDED_FOR: Duration = Duration::from_hours(24);

/// A rule of the configuration, and what is known of its folder.
#[derive(Debug)]
pub(super) struct Claim {
    rule: Rule,
    /// The folder's real id, once it is known.
    folder: Option<FileId>,
    /// Why it cannot be watched, and when Drive is asked again.
    refused: Option<(Instant, String)>,
}

impl Claim {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, folder: None, refused: None }
    }
}

/// What a round of looking at folders has brought.
#[derive(Default)]
struct Round {
    /// By the id that the configuration has.
    found: HashMap<FileId, Folder>,
    /// The rule's index, and what went wrong.
    failed: Vec<(usize, Error)>,
}

impl Engine {
    /// Looks at the folders that have not been looked at yet. `Ok` with an error: one of them cannot be watched, which
    /// does not keep the others. `Err`: it is not known which folders are watched, and no log may be read.
    pub(super) async fn resolve_folders(&mut self) -> Result<Option<Error>, Error> {
        self.forget_suspended().await?;
        if self.settled {
            return Ok(None);
        }
        let known = self.store.watched().await?;
        let round = self.look_at_folders(&known).await?;
        // All or nothing: what the database does not take is looked at again in the next step.
        let changed = self.take_in(&round, &known).await?;
        self.claim(&round);
        let unclaimed: Vec<&Watched> =
            known.iter().filter(|known| !known.suspended && !self.rules.names(&known.folder.id)).collect();
        let mut failed = round.failed;
        if let Some(index) = failed.iter().position(|(index, error)| self.may_be_known(*index, error))
            && !unclaimed.is_empty()
        {
            return Err(failed.swap_remove(index).1);
        }
        for Watched { folder, .. } in &unclaimed {
            info!(folder.id = %folder.id, folder.name = folder.name, "a folder is not watched any more");
            self.store.suspend(&folder.id, Timestamp::now()).await?;
        }
        if (changed || !unclaimed.is_empty()) && self.keeper.wake(Reason::Handover).is_err() {
            debug!("there is no channel keeper");
        }
        self.settled = failed.is_empty();
        // What passes is tried again sooner.
        let errors = failed.into_iter().map(|(_, error)| error);
        Ok(errors.min_by_key(|error| matches!(error, Error::Folder { .. })))
    }

    /// Whether a rule that could not be looked at may be about a folder that is known already, under its real id.
    fn may_be_known(&self, index: usize, error: &Error) -> bool {
        self.claims[index].rule.is_alias() && !matches!(error, Error::Folder { .. })
    }

    async fn forget_suspended(&self) -> Result<(), Error> {
        let Ok(before) = Timestamp::now().checked_sub(SUSPENDED_FOR) else { return Ok(()) };
        for id in self.store.suspended_before(before).await? {
            debug!(folder.id = %id, "a folder that was taken out of the configuration is forgotten");
            self.store.unwatch(&id).await?;
        }
        Ok(())
    }

    async fn look_at_folders(&self, known: &[Watched]) -> Result<Round, Error> {
        let mut round = Round::default();
        for (index, claim) in self.claims.iter().enumerate() {
            let id = &claim.rule.id;
            if claim.folder.is_some() || round.found.contains_key(id) {
                continue;
            }
            let refused = claim.refused.as_ref().filter(|(until, _)| Instant::now() < *until);
            let looked = match refused {
                Some((_, why)) => Err(Error::Folder { id: id.to_string(), why: why.clone() }),
                None => self.look_at(&claim.rule, known).await,
            };
            match looked {
                Ok(folder) => {
                    round.found.insert(id.clone(), folder);
                }
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => round.failed.push((index, error)),
            }
        }
        // Another rule for the same folder may have had an answer.
        round.failed.retain(|(index, _)| !round.found.contains_key(&self.claims[*index].rule.id));
        Ok(round)
    }

    async fn look_at(&self, rule: &Rule, known: &[Watched]) -> Result<Folder, Error> {
        let named = |id: &FileId| known.iter().find(|known| known.folder.id == *id);
        if let Some(known) = named(self.ids.get(&rule.id).unwrap_or(&rule.id)) {
            return Ok(known.folder.clone());
        }
        let wrong = |why: String| Error::Folder { id: rule.id.to_string(), why };
        let file = match self
            .drive
            .file(&rule.id, &ResourceKeys::of(&rule.id, rule.resource_key.as_deref()))
            .await
        {
            Ok(file) => file,
            Err(error) if error.fault() == Fault::NotFound => {
                let who = self.drive.describe();
                return Err(wrong(format!(
                    "Drive does not show it to {who}; check the id, and share the folder with it"
                )));
            }
            Err(error) => {
                // Drive is asked once after each start, since another login has another root.
                let last = self.store.alias(&rule.id).await?;
                return match last.as_ref().and_then(named) {
                    Some(known) => Ok(known.folder.clone()),
                    None => Err(error.into()),
                };
            }
        };
        match file.kind() {
            Kind::Folder => Ok(watched_folder(rule, file)),
            Kind::Shortcut => {
                Err(wrong("is a shortcut; use the id of the folder that it points at".to_owned()))
            }
            Kind::Binary | Kind::GoogleNative => Err(wrong(format!("is no folder but `{}`", file.name))),
        }
    }

    /// Writes down what was found. `true`: other folders are watched than before.
    async fn take_in(&self, round: &Round, known: &[Watched]) -> Result<bool, Error> {
        let mut done = HashSet::new();
        let mut changed = false;
        for claim in &self.claims {
            let Some(folder) = round.found.get(&claim.rule.id) else { continue };
            if claim.rule.id != folder.id {
                self.store.set_alias(&claim.rule.id, &folder.id).await?;
            }
            if !done.insert(&folder.id) {
                continue;
            }
            let is_about_it = |claim: &&Claim| {
                let found = round.found.get(&claim.rule.id).map(|folder| &folder.id);
                claim.folder.as_ref().or(found) == Some(&folder.id)
            };
            let rules: Vec<&Rule> = self.claims.iter().filter(is_about_it).map(|claim| &claim.rule).collect();
            let known = known.iter().find(|known| known.folder.id == folder.id);
            changed |= self.watch(folder, &rules, known).await?;
        }
        Ok(changed)
    }

    /// Watches a folder by these rules. `true`: it was not watched before.
    async fn watch(&self, folder: &Folder, rules: &[&Rule], known: Option<&Watched>) -> Result<bool, Error> {
        let scope = Scope {
            recursive: rules.iter().any(|rule| rule.recursive),
            shortcuts: rules.iter().any(|rule| rule.shortcuts),
        };
        let Some(known) = known else {
            let existing = rules.first().map_or(Existing::Ignore, |rule| rule.existing);
            info!(folder.id = %folder.id, folder.name = folder.name, ?existing, "watching a new folder");
            self.store.watch(folder, scope).await?;
            self.compare_settings(folder, rules).await?;
            return Ok(true);
        };
        let before = known.scope.unwrap_or(scope);
        let widens =
            |rule: &&&Rule| rule.recursive && !before.recursive || rule.shortcuts && !before.shortcuts;
        let again = match rules.iter().find(widens).map(|rule| rule.existing) {
            Some(Existing::Ignore) => Some(Listing::Widen),
            Some(Existing::Download) => Some(Listing::Deliver),
            None => known.suspended.then_some(Listing::Deliver),
        };
        if known.suspended {
            info!(folder.id = %folder.id, folder.name = folder.name, "a folder is watched again and listed for what came meanwhile");
        } else if again.is_some() {
            info!(folder.id = %folder.id, folder.name = folder.name, "more of a folder counts than before; it is listed again");
        }
        if again.is_some() || known.scope != Some(scope) {
            self.store.watch_on(&folder.id, scope, again).await?;
        }
        self.compare_settings(folder, rules).await?;
        Ok(known.suspended)
    }

    /// What was left out by a setting is considered again when the setting has changed.
    async fn compare_settings(&self, folder: &Folder, rules: &[&Rule]) -> Result<(), Error> {
        let settings = Settings {
            filters: rules.iter().map(|rule| rule.filters()).collect::<Vec<_>>().join("\n"),
            on_update: format!("{:?}", rules.iter().map(|rule| rule.on_update).collect::<Vec<_>>()),
        };
        let compared = self.store.compare_settings(&folder.id, &settings, Timestamp::now()).await?;
        if compared == Comparison::Changed {
            info!(folder.id = %folder.id, folder.name = folder.name, "other files of a folder are wanted than before; what was left out is looked at again");
        }
        Ok(())
    }

    /// The rules whose folders are known now are in force.
    fn claim(&mut self, round: &Round) {
        for (index, error) in &round.failed {
            let refused = &mut self.claims[*index].refused;
            if let Error::Folder { why, .. } = error
                && refused.as_ref().is_none_or(|(until, _)| Instant::now() >= *until)
            {
                *refused = Some((Instant::now() + FOLDER_WAIT, why.clone()));
            }
        }
        for claim in &mut self.claims {
            if let Some(folder) = round.found.get(&claim.rule.id) {
                self.ids.insert(claim.rule.id.clone(), folder.id.clone());
                claim.folder = Some(folder.id.clone());
            }
        }
        let known = self
            .claims
            .iter()
            .filter_map(|claim| claim.folder.clone().map(|id| Rule { id, ..claim.rule.clone() }));
        self.rules = Rules::new(known.collect());
    }
}

fn watched_folder(rule: &Rule, file: File) -> Folder {
    if file.trashed {
        warn!(folder.id = %file.id, folder.name = file.name, "a watched folder is in Drive's trash");
    }
    let listing = match rule.existing {
        Existing::Download => Listing::Deliver,
        Existing::Ignore => Listing::Note,
    };
    Folder {
        id: file.id,
        log: file.drive_id.map_or(ChangeLog::User, ChangeLog::SharedDrive),
        parent: file.parent,
        name: file.name,
        watched: true,
        listing,
        settling: listing == Listing::Note,
    }
}
