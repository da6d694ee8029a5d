//! What the configuration names and the disk does not have, each with the line that names it.

use std::path::Path;

use super::Settings;
use super::file::in_folder;
use super::problem::{Place, Problems};
use crate::owner;

/// What is missing, or is something else. To be asked of a configuration without other mistakes.
pub fn missing(settings: &Settings) -> Option<Problems> {
    let mut problems = Problems::default();
    if let Some(path) = settings.google.credentials.as_deref().filter(|path| is_absent(path)) {
        let what = format!(
            "google.credentials: there is no file {}; download a service-account key or an OAuth client from the Google Cloud \
             console and put it there, or write the path of the one that you have",
            path.display()
        );
        problems.add(place(settings, "google.credentials"), what);
    }
    for (index, folder) in settings.folders.iter().enumerate() {
        if let Err(what) = destination(&folder.destination) {
            problems.add(
                place(settings, &in_folder(index, "destination")),
                format!("folder.destination: {what}"),
            );
        }
    }
    problems.some()
}

/// A destination is made if only its last part is missing: with more missing, its path has a slip, or a disk is not mounted.
/// `true`: it is to be made.
pub fn destination(path: &Path) -> Result<bool, String> {
    let (above, shown) = (owner::parent(path), path.display());
    if path.exists() && !path.is_dir() {
        return Err(format!("{shown} is not a directory; write the path of one"));
    }
    if !is_absent(path) {
        return Ok(false);
    }
    if is_absent(above) {
        return Err(format!(
            "{shown} does not exist, and neither does {}; correct the path, mount the disk, or make it: mkdir -p {}",
            above.display(),
            owner::shell(above)
        ));
    }
    Ok(true)
}

/// Not there for sure: what cannot be looked at is a matter of rights.
fn is_absent(path: &Path) -> bool {
    path.try_exists().is_ok_and(|exists| !exists)
}

fn place(settings: &Settings, kept_as: &str) -> Place {
    settings.lines.0.get(kept_as).cloned().unwrap_or_else(|| Place::File(settings.source.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::load_from;
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_its_line() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "").unwrap();
        std::fs::create_dir(home.path().join("videos")).unwrap();
        let told = |credentials: &str, destination: &str| {
            let text = format!(
                "[google]\ncredentials = {credentials:?}\n[[folder]]\nid = \"1a\"\ndestination = {destination:?}\n"
            );
            let settings = load_from(&text, Path::new("a.toml"), home.path(), []).unwrap();
            missing(&settings).map(|problems| problems.to_string()).unwrap_or_default()
        };
        for destination in ["videos", "new"] {
            assert_eq!(told("file", destination), "");
        }
        for (credentials, destination, expected) in [
            ("key.json", "videos", "a.toml:2: google.credentials: there is no file "),
            ("file", "file", "a.toml:5: folder.destination: "),
            ("file", "disk/videos", "; correct the path, mount the disk, or make it: mkdir -p "),
        ] {
            let said = told(credentials, destination);
            assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
        }
        assert_eq!(told("key.json", "disk/videos").lines().count(), 2);
    }
}
