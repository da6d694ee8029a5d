//! Asks Drive for the targets of the shortcuts on a page, before the page is evaluated.

use tracing::{debug, info, warn};

use super::desk::Desk;
use super::error::{Error, concerns_others, is_hidden};
use super::shortcuts::Target;
pub(super) use super::shortcuts::Targets;
use super::source::Source;
use crate::model::{Change, ResourceKeys};

/// What Drive says of them. One that Drive does not answer for is left out, and is asked for again later.
pub(super) async fn look_up(source: &impl Source, desk: &Desk, changes: &[Change]) -> Result<Targets, Error> {
    let mut targets = Targets::new();
    for (id, key) in desk.targets(changes).await? {
        match source.item(&id, &ResourceKeys::of(&id, key.as_deref())).await {
            Ok(file) if file.trashed => {
                debug!(file.id = %id, "a shortcut points at something in the trash");
                targets.insert(id, Target::Trashed);
            }
            Ok(file) => {
                targets.insert(id, Target::Shown(Box::new(file)));
            }
            Err(error) if concerns_others(&error) => return Err(error.into()),
            Err(error) if is_hidden(&error) => {
                info!(file.id = %id, reason = "Drive does not show what a shortcut points at; share that as well", "skipped");
            }
            Err(error) => {
                warn!(file.id = %id, %error, "what a shortcut points at cannot be looked at; it is tried again later");
            }
        }
    }
    Ok(targets)
}
