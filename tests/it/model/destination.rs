//! What the user does at the destination, and what is asked for again.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

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
            return self.retry();
        }
        if self.disk.is_refused() {
            // The user cannot write there either.
            return self.want_again();
        }
        if choice == 0 {
            let path =
                format!("{}{}", ["", "Trip/", "2026/"][self.luck.below(3) as usize], self.luck.pick(&NAMES));
            let file = self.world.videos().join(&path);
            let bytes = format!("the user's own {}", self.contents);
            if self.make(&file, bytes.as_bytes()) {
                self.plain.own.insert(path.clone(), sha256(&file));
                self.tell(format!("the user makes {path}"));
            }
            return;
        }
        let Some((path, video)) = self.one_delivered(&there) else { return };
        let file = self.world.videos().join(&path);
        let aside = self.aside();
        if choice < 3 {
            let taken = self.take_away(&path);
            let is_to_come = choice == 2 && taken && self.redeliver(video);
            self.plain.videos[video].tampered |= !is_to_come;
        } else {
            self.plain.own.remove(&path);
            self.plain.own_links.remove(&path);
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

    /// Whatever has failed or was skipped is tried again.
    pub(super) fn retry(&mut self) {
        let said = self.ask(&["retry", "--failed", "--skipped"]);
        self.tell(format!("everything is tried again: {said:?}"));
    }

    /// The user wants to have a file again that is there.
    fn want_again(&mut self) {
        let there = look(&self.world.videos(), &self.world.delivered());
        if let Some((_, video)) = self.one_delivered(&there) {
            self.redeliver(video);
        }
    }

    /// A file of those that were delivered: its path, and the number of the video.
    pub(super) fn one_delivered(&mut self, there: &BTreeMap<String, String>) -> Option<(String, usize)> {
        let video = |sum: &String| self.plain.videos.iter().position(|video| video.contents.contains(sum));
        let delivered: Vec<(String, usize)> =
            there.iter().filter_map(|(path, sum)| Some((path.clone(), video(sum)?))).collect();
        (!delivered.is_empty()).then(|| self.luck.pick(&delivered).clone())
    }

    /// Takes a file away. The daemon may have put a newer content there meanwhile; then that one is taken.
    pub(super) fn take_away(&mut self, path: &str) -> bool {
        let taken = fs::rename(self.world.videos().join(path), self.aside()).is_ok();
        self.plain.own.remove(path);
        self.plain.own_links.remove(path);
        self.tell(format!("the user takes {path} away: {taken}"));
        taken
    }

    /// Makes a file as carefully as the daemon: nobody's file is overwritten, and it appears at once. `false`: there is one.
    pub(super) fn make(&self, file: &Path, bytes: &[u8]) -> bool {
        let beside = self.world.videos().join(".own");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&beside, bytes).unwrap();
        let made = fs::hard_link(&beside, file).is_ok();
        fs::remove_file(&beside).unwrap();
        made
    }

    /// Where the user's files are made or kept: on the disk of the destination, and hidden.
    fn aside(&self) -> PathBuf {
        self.world.videos().join(".aside")
    }

    /// The user wants to have a file again. `true`: it is in the queue.
    pub(super) fn redeliver(&mut self, video: usize) -> bool {
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
