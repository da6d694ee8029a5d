//! Query parameters and forms, decoded and typed.

use super::error::ApiError;

/// Decoded pairs in the order they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Of a query string or a form body.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value, unless it is empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.filled(name).ok_or_else(|| ApiError::required(name))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "t" | "y" | "yes" | "1" => Ok(true),
            "false" | "f" | "n" | "no" | "0" => Ok(false),
            _ => Err(ApiError::bad_type(name, "TYPE_BOOL", value)),
        }
    }

    /// `pageSize`: 1 and more; values above `max` are taken as `max`.
    pub(crate) fn page_size(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(value) = self.get("pageSize") else { return Ok(default) };
        let size: i32 = value.parse().map_err(|_| ApiError::bad_type("pageSize", "TYPE_INT32", value))?;
        if size < 1 {
            let text = format!("Invalid value '{size}'. Values must be within the range: [1, {max}]");
            return Err(ApiError::new(400, "invalidParameter", text).at_parameter("page_size"));
        }
        Ok(usize::try_from(size).unwrap_or(max).min(max))
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Percent-decoding with `+` for a space.
pub(crate) fn decode(text: &str) -> String {
    unescape(&text.replace('+', " "))
}

/// Percent-decoding of a path segment.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped =
            (byte == b'%').then(|| tail.get(..2).and_then(|hex| str::from_utf8(hex).ok())).flatten();
        if let Some(value) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(value);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encoding of everything that is not unreserved.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_parameters_counts_and_escapes_are_read() {
        let params = Params::parse("q=name%20%3D+'%E2%82%AC%'&alt=media&alt=json&flag");
        assert_eq!(params.get("q"), Some("name = '€%'"));
        assert_eq!(params.get("alt"), Some("media"));
        assert_eq!(params.get("flag"), Some(""));
        assert_eq!(Params::parse(&format!("x={}", encode("a&b=c %"))).get("x"), Some("a&b=c %"));
    }

    #[test]
    fn page_sizes_are_coerced_or_refused() {
        let size = |query| Params::parse(query).page_size(100, 1000);
        assert_eq!(size("").unwrap(), 100);
        assert_eq!(size("pageSize=5000").unwrap(), 1000);
        assert_eq!(size("pageSize=0").unwrap_err().code, 400);
        assert!(size("pageSize=NOPE").unwrap_err().message.contains("page_size"));
    }
}
