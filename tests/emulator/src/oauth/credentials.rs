//! Ready-made credential files. The key and the secrets open nothing but this emulator.

use serde_json::json;

pub(crate) use crate::drive::account::SERVICE_ACCOUNT;

pub(crate) const CLIENT_ID: &str = "618033988749-driveemulator.apps.googleusercontent.com";
pub(crate) const CLIENT_SECRET: &str = "drive-emulator-client-secret";
pub(crate) const REFRESH_TOKEN: &str = "1//0e-drive-emulator-refresh-token";
/// What another issuer is taken to have said of a machine.
pub(crate) const SUBJECT_TOKEN: &str = "drive-emulator-subject-token";
pub(crate) const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/drive";
pub(crate) const PROJECT_NUMBER: &str = "618033988749";
const KEY_ID: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const PRIVATE_KEY: &str = include_str!("service-account.pem");

pub(crate) fn service_account(url: &str) -> String {
    pretty(&json!({
        "type": "service_account",
        "project_id": "drive-emulator",
        "private_key_id": KEY_ID,
        "private_key": PRIVATE_KEY,
        "client_email": SERVICE_ACCOUNT,
        "client_id": "112233445566778899001",
        "auth_uri": format!("{url}/o/oauth2/v2/auth"),
        "token_uri": format!("{url}/token"),
        "universe_domain": "googleapis.com",
    }))
}

pub(crate) fn installed_client(url: &str) -> String {
    pretty(&json!({"installed": {
        "client_id": CLIENT_ID,
        "project_id": "drive-emulator",
        "client_secret": CLIENT_SECRET,
        "auth_uri": format!("{url}/o/oauth2/v2/auth"),
        "token_uri": format!("{url}/token"),
        "redirect_uris": ["http://localhost"],
    }}))
}

/// A workload identity configuration with such a `credential_source`, as the console makes it.
pub(crate) fn external_account(url: &str, source: &serde_json::Value) -> String {
    let account = format!("{url}/v1/projects/-/serviceAccounts/{SERVICE_ACCOUNT}:generateAccessToken");
    pretty(&json!({
        "type": "external_account",
        "audience": format!(
            "//iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/pool/providers/provider"
        ),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{url}/v1/token"),
        "service_account_impersonation_url": account,
        "credential_source": source,
    }))
}

pub(crate) fn authorized_user(url: &str, refresh_token: &str) -> String {
    pretty(&json!({
        "type": "authorized_user",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": refresh_token,
        "token_uri": format!("{url}/token"),
    }))
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
