//! The folders of the configuration and what they are in Drive: their real ids, and the logs that speak of them. A folder
//! that leaves the configuration is suspended for a day, so that nothing is lost if it comes back.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::error::Error;
use super::rules::{Existing, Folder as Rule, Rules};
use crate::drive::{Drive, Fault};
use crate::model::{ChangeLog, File, FileId, Kind, ResourceKeys};
use crate::store::{Comparison, Folder, Listing, Scope, Settings, Store, Watched};

/// A folder that Drive does not show is asked for again this often, however often the engine is woken meanwhile.
pub(super) const FOLDER_WAIT: Duration = Duration::from_mins(1);
/// A folder that has left the configuration is remembered for this long: an edit may be half-finished, or a mistake.
const SUSPENDED_FOR: Duration = Duration::from_hours(24);

/// A rule of the configuration, and what is known of its folder.
#[derive(Clone, Debug)]
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

/// All rules of the configuration, in its order, and what is known of their folders.
#[derive(Debug, Default)]
pub(super) struct Claims {
    all: Vec<Claim>,
    /// What the folders of the configuration are in Drive, by the id that they are configured under: `root` is an alias.
    ids: HashMap<FileId, FileId>,
    /// Whether each rule has its folder, and no other folder is watched.
    is_settled: bool,
    /// Whether it is known which folders are watched, so that logs may be read.
    is_known: bool,
}

/// What a look at the folders of the configuration has brought.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What was known before.
    known: Vec<Watched>,
    /// By the id that the configuration has.
    found: HashMap<FileId, Folder>,
    /// The rule's index, and what went wrong.
    failed: Vec<(usize, Error)>,
}

/// What is different after a look at the folders.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Other folders are watched, or by other rules.
    pub(super) has_new_rules: bool,
    /// Other logs may be of interest.
    pub(super) has_new_folders: bool,
    /// Folders whose settings have changed, each with the setting that had left files out.
    pub(super) changed: Vec<(FileId, &'static str)>,
    /// One of the folders cannot be watched.
    pub(super) error: Option<Error>,
}

/// The folders that are still to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Look {
    open: Vec<(usize, Claim)>,
    ids: HashMap<FileId, FileId>,
}

impl Claims {
    pub(super) fn new(rules: Vec<Rule>, ids: HashMap<FileId, FileId>) -> Self {
        Self { all: rules.into_iter().map(Claim::new).collect(), ids, is_settled: false, is_known: false }
    }

    /// Whether nothing is left to be looked at.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Whether logs may be read.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Another configuration. What aliases are is the same.
    pub(super) fn renew(&mut self, rules: Vec<Rule>) {
        *self = Self::new(rules, std::mem::take(&mut self.ids));
    }

    /// Forgets what aliases are when the database has forgotten it: another account has another root. Until Drive has
    /// been asked, it is not known which folders are watched.
    pub(super) async fn forget_aliases(&mut self, store: &Store) -> Result<(), Error> {
        for claim in self.all.iter_mut().filter(|claim| claim.rule.is_alias() && claim.folder.is_some()) {
            if store.alias(&claim.rule.id).await?.is_none() {
                info!(folder = %claim.rule.id, "the account has changed; Drive is asked again which folder this is");
                self.ids.remove(&claim.rule.id);
                claim.folder = None;
                (self.is_settled, self.is_known) = (false, false);
            }
        }
        Ok(())
    }

    /// The rules whose folders are known.
    pub(super) fn rules(&self) -> Rules {
        let known = self
            .all
            .iter()
            .filter_map(|claim| claim.folder.clone().map(|id| Rule { id, ..claim.rule.clone() }));
        Rules::new(known.collect())
    }

    /// What is left to be looked at.
    pub(super) fn look(&self) -> Look {
        let open = self.all.iter().enumerate().filter(|(_, claim)| claim.folder.is_none());
        Look { open: open.map(|(index, claim)| (index, claim.clone())).collect(), ids: self.ids.clone() }
    }

    /// Takes in what was found. `Err`: the database failed; the next look finds the same.
    pub(super) async fn take_in(&mut self, mut round: Round, store: &Store) -> Result<Taken, Error> {
        // All or nothing: what the database does not take is looked at again.
        let mut taken = Taken::default();
        self.write(&round, store, &mut taken).await?;
        taken.has_new_rules = self.claim(&round) || !self.is_known;
        let rules = self.rules();
        let unclaimed: Vec<&Watched> =
            round.known.iter().filter(|known| !known.suspended && !rules.names(&known.folder.id)).collect();
        if let Some(index) = round.failed.iter().position(|(index, error)| self.may_be_known(*index, error))
            && !unclaimed.is_empty()
        {
            // It is not known which folders are watched, and what is read now would be taken for nobody's.
            self.is_known = false;
            taken.error = Some(round.failed.swap_remove(index).1);
            return Ok(taken);
        }
        for Watched { folder, .. } in &unclaimed {
            info!(folder.id = %folder.id, folder.name = folder.name, "a folder is not watched any more");
            store.suspend(&folder.id, Timestamp::now()).await?;
            taken.has_new_folders = true;
        }
        self.is_known = true;
        self.is_settled = round.failed.is_empty();
        // What passes is tried again sooner.
        let errors = round.failed.into_iter().map(|(_, error)| error);
        taken.error = errors.min_by_key(|error| matches!(error, Error::Folder { .. }));
        Ok(taken)
    }

    /// Whether a rule that could not be looked at may be about a folder that is known already, under its real id.
    fn may_be_known(&self, index: usize, error: &Error) -> bool {
        self.all[index].rule.is_alias() && !matches!(error, Error::Folder { .. })
    }

    /// Writes down what was found.
    async fn write(&self, round: &Round, store: &Store, taken: &mut Taken) -> Result<(), Error> {
        let mut done = HashSet::new();
        for claim in &self.all {
            let Some(folder) = round.found.get(&claim.rule.id) else { continue };
            if claim.rule.id != folder.id {
                store.set_alias(&claim.rule.id, &folder.id).await?;
            }
            if !done.insert(&folder.id) {
                continue;
            }
            let is_about_it = |claim: &&Claim| {
                let found = round.found.get(&claim.rule.id).map(|folder| &folder.id);
                claim.folder.as_ref().or(found) == Some(&folder.id)
            };
            let rules: Vec<&Rule> = self.all.iter().filter(is_about_it).map(|claim| &claim.rule).collect();
            let known = round.known.iter().find(|known| known.folder.id == folder.id);
            watch(store, folder, &rules, known, taken).await?;
        }
        Ok(())
    }

    /// The rules whose folders are known now are in force. `true`: there are others than before.
    fn claim(&mut self, round: &Round) -> bool {
        for (index, error) in &round.failed {
            let refused = &mut self.all[*index].refused;
            if let Error::Folder { why, .. } = error
                && refused.as_ref().is_none_or(|(until, _)| Instant::now() >= *until)
            {
                *refused = Some((Instant::now() + FOLDER_WAIT, why.clone()));
            }
        }
        let mut is_new = false;
        for claim in self.all.iter_mut().filter(|claim| claim.folder.is_none()) {
            if let Some(folder) = round.found.get(&claim.rule.id) {
                self.ids.insert(claim.rule.id.clone(), folder.id.clone());
                claim.folder = Some(folder.id.clone());
                is_new = true;
            }
        }
        is_new
    }
}

impl Look {
    /// Looks at the folders of the configuration.
    pub(super) async fn run(&self, drive: &Drive, store: &Store) -> Result<Round, Error> {
        forget_suspended(store).await?;
        let mut round = Round { known: store.watched().await?, ..Round::default() };
        for (index, Claim { rule, refused, .. }) in &self.open {
            if round.found.contains_key(&rule.id) {
                continue;
            }
            let refused = refused.as_ref().filter(|(until, _)| Instant::now() < *until);
            let looked = match refused {
                Some((_, why)) => Err(Error::Folder { id: rule.id.to_string(), why: why.clone() }),
                None => self.look_at(rule, &round.known, drive, store).await,
            };
            match looked {
                Ok(folder) => {
                    round.found.insert(rule.id.clone(), folder);
                }
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => round.failed.push((*index, error)),
            }
        }
        // Another rule for the same folder may have had an answer.
        let id_of = |index: usize| {
            self.open.iter().find(|(other, _)| *other == index).map(|(_, claim)| &claim.rule.id)
        };
        let is_found = |index: usize| id_of(index).is_some_and(|id| round.found.contains_key(id));
        round.failed.retain(|(index, _)| !is_found(*index));
        Ok(round)
    }

    async fn look_at(
        &self,
        rule: &Rule,
        known: &[Watched],
        drive: &Drive,
        store: &Store,
    ) -> Result<Folder, Error> {
        let named = |id: &FileId| known.iter().find(|known| known.folder.id == *id);
        if let Some(known) = named(self.ids.get(&rule.id).unwrap_or(&rule.id)) {
            return Ok(known.folder.clone());
        }
        let wrong = |why: String| Error::Folder { id: rule.id.to_string(), why };
        let file = match drive.file(&rule.id, &ResourceKeys::of(&rule.id, rule.resource_key.as_deref())).await
        {
            Ok(file) => file,
            Err(error) if error.fault() == Fault::NotFound => {
                let who = drive.describe();
                return Err(wrong(format!(
                    "Drive does not show it to {who}; check the id, and share the folder with that account"
                )));
            }
            Err(error) => {
                // Drive is asked once after each start, since another login has another root.
                let last = store.alias(&rule.id).await?;
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
            Kind::Binary | Kind::GoogleNative => {
                Err(wrong(format!("is not a folder but the file `{}`", file.name)))
            }
        }
    }
}

pub(super) async fn forget_suspended(store: &Store) -> Result<(), Error> {
    let Ok(before) = Timestamp::now().checked_sub(SUSPENDED_FOR) else { return Ok(()) };
    for id in store.suspended_before(before).await? {
        debug!(folder.id = %id, "a folder that was taken out of the configuration is forgotten");
        store.unwatch(&id).await?;
    }
    Ok(())
}

/// Watches a folder by these rules.
async fn watch(
    store: &Store,
    folder: &Folder,
    rules: &[&Rule],
    known: Option<&Watched>,
    taken: &mut Taken,
) -> Result<(), Error> {
    let scope = Scope {
        recursive: rules.iter().any(|rule| rule.recursive),
        shortcuts: rules.iter().any(|rule| rule.shortcuts),
    };
    let Some(known) = known else {
        let existing = rules.first().map_or(Existing::Ignore, |rule| rule.existing);
        info!(folder.id = %folder.id, folder.name = folder.name, existing = existing.as_str(), "watching a new folder");
        store.watch(folder, scope).await?;
        compare_settings(store, folder, rules).await?;
        taken.has_new_folders = true;
        return Ok(());
    };
    let before = known.scope.unwrap_or(scope);
    let widens = |rule: &&&Rule| rule.recursive && !before.recursive || rule.shortcuts && !before.shortcuts;
    let widened = rules.iter().find(widens);
    let again = match widened.map(|rule| rule.existing) {
        Some(Existing::Ignore) => Some(Listing::Widen),
        Some(Existing::Download) => Some(Listing::Deliver),
        None => known.suspended.then_some(Listing::Deliver),
    };
    if known.suspended {
        info!(folder.id = %folder.id, folder.name = folder.name, "a folder is watched again and listed for files that arrived meanwhile");
    } else if again.is_some() {
        info!(folder.id = %folder.id, folder.name = folder.name, "`recursive` or `shortcuts` was switched on for a folder; it is listed again");
    }
    if again.is_some() || known.scope != Some(scope) {
        store.watch_on(&folder.id, scope, again).await?;
    }
    let compared = compare_settings(store, folder, rules).await?;
    let setting = match (scope.recursive && !before.recursive, scope.shortcuts && !before.shortcuts, compared)
    {
        (false, false, Comparison::Unchanged) => None,
        (false, false, Comparison::Changed) => Some("the filters"),
        (true, false, Comparison::Unchanged) => Some("recursive = false"),
        (false, true, Comparison::Unchanged) => Some("shortcuts = false"),
        (true, _, _) | (_, true, _) => Some("the earlier settings"),
    };
    taken.changed.extend(setting.map(|setting| (folder.id.clone(), setting)));
    taken.has_new_folders |= known.suspended;
    Ok(())
}

/// What was left out by a setting is considered again when the setting has changed.
async fn compare_settings(store: &Store, folder: &Folder, rules: &[&Rule]) -> Result<Comparison, Error> {
    let settings = Settings {
        filters: rules.iter().map(|rule| rule.filters()).collect::<Vec<_>>().join("\n"),
        on_update: format!("{:?}", rules.iter().map(|rule| rule.on_update).collect::<Vec<_>>()),
    };
    let compared = store.compare_settings(&folder.id, &settings, Timestamp::now()).await?;
    if compared == Comparison::Changed {
        info!(folder.id = %folder.id, folder.name = folder.name, "the settings of a folder have changed; files that they left out are looked at again");
    }
    Ok(compared)
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
        log: ChangeLog::of(&file),
        id: file.id,
        parent: file.parent,
        name: file.name,
        resource_key: file.resource_key,
        watched: true,
        listing,
        problem: None,
    }
}
