//! What Drive can say instead of an answer, as one classification. Told by status and `reason`, never by the message,
//! which is for people.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::Unreadable;
use crate::auth;
use crate::http::api;
use crate::model::ChangeLog;
use crate::retry::Class;
use crate::telemetry::log::{one_line, with_causes};

/// How many characters of an explanation are kept.
const SAID_LIMIT: usize = 400;
/// What is said of a refusal that does not have Drive's form.
const FOREIGN: &str = "the answer does not have Drive's form; check google.api_url, and whether a proxy answers in Drive's place";

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Error {
    what: &'static str,
    fault: Fault,
    status: Option<u16>,
    said: String,
    reason: String,
    retry_after: Option<Duration>,
}

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection failed, broke off, or fell silent.
    Connection,
    /// An answer that is none: HTML from a proxy, half a JSON.
    Unreadable,
    /// Drive is out of order.
    Server,
    /// Nobody is logged in.
    LoginNeeded,
    /// The token endpoint refuses the credentials, or cannot be reached.
    Credentials,
    /// Whether the call may be made for this account cannot be told from the database now.
    Database,
    /// The access token was refused twice in a row.
    Unauthorized,
    /// Too many calls.
    RateLimit,
    /// The project's allowance of the day is used up.
    DailyLimit,
    /// This file was downloaded too often.
    FileQuota,
    /// Malware or spam, says Google.
    Abusive,
    /// The file has no bytes to download, or this revision must not be downloaded: for ever.
    NotDownloadable,
    /// The account lacks a permission on this one item. Granted permissions arrive late, and others are granted or given
    /// back later: it may pass.
    Denied,
    /// The call for a file's bytes was answered with 404. Only a call for its state tells whether the file is gone: new
    /// files and new permissions arrive late, so it may pass.
    NoBytes,
    /// The project, the scope or the organisation does not allow it.
    Forbidden,
    /// Gone, or not ours to see.
    NotFound,
    /// The account is no member of the shared drive, or that drive is gone. Its log and its listings are refused; single
    /// items of it can be visible all the same.
    NotMember,
    /// The page token is refused.
    PageToken,
    /// The channel id was used before.
    ChannelIdNotUnique,
    /// The push channel is refused: its address, its kind, or anything else that was said of it.
    Push,
    /// Too many channels were asked for in a short time; Drive counts them apart from other calls.
    TooManyChannels,
    /// More bytes were asked for than there are.
    Range,
    /// Drive does not understand the call.
    BadRequest,
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Default, Deserialize)]
struct Body {
    message: Option<String>,
    errors: Option<Vec<Detail>>,
}

#[derive(Default, Deserialize)]
struct Detail {
    reason: Option<String>,
    location: Option<String>,
}

impl Error {
    fn without_answer(what: &'static str, fault: Fault, said: &str) -> Self {
        let (said, reason) = (one_line(said, SAID_LIMIT), String::new());
        Self { what, fault, status: None, said, reason, retry_after: None }
    }

    pub(super) fn connection(what: &'static str, said: &str) -> Self {
        Self::without_answer(what, Fault::Connection, said)
    }

    /// No answer came while somebody waited.
    pub fn silent(what: &'static str, waited: Duration) -> Self {
        Self::connection(what, &format!("no answer within {} s", waited.as_secs()))
    }

    /// What the client says that got no answer, or one that is too long to be read.
    pub(super) fn no_answer(what: &'static str, error: &api::Error) -> Self {
        let fault = match error {
            api::Error::Call(_) => Fault::Connection,
            api::Error::TooLong(_) => Fault::Unreadable,
        };
        Self::without_answer(what, fault, &with_causes(error))
    }

    pub(super) fn database(what: &'static str, said: &str) -> Self {
        Self::without_answer(what, Fault::Database, said)
    }

    pub(super) fn unreadable(what: &'static str, error: &Unreadable) -> Self {
        Self::without_answer(what, Fault::Unreadable, &error.to_string())
    }

    pub(super) fn auth(what: &'static str, error: &auth::Error) -> Self {
        let fault = match error {
            auth::Error::LoginNeeded { .. } => Fault::LoginNeeded,
            auth::Error::Refused { .. } | auth::Error::Credentials { .. } => Fault::Credentials,
            auth::Error::Unavailable { .. } => Fault::Connection,
            auth::Error::TooMany { .. } => Fault::RateLimit,
        };
        let retry_after = match error {
            auth::Error::TooMany { retry_after, .. } => Some(*retry_after),
            _ => None,
        };
        Self { retry_after, ..Self::without_answer(what, fault, &error.to_string()) }
    }

    /// What an answer says that is no success.
    pub fn refusal(what: &'static str, status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let envelope = serde_json::from_slice::<Envelope>(body).ok();
        let is_of_drive = envelope.is_some();
        let body = envelope.map(|envelope| envelope.error).unwrap_or_default();
        let message = one_line(&body.message.unwrap_or_default(), SAID_LIMIT);
        let detail = body.errors.into_iter().flatten().next().unwrap_or_default();
        let (reason, location) = (detail.reason.unwrap_or_default(), detail.location.unwrap_or_default());
        let mut said = if message.is_empty() { "without an explanation".to_owned() } else { message };
        if !reason.is_empty() {
            said = format!("{said} ({})", one_line(&reason, SAID_LIMIT));
        }
        let mut fault = classify(status, &reason, &location);
        if !is_of_drive && matches!(fault, Fault::NotFound | Fault::Forbidden | Fault::BadRequest) {
            // A server in front of Drive does not know what exists in Drive, nor what is allowed there.
            fault = Fault::Unreadable;
            FOREIGN.clone_into(&mut said);
        }
        Self { what, fault, status: Some(status), said, reason, retry_after }
    }

    /// The same as the answer to a call for a file's bytes.
    #[must_use]
    pub fn of_media(mut self) -> Self {
        if self.fault == Fault::NotFound {
            self.fault = Fault::NoBytes;
        }
        self
    }

    /// The same as the answer to a call for a change log. A log that is not found is one of a shared drive.
    #[must_use]
    pub(super) fn of_log(mut self, log: &ChangeLog) -> Self {
        if self.fault == Fault::NotFound && log.drive_id().is_some() {
            self.fault = Fault::NotMember;
        }
        self
    }

    /// The same as the answer to a call for a push channel: what Drive does not understand of it is about the channel.
    #[must_use]
    pub(super) fn of_watch(mut self) -> Self {
        if self.fault == Fault::BadRequest {
            self.fault = Fault::Push;
        }
        self
    }

    /// What is at fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Drive's word for it; empty if there is none.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What happened, without what to do.
    pub fn bare(&self) -> String {
        let said = self.to_string();
        let remedy = self.remedy().map(|remedy| format!("; {remedy}"));
        remedy.and_then(|remedy| said.strip_suffix(&remedy).map(str::to_owned)).unwrap_or(said)
    }

    /// How long Drive asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What it calls for.
    pub fn class(&self) -> Class {
        match self.fault {
            Fault::Connection
            | Fault::Unreadable
            | Fault::Server
            | Fault::Unauthorized
            | Fault::Database
            | Fault::ChannelIdNotUnique => Class::Transient,
            Fault::RateLimit => Class::RateLimited,
            Fault::DailyLimit => Class::DailyLimit,
            Fault::FileQuota => Class::FileQuota,
            Fault::LoginNeeded => Class::LoginNeeded,
            Fault::Credentials
            | Fault::Forbidden
            | Fault::NotMember
            | Fault::Push
            | Fault::TooManyChannels
            | Fault::BadRequest => Class::Configuration,
            Fault::Denied | Fault::NoBytes => Class::Permission,
            // A refused token or range is answered by another call, not by the same one later.
            Fault::PageToken | Fault::Range => Class::Transient,
            Fault::Abusive | Fault::NotDownloadable | Fault::NotFound => Class::Permanent,
        }
    }

    /// What a person can do about it, where somebody can.
    pub fn remedy(&self) -> Option<&'static str> {
        match self.fault {
            Fault::Forbidden => Some(
                "check in the Google Cloud console that the Drive API is enabled, and that the credentials have the scope \
                 drive.readonly",
            ),
            Fault::NotFound => {
                Some("check the id, and share the folder with the account that the credentials belong to")
            }
            Fault::NotMember => Some("make the account a member of the shared drive"),
            Fault::Denied => Some(
                "allow the account to download the file: share it as Viewer at least, and do not disable downloads for viewers",
            ),
            Fault::TooManyChannels => {
                Some("Drive limits how many push channels are opened; until then polling finds new files")
            }
            Fault::Push => Some(
                "check that webhook.public_url is reachable from the internet over https with a valid certificate; \
                 until then the poll finds new files",
            ),
            Fault::Abusive => Some("if it is yours and you trust it, set download.acknowledge_abuse = true"),
            Fault::FileQuota => Some("the file was downloaded too often; Drive lifts that within a day"),
            Fault::Connection
            | Fault::Unreadable
            | Fault::Server
            | Fault::LoginNeeded
            | Fault::Credentials
            | Fault::Database
            | Fault::Unauthorized
            | Fault::RateLimit
            | Fault::DailyLimit
            | Fault::NotDownloadable
            | Fault::NoBytes
            | Fault::PageToken
            | Fault::ChannelIdNotUnique
            | Fault::Range
            | Fault::BadRequest => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.fault, Fault::LoginNeeded | Fault::Credentials) {
            // It is not about the call that found it.
            return f.write_str(&self.said);
        }
        match self.status {
            Some(status) => write!(f, "{}: Drive answers {status}: {}", self.what, self.said)?,
            None => write!(f, "{}: {}", self.what, self.said)?,
        }
        match self.remedy() {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The one place that knows Drive's reasons. Where a reason is unknown the status decides.
fn classify(status: u16, reason: &str, location: &str) -> Fault {
    let about_token = location == "pageToken" || reason.starts_with("pageToken");
    match (status, reason) {
        (400 | 403 | 404 | 410, _) if about_token && reason != "required" => Fault::PageToken,
        (_, "rateLimitExceeded" | "userRateLimitExceeded") | (429, _) => Fault::RateLimit,
        (_, "dailyLimitExceeded" | "dailyLimitExceededUnreg") => Fault::DailyLimit,
        (_, "downloadQuotaExceeded" | "sharingRateLimitExceeded") => Fault::FileQuota,
        (_, "cannotDownloadAbusiveFile" | "invalidAbuseAcknowledgment") => Fault::Abusive,
        (_, "fileNotDownloadable" | "downloadRestrictedForRevision" | "download_restricted_for_revision") => {
            Fault::NotDownloadable
        }
        (_, "cannotDownloadFile" | "insufficientFilePermissions") => Fault::Denied,
        (_, "teamDriveMembershipRequired") => Fault::NotMember,
        (_, "channelIdNotUnique") => Fault::ChannelIdNotUnique,
        (_, "subscriptionRateLimitExceeded") => Fault::TooManyChannels,
        (_, reason) if reason.starts_with("push") => Fault::Push,
        (401, _) => Fault::Unauthorized,
        (403, _) => Fault::Forbidden,
        (404 | 410, _) if matches!(location, "driveId" | "teamDriveId") => Fault::NotMember,
        (404 | 410, _) => Fault::NotFound,
        (416, _) => Fault::Range,
        (408 | 500..=599, _) => Fault::Server,
        _ => Fault::BadRequest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn body(reason: &str, location: &str) -> Vec<u8> {
        format!(
            r#"{{"error":{{"code":403,"message":"Said so.","errors":[{{"reason":"{reason}","location":"{location}"}}]}}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn reasons_are_told_apart() {
        for (status, reason, location, fault) in [
            (401, "authError", "Authorization", Fault::Unauthorized),
            (403, "userRateLimitExceeded", "", Fault::RateLimit),
            (403, "rateLimitExceeded", "", Fault::RateLimit),
            (429, "rateLimitExceeded", "", Fault::RateLimit),
            (429, "", "", Fault::RateLimit),
            (403, "dailyLimitExceeded", "", Fault::DailyLimit),
            (403, "downloadQuotaExceeded", "", Fault::FileQuota),
            (403, "cannotDownloadAbusiveFile", "", Fault::Abusive),
            (403, "fileNotDownloadable", "alt", Fault::NotDownloadable),
            (403, "downloadRestrictedForRevision", "", Fault::NotDownloadable),
            (403, "cannotDownloadFile", "", Fault::Denied),
            (403, "insufficientFilePermissions", "", Fault::Denied),
            (403, "teamDriveMembershipRequired", "", Fault::NotMember),
            (404, "notFound", "driveId", Fault::NotMember),
            (403, "insufficientPermissions", "", Fault::Forbidden),
            (403, "accessNotConfigured", "", Fault::Forbidden),
            (403, "subscriptionRateLimitExceeded", "", Fault::TooManyChannels),
            (400, "push.webhookUrlNotHttps", "", Fault::Push),
            (401, "push.webhookUrlUnauthorized", "", Fault::Push),
            (400, "channelIdNotUnique", "", Fault::ChannelIdNotUnique),
            (404, "notFound", "fileId", Fault::NotFound),
            (400, "invalid", "pageToken", Fault::PageToken),
            (403, "pageTokenExpired", "", Fault::PageToken),
            (410, "gone", "pageToken", Fault::PageToken),
            (400, "required", "pageToken", Fault::BadRequest),
            (400, "invalid", "q", Fault::BadRequest),
            (416, "requestedRangeNotSatisfiable", "", Fault::Range),
            (500, "internalError", "", Fault::Server),
            (503, "backendError", "", Fault::Server),
        ] {
            let error = Error::refusal("a call", status, &body(reason, location), None);
            assert_eq!(error.fault(), fault, "{status} {reason} {location}");
        }
    }

    #[test]
    fn what_was_asked_for_tells_apart_what_the_answer_does_not() {
        let said = |status, reason| Error::refusal("a call", status, &body(reason, ""), None);
        let drive = ChangeLog::SharedDrive("0A".into());
        for (error, fault, class) in [
            (said(404, "notFound").of_media(), Fault::NoBytes, Class::Permission),
            (said(403, "cannotDownloadFile").of_media(), Fault::Denied, Class::Permission),
            (said(403, "fileNotDownloadable").of_media(), Fault::NotDownloadable, Class::Permanent),
            (said(404, "notFound").of_log(&drive), Fault::NotMember, Class::Configuration),
            (said(404, "notFound").of_log(&ChangeLog::User), Fault::NotFound, Class::Permanent),
            (said(503, "backendError").of_log(&drive), Fault::Server, Class::Transient),
            (said(400, "invalid").of_watch(), Fault::Push, Class::Configuration),
            (said(400, "channelIdNotUnique").of_watch(), Fault::ChannelIdNotUnique, Class::Transient),
        ] {
            assert_eq!((error.fault(), error.class()), (fault, class), "{error}");
        }
    }

    #[test]
    fn explanations_are_one_tame_line() {
        let body = json!({"error": {
            "message": format!(" Said\r\nso.\u{1b}[31m{}", "!".repeat(1000)),
            "errors": [{"reason": "new\u{7}", "location": null}],
        }});
        let text = Error::refusal("a call", 400, body.to_string().as_bytes(), None).to_string();
        assert!(text.starts_with("a call: Drive answers 400: Said so. [31m!!!"), "{text}");
        assert!(text.ends_with("!!!… (new)") && text.len() < 500, "{text}");
    }

    proptest! {
        #[test]
        fn any_body_is_survived(status in 300_u16..600, body in any::<Vec<u8>>()) {
            let error = Error::refusal("a call", status, &body, None);
            prop_assert!(!error.to_string().contains(char::is_control));
        }

        #[test]
        fn the_message_decides_nothing(
            status in 300_u16..600,
            reason in "[a-zA-Z.]{0,30}",
            location in "(pageToken|fileId|.{0,5})",
            messages in prop::array::uniform2(prop::option::of("(?s).{0,600}")),
        ) {
            let [error, other] = messages.map(|message| {
                let detail = json!({"reason": reason, "location": location, "message": message});
                let body = json!({"error": {"message": message, "errors": [detail]}});
                Error::refusal("a call", status, body.to_string().as_bytes(), None)
            });
            prop_assert_eq!((error.fault(), error.class()), (other.fault(), other.class()));
            let text = error.to_string();
            prop_assert!(!text.contains(char::is_control) && text.chars().count() < 2 * SAID_LIMIT, "{:?}", text);
        }
    }

    #[test]
    fn pages_of_proxies_are_errors_like_any_other() {
        let error = Error::refusal("list changes", 502, b"<html><h1>Bad Gateway</h1></html>", None);
        assert_eq!(error.fault(), Fault::Server);
        assert_eq!(error.to_string(), "list changes: Drive answers 502: without an explanation");
        for body in [&b"<html><h1>Not Found</h1></html>"[..], b"", b"{}", b"null"] {
            let error = Error::refusal("look at a file", 404, body, None);
            assert_eq!((error.fault(), error.class()), (Fault::Unreadable, Class::Transient));
        }
    }

    #[test]
    fn only_drive_knows_what_is_there_and_what_is_allowed() {
        let drive = ChangeLog::SharedDrive("0A".into());
        for body in ["", "<html>404</html>", "{}", r#"{"message":"no route"}"#, r#"{"error":"not_found"}"#] {
            let said = |status| Error::refusal("a call", status, body.as_bytes(), None);
            for status in [302, 400, 403, 404, 410, 413, 451] {
                for error in [said(status), said(status).of_media(), said(status).of_log(&drive)] {
                    let told = (error.fault(), error.class());
                    assert_eq!(told, (Fault::Unreadable, Class::Transient), "{status} {body}");
                }
            }
            for (status, fault) in [
                (401, Fault::Unauthorized),
                (416, Fault::Range),
                (429, Fault::RateLimit),
                (503, Fault::Server),
            ] {
                assert_eq!(said(status).fault(), fault, "{body}");
            }
        }
        let short = br#"{"error":{"code":404,"message":"Gone.","status":"NOT_FOUND"}}"#;
        assert_eq!(Error::refusal("a call", 404, short, None).fault(), Fault::NotFound);
    }
}
