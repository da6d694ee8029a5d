//! What a request may say: the methods of Google's discovery document, their parameters, scopes and schemas.
//!
//! `methods.txt` and `schemas.txt` are written by `generate.py` and never by hand. Whether this emulator has a method
//! is said elsewhere.

pub(crate) mod body;
pub(crate) mod check;
pub(crate) mod schema;

use std::sync::LazyLock;

use super::params::unescape;

/// One method as the document describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// `files.list`, …
    pub(crate) id: &'static str,
    verb: &'static str,
    /// Below `/drive/v3/`; `{name}` stands for one segment.
    path: &'static str,
    /// The schema of the request's body.
    pub(crate) request: Option<&'static str>,
    /// Takes content on `/upload/`.
    pub(crate) upload: bool,
    /// Gives content with `alt=media`.
    pub(crate) download: bool,
    /// Without the prefix they all have.
    scopes: Vec<&'static str>,
    parameters: Vec<Parameter>,
}

/// One parameter of a method, or of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    in_path: bool,
    kind: &'static str,
    required: bool,
    minimum: Option<i64>,
    maximum: Option<i64>,
    allowed: Vec<&'static str>,
}

struct Document {
    /// Valid with every method.
    common: Vec<Parameter>,
    methods: Vec<Method>,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let mut document = Document { common: Vec::new(), methods: Vec::new() };
    for line in include_str!("methods.txt").lines().filter(|line| !line.starts_with("revision ")) {
        let mut words = line.split_whitespace();
        match (line.strip_prefix("  "), document.methods.last_mut()) {
            (None, _) if line == "*" => {}
            (None, _) => document.methods.push(Method::read(words)),
            (Some(text), Some(method)) if text.starts_with("scopes ") => {
                method.scopes = words.skip(1).collect();
            }
            (Some(_), Some(method)) => method.parameters.extend(Parameter::read(&mut words)),
            (Some(_), None) => document.common.extend(Parameter::read(&mut words)),
        }
    }
    document
});

impl Method {
    fn read(mut words: impl Iterator<Item = &'static str>) -> Self {
        let mut next = || words.next().unwrap_or_default();
        let (id, verb, path) = (next(), next(), next());
        let mut method = Self {
            id,
            verb,
            path,
            request: None,
            upload: false,
            download: false,
            scopes: Vec::new(),
            parameters: Vec::new(),
        };
        for word in words {
            match word.split_once('=') {
                Some(("request", schema)) => method.request = Some(schema),
                Some(_) => {}
                None if word == "upload" => method.upload = true,
                None => method.download = true,
            }
        }
        method
    }

    /// Whether this scope is enough.
    pub(crate) fn allows(&self, scope: &str) -> bool {
        let scope = scope.strip_prefix("https://www.googleapis.com/auth/");
        scope.is_some_and(|scope| self.scopes.contains(&scope))
    }

    /// The values of the path's variables, if the path is this method's, and how many segments are literal.
    fn matches(&self, path: &[&str]) -> Option<(usize, Vec<String>)> {
        let pattern: Vec<&str> = self.path.split('/').collect();
        if pattern.len() != path.len() {
            return None;
        }
        let mut literal = 0;
        let mut values = Vec::new();
        for (pattern, segment) in pattern.into_iter().zip(path) {
            match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                None if pattern == *segment => literal += 1,
                None => return None,
                // `{id}:verb`, which is part of a segment.
                Some((_, verb)) => {
                    let value = segment.strip_suffix(verb).filter(|value| !value.is_empty())?;
                    values.push(unescape(value));
                }
            }
        }
        Some((literal, values))
    }
}

impl Parameter {
    fn read(words: &mut impl Iterator<Item = &'static str>) -> Option<Self> {
        let (name, location, kind) = (words.next()?, words.next()?, words.next()?);
        let mut parameter = Self { name, in_path: location == "path", kind, ..Self::default() };
        for word in words {
            match word.split_once('=') {
                Some(("min", value)) => parameter.minimum = value.parse().ok(),
                Some(("max", value)) => parameter.maximum = value.parse().ok(),
                Some(("enum", values)) => parameter.allowed = values.split('|').collect(),
                Some(_) => {}
                None => parameter.required |= word == "required",
            }
        }
        Some(parameter)
    }
}

/// The method that a verb and a path below `/drive/v3/` mean, with the values of the path's variables. A literal
/// segment wins over a variable: `files/generateIds` is no file.
pub(crate) fn find(verb: &str, path: &[&str]) -> Option<(&'static Method, Vec<String>)> {
    let fitting = DOCUMENT.methods.iter().filter(|method| method.verb == verb).filter_map(|method| {
        let (literal, values) = method.matches(path)?;
        Some((literal, method, values))
    });
    fitting.max_by_key(|(literal, ..)| *literal).map(|(_, method, values)| (method, values))
}

/// The method of that id.
pub(crate) fn method(id: &str) -> Option<&'static Method> {
    DOCUMENT.methods.iter().find(|method| method.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_by_their_most_literal_pattern() {
        for (verb, path, id, values) in [
            ("GET", "files", "files.list", vec![]),
            ("GET", "files/a%2Fb", "files.get", vec!["a/b"]),
            ("GET", "files/generateIds", "files.generateIds", vec![]),
            ("DELETE", "files/trash", "files.emptyTrash", vec![]),
            ("PATCH", "files/x/permissions/y", "permissions.update", vec!["x", "y"]),
            ("POST", "files/x/approvals/y:approve", "approvals.approve", vec!["x", "y"]),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            let (method, found) = find(verb, &segments).unwrap();
            assert_eq!((method.id, found), (id, values.into_iter().map(str::to_owned).collect()));
        }
        assert!(find("PUT", &["files", "x"]).is_none());
        assert!(find("GET", &["nowhere"]).is_none());
    }

    #[test]
    fn the_document_is_read_whole() {
        assert!(DOCUMENT.methods.len() > 60, "{}", DOCUMENT.methods.len());
        assert_eq!(DOCUMENT.common.len(), 11);
        let list = method("files.list").unwrap();
        let size = list.parameters.iter().find(|parameter| parameter.name == "pageSize").unwrap();
        assert_eq!((size.kind, size.minimum, size.maximum), ("int32", Some(1), Some(1000)));
        assert!(method("files.create").unwrap().upload && !list.upload);
        assert!(method("files.get").unwrap().download && !list.download);
        assert_eq!(method("changes.watch").unwrap().request, Some("Channel"));
        let readonly = "https://www.googleapis.com/auth/drive.readonly";
        assert!(list.allows(readonly) && !method("files.delete").unwrap().allows(readonly));
    }
}
