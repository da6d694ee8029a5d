//! Whose a destination is: the second line of its marker names the database, and a lock keeps other daemons out.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::lock::{self, Claimant, Taken};
use super::marker::{self, Seen};
use super::{Error, Local};
use crate::model::DeliveryId;
use crate::owner::Absent;

/// A part that the database does not know may be another one's, or that of a database that is lost.
const FOREIGN_KEPT: Duration = Duration::from_hours(30 * 24);

impl Local {
    /// Takes the destination for a database, as long as this value or a clone of it lives. What another database has left
    /// is taken over, unless its daemon is at work.
    pub(super) fn claim(mut self, by: &Claimant) -> Result<Self, Error> {
        let fail = |source| Error::io("lock", self.root.clone(), source);
        let file = self.spool.folder().open(lock::NAME, Absent::Make).map_err(fail)?;
        self.lock = match lock::take(file, by, &self.root).map_err(fail)? {
            Taken::Ours(lock) => Some(lock),
            Taken::Unlocked => None,
            Taken::Theirs(who) => return Err(Error::InUse { path: self.root, who }),
        };
        self.claimed_by = Some(by.id.clone());
        match marker::read(self.spool.folder()).map_err(fail)? {
            Seen::Marker(marker, user) if marker == *self.marker() && user != self.claimed_by => {
                if user.is_some() {
                    taken_over(&self.root);
                }
                self.write_marker()?;
            }
            Seen::Marker(..) | Seen::Nothing | Seen::Empty => {}
        }
        Ok(self)
    }

    /// Whether nobody has used the part of a delivery for so long that nobody will. For parts that the database does not
    /// know.
    pub(super) fn is_forgotten(&self, id: &DeliveryId) -> Result<bool, Error> {
        let fail = |source| Error::io("look at the unfinished downloads in", self.root.clone(), source);
        let used = self.last_used(id).map_err(fail)?;
        let age = used.and_then(|used| SystemTime::now().duration_since(used).ok());
        Ok(age.is_some_and(|age| age > FOREIGN_KEPT))
    }

    /// When something of this delivery was written last.
    fn last_used(&self, id: &DeliveryId) -> io::Result<Option<SystemTime>> {
        let (folder, mut latest) = (self.spool.folder(), None);
        for name in folder.names()? {
            if name.split_once('.').is_some_and(|(stem, _)| stem == id.as_str())
                && let Some(stat) = folder.stat(&name)?
            {
                let since = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
                latest = latest.max(UNIX_EPOCH.checked_add(since));
            }
        }
        Ok(latest)
    }
}

/// Once for each destination: two daemons that take turns would say it again and again.
fn taken_over(root: &Path) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(root.to_owned()) {
        warn!(
            path = %root.display(),
            "this destination was last used with another database; it is used with this one from now on, and unfinished downloads \
             that this one does not know stay for 30 days. If another daemon delivers to it, give each a destination of its own"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::destination::Rights;
    use crate::destination::publish::tests::{id, part};

    fn claimant(id: &str) -> Claimant {
        Claimant { id: id.to_owned(), path: format!("/var/lib/{id}/state.db").into() }
    }

    fn open(root: &Path) -> Local {
        Local::open(root, None, Rights::default()).unwrap()
    }

    #[test]
    fn one_database_at_a_time_uses_a_destination() {
        let home = tempfile::tempdir().unwrap();
        let first = open(home.path()).claim(&claimant("first")).unwrap();
        let again = open(home.path()).claim(&claimant("first")).unwrap();
        drop(first);
        let refused = open(home.path()).claim(&claimant("second")).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("/var/lib/first/state.db") && said.contains("destination"), "{said}");
        let marker = home.path().join(crate::spool::HIDDEN).join("marker");
        assert_eq!(
            fs::read_to_string(&marker).unwrap().lines().nth(1),
            Some("first"),
            "nothing was taken over"
        );
        drop(again);
        let second = open(home.path()).claim(&claimant("second")).unwrap();
        assert_eq!(fs::read_to_string(&marker).unwrap().lines().nth(1), Some("second"));
        second.check().unwrap();
        let known = Local::open(home.path(), Some(second.marker()), Rights::default()).unwrap();
        assert!(known.claim(&claimant("first")).is_err(), "the other way round as well");
    }

    #[test]
    fn another_process_is_kept_out_until_it_ends() {
        let home = tempfile::tempdir().unwrap();
        let place = open(home.path());
        let path = home.path().join(crate::spool::HIDDEN).join(lock::NAME);
        // Another open file, as another process has it.
        let theirs = File::create(&path).unwrap();
        theirs.try_lock().unwrap();
        let refused = place.clone().claim(&claimant("first")).unwrap_err();
        assert!(refused.to_string().contains("another daemon"), "{refused}");
        drop(theirs);
        place.claim(&claimant("first")).unwrap();
    }

    #[test]
    fn an_older_marker_and_a_new_one_get_the_name_of_the_database() {
        let home = tempfile::tempdir().unwrap();
        let place = open(home.path()).claim(&claimant("first")).unwrap();
        let anew = Local::anew(home.path(), Rights::default()).unwrap().claim(&claimant("first")).unwrap();
        anew.mark().unwrap();
        assert!(place.check().is_err(), "it has another marker now");
        let marker = home.path().join(crate::spool::HIDDEN).join("marker");
        let text = fs::read_to_string(&marker).unwrap();
        assert_eq!(text, format!("{}\nfirst\n", anew.marker().as_str()));
        // As an older version has written it.
        fs::write(&marker, format!("{}\n", anew.marker().as_str())).unwrap();
        anew.check().unwrap();
        let known = Local::open(home.path(), Some(anew.marker()), Rights::default()).unwrap();
        known.claim(&claimant("first")).unwrap();
        assert_eq!(fs::read_to_string(&marker).unwrap(), text);
    }

    #[test]
    fn the_marker_of_another_disk_is_not_taken_for_this_ones() {
        let [home, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (here, there) = (open(home.path()), open(other.path()));
        let opened = Local::open(home.path(), Some(there.marker()), Rights::default());
        assert!(matches!(opened, Err(Error::NotMounted { .. })));
        let marker = |home: &Path| home.join(crate::spool::HIDDEN).join("marker");
        fs::copy(marker(other.path()), marker(home.path())).unwrap();
        assert!(matches!(here.check(), Err(Error::NotMounted { .. })), "another disk is mounted by now");
    }

    #[tokio::test]
    async fn a_part_is_forgotten_when_nothing_of_it_was_written_for_thirty_days() {
        let home = tempfile::tempdir().unwrap();
        let place = open(home.path());
        let part = part(&place, "d1", b"new").await;
        assert!(!place.is_forgotten(&id("d1")).unwrap());
        let old = SystemTime::now() - FOREIGN_KEPT - Duration::from_mins(1);
        File::options().write(true).open(part.path()).unwrap().set_modified(old).unwrap();
        assert!(place.is_forgotten(&id("d1")).unwrap());
        let ranges = part.path().with_extension("ranges");
        fs::write(&ranges, "").unwrap();
        assert!(!place.is_forgotten(&id("d1")).unwrap(), "somebody still works on it");
        assert!(!place.is_forgotten(&id("d2")).unwrap());
    }
}
