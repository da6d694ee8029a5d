//! When the login ends, for `status`. That it ends soon makes nothing unready: until then everything works.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::auth::{self, Auth};

/// A login that ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginReport {
    /// When it ends.
    pub ends_at: Timestamp,
    /// What to do about it; from two days before the end on.
    pub warning: Option<String>,
}

/// The login, if Google has said when it ends.
pub(super) fn report(auth: &Auth, now: Timestamp) -> Option<LoginReport> {
    let ends_at = auth.login_ends_at()?;
    Some(LoginReport { ends_at, warning: auth::warning(ends_at, now) })
}
