//! The token endpoint: one form post, and an answer that is believed no further than it can be. The form has secrets in
//! it, so a redirect to another host is not followed. The answer may come from anywhere, so its length and its times have
//! limits.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{AccessToken, Error, TOO_MANY_WAIT};
use crate::http::api::{Api, Repeat};
use crate::http::retry_after;
use crate::model::LoginId;
use crate::telemetry::log::{one_line, with_causes};

/// Google's longest answer has three tokens in it, of 2 KB each.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;
/// How many characters of an explanation are kept.
const SAID_LIMIT: usize = 300;

/// Google's tokens live so long; one whose life is not said is taken for such a token.
const USUAL_LIFE: Duration = Duration::from_hours(1);
/// Whatever the answer says, a token is renewed after a day, and not asked for more often than every few seconds. A token
/// that ends earlier is refused by Drive, and then renewed.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// An end of a login that is further away is none that anybody meant.
const LONGEST_LOGIN: Duration = Duration::from_hours(24 * 365 * 10);

pub(super) enum Answer {
    Granted(Tokens),
    Refused(Refusal),
}

/// What the token endpoint grants.
#[derive(Deserialize)]
pub(super) struct Tokens {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    refresh_token_expires_in: Value,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

/// What the token endpoint refuses: `error` is a word of OAuth's, or an object as other APIs of Google answer with.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    error: Value,
    #[serde(default)]
    error_description: Value,
    #[serde(default)]
    error_subtype: Value,
}

/// Asks the token endpoint. An answer that is neither a grant nor a refusal in due form is an outage.
pub(super) async fn post(http: &Api, uri: &str, form: &[(&str, &str)]) -> Result<Answer, Error> {
    ask(http, http.request(Method::POST, uri).form(form)).await
}

/// The same with a form that is encoded already.
pub(super) async fn post_encoded(http: &Api, uri: &str, form: String) -> Result<Answer, Error> {
    let request = http.request(Method::POST, uri).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    ask(http, request.body(form)).await
}

async fn ask(http: &Api, request: RequestBuilder) -> Result<Answer, Error> {
    // Asking twice is what would be done after the failure, only later.
    let sent = http.send(request, ANSWER_LIMIT, Repeat::Always).await;
    let answer = sent.map_err(|error| unavailable(&with_causes(&error)))?;
    read(answer.status, &answer.headers, &answer.body)
}

fn unavailable(why: &str) -> Error {
    Error::Unavailable { why: format!("the token endpoint: {why}") }
}

/// Reads an answer: what is neither a grant nor a refusal in due form is an outage.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Error> {
    let too_many = |why: String| {
        let retry_after = retry_after(headers, Timestamp::now()).unwrap_or(TOO_MANY_WAIT);
        Err(Error::TooMany { why: format!("the token endpoint: {why}"), retry_after })
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        return too_many(status.to_string());
    }
    if status.is_success() {
        return Tokens::parse(body)
            .map(Answer::Granted)
            .ok_or_else(|| unavailable(&format!("{status} without an access token")));
    }
    match serde_json::from_slice::<Refusal>(body).ok().filter(Refusal::is_one) {
        Some(refusal) if refusal.is_about_too_many() => too_many(refusal.said()),
        Some(refusal) if status.is_client_error() && !refusal.is_passing(status) => {
            Ok(Answer::Refused(refusal))
        }
        Some(refusal) => Err(unavailable(&format!("{status}: {}", refusal.said()))),
        None => Err(unavailable(&status.to_string())),
    }
}

impl Tokens {
    /// Reads a grant, if it is one.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(Self::can_be_shown)
    }

    /// An access token that was given out in another form, for so many seconds.
    pub(super) fn given(access_token: String, seconds: Option<i64>) -> Option<Self> {
        let expires_in = seconds.map_or(Value::Null, Value::from);
        let tokens = Self {
            access_token,
            expires_in,
            refresh_token: None,
            refresh_token_expires_in: Value::Null,
            scope: None,
        };
        Some(tokens).filter(Self::can_be_shown)
    }

    /// For the authorization header of the exchange that comes next.
    pub(super) fn expose(&self) -> &str {
        &self.access_token
    }

    /// The token is a part of a header later.
    fn can_be_shown(&self) -> bool {
        !self.access_token.is_empty() && self.access_token.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// How long the refresh token lives from now on, if Google says that its life is limited.
    pub(super) fn login_life(&self) -> Option<Duration> {
        let seconds = seconds(&self.refresh_token_expires_in)?;
        (seconds > 0.0 && seconds < LONGEST_LOGIN.as_secs_f64()).then(|| Duration::from_secs_f64(seconds))
    }

    pub(super) fn into_access_token(self, login: LoginId) -> AccessToken {
        let life = lifetime(&self.expires_in);
        AccessToken::new(self.access_token, life, login)
    }
}

/// Seconds, as a number or as text; whatever it is, the result is one that can be worked with.
fn lifetime(expires_in: &Value) -> Duration {
    let seconds = seconds(expires_in).unwrap_or(USUAL_LIFE.as_secs_f64());
    Duration::from_secs_f64(seconds.clamp(SHORTEST_LIFE.as_secs_f64(), LONGEST_LIFE.as_secs_f64()))
}

fn seconds(value: &Value) -> Option<f64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    seconds.filter(|seconds: &f64| !seconds.is_nan())
}

impl Refusal {
    fn is_one(&self) -> bool {
        self.error.is_string() || self.error.is_object()
    }

    /// The word that says why.
    pub(super) fn code(&self) -> &str {
        self.error.as_str().or_else(|| self.error["status"].as_str()).unwrap_or("an error without a name")
    }

    pub(super) fn subtype(&self) -> Option<&str> {
        self.error_subtype.as_str()
    }

    /// What a person can read.
    pub(super) fn said(&self) -> String {
        let description = self.error_description.as_str().or_else(|| self.error["message"].as_str());
        let said = match description {
            Some(description) => format!("{} ({description})", self.code()),
            None => self.code().to_owned(),
        };
        one_line(&said, SAID_LIMIT)
    }

    fn is_about_too_many(&self) -> bool {
        let code = self.code().to_ascii_lowercase();
        ["rate", "quota", "slow_down", "exhausted"].iter().any(|word| code.contains(word))
    }

    /// Google's own libraries try these again.
    fn is_passing(&self, status: StatusCode) -> bool {
        status == StatusCode::REQUEST_TIMEOUT
            || matches!(
                self.code(),
                "internal_failure"
                    | "internalError"
                    | "backendError"
                    | "server_error"
                    | "temporarily_unavailable"
            )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Body;
    use axum::extract::State;
    use axum::http::Response;
    use serde_json::json;

    use super::*;
    use crate::http::{Http, install_tls};

    /// A token endpoint on this machine that gives these answers, the last one again and again.
    #[derive(Clone)]
    pub(in crate::auth) struct Endpoint {
        pub(in crate::auth) uri: String,
        answers: Arc<Mutex<VecDeque<Canned>>>,
        meanwhile: Arc<Mutex<Option<Meanwhile>>>,
        forms: Arc<Mutex<Vec<String>>>,
    }

    /// What happens between a request and its answer.
    type Meanwhile = Box<dyn FnOnce() + Send>;
    /// Status, a header, and the body.
    type Canned = (u16, Option<(&'static str, String)>, String);

    impl Endpoint {
        pub(in crate::auth) async fn start(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
            Self::with(answers.into_iter().map(|(status, body)| (status, None, body.to_string()))).await
        }

        async fn with(answers: impl IntoIterator<Item = Canned>) -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("http://{}/token", listener.local_addr().unwrap());
            let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
            let endpoint = Self { uri, answers, meanwhile: Arc::default(), forms: Arc::default() };
            let router = Router::new().fallback(reply).with_state(endpoint.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            endpoint
        }

        /// What happens between the next request and its answer.
        pub(in crate::auth) fn before_answering(&self, what: impl FnOnce() + Send + 'static) {
            *self.meanwhile.lock().unwrap() = Some(Box::new(what));
        }

        /// The forms that were posted.
        pub(in crate::auth) fn forms(&self) -> Vec<String> {
            self.forms.lock().unwrap().clone()
        }
    }

    async fn reply(State(endpoint): State<Endpoint>, form: String) -> Response<Body> {
        endpoint.forms.lock().unwrap().push(form);
        if let Some(what) = endpoint.meanwhile.lock().unwrap().take() {
            what();
        }
        let mut answers = endpoint.answers.lock().unwrap();
        let (status, header, body) =
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
        let mut response = Response::builder().status(status);
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        response.body(body.into()).unwrap()
    }

    pub(in crate::auth) fn client() -> Api {
        install_tls();
        Http::new(Duration::from_secs(10)).unwrap().api
    }

    async fn posted(canned: Canned) -> Result<Answer, Error> {
        let endpoint = Endpoint::with([canned]).await;
        post(&client(), &endpoint.uri, &[("grant_type", "x")]).await
    }

    #[test]
    fn no_lifetime_is_beyond_reason() {
        for (expires_in, seconds) in [
            (json!(3599), 3599.0),
            (json!("3599"), 3599.0),
            (json!(3599.5), 3599.5),
            (json!(null), 3600.0),
            (json!("soon"), 3600.0),
            (json!("NaN"), 3600.0),
            (json!([1]), 3600.0),
            (json!(1_000_000_000_000_u64), 86400.0),
            (json!(u64::MAX), 86400.0),
            (json!(1e300), 86400.0),
            (json!("inf"), 86400.0),
            (json!(0), 10.0),
            (json!(-1_000_000_000_000_i64), 10.0),
            (json!("-inf"), 10.0),
        ] {
            assert_eq!(lifetime(&expires_in), Duration::from_secs_f64(seconds), "{expires_in}");
            let text = format!(r#"{{"access_token":"ya29.x","expires_in":{expires_in}}}"#);
            let Ok(Answer::Granted(tokens)) = read(StatusCode::OK, &HeaderMap::new(), text.as_bytes()) else {
                panic!("{text}")
            };
            assert!(tokens.into_access_token(LoginId::of("r")).is_fresh());
        }
    }

    #[test]
    fn only_an_end_that_can_be_meant_ends_a_login() {
        for (left, seconds) in [
            (json!(604_799), Some(604_799)),
            (json!("3600"), Some(3600)),
            (json!(null), None),
            (json!(0), None),
            (json!(-5), None),
            (json!(u64::MAX), None),
            (json!("inf"), None),
        ] {
            let text = json!({"access_token": "ya29.x", "refresh_token_expires_in": left}).to_string();
            let Ok(Answer::Granted(tokens)) = read(StatusCode::OK, &HeaderMap::new(), text.as_bytes()) else {
                panic!("{text}")
            };
            assert_eq!(tokens.login_life().map(|life| life.as_secs()), seconds, "{left}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let other = Endpoint::start([(200, json!({"access_token": "stolen"}))]).await;
        for status in [301, 302, 303, 307, 308] {
            let answer = posted((status, Some(("location", other.uri.clone())), String::new())).await;
            let Err(Error::Unavailable { why: told }) = answer else { panic!("{status} is no outage") };
            assert!(told.contains("not followed"), "{told}");
        }
        assert!(other.forms().is_empty(), "{:?}", other.forms());
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        let body = format!(r#"{{"access_token":"x","more":"{}"}}"#, "x".repeat(ANSWER_LIMIT));
        let Err(Error::Unavailable { why }) = posted((200, None, body)).await else { panic!() };
        assert!(why.contains("more than 65536 bytes"), "{why}");
    }

    #[tokio::test]
    async fn odd_answers_are_an_outage_and_refusals_are_refusals() {
        let html = "<html><h1>Sign in to the hotel</h1></html>".to_owned();
        let google = json!({"error": {"code": 403, "message": "Said\nso.", "status": "PERMISSION_DENIED"}});
        for (canned, told) in [
            ((200, None, "{}".to_owned()), "outage: the token endpoint: 200 OK without an access token"),
            ((200, None, html.clone()), "outage: the token endpoint: 200 OK without an access token"),
            (
                (200, None, r#"{"access_token":""}"#.to_owned()),
                "outage: the token endpoint: 200 OK without an access token",
            ),
            (
                (200, None, r#"{"access_token":"a\r\nb"}"#.to_owned()),
                "outage: the token endpoint: 200 OK without an access token",
            ),
            (
                (200, None, r#"{"access_token":["a"]}"#.to_owned()),
                "outage: the token endpoint: 200 OK without an access token",
            ),
            ((502, None, html.clone()), "outage: the token endpoint: 502 Bad Gateway"),
            ((400, None, html), "outage: the token endpoint: 400 Bad Request"),
            ((400, None, "{}".to_owned()), "outage: the token endpoint: 400 Bad Request"),
            ((400, None, r#"{"error":7}"#.to_owned()), "outage: the token endpoint: 400 Bad Request"),
            (
                (500, None, r#"{"error":"invalid_grant"}"#.to_owned()),
                "outage: the token endpoint: 500 Internal Server Error: invalid_grant",
            ),
            (
                (400, None, r#"{"error":"internal_failure"}"#.to_owned()),
                "outage: the token endpoint: 400 Bad Request: internal_failure",
            ),
            ((400, None, r#"{"error":"invalid_grant"}"#.to_owned()), "refused: invalid_grant"),
            (
                (400, None, r#"{"error":"invalid_grant","error_description":["?"]}"#.to_owned()),
                "refused: invalid_grant",
            ),
            ((403, None, google.to_string()), "refused: PERMISSION_DENIED (Said so.)"),
            ((429, Some(("retry-after", "7".to_owned())), "{}".to_owned()), "too many: 7"),
            ((400, None, r#"{"error":"rate_limit_exceeded"}"#.to_owned()), "too many: 30"),
        ] {
            let shown = canned.2.clone();
            let answer = match posted(canned).await {
                Ok(Answer::Granted(_)) => "granted".to_owned(),
                Ok(Answer::Refused(refusal)) => format!("refused: {}", refusal.said()),
                Err(Error::Unavailable { why }) => format!("outage: {why}"),
                Err(Error::TooMany { retry_after, .. }) => format!("too many: {}", retry_after.as_secs()),
                Err(error) => error.to_string(),
            };
            assert_eq!(answer, told, "{shown}");
        }
    }

    #[tokio::test]
    async fn the_form_arrives_as_it_was_meant() {
        let endpoint = Endpoint::start([(200, json!({"access_token": "x"}))]).await;
        let form = [("code", "4/a&b=c d+é"), ("client_id", "id")];
        assert!(post(&client(), &endpoint.uri, &form).await.is_ok());
        assert_eq!(endpoint.forms(), ["code=4%2Fa%26b%3Dc+d%2B%C3%A9&client_id=id"]);
    }
}
