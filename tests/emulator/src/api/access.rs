//! Who is calling, and whether the token's scope is enough.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use serde_json::json;

use super::error::ApiError;
use super::params::Params;
use super::route::Operation;
use crate::drive::state::State;

const SCOPE_PREFIX: &str = "https://www.googleapis.com/auth/";

/// Refuses requests without a token, with a dead one, or with one that may not do this.
pub(crate) fn check(
    state: &State,
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
    if scope
        .split_whitespace()
        .filter_map(|scope| scope.strip_prefix(SCOPE_PREFIX))
        .any(|s| allows(s, operation))
    {
        Ok(())
    } else {
        Err(ApiError::of_reason(403, "insufficientPermissions", None).status("PERMISSION_DENIED").details(json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "domain": "googleapis.com",
            "metadata": {"service": "drive.googleapis.com", "method": format!("google.apps.drive.v3.{}", operation.name())},
        }])))
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

fn allows(scope: &str, operation: Operation) -> bool {
    match scope {
        "drive" | "drive.readonly" => true,
        "drive.file" | "drive.meet.readonly" => {
            !matches!(operation, Operation::DrivesList | Operation::DrivesGet)
        }
        "drive.metadata" | "drive.metadata.readonly" | "drive.photos.readonly" => {
            !matches!(operation, Operation::DrivesList | Operation::DrivesGet | Operation::FilesMedia)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_scopes_do_not_download() {
        assert!(allows("drive.readonly", Operation::FilesMedia));
        assert!(!allows("drive.metadata.readonly", Operation::FilesMedia));
        assert!(allows("drive.metadata.readonly", Operation::ChangesList));
        assert!(!allows("drive.file", Operation::DrivesList));
        assert!(!allows("calendar", Operation::FilesList));
    }
}
