//! A file resource as a client writes it: which members it may write, and what they mean.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ApiError;
use crate::drive::clock;
use crate::drive::edit::Edit;

/// Members that a client may write with any method that takes a file.
const WRITABLE: [&str; 14] = [
    "appProperties",
    "contentHints",
    "createdTime",
    "description",
    "folderColorRgb",
    "kind",
    "mimeType",
    "modifiedTime",
    "name",
    "originalFilename",
    "properties",
    "starred",
    "viewedByMeTime",
    "writersCanShare",
];
/// Besides them where something new is made.
const WRITABLE_ONCE: [&str; 3] = ["id", "parents", "shortcutDetails"];
/// Drive lets them be written, and the emulator does not know what they do.
const NOT_EMULATED: [&str; 5] = [
    "contentRestrictions",
    "copyRequiresWriterPermission",
    "downloadRestrictions",
    "inheritedPermissionsDisabled",
    "viewersCanCopyContent",
];

/// What a resource is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    New,
    Existing,
}

/// Refuses members that nobody may write, or that nobody may write any more.
pub(crate) fn check(resource: &Value, purpose: Purpose) -> Result<(), ApiError> {
    let members = resource.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (name, value) in members {
        let name = name.as_str();
        let is_writable = WRITABLE.contains(&name)
            || match purpose {
                Purpose::New => WRITABLE_ONCE.contains(&name),
                Purpose::Existing => name == "trashed",
            };
        // Switched off they say what is so anyway.
        let is_neutral = NOT_EMULATED.contains(&name) && *value == Value::Bool(false);
        if NOT_EMULATED.contains(&name) && !is_neutral {
            return Err(ApiError::not_emulated(&format!("writing {name}")));
        }
        if !is_writable && !is_neutral {
            let text = "The resource body includes fields which are not directly writable.";
            return Err(ApiError::new(403, "fieldNotWritable", text));
        }
    }
    Ok(())
}

/// What is to stand on the file.
pub(crate) fn edit(resource: &Value) -> Result<Edit, ApiError> {
    let text = |name: &str| resource[name].as_str().map(str::to_owned);
    let time = |name: &str| {
        let parse = |text: &str| clock::parse(text).ok_or_else(|| ApiError::invalid_value(name));
        resource[name].as_str().map(parse).transpose()
    };
    Ok(Edit {
        owner: None,
        name: text("name"),
        mime_type: text("mimeType"),
        created: time("createdTime")?,
        modified: time("modifiedTime")?,
        viewed: time("viewedByMeTime")?,
        starred: flag(&resource["starred"]),
        description: text("description"),
        folder_color: text("folderColorRgb"),
        original_name: text("originalFilename"),
        properties: properties(&resource["properties"]),
        app_properties: properties(&resource["appProperties"]),
    })
}

/// Google's front takes both words as text too.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

fn properties(value: &Value) -> BTreeMap<String, Option<String>> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_writable_for_a_purpose() {
        use Purpose::{Existing, New};
        for (resource, purpose, refusal) in [
            (json!({"name": "x", "parents": ["y"], "id": "z"}), New, None),
            (json!({"name": "x", "trashed": true, "kind": "drive#file"}), Existing, None),
            (json!({"parents": ["y"]}), Existing, Some(403)),
            (json!({"parents": null, "copyRequiresWriterPermission": false}), Existing, None),
            (json!({"trashed": true}), New, Some(403)),
            (json!({"size": "5"}), New, Some(403)),
            (json!({"copyRequiresWriterPermission": true}), New, Some(501)),
        ] {
            assert_eq!(check(&resource, purpose).err().map(|error| error.code), refusal, "{resource}");
        }
    }

    #[test]
    fn a_property_without_a_value_goes_and_a_bad_time_is_refused() {
        let written = edit(&json!({"properties": {"a": "1", "b": null}})).unwrap();
        assert_eq!(written.properties, BTreeMap::from([("a".into(), Some("1".into())), ("b".into(), None)]));
        assert!(edit(&json!({"modifiedTime": "soon"})).is_err());
    }
}
