//! The `fields` parameter: which members of an answer a client wants.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::discovery::schema;
use super::error::ApiError;

/// A parsed selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// `*`, or a name without a group: everything from here down.
    all: bool,
    fields: BTreeMap<String, Mask>,
}

impl Mask {
    /// Parses a selection on `kind` and refuses names that type does not have.
    pub(crate) fn parse(text: &str, kind: &str) -> Result<Self, ApiError> {
        let mut mask = Self::default();
        if text.trim().is_empty() {
            return Ok(mask);
        }
        let mut parser = Parser { rest: text, whole: text };
        parser.list(kind, &mut mask)?;
        if parser.rest.is_empty() { Ok(mask) } else { Err(invalid(text)) }
    }

    /// What is left of `value` under this selection.
    pub(crate) fn apply(&self, value: Value) -> Value {
        if self.all {
            return value;
        }
        match value {
            Value::Object(members) => {
                let kept = members.into_iter().filter_map(|(name, value)| {
                    let mask = self.fields.get(&name).or_else(|| self.fields.get("*"))?;
                    Some((name, mask.apply(value)))
                });
                Value::Object(kept.collect::<Map<_, _>>())
            }
            Value::Array(values) => Value::Array(values.into_iter().map(|value| self.apply(value)).collect()),
            plain => plain,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Parser<'_> {
    fn list(&mut self, kind: &str, into: &mut Mask) -> Result<(), ApiError> {
        loop {
            self.path(kind, into)?;
            if !self.take(',') {
                return Ok(());
            }
        }
    }

    fn path(&mut self, kind: &str, into: &mut Mask) -> Result<(), ApiError> {
        let end = self.rest.find([',', '/', '(', ')']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let name = name.trim();
        if name.is_empty() {
            return Err(invalid(self.whole));
        }
        if name == "*" {
            return self.below(kind, into, "*");
        }
        let inner = match (kind, schema::member(kind, name)) {
            ("*", _) => "",
            (_, Some(kind)) => schema::inner(kind),
            (_, None) => return Err(invalid(name)),
        };
        self.below(inner, into, name)
    }

    /// What follows a name: a path, a group, or nothing, which means everything.
    fn below(&mut self, kind: &str, into: &mut Mask, name: &str) -> Result<(), ApiError> {
        let kind = if name == "*" && (self.rest.starts_with('/') || self.rest.starts_with('(')) {
            "*"
        } else {
            kind
        };
        let child = into.fields.entry(name.to_owned()).or_default();
        if self.take('/') {
            self.path(kind, child)
        } else if self.take('(') {
            self.list(kind, child)?;
            if self.take(')') { Ok(()) } else { Err(invalid(self.whole)) }
        } else {
            child.all = true;
            Ok(())
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.strip_prefix(wanted).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }
}

fn invalid(name: &str) -> ApiError {
    ApiError::new(400, "invalidParameter", format!("Invalid field selection {name}")).at_parameter("fields")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(mask: &str, kind: &str, value: Value) -> Value {
        Mask::parse(mask, kind).unwrap().apply(value)
    }

    #[test]
    fn selections_nest_by_slash_and_by_group() {
        let list = json!({"kind": "k", "nextPageToken": "t", "files": [
            {"id": "1", "name": "a", "capabilities": {"canDownload": true, "canEdit": true}},
            {"id": "2", "name": "b", "owners": [{"me": true, "emailAddress": "x"}]},
        ]});
        let cases = [
            ("files/id", json!({"files": [{"id": "1"}, {"id": "2"}]})),
            (
                "nextPageToken, files(name)",
                json!({"nextPageToken": "t", "files": [{"name": "a"}, {"name": "b"}]}),
            ),
            (
                "files(id,capabilities/canDownload,owners(me))",
                json!({"files": [{"id": "1", "capabilities": {"canDownload": true}}, {"id": "2", "owners": [{"me": true}]}]}),
            ),
            ("*", list.clone()),
            ("files(*)", json!({"files": list["files"]})),
            ("files/*", json!({"files": list["files"]})),
            ("", json!({})),
        ];
        for (mask, expected) in cases {
            assert_eq!(applied(mask, "FileList", list.clone()), expected, "{mask}");
        }
    }

    #[test]
    fn unknown_names_and_broken_groups_are_refused() {
        for (mask, named) in [
            ("files(id,colour)", "colour"),
            ("Files", "Files"),
            ("files(id", "files(id"),
            ("files(id))", "files(id))"),
            ("files,,kind", "files,,kind"),
            ("kind/id", "id"),
        ] {
            let error = Mask::parse(mask, "FileList").unwrap_err();
            assert_eq!(error.message, format!("Invalid field selection {named}"));
        }
    }

    #[test]
    fn the_mask_of_a_watcher_is_accepted() {
        let mask = "nextPageToken,newStartPageToken,changes(changeType,time,removed,fileId,driveId,file(id,name,\
                    mimeType,parents,size,md5Checksum,sha1Checksum,sha256Checksum,headRevisionId,version,createdTime,\
                    modifiedTime,trashed,explicitlyTrashed,driveId,resourceKey,shortcutDetails,originalFilename,\
                    fileExtension,capabilities(canDownload,canReadRevisions),videoMediaMetadata,webViewLink))";
        assert!(Mask::parse(mask, "ChangeList").is_ok());
        assert!(Mask::parse("user(emailAddress,permissionId,displayName),storageQuota", "About").is_ok());
        assert!(Mask::parse("exportFormats/anything", "About").is_ok());
    }
}
