//! Several accounts, what they share with each other, and shared drives: the handle's part. Addresses name accounts; one
//! that was not opened before panics, as every unknown id does: it is the test's mistake.

use serde_json::Value;

use crate::api::resource;
use crate::api::view::View;
use crate::drive::account::{Account, FIRST, SERVICE_ACCOUNT};
use crate::drive::late::PermissionLag;
use crate::drive::mime;
use crate::drive::node::Upload;
use crate::drive::role::{Downloads, Role};
use crate::drive::state::{DriveRefusal, OutsiderEntries};
use crate::emulator::Emulator;
use crate::oauth::credentials;
use crate::user::done;

/// One account of an emulator, with a My Drive and a change log of its own.
#[derive(Clone, Debug)]
pub struct User {
    emulator: Emulator,
    address: String,
}

impl Emulator {
    /// The account with this mail address, opened when it is named for the first time.
    pub fn user(&self, address: &str) -> User {
        self.with_state(|state| {
            if state.account(address).is_err() {
                state.add_account(Account::new(address));
            }
        });
        User { emulator: self.clone(), address: address.to_owned() }
    }

    /// The account that is there from the beginning, to which all belongs that the emulator makes by itself.
    pub fn first_user(&self) -> User {
        self.user(FIRST)
    }

    /// The service account, as an account of its own that owns nothing. Before the first call its key stands for the
    /// first user, as if it impersonated it.
    pub fn service_account(&self) -> User {
        self.with_state(|state| SERVICE_ACCOUNT.clone_into(&mut state.identities.service_account));
        self.user(SERVICE_ACCOUNT)
    }

    /// Who gives consent from now on, when the page is not told by `login_hint`.
    pub fn consent_as(&self, address: &str) {
        self.with_state(|state| {
            done(state.account(address).map(drop));
            address.clone_into(&mut state.identities.consenting);
        });
    }

    /// Gives an account a role on an item and on all that is below it.
    pub fn share(&self, id: &str, address: &str, role: Role) {
        done(self.inner.state().share(id, address, Some(role)));
    }

    /// Takes an account's role on an item away; one that comes from a folder above stays.
    pub fn unshare(&self, id: &str, address: &str) {
        done(self.inner.state().share(id, address, None));
    }

    /// Gives everybody who has the link a role; `None` takes it away. What one sees by a link alone gets no entries in
    /// one's change log and is listed only by the folder it is in.
    pub fn share_link(&self, id: &str, role: Option<Role>) {
        done(self.inner.state().share_link(id, role));
    }

    /// Makes a resource key, without which whoever has no more than the link gets 404 for this item, and returns it.
    pub fn require_resource_key(&self, id: &str) -> String {
        done(self.inner.state().require_resource_key(id))
    }

    /// Says who may download a file.
    pub fn set_downloads(&self, id: &str, downloads: Downloads) {
        done(self.inner.state().set_downloads(id, downloads));
    }

    /// Makes an account the owner of an item of My Drive. The former owner may still change it.
    pub fn give(&self, id: &str, address: &str) {
        done(self.inner.state().give(id, address));
    }

    /// Makes an account a member of a shared drive, or gives a member another role.
    pub fn join(&self, drive: &str, address: &str, role: Role) {
        done(self.inner.state().set_member(drive, address, Some(role)));
    }

    /// Ends an account's membership of a shared drive.
    pub fn leave(&self, drive: &str, address: &str) {
        done(self.inner.state().set_member(drive, address, None));
    }

    /// Gives a shared drive another name.
    pub fn rename_drive(&self, drive: &str, name: &str) {
        done(self.inner.state().rename_drive(drive, name));
    }

    /// Deletes a shared drive with everything in it.
    pub fn delete_drive(&self, drive: &str) {
        done(self.inner.state().delete_drive(drive));
    }

    /// Permissions given, taken away and changed from now on take effect this late.
    pub fn set_permission_lag(&self, lag: PermissionLag) {
        self.with_state(|state| state.settings.permission_lag = lag);
    }

    /// What one who is no member is told about a shared drive and its change log.
    pub fn set_drive_refusal(&self, refusal: DriveRefusal) {
        self.with_state(|state| state.settings.drive_refusal = refusal);
    }

    /// `false`: who sees an item of a shared drive without being a member finds no entries about it in any log. Normally
    /// they are in the account's own log.
    pub fn set_outsider_entries(&self, on: bool) {
        let entries = if on { OutsiderEntries::UserLog } else { OutsiderEntries::Nowhere };
        self.with_state(|state| state.settings.outsider_entries = entries);
    }
}

impl User {
    /// The mail address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The root folder of the account's My Drive.
    pub fn root_id(&self) -> String {
        self.emulator.with_state(|state| done(state.account(&self.address)).root.clone())
    }

    /// Makes a folder that belongs to the account, and returns its id.
    pub fn folder(&self, parent: &str, name: &str) -> String {
        self.upload(Upload::new(parent, name, "").mime_type(mime::FOLDER))
    }

    /// Puts a file that belongs to the account into a folder, of another's even, and returns its id.
    pub fn upload(&self, mut upload: Upload) -> String {
        upload.owner = Some(self.address.clone());
        self.emulator.upload(upload)
    }

    /// Makes a shared drive that the account manages.
    pub fn shared_drive(&self, name: &str) -> String {
        self.emulator.with_state(|state| done(state.shared_drive(name, &self.address)))
    }

    /// What Drive says about a file to this account; `None` if it says 404.
    pub fn file_json(&self, id: &str) -> Option<Value> {
        self.emulator.with_state(|state| {
            let view = View::of_account(state, &self.address);
            view.find(id).map(|node| resource::file_for(&view, node))
        })
    }

    /// An access token of the account's for the full Drive scope.
    pub fn access_token(&self) -> String {
        let token = self.emulator.access_token();
        self.emulator.with_state(|state| state.identities.set(&token, &self.address));
        token
    }

    /// The account's credentials as `gcloud auth application-default login` leaves them behind.
    pub fn authorized_user_json(&self) -> String {
        let refresh_token = self.emulator.with_state(|state| {
            let token = state.tokens.issue_refresh(credentials::DEFAULT_SCOPE, None);
            state.identities.set(&token, &self.address);
            token
        });
        credentials::authorized_user(&self.emulator.inner.clients_url(), &refresh_token)
    }
}
