//! Which operation a method and a path mean.

use super::discovery::{self, Method};
use super::params::{Params, unescape};

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A method of the discovery document, whether or not this emulator has it.
    Method(&'static Method),
    /// The same method on the path for content.
    Upload(&'static Method),
    /// A request of a resumable upload.
    UploadSession,
    /// `files.get` with `alt=media`.
    FilesMedia,
    /// Several requests in one.
    Batch,
    Token,
    Auth,
    Revoke,
    /// The metadata server's token for the machine's service account.
    MetadataToken,
    MetadataEmail,
    /// The exchange of another issuer's token.
    TokenExchange,
    /// `iamcredentials`' token for a service account.
    GenerateAccessToken,
    Unknown,
}

impl Operation {
    /// As the API's own documentation names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Method(method) | Self::Upload(method) => method.id,
            Self::UploadSession => "upload",
            Self::FilesMedia => "files.media",
            Self::Batch => "batch",
            Self::Token => "token",
            Self::Auth => "auth",
            Self::Revoke => "revoke",
            Self::MetadataToken => "metadata.token",
            Self::MetadataEmail => "metadata.email",
            Self::TokenExchange => "sts.token",
            Self::GenerateAccessToken => "generateAccessToken",
            Self::Unknown => "unknown",
        }
    }

    /// The method whose parameters and scopes hold for it.
    pub(crate) fn method(self) -> Option<&'static Method> {
        match self {
            Self::Method(method) | Self::Upload(method) => Some(method),
            Self::FilesMedia => discovery::method("files.get"),
            Self::UploadSession
            | Self::Batch
            | Self::Token
            | Self::Auth
            | Self::Revoke
            | Self::MetadataToken
            | Self::MetadataEmail
            | Self::TokenExchange
            | Self::GenerateAccessToken
            | Self::Unknown => None,
        }
    }
}

/// An operation and the ids in its path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) operation: Operation,
    /// The first of the ids.
    pub(crate) id: Option<String>,
    /// What comes after it: `permissionId`, `revisionId`, ….
    pub(crate) inner_id: Option<String>,
}

type Found = (&'static Method, Vec<String>);

/// Finds the operation; the first `alt` decides whether bytes are wanted.
pub(crate) fn find(method: &str, path: &str, params: &Params) -> Route {
    let media = params.get("alt").is_some_and(|alt| alt.eq_ignore_ascii_case("media"));
    let (path, download) = path.strip_prefix("/download").map_or((path, false), |path| (path, true));
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let plain = |operation| Route { operation, id: None, inner_id: None };
    let of_method = |found: Option<Found>, wrap: fn(&'static Method) -> Operation| {
        let Some((method, ids)) = found else { return plain(Operation::Unknown) };
        let mut ids = ids.into_iter();
        Route { operation: wrap(method), id: ids.next(), inner_id: ids.next() }
    };
    match (method, segments.as_slice()) {
        ("GET", ["drive", "v3", "files", id]) if media && *id != "generateIds" => {
            Route { operation: Operation::FilesMedia, id: Some(unescape(id)), inner_id: None }
        }
        _ if download => plain(Operation::Unknown),
        (_, ["upload", "drive", "v3", ..]) if params.get("upload_id").is_some() => {
            plain(Operation::UploadSession)
        }
        (_, ["upload", "drive", "v3", rest @ ..] | ["resumable", "upload", "drive", "v3", rest @ ..]) => {
            of_method(discovery::find(method, rest).filter(|(method, _)| method.upload), Operation::Upload)
        }
        (_, ["drive", "v3", rest @ ..]) => of_method(discovery::find(method, rest), Operation::Method),
        ("POST", ["batch"] | ["batch", "drive", "v3"]) => plain(Operation::Batch),
        ("POST", ["token"] | ["o", "oauth2", "token"]) => plain(Operation::Token),
        ("GET", ["o", "oauth2", "v2", "auth"] | ["o", "oauth2", "auth"]) => plain(Operation::Auth),
        ("GET", ["computeMetadata", "v1", "instance", "service-accounts", "default", "token"]) => {
            plain(Operation::MetadataToken)
        }
        ("GET", ["computeMetadata", "v1", "instance", "service-accounts", "default", "email"]) => {
            plain(Operation::MetadataEmail)
        }
        ("POST", ["v1", "token"]) => plain(Operation::TokenExchange),
        ("POST", ["v1", "projects", "-", "serviceAccounts", account]) => {
            match unescape(account).strip_suffix(":generateAccessToken") {
                Some(account) => Route {
                    operation: Operation::GenerateAccessToken,
                    id: Some(account.to_owned()),
                    inner_id: None,
                },
                None => plain(Operation::Unknown),
            }
        }
        ("POST" | "GET", ["revoke"] | ["o", "oauth2", "revoke"]) => plain(Operation::Revoke),
        _ => plain(Operation::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_alt_decides_and_both_media_paths_serve() {
        let find = |path: &str, query: &str| find("GET", path, &Params::parse(query)).operation.name();
        assert_eq!(find("/drive/v3/files/x", "alt=MEDIA"), "files.media");
        assert_eq!(find("/drive/v3/files/x", "alt=json&alt=media"), "files.get");
        assert_eq!(find("/download/drive/v3/files/x", "alt=media"), "files.media");
        assert_eq!(find("/download/drive/v3/files/x", ""), "unknown");
        assert_eq!(find("/drive/v2/files", ""), "unknown");
        assert_eq!(find("/drive/v3/files/generateIds", "alt=media"), "files.generateIds");
    }

    #[test]
    fn ids_come_from_the_path() {
        let route = find("GET", "/drive/v3/files/a%2Fb/revisions/c", &Params::default());
        assert_eq!((route.operation.name(), route.id.as_deref()), ("revisions.get", Some("a/b")));
        assert_eq!(route.inner_id.as_deref(), Some("c"));
    }

    #[test]
    fn content_comes_in_on_paths_of_its_own() {
        let find = |verb: &str, path: &str, query: &str| find(verb, path, &Params::parse(query)).operation;
        let create = find("POST", "/upload/drive/v3/files", "uploadType=media");
        assert!(matches!(create, Operation::Upload(method) if method.id == "files.create"));
        let update = find("PATCH", "/resumable/upload/drive/v3/files/x", "");
        assert!(matches!(update, Operation::Upload(method) if method.id == "files.update"));
        assert_eq!(find("PUT", "/upload/drive/v3/files", "upload_id=x"), Operation::UploadSession);
        assert_eq!(find("POST", "/upload/drive/v3/files/x/copy", ""), Operation::Unknown);
    }
}
