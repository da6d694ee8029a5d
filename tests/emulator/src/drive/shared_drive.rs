//! Shared drives and their members.

use std::collections::BTreeMap;

use super::ids;
use super::late::{Late, When};
use super::log::{Log, Subject};
use super::refusal::{Done, Refusal};
use super::report::Cause;
use super::role::{Role, SharedDrive};
use super::state::{Home, State};

impl State {
    /// Makes a shared drive, whose id is also that of its root folder and the name of its change log.
    pub(crate) fn shared_drive(&mut self, name: &str, organizer: &str) -> Done<String> {
        self.account(organizer)?;
        let id = ids::root();
        let created = self.now();
        self.plant_root(id.clone(), name, Home::SharedDrive);
        let members = BTreeMap::from([(organizer.to_owned(), Late::at_once(Some(Role::Organizer), created))]);
        self.drives.insert(id.clone(), SharedDrive { name: name.to_owned(), created, members });
        self.logs.insert(id.clone(), Log::new(2_000_000 + ids::below(1_000_000)));
        self.tell_member(organizer, &id);
        Ok(id)
    }

    /// Makes an account a member, or gives a member another role; `None`: it is no member any longer. There is one entry
    /// in the account's log, about the drive, and none about what is in it.
    pub(crate) fn set_member(&mut self, drive: &str, address: &str, role: Option<Role>) -> Done<()> {
        self.account(address)?;
        if role == Some(Role::Owner) {
            return Err(Refusal::BadRole(Role::Owner));
        }
        let (now, lag) = (self.now(), self.settings.permission_lag);
        self.drive_mut(drive)?.members.entry(address.to_owned()).or_default().set(role, now, lag);
        self.tell_member(address, drive);
        Ok(())
    }

    pub(crate) fn rename_drive(&mut self, drive: &str, name: &str) -> Done<()> {
        name.clone_into(&mut self.drive_mut(drive)?.name);
        name.clone_into(&mut self.known_mut(drive)?.name);
        for member in self.members(drive) {
            self.tell_member(&member, drive);
        }
        Ok(())
    }

    /// With everything in it, and its change log.
    pub(crate) fn delete_drive(&mut self, drive: &str) -> Done<()> {
        self.drive_mut(drive)?;
        let members = self.members(drive);
        self.uproot(drive);
        self.drives.remove(drive);
        self.logs.remove(drive);
        for member in members {
            self.tell_member(&member, drive);
        }
        Ok(())
    }

    fn members(&self, drive: &str) -> Vec<String> {
        let members = self.drives.get(drive).into_iter().flat_map(|drive| &drive.members);
        members
            .filter(|(_, role)| role.get(When::Settled).is_some())
            .map(|(member, _)| member.clone())
            .collect()
    }

    fn drive_mut(&mut self, drive: &str) -> Done<&mut SharedDrive> {
        self.drives.get_mut(drive).ok_or_else(|| Refusal::NoSuchDrive(drive.to_owned()))
    }

    /// An entry about the drive in an account's own log: removed, if the account is no member or the drive is gone.
    fn tell_member(&mut self, address: &str, drive: &str) {
        let Some(account) = self.accounts.get(address) else { return };
        let log = account.log.clone();
        let removed = self.membership(address, drive, When::Settled).is_none();
        self.log_entry(&log, Subject::Drive(drive.to_owned()), removed);
        self.call_log(&log);
    }

    /// Takes an item and everything below it out of the tree, the innermost first.
    pub(super) fn uproot(&mut self, id: &str) {
        for id in self.subtree(id).into_iter().rev() {
            let Some(logs) = self.nodes.get(&id).map(|node| self.logs_of(node)) else { continue };
            let Some(node) = self.nodes.remove(&id) else { continue };
            if let Some(siblings) = node.parent.and_then(|parent| self.children.get_mut(&parent)) {
                siblings.remove(&(node.sequence, id.clone()));
            }
            self.children.remove(&id);
            for log in logs {
                self.report(&log, &id);
            }
            self.call_file(&id, Cause::Removed);
        }
    }
}
