//! Query strings and forms, decoded.

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
}
