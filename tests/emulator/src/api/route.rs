//! Which operation a method and a path mean.

use super::params::{Params, unescape};

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    AboutGet,
    StartPageToken,
    ChangesList,
    ChangesWatch,
    ChannelsStop,
    FilesList,
    FilesGet,
    FilesMedia,
    FilesWatch,
    DrivesList,
    DrivesGet,
    Token,
    Auth,
    Revoke,
    Unknown,
}

impl Operation {
    /// As the API's own documentation names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AboutGet => "about.get",
            Self::StartPageToken => "changes.getStartPageToken",
            Self::ChangesList => "changes.list",
            Self::ChangesWatch => "changes.watch",
            Self::ChannelsStop => "channels.stop",
            Self::FilesList => "files.list",
            Self::FilesGet => "files.get",
            Self::FilesMedia => "files.media",
            Self::FilesWatch => "files.watch",
            Self::DrivesList => "drives.list",
            Self::DrivesGet => "drives.get",
            Self::Token => "token",
            Self::Auth => "auth",
            Self::Revoke => "revoke",
            Self::Unknown => "unknown",
        }
    }
}

/// An operation and the id in its path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) id: Option<String>,
}

/// Finds the operation; the first `alt` decides whether bytes are wanted.
pub(crate) fn find(method: &str, path: &str, params: &Params) -> Route {
    let media = params.get("alt").is_some_and(|alt| alt.eq_ignore_ascii_case("media"));
    let (path, download) = path.strip_prefix("/download").map_or((path, false), |path| (path, true));
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let plain = |operation| Route { operation, id: None };
    let with = |operation, id: &str| Route { operation, id: Some(unescape(id)) };
    match (method, segments.as_slice()) {
        ("GET", ["drive", "v3", "files", id]) if media => with(Operation::FilesMedia, id),
        _ if download => plain(Operation::Unknown),
        ("GET", ["drive", "v3", "files", id]) => with(Operation::FilesGet, id),
        ("GET", ["drive", "v3", "files"]) => plain(Operation::FilesList),
        ("POST", ["drive", "v3", "files", id, "watch"]) => with(Operation::FilesWatch, id),
        ("GET", ["drive", "v3", "about"]) => plain(Operation::AboutGet),
        ("GET", ["drive", "v3", "changes", "startPageToken"]) => plain(Operation::StartPageToken),
        ("GET", ["drive", "v3", "changes"]) => plain(Operation::ChangesList),
        ("POST", ["drive", "v3", "changes", "watch"]) => plain(Operation::ChangesWatch),
        ("POST", ["drive", "v3", "channels", "stop"]) => plain(Operation::ChannelsStop),
        ("GET", ["drive", "v3", "drives"]) => plain(Operation::DrivesList),
        ("GET", ["drive", "v3", "drives", id]) => with(Operation::DrivesGet, id),
        ("POST", ["token"] | ["o", "oauth2", "token"]) => plain(Operation::Token),
        ("GET", ["o", "oauth2", "v2", "auth"] | ["o", "oauth2", "auth"]) => plain(Operation::Auth),
        ("POST" | "GET", ["revoke"] | ["o", "oauth2", "revoke"]) => plain(Operation::Revoke),
        _ => plain(Operation::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_alt_decides_and_both_media_paths_serve() {
        let find = |path: &str, query: &str| find("GET", path, &Params::parse(query)).operation;
        assert_eq!(find("/drive/v3/files/x", "alt=MEDIA"), Operation::FilesMedia);
        assert_eq!(find("/drive/v3/files/x", "alt=json&alt=media"), Operation::FilesGet);
        assert_eq!(find("/download/drive/v3/files/x", "alt=media"), Operation::FilesMedia);
        assert_eq!(find("/download/drive/v3/files/x", ""), Operation::Unknown);
        assert_eq!(find("/drive/v2/files", ""), Operation::Unknown);
    }
}
