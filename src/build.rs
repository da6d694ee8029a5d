//! Tells the crate which commit it is built from, for `--version`: `GDRIVE_WEBHOOK_COMMIT`, else the checkout's files.
//! Without either, the version has no commit. A debug build has none: it would be rebuilt after each commit.

use std::path::{Path, PathBuf};
use std::{env, fs};

const NAME: &str = "GDRIVE_WEBHOOK_COMMIT";
/// Enough digits to identify a commit in a project of this size.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rerun-if-env-changed={NAME}");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = env::var(NAME).ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.or_else(|| is_release.then(checked_out).flatten());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit.as_deref().map(str::trim) {
        Some(commit) => format!("{version} ({})", commit.get(..DIGITS).unwrap_or(commit)),
        None => version,
    };
    println!("cargo::rustc-env=GDRIVE_WEBHOOK_VERSION={version}");
}

/// The commit that is checked out. It does not run git, which may be missing or may not trust the folder's owner.
fn checked_out() -> Option<String> {
    let git = git_directory(Path::new(".git"))?;
    let head = read(&git.join("HEAD"))?;
    let Some(reference) = head.strip_prefix("ref: ") else { return Some(head) };
    // In a linked worktree, branches are in the main worktree.
    let common = read(&git.join("commondir")).map_or_else(|| git.clone(), |path| git.join(path));
    read(&common.join(reference)).or_else(|| {
        let packed = read(&common.join("packed-refs"))?;
        let line = packed.lines().find(|line| line.ends_with(&format!(" {reference}")))?;
        line.split(' ').next().map(str::to_owned)
    })
}

/// `.git` is a directory, or in a linked worktree a file that says where it is.
fn git_directory(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    Some(PathBuf::from(fs::read_to_string(git).ok()?.trim().strip_prefix("gitdir: ")?))
}

/// A file's text. Cargo runs this script again when the file changes.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}
