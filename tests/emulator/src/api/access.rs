//! Who is calling, and whether the token's scope is enough.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde_json::json;

use super::call::Call;
use super::error::ApiError;
use super::params::Params;
use super::route::Operation;
use crate::drive::account;
use crate::world::World;

/// Refuses requests without a token, with a dead one, or with one that may not do this.
pub(crate) fn check(
    state: &World,
    operation: Operation,
    is_get: bool,
    headers: &HeaderMap,
    params: &Params,
) -> Result<(), ApiError> {
    let media = operation == Operation::FilesMedia;
    let token = match credential(headers, params) {
        Credential::None => return Err(missing(media, is_get)),
        Credential::Foreign => "",
        Credential::Bearer(token) => token,
    };
    let Some(scope) = state.tokens.access(token, state.now()) else {
        return Err(if media {
            ApiError::new(401, "authError", "Invalid Credentials").at_header("Authorization")
        } else {
            ApiError::of_reason(401, "authError", None)
        });
    };
    if allows(scope, operation) {
        Ok(())
    } else {
        Err(ApiError::of_reason(403, "insufficientPermissions", None).status("PERMISSION_DENIED").details(
            json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "domain": "googleapis.com",
                "metadata": {"service": "drive.googleapis.com", "method": rpc_name(operation)},
            }]),
        ))
    }
}

/// The address of the account whose token it is.
pub(crate) fn caller<'a>(state: &'a World, call: &Call) -> &'a str {
    match credential(&call.headers, &call.params) {
        Credential::Bearer(token) => state.identities.of(token),
        Credential::None | Credential::Foreign => account::FIRST,
    }
}

enum Credential<'a> {
    None,
    /// Of a kind that Drive does not know.
    Foreign,
    Bearer(&'a str),
}

fn credential<'a>(headers: &'a HeaderMap, params: &'a Params) -> Credential<'a> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let value = value.to_str().unwrap_or_default();
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        return if scheme.eq_ignore_ascii_case("bearer") {
            Credential::Bearer(token.trim())
        } else {
            Credential::Foreign
        };
    }
    let parameter = params.filled("access_token").or_else(|| params.filled("oauth_token"));
    parameter.map_or(Credential::None, Credential::Bearer)
}

fn missing(media: bool, is_get: bool) -> ApiError {
    if !is_get {
        return ApiError::new(401, "required", "Login Required.").at_header("Authorization");
    }
    let error = ApiError::new(
        403,
        "forbidden",
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or \
         other form of API consumer identity to call this API.",
    );
    if media { error } else { error.status("PERMISSION_DENIED") }
}

/// Whether the scopes of a token are enough. Those that are for metadata alone give and take no bytes, although the
/// document lists them with `files.get` and `files.update`.
fn allows(granted: &str, operation: Operation) -> bool {
    const METADATA_ONLY: [&str; 3] = ["drive.metadata", "drive.metadata.readonly", "drive.photos.readonly"];
    let is_enough = |scope: &&str| {
        let is_for_metadata = METADATA_ONLY.iter().any(|name| scope.ends_with(&format!("/auth/{name}")));
        operation.method().is_some_and(|method| method.allows(scope))
            && !(is_for_metadata && matches!(operation, Operation::FilesMedia | Operation::Upload(_)))
    };
    granted.split_whitespace().any(|scope| is_enough(&scope))
}

/// `files.list` as errors about scopes name it.
fn rpc_name(operation: Operation) -> String {
    let name = operation.method().map_or("", |method| method.id);
    let capital = |word: &str| {
        word.chars().next().map_or(String::new(), |c| c.to_uppercase().to_string() + &word[c.len_utf8()..])
    };
    let words: Vec<String> = name.split('.').map(capital).collect();
    format!("google.apps.drive.v3.Drive{}", words.join("."))
}

#[cfg(test)]
mod tests {
    use super::super::discovery;
    use super::*;

    #[test]
    fn metadata_scopes_do_not_give_or_take_bytes() {
        let method = |id| Operation::Method(discovery::method(id).unwrap());
        let allows =
            |scope: &str, operation| allows(&format!("x https://www.googleapis.com/auth/{scope}"), operation);
        assert!(allows("drive.readonly", Operation::FilesMedia));
        assert!(!allows("drive.metadata.readonly", Operation::FilesMedia));
        assert!(allows("drive.metadata.readonly", method("changes.list")));
        assert!(!allows("drive.file", method("drives.list")));
        assert!(!allows("drive.readonly", method("files.create")));
        let update = discovery::method("files.update").unwrap();
        assert!(allows("drive.metadata", Operation::Method(update)));
        assert!(!allows("drive.metadata", Operation::Upload(update)));
        assert!(!allows("calendar", method("files.list")));
        assert_eq!(rpc_name(method("files.list")), "google.apps.drive.v3.DriveFiles.List");
    }
}
