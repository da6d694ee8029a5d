//! Who may do what with an item: permissions on it, inherited ones, and membership of its shared drive.

use super::account::Account;
use super::late::When;
use super::node::Node;
use super::report::Logs;
use super::role::Role;
use super::state::{OutsiderEntries, State};

impl State {
    /// What an account may do with an item by its name: as the owner, by a permission on the item or on a folder above
    /// it, or as a member of its shared drive.
    pub(crate) fn role(&self, address: &str, node: &Node, when: When) -> Option<Role> {
        let by_item = self.lineage(node).filter_map(|above| {
            let sharing = &above.sharing;
            let is_owner = sharing.owner.as_deref() == Some(address);
            // Whoever owns a folder may only change what others put into it.
            let own = is_owner.then_some(if above.id == node.id { Role::Owner } else { Role::Writer });
            own.max(sharing.grants.get(address).and_then(|role| *role.get(when)))
        });
        by_item.max().max(node.drive.as_ref().and_then(|drive| self.membership(address, drive, when)))
    }

    /// What everybody may do with an item who has its link, or that of a folder above it.
    pub(crate) fn link_role(&self, node: &Node, when: When) -> Option<Role> {
        self.lineage(node).filter_map(|above| *above.sharing.link.get(when)).max()
    }

    /// What a member may do in a shared drive.
    pub(crate) fn membership(&self, address: &str, drive: &str, when: When) -> Option<Role> {
        self.drives.get(drive)?.members.get(address).and_then(|role| *role.get(when))
    }

    /// The change logs that an item belongs to: that of its shared drive, or those of all accounts that see it by name.
    /// Whoever sees an item of a shared drive without being a member may have it in the own log as well.
    pub(crate) fn logs_of(&self, node: &Node) -> Logs {
        let sees = |account: &&Account| self.role(&account.address, node, When::Settled).is_some();
        let seeing = self.accounts.values().filter(sees);
        match &node.drive {
            None => seeing.map(|account| account.log.clone()).collect(),
            Some(drive) => {
                let is_outside =
                    |account: &&Account| self.membership(&account.address, drive, When::Settled).is_none();
                let outside = seeing
                    .filter(|_| self.settings.outsider_entries == OutsiderEntries::UserLog)
                    .filter(is_outside);
                outside.map(|account| account.log.clone()).chain([drive.clone()]).collect()
            }
        }
    }
}
