//! The credentials file: where it is, and what is in it, told apart by its content.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Config, Error};
use crate::owner::{Want, explain};

/// The file that the configuration names, else the one that Google's tools would use.
pub fn locate(config: &Config) -> Result<PathBuf, Error> {
    if let Some(path) = &config.credentials {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let gcloud = std::env::var_os("CLOUDSDK_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config/gcloud")));
    match gcloud.map(|directory| directory.join("application_default_credentials.json")) {
        Some(path) if path.exists() => Ok(path),
        _ => Err(Error::Credentials {
            path: PathBuf::from("google.credentials"),
            why: "is not set, neither GOOGLE_APPLICATION_CREDENTIALS nor gcloud's application default credentials are \
                  there, and this is not a machine of Google's; set google.credentials to a service-account key or an \
                  OAuth client file"
                .to_owned(),
        }),
    }
}

/// Reads the file. Not all that people take for credentials is JSON.
pub(super) fn read(path: &Path) -> Result<(String, Value), Error> {
    let wrong = |why: String| Error::Credentials { path: path.to_owned(), why };
    let bytes = std::fs::read(path)
        .map_err(|error| wrong(format!("cannot be read: {}", explain(&error, path, Want::Read))))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        wrong(
            "is not a text file; if it is a key in P12 format, create one in JSON format instead".to_owned(),
        )
    })?;
    match serde_json::from_str(&text) {
        Ok(json) => Ok((text, json)),
        Err(error) => Err(wrong(match text.trim() {
            "" => "is empty; download the credentials again from the Google Cloud console".to_owned(),
            other if is_api_key(other) => API_KEY.to_owned(),
            other if other.starts_with("-----BEGIN") => {
                "contains a private key only; download the JSON file of the service account's key, which has the account in it"
                    .to_owned()
            }
            _ => format!("is not valid JSON: {error}"),
        })),
    }
}

const API_KEY: &str = "contains an API key, which gives access to public files only; use a service-account key or an OAuth \
                       client of the type \"Desktop app\"";

fn is_api_key(text: &str) -> bool {
    text.len() == 39 && text.starts_with("AIza")
}

/// What a credentials file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ServiceAccount,
    InstalledClient,
    AuthorizedUser,
    ExternalAccount,
}

pub(super) fn kind_of(json: &Value) -> Result<Kind, String> {
    let has = |key: &str| json.get(key).is_some();
    let mut strings = json.as_object().into_iter().flat_map(|members| members.values()).chain([json]);
    match json.get("type").and_then(Value::as_str) {
        Some("service_account") => Ok(Kind::ServiceAccount),
        Some("authorized_user") => Ok(Kind::AuthorizedUser),
        Some("external_account") => Ok(Kind::ExternalAccount),
        Some(other) => Err(format!(
            "is of the type `{}`, which is not supported; use a service-account key, an OAuth client of the type \
             \"Desktop app\", an authorized_user file, or a workload identity configuration (external_account)",
            other.escape_debug()
        )),
        None if has("installed") => Ok(Kind::InstalledClient),
        None if has("web") => Err(
            "is an OAuth client of the type \"Web application\"; make one of the type \"Desktop app\" in the Google \
             Cloud console under Clients and download its JSON"
                .to_owned(),
        ),
        None if has("refresh_token") && has("client_id") => Ok(Kind::AuthorizedUser),
        None if strings.any(|value| value.as_str().is_some_and(is_api_key)) => Err(API_KEY.to_owned()),
        None => Err(
            "does not contain supported credentials, which are a service-account key, an OAuth client of the type \
             \"Desktop app\", an authorized_user file, or a workload identity configuration; download it again from the \
             Google Cloud console"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_told_apart_by_content() {
        assert_eq!(kind_of(&json!({"type": "service_account"})), Ok(Kind::ServiceAccount));
        assert_eq!(kind_of(&json!({"type": "authorized_user"})), Ok(Kind::AuthorizedUser));
        assert_eq!(kind_of(&json!({"type": "external_account"})), Ok(Kind::ExternalAccount));
        assert_eq!(kind_of(&json!({"installed": {}})), Ok(Kind::InstalledClient));
        assert_eq!(kind_of(&json!({"refresh_token": "r", "client_id": "c"})), Ok(Kind::AuthorizedUser));
        assert!(kind_of(&json!({"web": {}})).unwrap_err().contains("Desktop app"));
        let told = kind_of(&json!({"type": "gdch_service_account"})).unwrap_err();
        assert!(told.contains("`gdch_service_account`, which is not supported"), "{told}");
        assert!(kind_of(&json!([])).is_err());
    }

    #[test]
    fn what_is_no_credentials_file_is_told_with_what_helps() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials.json");
        let api_key = format!("AIza{}", "x".repeat(35));
        let told = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            let kind = read(&path).and_then(|(_, json)| {
                kind_of(&json).map_err(|why| Error::Credentials { path: path.clone(), why })
            });
            kind.unwrap_err().to_string()
        };
        for (content, remedy) in [
            (b"\n".to_vec(), "is empty; download"),
            (api_key.clone().into_bytes(), "contains an API key"),
            (format!("\"{api_key}\"").into_bytes(), "contains an API key"),
            (format!("{{\"key\": \"{api_key}\"}}").into_bytes(), "contains an API key"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA".to_vec(), "contains a private key only"),
            (b"\x30\x82\x09\xd0\x02\x01\x03\xff".to_vec(), "if it is a key in P12 format"),
            (b"{\"type\": ".to_vec(), "is not valid JSON"),
            (b"{\"type\": \"a\\u001b[2J\"}".to_vec(), "`a\\u{1b}[2J`, which is not supported"),
        ] {
            let told = told(&content);
            assert!(told.starts_with(&format!("{}: ", path.display())) && told.contains(remedy), "{told}");
        }
    }
}
