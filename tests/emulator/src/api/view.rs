//! The Drive as one account sees it.

use std::collections::HashMap;
use std::ops::Deref;

use super::access;
use super::call::Call;
use super::error::ApiError;
use crate::drive::account::{self, Account};
use crate::drive::late::{MediaRefusal, When};
use crate::drive::node::Node;
use crate::drive::role::{Downloads, Role};
use crate::world::World;

/// The state, the account that looks at it, and the resource keys that it brought.
pub(crate) struct View<'a> {
    state: &'a World,
    pub(crate) account: &'a Account,
    keys: HashMap<String, String>,
}

impl Deref for View<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.state
    }
}

impl<'a> View<'a> {
    /// Of whoever the request's token belongs to.
    pub(crate) fn of(state: &'a World, call: &Call) -> Self {
        let header = call.header(RESOURCE_KEYS).unwrap_or_default();
        let address = access::caller(state, call);
        Self { state, account: account(state, address), keys: resource_keys(header).collect() }
    }

    /// Of the item's owner; of the first account if it is in a shared drive.
    pub(crate) fn of_owner(state: &'a World, node: &Node) -> Self {
        let address = node.sharing.owner.as_deref().unwrap_or(account::FIRST);
        Self::of_account(state, address)
    }

    pub(crate) fn of_account(state: &'a World, address: &str) -> Self {
        Self { state, account: account(state, address), keys: HashMap::new() }
    }

    /// An item by the id that a client wrote, `root` included, if the account sees it.
    pub(crate) fn find(&self, id: &str) -> Option<&'a Node> {
        let id = if id == "root" { &self.account.root } else { id };
        self.state.nodes.get(id).filter(|node| self.sees(node))
    }

    pub(crate) fn sees(&self, node: &Node) -> bool {
        self.role(node).is_some()
    }

    /// What any account may do with an item by its name.
    pub(crate) fn role_of(&self, address: &str, node: &Node) -> Option<Role> {
        self.state.role(address, node, self.metadata())
    }

    /// Drive's word for who sees an item.
    pub(crate) fn visibility(&self, node: &Node) -> &'static str {
        if self.state.link_role(node, self.metadata()).is_some() { "anyoneWithLink" } else { "limited" }
    }

    /// Whether a listing of the folder shows the item: it does so without the item's own resource key, which it tells.
    pub(crate) fn lists(&self, node: &Node) -> bool {
        self.by_name(node).is_some() || self.state.link_role(node, self.metadata()).is_some()
    }

    /// What the account may do with an item, as metadata has it.
    pub(crate) fn role(&self, node: &Node) -> Option<Role> {
        self.role_when(node, self.metadata())
    }

    /// What it may do without having a link.
    pub(crate) fn by_name(&self, node: &Node) -> Option<Role> {
        self.state.role(&self.account.address, node, self.metadata())
    }

    /// When an item of somebody else's was shared with the account itself, not just a folder above it.
    pub(crate) fn shared_with_me(&self, node: &Node) -> Option<i64> {
        let address = &self.account.address;
        let grant = node.sharing.grants.get(address).filter(|grant| grant.get(self.metadata()).is_some())?;
        (node.sharing.owner.as_ref() != Some(address)).then(|| grant.since())
    }

    pub(crate) fn is_member(&self, drive: &str) -> bool {
        self.state.membership(&self.account.address, drive, self.metadata()).is_some()
    }

    /// Whether metadata says that the account may download it.
    pub(crate) fn can_download(&self, node: &Node) -> bool {
        self.may_download(node, self.metadata())
    }

    /// Refuses a download that permissions do not admit, or do not admit yet.
    pub(crate) fn check_download(&self, node: &Node) -> Result<(), ApiError> {
        let when = When::Media(self.state.now());
        if self.role_when(node, when).is_none() {
            return Err(match self.state.settings.permission_lag.refusal {
                MediaRefusal::NotFound => ApiError::file_not_found(&node.id),
                MediaRefusal::InsufficientFilePermissions => {
                    ApiError::of_reason(403, "insufficientFilePermissions", None)
                }
            });
        }
        if !self.may_download(node, when) {
            return Err(ApiError::of_reason(403, "cannotDownloadFile", None));
        }
        Ok(())
    }

    /// Refuses what needs a higher role than the account has.
    pub(crate) fn require(&self, node: &Node, least: Role) -> Result<(), ApiError> {
        if self.role(node) >= Some(least) {
            Ok(())
        } else {
            Err(ApiError::of_reason(403, "insufficientFilePermissions", None))
        }
    }

    /// The least role that may move or trash an item: in shared drives a writer may not.
    pub(crate) fn least_to_move(node: &Node) -> Role {
        if node.drive.is_some() { Role::FileOrganizer } else { Role::Writer }
    }

    /// The least role that may delete an item for ever.
    pub(crate) fn least_to_delete(node: &Node) -> Role {
        if node.drive.is_some() { Role::Organizer } else { Role::Owner }
    }

    fn may_download(&self, node: &Node, when: When) -> bool {
        match *node.sharing.downloads.get(when) {
            Downloads::Allowed => true,
            Downloads::WritersOnly => self.role_when(node, when) >= Some(Role::Writer),
            Downloads::Forbidden => false,
        }
    }

    fn metadata(&self) -> When {
        When::Metadata(self.state.now())
    }

    fn role_when(&self, node: &Node, when: When) -> Option<Role> {
        let has_key =
            node.sharing.resource_key.as_ref().is_none_or(|key| self.keys.get(&node.id) == Some(key));
        let by_link = if has_key { self.state.link_role(node, when) } else { None };
        self.state.role(&self.account.address, node, when).max(by_link)
    }
}

/// The header with which a client proves that it was given a link.
pub(crate) const RESOURCE_KEYS: &str = "x-goog-drive-resource-keys";

/// `id/key,id/key`.
pub(crate) fn resource_keys(header: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = header.split(',').filter_map(|pair| pair.trim().split_once('/'));
    pairs.map(|(id, key)| (id.to_owned(), key.to_owned()))
}

/// An account by its address. Addresses come from tokens, which are issued to accounts alone.
fn account<'a>(state: &'a World, address: &str) -> &'a Account {
    state.account(address).unwrap_or(&state.first)
}
