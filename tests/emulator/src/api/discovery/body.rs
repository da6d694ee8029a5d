//! A request's JSON body against the document: unknown names, values of another type.

use serde_json::Value;

use super::schema;
use crate::api::error::ApiError;

/// The resource in a body; an empty body is an empty resource.
pub(crate) fn read(body: &[u8], schema: &str) -> Result<Value, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|_| ApiError::new(400, "parseError", "Parse Error"))?;
    check(&value, schema, "")?;
    Ok(value)
}

/// `null` stands for any type: Google reads it as absent.
fn check(value: &Value, kind: &str, path: &str) -> Result<(), ApiError> {
    let bad = |name: &str| ApiError::bad_type(path, name, value.as_str().unwrap_or(&value.to_string()));
    if let Some(item) = kind.strip_suffix("[]") {
        let items = value.as_array().ok_or_else(|| bad("TYPE_REPEATED"));
        return if value.is_null() {
            Ok(())
        } else {
            items?.iter().try_for_each(|value| check(value, item, path))
        };
    }
    let (fits, name) = match kind {
        "string" | "byte" | "date" | "date-time" | "google-datetime" => (value.is_string(), "TYPE_STRING"),
        "boolean" => (value.is_boolean() || matches!(value.as_str(), Some("true" | "false")), "TYPE_BOOL"),
        "int32" => (is_whole::<i32>(value), "TYPE_INT32"),
        "int64" => (is_whole::<i64>(value), "TYPE_INT64"),
        "uint32" => (is_whole::<u32>(value), "TYPE_UINT32"),
        "float" | "double" => (value.is_number(), "TYPE_DOUBLE"),
        "*" => (value.is_object(), "TYPE_MESSAGE"),
        "any" => (true, ""),
        schema => return members(value, schema, path),
    };
    if fits || value.is_null() { Ok(()) } else { Err(bad(name)) }
}

fn is_whole<T: std::str::FromStr>(value: &Value) -> bool {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse::<T>().is_ok()
}

fn members(value: &Value, schema: &str, path: &str) -> Result<(), ApiError> {
    if value.is_null() {
        return Ok(());
    }
    let object = value.as_object().ok_or_else(|| ApiError::bad_type(path, schema, &value.to_string()))?;
    object.iter().try_for_each(|(name, value)| {
        let kind = schema::member(schema, name).ok_or_else(|| ApiError::unknown_member(name, path))?;
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        check(value, kind, &below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_the_schemas() {
        for (body, said) in [
            (r#"{"name":"x","parents":["a"],"starred":true,"size":"5","properties":{"a":null}}"#, None),
            (r#"{"shortcutDetails":{"targetId":"x"},"description":null}"#, None),
            ("", None),
            (r#"{"nam":"x"}"#, Some("Unknown name \"nam\": Cannot find field.")),
            (
                r#"{"shortcutDetails":{"target":"x"}}"#,
                Some("Unknown name \"target\" at 'shortcut_details': Cannot find field."),
            ),
            (r#"{"name":5}"#, Some("Invalid value at 'name' (TYPE_STRING), \"5\"")),
            (r#"{"parents":"a"}"#, Some("Invalid value at 'parents' (TYPE_REPEATED), \"a\"")),
            (r#"{"starred":"maybe"}"#, Some("(TYPE_BOOL)")),
            (r#"{"size":"many"}"#, Some("(TYPE_INT64)")),
            (r#"{"shortcutDetails":"x"}"#, Some("'shortcut_details'")),
            ("[1]", Some("Invalid value")),
            ("name=x", Some("Parse Error")),
        ] {
            let error = read(body.as_bytes(), "File").err().map(|error| error.message);
            match (said, &error) {
                (None, None) => {}
                (Some(said), Some(error)) if error.contains(said) => {}
                _ => panic!("{body}: {error:?}"),
            }
        }
    }
}
