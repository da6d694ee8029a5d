//! The type Drive gives to a file whose uploader named none.

/// A folder has this type.
pub(crate) const FOLDER: &str = "application/vnd.google-apps.folder";
/// A shortcut has this type.
pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// Everything under this prefix is Google's own and has no bytes to download.
pub(crate) const GOOGLE: &str = "application/vnd.google-apps.";

/// By the extension alone; unknown ones are `application/octet-stream`.
pub(crate) fn of_name(name: &str) -> &'static str {
    match extension(name).unwrap_or_default().to_ascii_lowercase().as_str() {
        "mp4" | "m4v" => "video/mp4",
        "mov" | "qt" => "video/quicktime",
        "webm" => "video/webm",
        "avi" => "video/x-msvideo",
        "mkv" => "video/x-matroska",
        "mpg" | "mpeg" => "video/mpeg",
        "wmv" => "video/x-ms-wmv",
        "flv" => "video/x-flv",
        "3gp" => "video/3gpp",
        "m2ts" | "mts" => "video/mp2t",
        // What a table of desktop types says, and what uploads of transport streams really get.
        "ts" => "text/vnd.qt.linguist",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "csv" => "text/csv",
        "json" => "application/json",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

/// What follows the last dot of a name that has something before it.
pub(crate) fn extension(name: &str) -> Option<&str> {
    name.rsplit_once('.')
        .filter(|(stem, extension)| !stem.is_empty() && !extension.is_empty())
        .map(|(_, e)| e)
}
