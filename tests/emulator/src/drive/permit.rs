//! Sharing: permissions given and taken away, links, resource keys, and who may download.

use std::time::Duration;

use super::account::Account;
use super::ids;
use super::late::{EffectEntry, PermissionLag};
use super::refusal::{Done, Refusal};
use super::report::{Cause, Logs};
use super::role::{Downloads, Role, Sharing};
use super::state::State;

impl State {
    /// Gives an account a role on an item and, by inheritance, on all that is below it; `None` takes it away.
    pub(crate) fn share(&mut self, id: &str, with: &str, role: Option<Role>) -> Done<()> {
        self.account(with)?;
        if role == Some(Role::Owner) {
            return Err(Refusal::BadRole(Role::Owner));
        }
        self.permit(id, |sharing, now, lag| {
            sharing.grants.entry(with.to_owned()).or_default().set(role, now, lag);
        })
    }

    /// Gives a role to everybody who has the link; `None` takes it away.
    pub(crate) fn share_link(&mut self, id: &str, role: Option<Role>) -> Done<()> {
        self.permit(id, |sharing, now, lag| sharing.link.set(role, now, lag))
    }

    /// The key that those must send from now on who have no more than the link.
    pub(crate) fn require_resource_key(&mut self, id: &str) -> Done<String> {
        let key = ids::resource_key();
        self.permit(id, |sharing, _, _| sharing.resource_key = Some(key.clone()))?;
        Ok(key)
    }

    pub(crate) fn set_downloads(&mut self, id: &str, downloads: Downloads) -> Done<()> {
        self.permit(id, |sharing, now, lag| sharing.downloads.set(downloads, now, lag))
    }

    /// Makes an account the owner of an item of My Drive; the former owner may change it from now on.
    pub(crate) fn give(&mut self, id: &str, to: &str) -> Done<()> {
        self.account(to)?;
        if self.known(id)?.drive.is_some() {
            return Err(Refusal::BadRole(Role::Owner));
        }
        self.permit(id, |sharing, now, lag| {
            if let Some(former) = sharing.owner.replace(to.to_owned()).filter(|former| former != to) {
                sharing.grants.entry(former).or_default().set(Some(Role::Writer), now, lag);
            }
        })
    }

    pub(crate) fn account(&self, address: &str) -> Done<&Account> {
        self.accounts.get(address).ok_or_else(|| Refusal::NoSuchAccount(address.to_owned()))
    }

    /// Changes permissions and tells the logs of all who see the item before or after, at once and, if wanted, when it
    /// takes effect. What is below gets no entries unless the settings say so.
    fn permit(&mut self, id: &str, change: impl FnOnce(&mut Sharing, i64, PermissionLag)) -> Done<()> {
        let id = self.known(id)?.id.clone();
        let concerned = self.concerned(&id);
        let (now, lag) = (self.now(), self.settings.permission_lag);
        change(&mut self.known_mut(&id)?.sharing, now, lag);
        for (id, former) in &concerned {
            self.reannounce(id, former, Cause::Updated("permissions"));
        }
        if lag.entry == EffectEntry::Told {
            for (id, former) in &concerned {
                self.tell_effect(id, former, lag);
            }
        }
        Ok(())
    }

    fn tell_effect(&mut self, id: &str, former: &Logs, lag: PermissionLag) {
        let Some(node) = self.nodes.get(id) else { return };
        let logs: Vec<String> = former.union(&self.logs_of(node)).cloned().collect();
        let mut pauses = vec![lag.metadata, lag.media];
        pauses.dedup();
        for pause in pauses.into_iter().filter(|pause| *pause > Duration::ZERO) {
            for log in &logs {
                self.report_after(log, id, pause);
            }
        }
    }
}
