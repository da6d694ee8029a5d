//! What a user granted, in the token file.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{SCOPE, WIDER_SCOPE};
use crate::owner::{self, Absent, Meanwhile, NewName};

/// From this long before its end on, there is a warning that a login ends.
const WARNED_BEFORE: Duration = Duration::from_hours(48);

/// What a user granted, as `login` keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Grant {
    /// Gets new access tokens until it dies.
    pub refresh_token: String,
    /// The client it was granted to; another one cannot use it.
    pub client_id: String,
    /// What may be done with it, as the user left it ticked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When the user granted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
    /// When it ends, if Google has said so: logins to an app in "Testing" end after seven days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("granted_at", &self.granted_at).finish_non_exhaustive()
    }
}

impl Grant {
    /// Reads a token file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        // Of a pipe nobody may ever write the other end.
        let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        serde_json::from_str(&io::read_to_string(file)?).map_err(io::Error::other)
    }

    /// Replaces a token file in one step, readable by its owner only. Root writes it for the owner of the directory.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)? + "\n";
        let beside = path.with_added_extension(format!("new-{}", std::process::id()));
        let (Some(name), Some(meanwhile)) = (path.file_name(), beside.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let directory = File::open(owner::parent(path))?;
        let meanwhile = Meanwhile { name: meanwhile, file: owner::open(&beside, Absent::Make)? };
        owner::replace(directory, name, meanwhile, text.as_bytes(), NewName::Durable)
    }
}

/// Whether the granted scopes, a list with blanks between, allow what this program does.
pub(super) fn scope_suffices(granted: &str) -> bool {
    granted.split_whitespace().any(|scope| scope == SCOPE || scope == WIDER_SCOPE)
}

/// What to do about a login that ends at this time, once that is near.
pub fn warning(ends_at: Timestamp, now: Timestamp) -> Option<String> {
    let left = Duration::try_from(ends_at.duration_since(now)).unwrap_or(Duration::ZERO);
    let hours = left.as_secs() / 3600;
    let when = match hours {
        _ if left > WARNED_BEFORE => return None,
        0 => "in less than an hour".to_owned(),
        1 => "in an hour".to_owned(),
        hours => format!("in {hours} hours"),
    };
    Some(format!(
        "the login ends {when}, because Google has given it for a limited time, as it does while an app is in \"Testing\"; \
         in the Google Cloud console under Audience publish the app (\"In production\"), and then run `gdrive-webhook login`"
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A grant of the refresh token `r`.
    pub(in super::super) fn grant(granted_at: Option<&str>) -> Grant {
        Grant {
            refresh_token: "r".into(),
            client_id: "c".into(),
            scope: None,
            granted_at: granted_at.map(|time| time.parse().unwrap()),
            ends_at: None,
        }
    }

    #[test]
    fn a_token_file_is_private_and_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token.json");
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let grant = Grant {
            refresh_token: "r".into(),
            client_id: "c".into(),
            scope: None,
            granted_at: Some("2026-11-17T11:00:00Z".parse().unwrap()),
            ends_at: Some("2026-11-24T11:00:00Z".parse().unwrap()),
        };
        grant.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Grant::read(&path).unwrap();
        assert_eq!((read.refresh_token.as_str(), read.ends_at), ("r", grant.ends_at));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_token_file_of_an_earlier_version_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token.json");
        std::fs::write(&path, r#"{"refresh_token":"r","client_id":"c"}"#).unwrap();
        let read = Grant::read(&path).unwrap();
        assert_eq!((read.refresh_token.as_str(), read.granted_at, read.ends_at), ("r", None, None));
    }

    #[test]
    fn the_end_of_a_login_is_told_two_days_before() {
        let end = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |now: &str| warning(end, now.parse().unwrap());
        assert_eq!(at("2026-11-22T11:59:59Z"), None);
        for (now, when) in [
            ("2026-11-22T12:00:00Z", "ends in 48 hours"),
            ("2026-11-24T10:30:00Z", "ends in an hour"),
            ("2026-11-24T11:59:00Z", "ends in less than an hour"),
            ("2026-11-25T12:00:00Z", "ends in less than an hour"),
        ] {
            let told = at(now).unwrap();
            assert!(told.contains(when) && told.contains("In production"), "{now}: {told}");
        }
    }

    #[test]
    fn scopes_are_compared_word_by_word() {
        assert!(scope_suffices(&format!("openid {SCOPE}")));
        assert!(!scope_suffices("https://www.googleapis.com/auth/drive.readonly.metadata"));
        assert!(!scope_suffices("https://www.googleapis.com/auth/drive.file"));
    }
}
