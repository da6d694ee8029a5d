//! What another account lets the daemon's account see and download.

use std::time::Duration;

use drive_emulator::{Downloads, DriveRefusal, EffectEntry, MediaRefusal, PermissionLag, Role};

use super::plain::{FOREIGN, Fate, SHARED, TEAM};
use super::play::Play;

impl Play {
    /// A permission comes or goes.
    pub(super) fn permit(&mut self) {
        match self.luck.below(5) {
            0 => self.show_or_hide(SHARED),
            1 => self.show_or_hide(FOREIGN),
            2 => self.show_or_hide(TEAM),
            _ => self.allow_or_forbid_download(),
        }
    }

    /// Shares a folder with the daemon's account, or ends that; for the shared drive, its membership.
    pub(super) fn show_or_hide(&mut self, index: usize) {
        // Drive does not tell the daemon that a single item outside the watched folders is shown again.
        if self.plain.folders[index].fate == Fate::Deleted || self.plain.holds_targets(index) {
            return;
        }
        let hidden = !self.plain.folders[index].hidden;
        self.plain.folders[index].hidden = hidden;
        let (drive, id) = (self.world.drive.clone(), self.plain.folders[index].id.clone());
        let account = drive.first_user().address().to_owned();
        self.tell(format!("hide folder {index}: {hidden}"));
        match (index, hidden) {
            (TEAM, true) => drive.leave(&id, &account),
            (TEAM, false) => drive.join(&id, &account, Role::Organizer),
            (_, true) => drive.unshare(&id, &account),
            (_, false) => drive.share(&id, &account, Role::Reader),
        }
    }

    fn allow_or_forbid_download(&mut self) {
        let Some(index) = self.one() else { return };
        let video = &mut self.plain.videos[index];
        video.downloadable = !video.downloadable;
        let (id, downloadable) = (video.id.clone(), video.downloadable);
        self.tell(format!("downloads of {id}: {downloadable}"));
        let downloads = if downloadable { Downloads::Allowed } else { Downloads::Forbidden };
        self.world.drive.set_downloads(&id, downloads);
    }

    /// How Drive spreads permissions, and what it tells those who lack one.
    pub(super) fn permissions_lag(&mut self) -> String {
        let lag = PermissionLag {
            metadata: Duration::from_millis(self.luck.below(1000)),
            media: Duration::from_millis(self.luck.below(2000)),
            refusal: *self.luck.pick(&[MediaRefusal::NotFound, MediaRefusal::InsufficientFilePermissions]),
            entry: *self.luck.pick(&[EffectEntry::None, EffectEntry::Told]),
        };
        let refusal = *self.luck.pick(&[DriveRefusal::NotFound, DriveRefusal::MembershipRequired]);
        let entries = self.luck.once_in(2);
        self.world.drive.set_permission_lag(lag);
        self.world.drive.set_drive_refusal(refusal);
        self.world.drive.set_outsider_entries(entries);
        format!("{lag:?}, {refusal:?}, entries for outsiders {entries}")
    }
}
