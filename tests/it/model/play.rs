//! One sequence: what the user does, what goes wrong meanwhile, and the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use drive_emulator::{PermissionLag, Role, User};

use super::HEALING;
use super::disk::Disk;
use super::plain::{FOREIGN, Fate, Folder, GIVEN, Plain, ROOT, SHARED, TEAM, look};
use super::user::Moment;
use crate::luck::Luck;
use crate::world::World;

/// SIGTERM came before the daemon was far enough to listen for it.
const TERMINATED_EARLY: i32 = 143;

/// The change logs of the daemon's account: its own and the shared drive's.
const LOGS: usize = 2;

pub(super) struct Play {
    pub(super) luck: Luck,
    /// Before the world, in whose home it is.
    pub(super) disk: Disk,
    pub(super) world: World,
    /// Another account, which shares folders with the daemon's.
    pub(super) other: User,
    pub(super) plain: Plain,
    told: Vec<String>,
    /// Contents made so far.
    pub(super) contents: u64,
    pub(super) wrong_byte_spent: bool,
    pub(super) silence_spent: bool,
    pub(super) seed: u64,
    /// How often the rarer hands were at work.
    pub(super) counts: Counts,
}

/// How often something was played.
pub(super) type Counts = BTreeMap<&'static str, u64>;

impl Play {
    pub(super) async fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let replaces = !luck.once_in(3);
        let on_update = if replaces { "replace" } else { "keep-both" };
        let config =
            format!("[sync]\npoll = \"1s\"\n[download]\nconcurrency = {}\nstall = \"1s\"", 1 + luck.below(4));
        let folder = format!("on_update = {on_update:?}");
        let mut world = if luck.once_in(2) {
            World::over_tls_with_folder(&config, &folder).await
        } else {
            World::with_folder(&config, &folder).await
        };
        world.is_bound_by_modes = true;
        let disk = Disk::over(&world.videos());
        let other = world.drive.user("olga@drive-emulator.example");
        let mut folders = given(&world, &other);
        for folder in &mut folders[ROOT + 2..] {
            folder.watched = folder.watched && luck.once_in(2);
            if folder.watched {
                let (id, destination) = (&folder.id, world.videos());
                world.add_config(&format!(
                    "[[folder]]\nid = {id:?}\ndestination = {destination:?}\non_update = {on_update:?}"
                ));
            }
        }
        let plain = Plain {
            links: Vec::new(),
            folders,
            videos: Vec::new(),
            folder_names: BTreeSet::new(),
            own: BTreeMap::new(),
            own_links: BTreeSet::new(),
            edited: BTreeSet::new(),
            replaces,
        };
        Self {
            luck,
            disk,
            world,
            other,
            plain,
            told: Vec::new(),
            contents: 0,
            wrong_byte_spent: false,
            silence_spent: false,
            seed,
            counts: Counts::new(),
        }
    }

    /// It was played.
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// What was done, and what the daemon said to it.
    pub(super) fn story(&self) -> String {
        format!("{}\n--- log\n{}", self.told.join("\n"), self.world.log())
    }

    /// Plays it to its end and says what is wrong then.
    pub(super) async fn run(&mut self) -> Vec<String> {
        for _ in 0..self.luck.below(5) {
            self.put(Moment::BeforeTheFirstRun);
        }
        self.plain.note();
        self.world.spawn();
        self.world.until_ready_within(HEALING).await;
        self.until_noted().await;
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

    /// Waits until what was there before the first run is told from what comes now: all folders are listed, and the logs
    /// were read after that.
    async fn until_noted(&self) {
        let drive = &self.world.drive;
        self.world
            .wait_for("no folder waits to be listed", HEALING, async || {
                self.world.status().await["folders"]["waiting"].as_i64() == Some(0)
            })
            .await;
        // Each log twice: a call that is under way may have begun before.
        let before = drive.count("changes.list");
        self.world
            .wait_for("the logs are read again", HEALING, async || {
                drive.count("changes.list") >= before + 2 * LOGS
            })
            .await;
    }

    /// Something that somebody does, or that goes wrong.
    pub(super) fn step(&mut self) {
        match self.luck.below(25) {
            0..13 => self.user(),
            13..17 => self.trouble(),
            17 => self.clean(),
            18..21 => self.beforehand(),
            21 | 22 => self.refuse(),
            _ => self.destination(),
        }
        self.plain.note();
    }

    /// Faults that still wait for a call that fits are gone, and wrong bytes may come again.
    pub(super) fn clear_faults(&mut self) {
        self.world.drive.clear_faults();
        self.wrong_byte_spent = false;
    }

    pub(super) fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    /// The daemon dies, ends, or comes back.
    async fn daemon(&mut self) -> Option<String> {
        if !self.world.has_daemon() {
            self.start();
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
            self.start();
        }
        None
    }

    /// Starts the daemon. Now and then one of its next moves to a place cannot be made durable.
    fn start(&mut self) {
        let count = 1 + self.luck.below(3);
        if self.luck.once_in(3) {
            self.tell(format!("start, and move {count} fails"));
            self.world.spawn_with(&[("GDRIVE_WEBHOOK_FAIL_AT", &format!("moved:{count}"))]);
        } else {
            self.tell("start");
            self.world.spawn();
        }
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
        drive.set_listing_lag(Duration::ZERO);
        drive.set_removal_lag(Duration::ZERO);
        drive.set_permission_lag(PermissionLag::default());
        for folder in [TEAM, SHARED, FOREIGN] {
            if self.plain.folders[folder].hidden && !self.luck.once_in(3) {
                self.show_or_hide(folder);
            }
        }
        self.heal();
        if !self.world.has_daemon() {
            self.world.spawn();
        }
        self.plain.note();
        self.tell("the faults are over");
        let began = Instant::now();
        let mut calm = 0;
        // Idle and complete, twice, a poll apart.
        while calm < 2 {
            if !self.world.is_running() {
                return vec!["the daemon has ended by itself".to_owned()];
            }
            tokio::time::sleep(Duration::from_millis(if calm == 0 { 100 } else { 1500 })).await;
            let idle = self.world.is_idle_but_for(self.plain.hidden() as i64).await;
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
        let mut wrong = self.plain.wrong(&look(&self.world.videos(), &self.world.delivered()));
        wrong.extend(self.audit().await);
        wrong
    }
}

/// The folders that are there from the beginning, in the order of their numbers.
fn given(world: &World, other: &User) -> Vec<Folder> {
    let folder = |id: String, parent, watched| Folder {
        id,
        parent,
        fate: Fate::There,
        hidden: false,
        watched,
        visited: false,
    };
    let (drive, account) = (&world.drive, world.drive.first_user());
    let team = drive.shared_drive("Team");
    let team_inbox = drive.folder(&team, "Team inbox");
    let shared = other.folder(&other.root_id(), "Shared");
    let foreign = other.folder(&other.shared_drive("Foreign"), "Foreign inbox");
    for id in [&shared, &foreign] {
        drive.share(id, account.address(), Role::Reader);
    }
    let private = other.folder(&other.root_id(), "Private");
    let folders = vec![
        folder(drive.root_id(), None, false),
        folder(world.inbox.clone(), Some(ROOT), true),
        folder(team, None, false),
        folder(team_inbox, Some(TEAM), true),
        folder(shared, None, true),
        folder(foreign, None, true),
        Folder { hidden: true, ..folder(private, None, false) },
    ];
    assert_eq!(folders.len(), GIVEN);
    folders
}
