//! Google's error envelope.

use serde_json::{Value, json};

/// An error as Google writes it. What clients branch on is the code and the reason.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) message: String,
    rest: Box<Rest>,
}

#[derive(Clone, Debug, Default)]
struct Rest {
    reason: String,
    domain: Option<&'static str>,
    location: Option<(String, &'static str)>,
    /// The text inside `errors`, where it differs from the outer one.
    inner_message: Option<&'static str>,
    status: Option<&'static str>,
    details: Option<Value>,
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let domain = Some(domain_of(reason));
        let rest = Rest { reason: reason.to_owned(), domain, ..Rest::default() };
        Self { code, message: message.into(), rest: Box::new(rest) }
    }

    pub(crate) fn at_parameter(mut self, name: &str) -> Self {
        self.rest.location = Some((name.to_owned(), "parameter"));
        self
    }

    pub(crate) fn at_header(mut self, name: &str) -> Self {
        self.rest.location = Some((name.to_owned(), "header"));
        self
    }

    pub(crate) fn inner_message(mut self, message: &'static str) -> Self {
        self.rest.inner_message = Some(message);
        self
    }

    pub(crate) fn status(mut self, status: &'static str) -> Self {
        self.rest.status = Some(status);
        self
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.rest.details = Some(details);
        self
    }

    pub(crate) fn file_not_found(id: &str) -> Self {
        Self::new(404, "notFound", format!("File not found: {id}.")).at_parameter("fileId")
    }

    pub(crate) fn required(name: &str) -> Self {
        Self::new(400, "required", format!("Required parameter: {name}")).at_parameter(name)
    }

    pub(crate) fn invalid_value(name: &str) -> Self {
        Self::new(400, "invalid", "Invalid Value").at_parameter(name)
    }

    /// What makes no sense to Drive itself.
    pub(crate) fn bad_request(text: &str) -> Self {
        Self::new(400, "badRequest", text)
    }

    /// A method that Google's Drive has and this one does not.
    pub(crate) fn not_emulated(method: &str) -> Self {
        Self::new(501, "notImplemented", format!("The emulator does not have {method}."))
    }

    /// A value that is not of its parameter's type.
    pub(crate) fn bad_type(name: &str, kind: &str, value: &str) -> Self {
        let field = snake_case(name);
        let text = format!("Invalid value at '{field}' ({kind}), \"{value}\"");
        Self::front(&field, text)
    }

    /// A name in the query that the method does not have.
    pub(crate) fn unknown_parameter(name: &str) -> Self {
        let text = format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' could \
             not be found in request message."
        );
        Self::front("", text)
    }

    /// A name in the body that the resource, or its member at `path`, does not have.
    pub(crate) fn unknown_member(name: &str, path: &str) -> Self {
        let field = snake_case(path);
        let at = if field.is_empty() { String::new() } else { format!(" at '{field}'") };
        let text = format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.");
        Self::front(&field, text)
    }

    /// What Google's front refuses by itself: with `fieldViolations`, and without a domain.
    fn front(field: &str, text: String) -> Self {
        let mut violation = json!({"description": text});
        if !field.is_empty() {
            violation["field"] = json!(field);
        }
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [violation],
        }]);
        let mut error = Self::new(400, "invalid", text).status("INVALID_ARGUMENT").details(details);
        error.rest.domain = None;
        error
    }

    /// What a fault asks for: any code and reason, with the text and the details that usually go with it.
    pub(crate) fn of_reason(code: u16, reason: &str, message: Option<String>) -> Self {
        let mut error = Self::new(code, reason, message.unwrap_or_else(|| usual_message(reason)));
        match reason {
            "authError" => {
                error = error
                    .at_header("Authorization")
                    .inner_message("Invalid Credentials")
                    .status("UNAUTHENTICATED");
            }
            "rateLimitExceeded" => {
                error.rest.details = Some(json!([{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "RATE_LIMIT_EXCEEDED",
                    "domain": "googleapis.com",
                    "metadata": {
                        "quota_limit": "defaultPerMinutePerProject",
                        "quota_metric": "drive.googleapis.com/default",
                        "service": "drive.googleapis.com",
                    },
                }]));
                error.rest.status =
                    Some(if code == 429 { "RESOURCE_EXHAUSTED" } else { "PERMISSION_DENIED" });
            }
            "invalid" => error = error.at_parameter("pageToken"),
            "fileNotDownloadable" => error = error.at_parameter("alt"),
            "notFound" => error = error.at_parameter("fileId"),
            _ => {}
        }
        error
    }

    /// The body, always indented, with a newline at its end and without angle brackets.
    pub(crate) fn body(&self) -> String {
        let mut inner = serde_json::Map::new();
        inner.insert("message".into(), self.rest.inner_message.unwrap_or(&self.message).into());
        if let Some(domain) = self.rest.domain {
            inner.insert("domain".into(), domain.into());
        }
        inner.insert("reason".into(), self.rest.reason.as_str().into());
        if let Some((location, kind)) = &self.rest.location {
            inner.insert("location".into(), location.as_str().into());
            inner.insert("locationType".into(), (*kind).into());
        }
        let mut error = json!({"code": self.code, "message": self.message, "errors": [inner]});
        if let Some(status) = self.rest.status {
            error["status"] = status.into();
        }
        if let Some(details) = &self.rest.details {
            error["details"] = details.clone();
        }
        format!("{:#}\n", json!({"error": error})).replace('<', "\\u003c").replace('>', "\\u003e")
    }
}

fn domain_of(reason: &str) -> &'static str {
    let usage = reason.ends_with("LimitExceeded") && !reason.starts_with("sharing");
    if usage || matches!(reason, "accessNotConfigured" | "downloadQuotaExceeded") {
        "usageLimits"
    } else {
        "global"
    }
}

fn usual_message(reason: &str) -> String {
    match reason {
        "authError" => {
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
             valid authentication credential. See \
             https://developers.google.com/identity/sign-in/web/devconsole-project."
        }
        "userRateLimitExceeded" => "User Rate Limit Exceeded",
        "rateLimitExceeded" => "Rate Limit Exceeded",
        "dailyLimitExceeded" => "Daily Limit Exceeded",
        "backendError" => "Backend Error",
        "internalError" => "Internal Error",
        "invalid" => "Invalid Value",
        "notFound" => "File not found: .",
        "downloadQuotaExceeded" => "The download quota for this file has been exceeded.",
        "cannotDownloadAbusiveFile" => {
            "This file has been identified as malware or spam and cannot be downloaded."
        }
        "cannotDownloadFile" => "This file cannot be downloaded by the user.",
        "fileNotDownloadable" => {
            "Only files with binary content can be directly downloaded. Use Export with Docs Editors files."
        }
        "pageTokenExpired" => "The specified page token has expired, and can no longer be used.",
        "insufficientFilePermissions" => "The user does not have sufficient permissions for this file.",
        "insufficientPermissions" => "Request had insufficient authentication scopes.",
        "subscriptionRateLimitExceeded" => "Rate limit for creating subscriptions exceeded.",
        other => other,
    }
    .to_owned()
}

/// A parameter's name as errors about its value write it.
pub(crate) fn snake_case(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}
