//! One sequence: what the user does, what goes wrong meanwhile, and the end.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use drive_emulator::{Action, Content, Disturbance, Fault, Upload};
use sha2::{Digest, Sha256};

use super::HEALING;
use super::plain::{Fate, Folder, INBOX, Link, Plain, ROOT, Target, Video, look};
use crate::luck::Luck;
use crate::world::World;

/// Few names, so that they clash.
const NAMES: [&str; 6] = ["a.mp4", "b.mp4", "film.mov", "Film.mov", "take 1.mkv", "notes.txt"];
const FOLDERS: [&str; 3] = ["Trip", "2026", "a.mp4"];
/// Calls that may go wrong in any way.
const CALLS: [&str; 7] = [
    "changes.list",
    "changes.getStartPageToken",
    "changes.watch",
    "channels.stop",
    "files.list",
    "files.get",
    "token",
];

/// SIGTERM came before the daemon was far enough to listen for it.
const TERMINATED_EARLY: i32 = 143;

pub(super) struct Play {
    luck: Luck,
    pub(super) world: World,
    plain: Plain,
    told: Vec<String>,
    contents: u64,
    wrong_byte_spent: bool,
    seed: u64,
}

impl Play {
    pub(super) async fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let replaces = !luck.once_in(3);
        let on_update = if replaces { "replace" } else { "keep-both" };
        let config =
            format!("[sync]\npoll = \"1s\"\n[download]\nconcurrency = {}\nstall = \"1s\"", 1 + luck.below(4));
        let world = World::with_folder(&config, &format!("on_update = {on_update:?}")).await;
        let folder = |id: &str, parent| Folder { id: id.to_owned(), parent, trashed: false, visited: false };
        let folders = vec![folder(&world.drive.root_id(), None), folder(&world.inbox, Some(ROOT))];
        let plain = Plain {
            links: Vec::new(),
            folders,
            videos: Vec::new(),
            folder_names: BTreeSet::new(),
            own: std::collections::BTreeMap::new(),
            edited: BTreeSet::new(),
            replaces,
        };
        Self { luck, world, plain, told: Vec::new(), contents: 0, wrong_byte_spent: false, seed }
    }

    /// What was done, and what the daemon said to it.
    pub(super) fn story(&self) -> String {
        format!("{}\n--- log\n{}", self.told.join("\n"), self.world.log())
    }

    /// Plays it to its end and says what is wrong then.
    pub(super) async fn run(&mut self) -> Vec<String> {
        for _ in 0..self.luck.below(5) {
            self.put(true);
        }
        self.plain.note();
        self.world.start().await;
        for _ in 0..10 + self.luck.below(25) {
            if self.luck.once_in(10) {
                if let Some(wrong) = self.daemon().await {
                    return vec![wrong];
                }
            } else {
                self.step();
            }
            if self.luck.once_in(2) {
                tokio::time::sleep(Duration::from_millis(self.luck.below(400))).await;
            }
        }
        self.end().await
    }

    /// Something that somebody does, or that goes wrong.
    pub(super) fn step(&mut self) {
        match self.luck.below(18) {
            0..13 => self.user(),
            13..17 => self.trouble(),
            _ => self.destination(),
        }
        self.plain.note();
    }

    /// Faults that still wait for a call that fits are gone, and wrong bytes may come again.
    pub(super) fn clear_faults(&mut self) {
        self.world.drive.clear_faults();
        self.wrong_byte_spent = false;
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn content(&mut self) -> (Content, String) {
        self.contents += 1;
        let size = match self.luck.below(8) {
            0 => 1 + self.luck.below(3),
            1 => 400_000 + self.luck.below(2_000_000),
            _ => 1_000 + self.luck.below(60_000),
        };
        let content = Content::pattern(self.seed.wrapping_mul(1000) + self.contents, size + 8);
        let sum = Sha256::digest(content.slice(0, (size + 8) as usize));
        (content, sum.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn user(&mut self) {
        match self.luck.below(19) {
            16 | 17 => self.link(),
            18 => self.change_link(),
            0..6 => self.put(false),
            6 | 7 => self.revise(),
            8 => self.rename(),
            9 => self.relocate(),
            10 => self.bin(),
            11 => self.delete(),
            12 | 13 => self.make_folder(),
            14 => self.relocate_folder(),
            _ => self.bin_folder(),
        }
    }

    fn put(&mut self, before: bool) {
        let folders = self.plain.every_folder();
        let parent =
            if self.luck.once_in(4) { *self.luck.pick(&folders) } else { folders[folders.len() - 1] };
        let name = (*self.luck.pick(&NAMES)).to_owned();
        let (content, sum) = self.content();
        let upload = Upload::new(&self.plain.folders[parent].id, &name, content);
        let id = self.world.drive.upload(upload);
        self.tell(format!("upload {id} {name} into folder {parent} {sum}"));
        self.plain.videos.push(Video {
            id,
            parent,
            fate: Fate::There,
            wanted: !name.ends_with(".txt"),
            names: BTreeSet::from([name]),
            contents: vec![sum],
            existing: before && self.plain.inside()[parent],
            parents: BTreeSet::from([parent]),
            tampered: false,
        });
    }

    /// One of the files that still are.
    fn one(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.plain.videos.len())
            .filter(|&index| self.plain.videos[index].fate != Fate::Deleted)
            .collect();
        (!live.is_empty()).then(|| *self.luck.pick(&live))
    }

    fn revise(&mut self) {
        let Some(index) = self.one() else { return };
        let (content, sum) = self.content();
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("revise {id} {sum}"));
        self.world.drive.revise(&id, content);
        self.plain.videos[index].contents.push(sum);
        self.plain.videos[index].existing = false;
    }

    fn rename(&mut self) {
        let Some(index) = self.one() else { return };
        // What is no video stays none, so that what was noted and what is wanted cannot get mixed up.
        let wanted = self.plain.videos[index].wanted;
        let name = *self.luck.pick(&NAMES[..NAMES.len() - 1]);
        if !wanted {
            return;
        }
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("rename {id} {name}"));
        self.world.drive.rename(&id, name);
        self.plain.videos[index].names.insert(name.to_owned());
    }

    fn relocate(&mut self) {
        let Some(index) = self.one() else { return };
        let folders = self.plain.every_folder();
        let to = *self.luck.pick(&folders);
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("move {id} to folder {to}"));
        self.world.drive.move_to(&id, &self.plain.folders[to].id);
        self.plain.videos[index].parent = to;
    }

    fn bin(&mut self) {
        let Some(index) = self.one() else { return };
        let video = &mut self.plain.videos[index];
        let trashed = video.fate == Fate::There;
        video.fate = if trashed { Fate::Trashed } else { Fate::There };
        let id = video.id.clone();
        self.tell(format!("trash {id}: {trashed}"));
        if trashed { self.world.drive.trash(&id) } else { self.world.drive.untrash(&id) }
    }

    fn delete(&mut self) {
        let Some(index) = self.one() else { return };
        self.plain.videos[index].fate = Fate::Deleted;
        let id = self.plain.videos[index].id.clone();
        self.tell(format!("delete {id}"));
        self.world.drive.delete(&id);
    }

    fn make_folder(&mut self) {
        let folders = self.plain.every_folder();
        let parent = *self.luck.pick(&folders);
        let name = *self.luck.pick(&FOLDERS);
        let id = self.world.drive.folder(&self.plain.folders[parent].id, name);
        self.tell(format!("folder {} is {id} {name} in {parent}", self.plain.folders.len()));
        self.plain.folder_names.insert(name.to_owned());
        self.plain.folders.push(Folder { id, parent: Some(parent), trashed: false, visited: false });
    }

    /// One of the folders that are neither My Drive nor the watched one.
    fn one_folder(&mut self) -> Option<usize> {
        let folders: Vec<usize> = (INBOX + 1..self.plain.folders.len()).collect();
        (!folders.is_empty()).then(|| *self.luck.pick(&folders))
    }

    fn relocate_folder(&mut self) {
        let Some(index) = self.one_folder() else { return };
        let id = self.plain.folders[index].id.clone();
        if self.luck.once_in(3) {
            let name = *self.luck.pick(&FOLDERS);
            self.tell(format!("rename folder {index} {name}"));
            self.world.drive.rename(&id, name);
            self.plain.folder_names.insert(name.to_owned());
            return;
        }
        let folders = self.plain.every_folder();
        let to = *self.luck.pick(&folders);
        if self.plain.is_below(to, index) {
            return;
        }
        self.tell(format!("move folder {index} to {to}"));
        self.world.drive.move_to(&id, &self.plain.folders[to].id);
        self.plain.folders[index].parent = Some(to);
    }

    fn bin_folder(&mut self) {
        let Some(index) = self.one_folder() else { return };
        if self.plain.holds_targets(index) {
            return;
        }
        let folder = &mut self.plain.folders[index];
        folder.trashed = !folder.trashed;
        let (id, trashed) = (folder.id.clone(), folder.trashed);
        self.tell(format!("trash folder {index}: {trashed}"));
        if trashed { self.world.drive.trash(&id) } else { self.world.drive.untrash(&id) }
    }

    /// Makes a shortcut to a folder or a file.
    fn link(&mut self) {
        let folders = self.plain.every_folder();
        let parent = *self.luck.pick(&folders);
        let (target, id, name) = if self.luck.once_in(2) {
            let Some(folder) = self.one_folder() else { return };
            (Target::Folder(folder), self.plain.folders[folder].id.clone(), *self.luck.pick(&FOLDERS))
        } else {
            let Some(video) = self.one().filter(|&video| self.plain.videos[video].wanted) else { return };
            (Target::Video(video), self.plain.videos[video].id.clone(), NAMES[self.luck.below(5) as usize])
        };
        if matches!(target, Target::Video(video) if self.plain.videos[video].fate != Fate::There)
            || self.plain.is_in_bin(self.place_of(target))
        {
            return;
        }
        let link = self.world.drive.shortcut(&self.plain.folders[parent].id, name, &id);
        self.tell(format!("shortcut {link} {name} in folder {parent} to {target:?}"));
        match target {
            Target::Folder(_) => {
                self.plain.folder_names.insert(name.to_owned());
            }
            Target::Video(video) => {
                self.plain.videos[video].names.insert(name.to_owned());
            }
        }
        self.plain.links.push(Link { id: link, parent, target, trashed: false });
    }

    fn place_of(&self, target: Target) -> usize {
        match target {
            Target::Folder(folder) => folder,
            Target::Video(video) => self.plain.videos[video].parent,
        }
    }

    /// Moves a shortcut, or puts it into the bin or out of it.
    fn change_link(&mut self) {
        if self.plain.links.is_empty() {
            return;
        }
        let index = self.luck.below(self.plain.links.len() as u64) as usize;
        let folders = self.plain.every_folder();
        let to = *self.luck.pick(&folders);
        let moves = self.luck.once_in(2);
        let link = &mut self.plain.links[index];
        let id = link.id.clone();
        if moves {
            link.parent = to;
            self.world.drive.move_to(&id, &self.plain.folders[to].id);
            self.tell(format!("move shortcut {id} to folder {to}"));
            return;
        }
        link.trashed = !link.trashed;
        let trashed = link.trashed;
        if trashed {
            self.world.drive.trash(&id);
        } else {
            self.world.drive.untrash(&id);
        }
        self.tell(format!("trash shortcut {id}: {trashed}"));
    }

    /// Something goes wrong with Drive or on the way to it.
    fn trouble(&mut self) {
        let drive = self.world.drive.clone();
        let milliseconds = self.luck.below(900);
        let what = match self.luck.below(14) {
            0 => {
                drive.expire_access_tokens();
                "access tokens expire".to_owned()
            }
            1 => {
                drive.refuse_page_tokens_before_now();
                "page tokens are refused".to_owned()
            }
            2 => {
                drive.shorten_channels(Duration::from_millis(milliseconds));
                "channels end soon".to_owned()
            }
            3 => {
                let disturbances = [
                    Disturbance::Drop,
                    Disturbance::Double,
                    Disturbance::Delay(Duration::from_millis(milliseconds)),
                    Disturbance::Swap,
                ];
                let disturbance = *self.luck.pick(&disturbances);
                drive.disturb_notifications(disturbance, 1 + self.luck.below(4) as u32);
                format!("{disturbance:?}")
            }
            4 => {
                drive.set_noise(self.luck.below(3) as u32);
                drive.set_change_delay(Duration::from_millis(milliseconds));
                drive.set_processing_delay(Duration::from_millis(self.luck.below(900)));
                format!("changes come {milliseconds} ms late")
            }
            5 => {
                let (empty, notified, early) =
                    (self.luck.once_in(2), !self.luck.once_in(3), self.luck.once_in(2));
                drive.set_empty_pages(empty);
                drive.set_notifications(notified);
                drive.set_sync_before_answer(early);
                drive.set_notifications_after_stop(self.luck.below(3) as u32);
                format!("empty pages {empty}, notifications {notified}")
            }
            6 => {
                drive.set_rate(Some(300_000 + self.luck.below(3_000_000)));
                "slow".to_owned()
            }
            7..11 => self.media_fault(),
            _ => self.call_fault(),
        };
        self.tell(what);
    }

    fn refusal(&mut self) -> Action {
        let bytes = self.luck.below(600);
        match self.luck.below(9) {
            0 => Action::status(500, "internalError"),
            1 => Action::html(502),
            2 => Action::status_retry_after(429, "rateLimitExceeded", "1"),
            3 => Action::status(403, "userRateLimitExceeded"),
            4 => Action::status(401, "authError"),
            5 => Action::CutAfter { bytes },
            6 => Action::ResetAfter { bytes },
            7 => Action::AnswerLate { milliseconds: bytes },
            _ => Action::Delay { milliseconds: bytes },
        }
    }

    fn call_fault(&mut self) -> String {
        let operation = *self.luck.pick(&CALLS);
        let action = self.refusal();
        let times = 1 + self.luck.below(3) as u32;
        let told = format!("{operation} goes wrong {times} times: {action:?}");
        self.world.drive.fail(Fault::times(operation, times, action));
        told
    }

    fn media_fault(&mut self) -> String {
        let bytes = self.luck.below(50_000);
        let mut times = 1 + self.luck.below(3) as u32;
        let action = match self.luck.below(8) {
            0 => Action::StallAfter { bytes },
            1 => Action::IgnoreRange,
            2 => Action::WrongLength { by: 1 + bytes as i64 },
            3 => Action::WrongLength { by: -1 },
            4 => Action::Slow { bytes_per_second: 20_000 + bytes },
            // Wrong twice is given up, as it should be; that is another test.
            5 if !self.wrong_byte_spent => {
                (self.wrong_byte_spent, times) = (true, 1);
                Action::WrongByte { offset: 0 }
            }
            _ => self.refusal(),
        };
        let told = format!("media goes wrong {times} times: {action:?}");
        self.world.drive.fail(Fault::times("files.media", times, action));
        told
    }

    /// The user works at the destination.
    fn destination(&mut self) {
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
                self.plain.own.insert(path.clone(), crate::world::sha256(&file));
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
            let sum = crate::world::sha256(&aside);
            fs::rename(&aside, &file).unwrap();
            self.plain.edited.insert(sum);
            self.tell(format!("the user edits {path}"));
        }
    }

    /// The daemon dies, ends, or comes back.
    async fn daemon(&mut self) -> Option<String> {
        if !self.world.has_daemon() {
            self.tell("start");
            self.world.spawn();
            return None;
        }
        if !self.world.is_running() {
            return Some("the daemon has ended by itself".to_owned());
        }
        if self.luck.once_in(4) {
            self.tell("SIGTERM");
            let code = self.world.terminate().await;
            if code != 0 && code != TERMINATED_EARLY {
                return Some(format!("the daemon ends with {code}"));
            }
        } else {
            self.tell("SIGKILL");
            self.world.kill();
        }
        if !self.luck.once_in(3) {
            self.tell("start");
            self.world.spawn();
        }
        None
    }

    /// The faults are over; it has to come right by itself.
    pub(super) async fn end(&mut self) -> Vec<String> {
        let drive = self.world.drive.clone();
        drive.clear_faults();
        drive.set_rate(None);
        drive.set_noise(0);
        drive.set_change_delay(Duration::ZERO);
        drive.set_processing_delay(Duration::ZERO);
        drive.set_notifications(true);
        if !self.world.has_daemon() {
            self.world.spawn();
        }
        self.tell("the faults are over");
        let began = Instant::now();
        let mut calm = 0;
        // Idle and complete, twice, a poll apart.
        while calm < 2 {
            if !self.world.is_running() {
                return vec!["the daemon has ended by itself".to_owned()];
            }
            tokio::time::sleep(Duration::from_millis(if calm == 0 { 100 } else { 1500 })).await;
            let idle = self.world.is_idle().await;
            let there = look(&self.world.videos(), &self.world.delivered());
            let complete = idle && self.plain.missing(&there).is_empty() && self.world.parts().is_empty();
            calm = if complete { calm + 1 } else { 0 };
            if began.elapsed() > HEALING {
                let mut wrong = self.plain.wrong(&there);
                let parts = self.world.parts();
                wrong.push(format!(
                    "not right {HEALING:?} after the last fault; idle: {idle}, parts: {parts:?}"
                ));
                return wrong;
            }
        }
        self.plain.wrong(&look(&self.world.videos(), &self.world.delivered()))
    }
}
