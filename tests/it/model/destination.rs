//! What the user does at the destination.

use std::fs;

use super::plain::look;
use super::play::Play;
use super::user::NAMES;
use crate::world::sha256;

impl Play {
    /// The user works at the destination.
    pub(super) fn destination(&mut self) {
        let there = look(&self.world.videos(), &self.world.delivered());
        let choice = self.luck.below(3);
        if choice == 0 {
            let path =
                format!("{}{}", ["", "Trip/", "2026/"][self.luck.below(3) as usize], self.luck.pick(&NAMES));
            let file = self.world.videos().join(&path);
            let bytes = format!("the user's own {}", self.contents);
            // As careful as the daemon: nobody's file is overwritten, and it appears at once.
            let beside = self.world.home().join("own");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&beside, &bytes).unwrap();
            if fs::hard_link(&beside, &file).is_ok() {
                self.plain.own.insert(path.clone(), sha256(&file));
                self.tell(format!("the user makes {path}"));
            }
            fs::remove_file(&beside).unwrap();
            return;
        }
        let delivered: Vec<_> = there
            .iter()
            .filter(|(_, sum)| self.plain.videos.iter().any(|video| video.contents.contains(sum)))
            .collect();
        if delivered.is_empty() {
            return;
        }
        let (path, sum) = *self.luck.pick(&delivered);
        let video = self.plain.videos.iter_mut().find(|video| video.contents.contains(sum)).unwrap();
        video.tampered = true;
        let file = self.world.videos().join(path);
        let aside = self.world.home().join("aside");
        if choice == 1 {
            // The daemon may have put a newer content there meanwhile; then that one is taken.
            let taken = fs::rename(&file, &aside).is_ok();
            self.tell(format!("the user takes {path} away: {taken}"));
        } else {
            let text = format!("edited {}", self.contents);
            self.contents += 1;
            fs::write(&aside, text).unwrap();
            let sum = sha256(&aside);
            fs::rename(&aside, &file).unwrap();
            self.plain.edited.insert(sum);
            self.tell(format!("the user edits {path}"));
        }
    }
}
