//! Which methods of the discovery document this emulator has, and what answers them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::Handler::{Change, Own, Read};
use super::call::{Answer, Call};
use super::{about, changes, channels, drives, files, items, media, permissions, upload};
use crate::inner::Inner;
use crate::world::World;

/// What answers a method.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Looks at the Drive.
    Read(fn(&World, &Call) -> Answer),
    /// Changes the Drive.
    Change(fn(&mut World, &Call) -> Answer),
    /// Takes the lock by itself, since there is something to be done without it.
    Own(for<'a> fn(&'a Arc<Inner>, &'a Call) -> BoxFuture<'a, Answer>),
}

/// By the method's id; bytes of a file have a line of their own.
const SERVED: &[(&str, Handler)] = &[
    ("about.get", Read(about::get)),
    ("changes.getStartPageToken", Read(changes::start_page_token)),
    ("changes.list", Read(changes::list)),
    ("changes.watch", Own(|inner, call| Box::pin(channels::watch_changes(inner, call)))),
    ("channels.stop", Change(channels::stop)),
    ("drives.create", Change(drives::create)),
    ("drives.delete", Change(drives::delete)),
    ("drives.get", Read(drives::get)),
    ("drives.list", Read(drives::list)),
    ("drives.update", Change(drives::update)),
    ("files.copy", Own(|inner, call| Box::pin(async { items::copy(inner, call) }))),
    ("files.create", Own(|inner, call| Box::pin(upload::write(inner, call)))),
    ("files.delete", Change(items::delete)),
    ("files.emptyTrash", Change(items::empty_trash)),
    ("files.generateIds", Read(items::generate_ids)),
    ("files.get", Read(files::get)),
    ("files.list", Change(files::list)),
    ("files.media", Read(media::get)),
    ("files.update", Own(|inner, call| Box::pin(upload::write(inner, call)))),
    ("files.watch", Own(|inner, call| Box::pin(channels::watch_file(inner, call)))),
    ("permissions.create", Change(permissions::create)),
    ("permissions.delete", Change(permissions::delete)),
    ("permissions.get", Read(permissions::get)),
    ("permissions.list", Read(permissions::list)),
    ("permissions.update", Change(permissions::update)),
];

/// What answers the method of that name, if the emulator has it.
pub(crate) fn handler(name: &str) -> Option<Handler> {
    SERVED.iter().find(|(served, _)| *served == name).map(|(_, handler)| *handler)
}

#[cfg(test)]
mod tests {
    use super::super::discovery;
    use super::*;

    #[test]
    fn every_served_method_is_the_documents() {
        for (name, _) in SERVED.iter().filter(|(name, _)| *name != "files.media") {
            assert!(discovery::method(name).is_some(), "{name}");
        }
    }
}
