//! What the user puts at the destination before the daemon brings a file of that name.

use std::fs;
use std::os::unix::fs::symlink;

use super::play::Play;
use super::user::{Moment, NAMES};
use crate::world::sha256;

/// What lies where a file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lying {
    /// The same bytes.
    Same,
    /// Other bytes, as many.
    Other,
    /// A folder with a file of the user's.
    Folder,
    /// A link to the same bytes, outside of the destination.
    Link,
    /// The same bytes in a folder of that name, to which a link leads.
    LinkedFolder,
}

impl Play {
    /// The user puts something at the place of a file, and then the file into Drive.
    pub(super) fn beforehand(&mut self) {
        if self.disk.is_refused() {
            return self.heal();
        }
        let Some(parent) = self.one_watched() else { return };
        let lying = [Lying::Same, Lying::Same, Lying::Other, Lying::Folder, Lying::Link, Lying::LinkedFolder];
        let lying = *self.luck.pick(&lying);
        // A name of its own in half of the cases: no other file is in its way.
        let is_alone = self.luck.once_in(2);
        let (content, sum) = self.content();
        let name = if is_alone {
            format!("beforehand {}.mp4", self.contents)
        } else {
            NAMES[self.luck.below(5) as usize].to_owned()
        };
        let bytes = content.slice(0, content.size() as usize);
        let (path, made) = match lying {
            Lying::Same => (name.clone(), self.own(&name, &bytes)),
            Lying::Other => (name.clone(), self.own(&name, &vec![7; bytes.len()])),
            Lying::Folder => {
                let path = format!("{name}/own");
                let is_free = fs::symlink_metadata(self.world.videos().join(&name)).is_err();
                let made = is_free && self.own(&path, &bytes[..1]);
                (path, made)
            }
            Lying::Link => (name.clone(), self.own_link(&name, &bytes)),
            Lying::LinkedFolder => ("2026".to_owned(), self.own_linked_folder()),
        };
        self.tell(format!("the user puts {lying:?} at {path}: {made}"));
        if !made {
            return;
        }
        self.count(match lying {
            Lying::Same => "the same bytes beforehand",
            Lying::Other => "other bytes beforehand",
            Lying::Folder => "a folder beforehand",
            Lying::Link | Lying::LinkedFolder => "a link beforehand",
        });
        let parent = if lying == Lying::LinkedFolder { self.folder_in(parent, "2026") } else { parent };
        let video = self.upload(parent, name, content, sum, Moment::Now);
        self.plain.videos[video].beforehand = lying == Lying::Same && is_alone;
    }

    /// A file of the user's. `false`: something is there.
    fn own(&mut self, path: &str, bytes: &[u8]) -> bool {
        let file = self.world.videos().join(path);
        let made = self.make(&file, bytes);
        if made {
            self.plain.own.insert(path.to_owned(), sha256(&file));
        }
        made
    }

    /// A link to a file of the user's that is elsewhere.
    fn own_link(&mut self, path: &str, bytes: &[u8]) -> bool {
        let elsewhere = self.world.home().join(format!("elsewhere {}", self.contents));
        fs::write(&elsewhere, bytes).unwrap();
        let made = symlink(&elsewhere, self.world.videos().join(path)).is_ok();
        if made {
            self.plain.own.insert(path.to_owned(), sha256(&elsewhere));
            self.plain.own_links.insert(path.to_owned());
        }
        made
    }

    /// A link to a folder of the user's that is elsewhere, in the place of one that Drive has.
    fn own_linked_folder(&mut self) -> bool {
        let elsewhere = self.world.home().join("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        let made = symlink(&elsewhere, self.world.videos().join("2026")).is_ok();
        if made {
            self.plain.own_links.insert("2026".to_owned());
        }
        made
    }
}
