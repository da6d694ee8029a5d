//! The folders: whether the account sees them, and whether it may have what is in them.

use super::drive::{Folder, is_video};
use super::facts::Facts;
use super::finding::Told;
use super::google::{blame, closed, remedy};
use crate::drive::{Error, Fault};
use crate::model::file::Kind;

pub(super) fn folders(facts: &Facts<'_>) -> Vec<Told> {
    match closed(facts) {
        Some(because) => vec![Told::not_checked(because)],
        None => {
            facts.google.folders.iter().map(|folder| visible(facts, folder).about(name(folder))).collect()
        }
    }
}

fn name(folder: &Folder) -> String {
    folder.file.as_ref().map_or_else(|_| folder.id.to_string(), |file| file.name.clone())
}

fn visible(facts: &Facts<'_>, folder: &Folder) -> Told {
    let id = &folder.id;
    let account =
        facts.google.account.iter().flatten().next().map_or("the account", |account| account.name.as_str());
    let share = format!("share the folder with {account} as Viewer at least, or correct folder.id");
    let file = match &folder.file {
        Ok(file) => file,
        Err(error) if matches!(error.fault(), Fault::NotFound | Fault::NotMember | Fault::Denied) => {
            return Told::failed(
                format!("{account} sees no folder with the id {id}: it is not shared, or the id is wrong"),
                share,
            );
        }
        Err(error) => return refused(error),
    };
    let correct = "write the id of a folder in folder.id: the last part of its address in the browser";
    match file.kind() {
        Kind::Folder => {}
        Kind::Shortcut => return Told::failed(format!("{id} is a shortcut, not a folder"), correct),
        Kind::Binary | Kind::GoogleNative => {
            return Told::failed(format!("{id} is a file ({}), not a folder", file.mime_type), correct);
        }
    }
    if file.trashed {
        return Told::failed(
            format!("{id} is in the trash"),
            "restore it in Drive, or write the id of another folder",
        );
    }
    if let Err(error) = &folder.files {
        return refused(error);
    }
    let path: Vec<&str> = folder.above.iter().map(String::as_str).chain([file.name.as_str()]).collect();
    let path = format!("{} ({id})", path.join("/"));
    if folder.is_outsider {
        return Told::warning(
            format!(
                "{path} is on a shared drive that {account} is no member of: it is polled, and Google sends no notifications"
            ),
            format!("make {account} a member of the shared drive (Viewer is enough)"),
        );
    }
    Told::ok(path)
}

fn refused(error: &Error) -> Told {
    let help = match blame(error) {
        super::google::CONNECTION => {
            error.remedy().unwrap_or("run `gdrive-webhook doctor` again in a minute").to_owned()
        }
        _ => remedy(error),
    };
    Told::failed(error.bare(), help)
}

pub(super) fn downloads(facts: &Facts<'_>) -> Vec<Told> {
    if let Some(because) = closed(facts) {
        return vec![Told::not_checked(because)];
    }
    facts.google.folders.iter().map(|folder| allowed(folder).about(format!("in {}", name(folder)))).collect()
}

fn allowed(folder: &Folder) -> Told {
    let is_usable = folder.file.as_ref().is_ok_and(|file| file.kind() == Kind::Folder && !file.trashed);
    let (true, Ok(files)) = (is_usable, &folder.files) else { return Told::not_checked("of the folder") };
    let videos: Vec<_> = files.iter().filter(|file| is_video(file)).collect();
    let forbidden = videos.iter().filter(|file| file.can_download == Some(false)).count();
    let allow = "the owner has to allow downloads: in Drive, Share, settings, \"Viewers and commenters can see the option to \
                 download, print, and copy\"; or the account has to be an editor";
    match &folder.byte {
        Some((name, Err(error))) => {
            let what = format!("{name} cannot be downloaded: {}", error.bare());
            let help = match error.fault() {
                Fault::Forbidden => remedy(error),
                Fault::Denied | Fault::NotDownloadable | Fault::NoBytes => allow.to_owned(),
                _ => error.remedy().unwrap_or("run `gdrive-webhook doctor` again in a minute").to_owned(),
            };
            match error.fault() {
                Fault::Abusive | Fault::FileQuota => Told::warning(what, help),
                _ => Told::failed(what, help),
            }
        }
        None if videos.is_empty() => Told::not_checked("there is no video in it yet"),
        None => Told::failed(format!("none of its {} videos may be downloaded", videos.len()), allow),
        Some(_) if forbidden > 0 => {
            Told::warning(format!("{forbidden} of its {} videos may not be downloaded", videos.len()), allow)
        }
        Some((name, Ok(()))) => Told::ok(format!("the first byte of {name} came")),
    }
}
