//! One request as the methods see it, and the shape of its answer.

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::Value;

use super::error::ApiError;
use super::mask::Mask;
use super::params::Params;
use super::route::Route;
use crate::serve::body::Reply;

pub(crate) type Answer = Result<Reply, ApiError>;

/// A request as operations see it.
pub(crate) struct Call {
    pub(crate) params: Params,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) verb: Method,
    pub(crate) route: Route,
    /// A fault wants the `Range` header overlooked.
    pub(crate) ignore_range: bool,
    /// A fault wants the consent page to refuse with this error.
    pub(crate) refuse_consent: Option<String>,
}

impl Call {
    /// The id in the path; operations that have none are not routed with one.
    pub(crate) fn id(&self) -> &str {
        self.route.id.as_deref().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A JSON answer under the client's `fields`, or the API's default selection.
    pub(crate) fn answer(&self, value: Value, kind: &str, default: &str) -> Result<Reply, ApiError> {
        let mask = Mask::parse(self.params.get("fields").unwrap_or(default), kind)?;
        let value = mask.apply(value);
        let compact = matches!(self.params.get("prettyPrint"), Some("false" | "0"));
        Ok(Reply::json(200, if compact { value.to_string() } else { format!("{value:#}\n") }))
    }

    /// Whether `spaces` has My Drive and the shared drives in it; the app's own folder has nothing in it.
    pub(crate) fn is_about_drive(&self) -> bool {
        let spaces = self.params.filled("spaces");
        spaces.is_none_or(|spaces| spaces.split(',').any(|space| space.trim() == "drive"))
    }

    /// Fails early on a `fields` that could not be answered, before anything is changed.
    pub(crate) fn check_mask(&self, kind: &str) -> Result<(), ApiError> {
        self.params.get("fields").map_or(Ok(()), |fields| Mask::parse(fields, kind).map(drop))
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        Self::json(error.code, error.body())
    }
}
