//! The folders of the configuration and what they are in Drive: their real ids, and the logs that speak of them.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::rules::{Existing, Folder as Rule, Rules};
use super::{Engine, Error};
use crate::drive::Fault;
use crate::model::{ChangeLog, File, FileId, Kind};
use crate::store::{Folder, Listing};

/// A folder that Drive does not show is asked for again this often, however often the engine is woken meanwhile.
pub(super) const FOLDER_WAIT: Duration = Duration::from_mins(1);

impl Engine {
    /// Looks at the folders that have not been looked at yet. One that cannot be watched does not keep the others.
    pub(super) async fn resolve_folders(&mut self) -> Result<(), Error> {
        if self.unresolved.is_empty() {
            return Ok(());
        }
        if let Some((_, id, why)) = self.refused.as_ref().filter(|(until, ..)| Instant::now() < *until) {
            return Err(Error::Folder { id: id.clone(), why: why.clone() });
        }
        let known = self.store.watched().await?;
        let mut resolved = self.rules.folders().to_vec();
        let mut still_unresolved = Vec::new();
        let mut first_error = None;
        // All or nothing: what the database did not take is looked at again in the next step.
        for rule in self.unresolved.clone() {
            match self.resolve(&rule, &known).await {
                Ok(folder) => {
                    self.store.watch(&folder).await?;
                    self.ids.insert(rule.id.clone(), folder.id.clone());
                    resolved.push(Rule { id: folder.id, ..rule });
                }
                Err(error) => {
                    first_error = first_error.or(Some(error));
                    still_unresolved.push(rule);
                }
            }
        }
        self.unresolved = still_unresolved;
        self.rules = Rules::new(resolved);
        self.refused = match &first_error {
            Some(Error::Folder { id, why }) => Some((Instant::now() + FOLDER_WAIT, id.clone(), why.clone())),
            Some(Error::Drive(_) | Error::Store(_)) | None => None,
        };
        match first_error {
            Some(error) => Err(error),
            None => self.forget_others(&known).await,
        }
    }

    async fn resolve(&self, rule: &Rule, known: &[Folder]) -> Result<Folder, Error> {
        let id = self.ids.get(&rule.id).unwrap_or(&rule.id);
        if let Some(folder) = known.iter().find(|folder| folder.id == *id) {
            return Ok(folder.clone());
        }
        let wrong = |why: String| Error::Folder { id: rule.id.to_string(), why };
        let file = match self.drive.file(&rule.id, rule.resource_key.as_deref()).await {
            Ok(file) => file,
            Err(error) if error.fault() == Fault::NotFound => {
                let who = self.drive.describe();
                return Err(wrong(format!(
                    "Drive does not show it to {who}; check the id, and share the folder with it"
                )));
            }
            Err(error) => return Err(error.into()),
        };
        match file.kind() {
            Kind::Folder => Ok(self.watched_folder(rule, file)),
            Kind::Shortcut => {
                Err(wrong("is a shortcut; use the id of the folder that it points at".to_owned()))
            }
            Kind::Binary | Kind::GoogleNative => Err(wrong(format!("is no folder but `{}`", file.name))),
        }
    }

    fn watched_folder(&self, rule: &Rule, file: File) -> Folder {
        if file.trashed {
            warn!(folder.id = %file.id, folder.name = file.name, "a watched folder is in Drive's bin");
        }
        let known_already = self.rules.folders().iter().any(|known| known.id == file.id);
        let listing = match rule.existing {
            Existing::Download => Listing::Deliver,
            Existing::Ignore => Listing::Note,
        };
        if !known_already {
            info!(folder.id = %file.id, folder.name = file.name, existing = ?rule.existing, "watching a new folder");
        }
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

    async fn forget_others(&self, known: &[Folder]) -> Result<(), Error> {
        let watched: Vec<&FileId> = self.rules.folders().iter().map(|rule| &rule.id).collect();
        for folder in known.iter().filter(|folder| !watched.contains(&&folder.id)) {
            info!(folder.id = %folder.id, folder.name = folder.name, "a folder is not watched any more");
            self.store.unwatch(&folder.id).await?;
        }
        Ok(())
    }
}
