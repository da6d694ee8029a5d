//! What an earlier version has left where this one does not look: it kept its database in the directory that it was
//! started in.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::Settings;
use crate::owner;

/// Says so, with the command that moves it, if the database is missing in its place and there is one in the working
/// directory. To begin anew beside it would deliver everything once more, or nothing of what is there.
pub fn left_behind(settings: &Settings) -> Option<String> {
    let here = std::env::current_dir().ok()?;
    let (path, token) = (settings.store.path(), &settings.google.token);
    let former = here.join(path.strip_prefix(&settings.state_dir).ok()?);
    // One that cannot be seen may be there: whoever opens it says why not.
    let is_missing = path.try_exists().is_ok_and(|exists| !exists);
    if !is_missing || former == path || !is_trusted(&former, settings) {
        return None;
    }
    let (place, old) = (owner::shell(&settings.state_dir), owner::shell(&former));
    let former_token = token.strip_prefix(&settings.state_dir).map(|name| here.join(name));
    let login = former_token.ok().filter(|former| is_trusted(former, settings) && !token.exists());
    let login = login.map_or(String::new(), |former| format!(" {}", owner::shell(&former)));
    Some(format!(
        "there is no database at {}, but one at {}, where earlier versions kept it; move it: \
         mkdir -p -m 0700 {place} && mv {old}*{login} {place}/",
        path.display(),
        former.display()
    ))
}

/// Whether it may be moved to where the program takes it for its own: a stranger's may not.
fn is_trusted(former: &Path, settings: &Settings) -> bool {
    let heir = owner::heir(&settings.state_dir).map(|owner| owner.uid);
    let is_ours = |uid| [0, geteuid().as_raw()].contains(&uid) || heir == Some(uid);
    former.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && is_ours(metadata.uid()))
}
