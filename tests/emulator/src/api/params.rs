//! Query parameters as methods read them: typed, required, bounded.

use super::error::ApiError;
pub(crate) use crate::params::*;

impl Params {
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.filled(name).ok_or_else(|| ApiError::required(name))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        boolean(value).ok_or_else(|| ApiError::bad_type(name, "TYPE_BOOL", value))
    }

    /// `pageSize`: 1 and more; values above `max` are taken as `max`.
    pub(crate) fn page_size(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let value = self.get("pageSize").unwrap_or_default();
        if value.is_empty() || value.parse::<i32>().is_ok_and(|size| size > 0) {
            Ok(self.count("pageSize", default, max))
        } else {
            Err(ApiError::invalid_value("pageSize"))
        }
    }

    /// A number that has been looked at already; values above `max` are taken as `max`.
    pub(crate) fn count(&self, name: &str, default: usize, max: usize) -> usize {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(default).min(max)
    }
}

/// The words that Google's front takes for true and false, in any case.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "y" | "yes" | "1" => Some(true),
        "false" | "f" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_coerced_or_refused() {
        let size = |query| Params::parse(query).page_size(100, 1000);
        assert_eq!(size("").unwrap(), 100);
        assert_eq!(size("pageSize=5000").unwrap(), 1000);
        assert_eq!(size("pageSize=0").unwrap_err().code, 400);
        assert!(size("pageSize=NOPE").is_err());
    }
}
