//! Values as people write them: durations, sizes, addresses, folders. Each reader says what is wrong with a value; what
//! would be right is in the list of keys.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::model::FileId;

/// `7d`, `1h 30m`, `90s`. Days are 24 hours; months and years have no fixed length and are refused.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| "is not a duration".to_owned())?;
    let exact = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "has no fixed length".to_owned())?;
    let duration = Duration::try_from(exact).map_err(|_| "is negative".to_owned())?;
    if duration.is_zero() {
        Err("is zero".to_owned())
    } else if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        Err("is finer than a millisecond".to_owned())
    } else {
        Ok(duration)
    }
}

/// A duration within bounds.
pub(super) fn duration_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < least {
        Err("is too short".to_owned())
    } else if duration > most {
        Err("is too long".to_owned())
    } else {
        Ok(duration)
    }
}

/// `1GiB`, `500MB`, `1B`, or a plain number of bytes; like Drive's own sizes no more than a signed number holds.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim().find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.trim().len());
    let (number, unit) = text.trim().split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err("is not a size".to_owned()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        let bytes = whole.checked_mul(factor).filter(|bytes| i64::try_from(*bytes).is_ok());
        return bytes.ok_or_else(|| "is larger than any file".to_owned());
    }
    match number.parse::<f64>() {
        Ok(part) if part.is_finite() && part * factor as f64 <= 9e18 => Ok((part * factor as f64) as u64),
        Ok(_) => Err("is larger than any file".to_owned()),
        Err(_) => Err("is not a size".to_owned()),
    }
}

/// A path. No shell has seen it, so `~` would be a directory of that name.
pub(super) fn path(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.starts_with('~') => {
            Err("begins with ~, which only a shell expands; write the whole path".to_owned())
        }
        _ if text.contains('\0') => Err("has a NUL in it".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// `0640`: the owner has at least these rights, and not everybody may write.
pub(super) fn mode(text: &str, least: u32) -> Result<u32, String> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal).ok_or("is not an octal mode")?;
    if mode & !0o777 != 0 {
        Err("has more than read, write and execute rights; setgid is inherited from the destination"
            .to_owned())
    } else if mode & 0o002 != 0 {
        Err("lets every user of the machine write".to_owned())
    } else if mode & least != least {
        Err("denies access to the program itself".to_owned())
    } else {
        Ok(mode)
    }
}

/// `127.0.0.1:8080`
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is not an address to listen on".to_owned())
}

/// The address of a neighbour that is asked for nothing secret: http will do.
pub(super) fn http_address(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) {
        Some(rest) if !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ']) => {
            let url = reqwest::Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
            Ok(url.as_str().trim_end_matches('/').to_owned())
        }
        Some(_) => Err("is not a host and a port alone".to_owned()),
        None => crate::http::checked(text),
    }
}

/// `/webhook`: where it is served, so only what needs no escaping and means nothing special to a router.
pub(super) fn webhook_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    if !text.starts_with('/') || text.len() < 2 {
        return Err("does not begin with / and a name".to_owned());
    }
    if !text.chars().all(plain)
        || text.contains("//")
        || text.split('/').any(|part| part == "." || part == "..")
    {
        return Err(
            "has characters other than letters, digits, / - _ . ~, or an empty part, \".\" or \"..\""
                .to_owned(),
        );
    }
    if text == "/robots.txt" {
        return Err("is reserved for Google's sender".to_owned());
    }
    Ok(text.to_owned())
}

/// `google0123456789abcdef.html`
pub(super) fn site_verification(text: &str) -> Result<String, String> {
    let middle = text.strip_prefix("google").and_then(|rest| rest.strip_suffix(".html"));
    match middle {
        Some(code) if !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Ok(text.to_owned())
        }
        _ => Err("is not the name of a Search Console file".to_owned()),
    }
}

/// A folder's id, with the resource key if it came in an address.
pub(super) fn folder(text: &str) -> Result<(FileId, Option<String>), String> {
    let text = text.trim();
    if !text.contains("://") {
        return Ok((id(text)?, None));
    }
    let url = reqwest::Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    if !matches!(url.host_str(), Some("drive.google.com" | "docs.google.com")) {
        return Err("is not an address of Google Drive".to_owned());
    }
    let parts: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    let after =
        |word: &str| parts.iter().position(|part| *part == word).and_then(|at| parts.get(at + 1)).copied();
    let by_query = || url.query_pairs().find(|(name, _)| name == "id").map(|(_, value)| value.into_owned());
    let found = match (after("folders"), after("d")) {
        (Some(found), _) => found.to_owned(),
        (None, Some(_)) => return Err("is the address of a file, not of a folder".to_owned()),
        (None, None) if parts.ends_with(&["my-drive"]) => "root".to_owned(),
        (None, None) => by_query().ok_or_else(|| "is not the address of a folder".to_owned())?,
    };
    let key = url.query_pairs().find(|(name, _)| name == "resourcekey").map(|(_, value)| value.into_owned());
    let key = key.filter(|key| !key.is_empty());
    if key.as_ref().is_some_and(|key| !key.chars().all(is_of_id)) {
        return Err("has a resource key that is not valid".to_owned());
    }
    Ok((id(&found)?, key))
}

fn id(text: &str) -> Result<FileId, String> {
    if text.is_empty() || !text.chars().all(is_of_id) {
        Err("is not the id of a folder".to_owned())
    } else if is_word(text) {
        Err("is the name of a folder rather than its id, which is the last part of its address in the browser".to_owned())
    } else {
        Ok(FileId::new(text))
    }
}

/// Drive's ids have 19 characters at least, and begin with a digit. Other programs that speak its language have other ids,
/// so that only what is both short and begins like a word is one.
fn is_word(text: &str) -> bool {
    const SHORTEST_ID: usize = 19;
    text != "root" && text.len() < SHORTEST_ID && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("7d", 604_800), ("1h 30m", 5400), ("90s", 90), ("2w", 1_209_600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, word) in [
            ("soon", "not a duration"),
            ("-5s", "negative"),
            ("0s", "zero"),
            ("1mo", "no fixed"),
            ("5", "not a duration"),
            ("1500us", "finer"),
        ] {
            assert!(duration(text).unwrap_err().contains(word), "{text}: {:?}", duration(text));
        }
    }

    #[test]
    fn modes() {
        assert_eq!(mode("0640", 0o600), Ok(0o640));
        assert_eq!(mode("775", 0o700), Ok(0o775));
        for (text, word) in [
            ("0646", "every user"),
            ("2750", "setgid"),
            ("4750", "more than"),
            ("0440", "denies access to the program"),
            ("0650", "denies access to the program"),
            ("64", "not an octal mode"),
            ("+640", "not an octal mode"),
            ("0648", "not an octal mode"),
            ("u=rw", "not an octal mode"),
        ] {
            assert!(mode(text, 0o700).unwrap_err().contains(word), "{text}: {:?}", mode(text, 0o700));
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1B", 1),
            ("500MB", 500_000_000),
            ("1GiB", 1 << 30),
            ("1.5 KiB", 1536),
            ("2 t", 2_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1 parsec", "99999999999999 TiB", "9223372036854775808", "1.2.3"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        for text in ["webhook", "/", "/a b", "/{x}", "/a/../b", "/robots.txt", "/a?b"] {
            assert!(webhook_path(text).is_err(), "{text}");
        }
        assert_eq!(webhook_path("/hooks/drive-1"), Ok("/hooks/drive-1".into()));
        assert_eq!(http_address("http://ngrok:4040/"), Ok("http://ngrok:4040".into()));
        for text in ["http://", "http://ngrok:4040/api", "http://ngrok:port", "http://u@ngrok"] {
            assert!(http_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn folders_by_id_and_by_address() {
        for (text, id, key) in [
            ("1AbC_d-E", "1AbC_d-E", None),
            ("root", "root", None),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", None),
            ("https://drive.google.com/drive/folders/1AbC", "1AbC", None),
            (
                "https://drive.google.com/drive/u/0/folders/1AbC?resourcekey=0-xyz&usp=sharing",
                "1AbC",
                Some("0-xyz"),
            ),
            ("https://drive.google.com/drive/my-drive", "root", None),
            ("https://drive.google.com/open?id=1AbC", "1AbC", None),
        ] {
            assert_eq!(folder(text), Ok((FileId::new(id), key.map(str::to_owned))), "{text}");
        }
        for (text, word) in [
            ("https://drive.google.com/file/d/1AbC/view", "of a file"),
            ("https://example.com/drive/folders/1AbC", "Google Drive"),
            ("https://drive.google.com/drive/folders/1AbC?resourcekey=0%0d%0aX", "resource key"),
            ("My Videos", "not the id"),
            ("inbox", "the name of a folder"),
            ("videos-2026", "the name of a folder"),
            ("", "not the id"),
        ] {
            assert!(folder(text).unwrap_err().contains(word), "{text}");
        }
    }

    #[test]
    fn verification_files() {
        assert!(site_verification("google0123456789abcdef.html").is_ok());
        for text in ["x.html", "google.html", "google1/../x.html"] {
            assert!(site_verification(text).is_err(), "{text}");
        }
    }
}
