//! The address that a browser ends on: what it says, and whether it belongs to this login. Anybody on this machine can call
//! the callback, and anything can be pasted. Without this login's `state` nothing counts, not even a denial.

use reqwest::Url;

use crate::telemetry::log::one_line;

/// Google's words for errors are short.
const WORD_LIMIT: usize = 100;

/// What the user and Google answer to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// The code that the tokens are exchanged for.
    Given(String),
    /// The user denied the access.
    Denied,
    /// Google's word for another error, as a terminal can show it.
    Failed(String),
}

/// Why an address is no answer to this login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stray {
    #[error(
        "That is not the address that the browser ended on. Copy the whole address from the browser's address bar; it \
         begins with http://127.0.0.1"
    )]
    NoAddress,
    #[error(
        "That is the address to open in the browser. Paste the one that the browser ends on after you have allowed the access"
    )]
    ToBeOpened,
    #[error(
        "That address belongs to another login, perhaps to an earlier one. Open the address above, and paste the one that the browser ends on"
    )]
    OtherLogin,
    #[error(
        "That address is not complete: it has no code in it. Copy the whole address from the browser's address bar"
    )]
    Incomplete,
}

/// Reads the query of the callback.
pub(super) fn read(query: &str, state: &str) -> Result<Consent, Stray> {
    let query = query.split('#').next().unwrap_or_default();
    let url = Url::parse(&format!("http://127.0.0.1/?{query}")).map_err(|_| Stray::NoAddress)?;
    let value = |key: &str| {
        let found = url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
        found.filter(|value| !value.is_empty())
    };
    match value("state") {
        Some(found) if found == state => {}
        Some(_) if value("client_id").is_some() => return Err(Stray::ToBeOpened),
        Some(_) => return Err(Stray::OtherLogin),
        None => return Err(Stray::NoAddress),
    }
    match (value("error"), value("code")) {
        (Some(error), _) if error == "access_denied" => Ok(Consent::Denied),
        (Some(error), _) => Ok(Consent::Failed(one_line(&error, WORD_LIMIT))),
        (None, Some(code)) => Ok(Consent::Given(code)),
        // The address to be opened has the same state.
        (None, None) if value("client_id").is_some() => Err(Stray::ToBeOpened),
        (None, None) => Err(Stray::Incomplete),
    }
}

/// Reads a line that was pasted: an address, with or without its beginning. `None`: it says nothing.
pub(super) fn read_pasted(line: &str, state: &str) -> Option<Result<Consent, Stray>> {
    let line = line.trim().trim_matches(['"', '\'', '<', '>']);
    if line.is_empty() {
        return None;
    }
    Some(line.split_once('?').ok_or(Stray::NoAddress).and_then(|(_, query)| read(query, state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_from_callbacks_and_pasted_addresses() {
        let given = Ok(Consent::Given("4/abc".to_owned()));
        assert_eq!(read("state=s&code=4%2Fabc", "s"), given);
        for line in [
            " http://127.0.0.1:3999/?code=4%2Fabc&state=s&scope=x#top \n",
            "127.0.0.1:3999/?code=4%2Fabc&state=s",
            "\"http://127.0.0.1:3999/?state=s&iss=x&code=4%2Fabc\"",
        ] {
            assert_eq!(read_pasted(line, "s"), Some(given.clone()), "{line}");
        }
        assert_eq!(read_pasted(" \r\n", "s"), None);
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(read("error=access_denied&state=s", "s"), Ok(Consent::Denied));
        assert_eq!(read("error=access_denied&state=s&code=4", "s"), Ok(Consent::Denied));
        let told = read("error=%1b%5d0;title%07%1b%5b2J%0aLogged+in&state=s", "s");
        assert_eq!(told, Ok(Consent::Failed("]0;title [2J Logged in".to_owned())));
    }

    #[test]
    fn what_does_not_belong_to_this_login_counts_for_nothing() {
        for (line, stray) in [
            ("?code=4&state=other", Stray::OtherLogin),
            ("?code=4&state=other&state=s", Stray::OtherLogin),
            ("?code=4", Stray::NoAddress),
            ("?code=4&state=", Stray::NoAddress),
            ("?error=access_denied", Stray::NoAddress),
            ("?error=access_denied&state=other", Stray::OtherLogin),
            ("?state=s", Stray::Incomplete),
            ("?state=s&code=", Stray::Incomplete),
            ("4/abc", Stray::NoAddress),
            ("yes", Stray::NoAddress),
            ("https://accounts.google.com/o/oauth2/v2/auth?client_id=c&state=s", Stray::ToBeOpened),
            ("https://accounts.google.com/o/oauth2/v2/auth?client_id=c&state=other", Stray::ToBeOpened),
        ] {
            assert_eq!(read_pasted(line, "s"), Some(Err(stray)), "{line}");
        }
    }
}
