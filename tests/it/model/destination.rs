//! What the user does at the destination, and what is asked for again.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};

use serde_json::Value;

use super::plain::look;
use super::play::Play;
use super::user::NAMES;
use crate::world::{sha256, text};

impl Play {
    /// The user works at the destination.
    pub(super) fn destination(&mut self) {
        let there = look(&self.world.videos(), &self.world.delivered());
        let choice = self.luck.below(5);
        if choice == 4 {
            let said = self.ask(&["retry", "--failed", "--skipped"]);
            return self.tell(format!("everything is tried again: {said:?}"));
        }
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
        let video = self.plain.videos.iter().position(|video| video.contents.contains(sum)).unwrap();
        let file = self.world.videos().join(path);
        let aside = self.world.home().join("aside");
        if choice < 3 {
            // The daemon may have put a newer content there meanwhile; then that one is taken.
            let taken = fs::rename(&file, &aside).is_ok();
            self.tell(format!("the user takes {path} away: {taken}"));
            let is_to_come = choice == 2 && taken && self.redeliver(video);
            self.plain.videos[video].tampered |= !is_to_come;
        } else {
            self.plain.videos[video].tampered = true;
            let text = format!("edited {}", self.contents);
            self.contents += 1;
            fs::write(&aside, text).unwrap();
            let sum = sha256(&aside);
            fs::rename(&aside, &file).unwrap();
            self.plain.edited.insert(sum);
            self.tell(format!("the user edits {path}"));
        }
    }

    /// The user wants to have a file again. `true`: it is in the queue.
    fn redeliver(&mut self, video: usize) -> bool {
        let file_id = self.plain.videos[video].id.clone();
        let Some(history) = self.ask(&["history", "--json", "--limit", "1000"]) else { return false };
        let history: Value = serde_json::from_str(&history).unwrap();
        let is_it = |past: &&Value| past["file_id"] == file_id.as_str() && past["stage"] == "done";
        let Some(id) = history["deliveries"].as_array().unwrap().iter().find(is_it) else { return false };
        let said = self.ask(&["redeliver", id["id"].as_str().unwrap()]).unwrap_or_default();
        self.tell(format!("the user wants {file_id} again: {said}"));
        said.contains("in the queue again")
    }

    /// What a command says that asks the daemon, or the database of one that is stopped. `None`: the daemon is starting or
    /// has died, and the command would be in its way.
    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let answers = TcpStream::connect((Ipv4Addr::LOCALHOST, self.world.private)).is_ok();
        let ask = || self.world.command(arguments).output().unwrap();
        (answers || !self.world.has_daemon()).then(|| text(&tokio::task::block_in_place(ask).stdout))
    }
}
