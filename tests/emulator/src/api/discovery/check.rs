//! A request's parameters against the document: unknown names, values of another type, missing ones.

use super::{DOCUMENT, Method, Parameter};
use crate::api::error::{self, ApiError};
use crate::api::params::{self, Params};

/// What the document says in prose only: the words that some texts are made of.
const WORDS: [(&str, &[&str]); 5] = [
    ("corpora", &["user", "domain", "drive", "allDrives"]),
    ("spaces", &["drive", "appDataFolder"]),
    ("space", &["drive", "appDataFolder"]),
    ("type", &["files", "shortcuts"]),
    ("includePermissionsForView", &["published"]),
];

/// What becomes of names that the method does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strangers {
    Refused,
    /// Where content comes in: rclone has always sent `setModifiedDate` there, a name out of an older version.
    Overlooked,
}

/// Refuses what Google's front refuses before a method is asked.
pub(crate) fn parameters(method: &Method, given: &Params, strangers: Strangers) -> Result<(), ApiError> {
    for (name, value) in given.pairs() {
        let known = method.parameters.iter().filter(|parameter| !parameter.in_path);
        let parameter = known.chain(&DOCUMENT.common).find(|parameter| parameter.name == name);
        match parameter {
            None if strangers == Strangers::Refused => return Err(ApiError::unknown_parameter(name)),
            // The first of repeated ones counts.
            Some(parameter) if given.get(name) == Some(value) => parameter.check(value)?,
            None | Some(_) => {}
        }
    }
    let missing = method
        .parameters
        .iter()
        .find(|parameter| parameter.required && !parameter.in_path && given.filled(parameter.name).is_none());
    missing.map_or(Ok(()), |parameter| Err(ApiError::required(parameter.name)))
}

impl Parameter {
    fn check(&self, value: &str) -> Result<(), ApiError> {
        match self.kind {
            "boolean" if params::boolean(value).is_none() => {
                Err(ApiError::bad_type(self.name, "TYPE_BOOL", value))
            }
            "int32" => {
                let number: i32 =
                    value.parse().map_err(|_| ApiError::bad_type(self.name, "TYPE_INT32", value))?;
                self.bounds(number)
            }
            _ => self.choice(value).and_then(|()| self.words(value)),
        }
    }

    /// Of `spaces` there can be several, between commas.
    fn words(&self, value: &str) -> Result<(), ApiError> {
        let known = WORDS.iter().find(|(name, _)| *name == self.name).map(|(_, words)| *words);
        let is_known = |word: &str| known.is_none_or(|words| words.contains(&word.trim()));
        let mut given = value.split(',').filter(|word| !word.is_empty());
        if given.all(is_known) { Ok(()) } else { Err(ApiError::invalid_value(self.name)) }
    }

    /// Too small is refused; what is too large is taken as the largest, by the method itself.
    fn bounds(&self, number: i32) -> Result<(), ApiError> {
        let Some(minimum) = self.minimum.filter(|minimum| i64::from(number) < *minimum) else {
            return Ok(());
        };
        let most = self.maximum.map_or(String::new(), |maximum| maximum.to_string());
        let text = format!("Invalid value '{number}'. Values must be within the range: [{minimum}, {most}]");
        Err(ApiError::new(400, "invalidParameter", text).at_parameter(&error::snake_case(self.name)))
    }

    /// `alt` was seen to be read in any case.
    fn choice(&self, value: &str) -> Result<(), ApiError> {
        let allowed = &self.allowed;
        if allowed.is_empty() || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(value)) {
            return Ok(());
        }
        let text = format!("Invalid string value: '{value}'. Allowed values: [{}]", allowed.join(", "));
        Err(ApiError::new(400, "invalidParameter", text).at_parameter(self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::method;
    use super::*;

    fn refused(id: &str, query: &str) -> Option<String> {
        parameters(method(id).unwrap(), &Params::parse(query), Strangers::Refused)
            .err()
            .map(|error| error.message)
    }

    #[test]
    fn words_for_true_and_false_count_in_any_case() {
        for word in ["true", "False", "T", "f", "Y", "n", "YES", "no", "1", "0"] {
            assert_eq!(refused("files.list", &format!("supportsAllDrives={word}")), None, "{word}");
        }
        let text = refused("files.list", "supportsAllDrives=on").unwrap();
        assert_eq!(text, "Invalid value at 'supports_all_drives' (TYPE_BOOL), \"on\"");
    }

    #[test]
    fn strangers_are_overlooked_where_content_comes_in() {
        let create = |query| {
            parameters(method("files.create").unwrap(), &Params::parse(query), Strangers::Overlooked).is_ok()
        };
        assert!(create("setModifiedDate=true&supportsAllDrives=true"));
        assert!(!create("setModifiedDate=true&supportsAllDrives=perhaps"));
    }

    #[test]
    fn names_types_and_choices_are_the_documents() {
        for (query, said) in [
            ("pageSize=NOPE", "Invalid value at 'page_size' (TYPE_INT32), \"NOPE\""),
            ("pageSize=0", "[1, 1000]"),
            ("colour=red", "Unknown name \"colour\""),
            ("corpus=drive", "Allowed values: [domain, user]"),
            ("%24.xgafv=3", "Allowed values: [1, 2]"),
            ("alt=xml", "Allowed values: [json, media, proto]"),
            ("fileId=x", "Unknown name \"fileId\""),
        ] {
            let text = refused("files.list", query).unwrap();
            assert!(text.contains(said), "{query}: {text}");
        }
        let fine = "pageSize=5000&corpus=domain&%24.xgafv=2&alt=JSON&includeTeamDriveItems=false&quotaUser=me&\
                    spaces=drive,appDataFolder&corpora=allDrives";
        assert_eq!(refused("files.list", fine), None);
        assert_eq!(refused("changes.list", "").unwrap(), "Required parameter: pageToken");
        assert_eq!(refused("files.export", "mimeType=").unwrap(), "Required parameter: mimeType");
    }
}
