//! A move that overwrites nothing, on every file system.

use rustix::io::Errno;

use super::calls;
use super::place::Place;

/// One rename that refuses to overwrite. Where the file system has no such rename, a second link does the same in two
/// steps; where it has no links either, a look before the rename has to do.
pub(super) fn move_new(from: &Place, to: &Place) -> Result<(), Errno> {
    match calls::rename_new(from, to) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        done => return done,
    }
    let moved = from.stat()?.ok_or(Errno::NOENT)?;
    // A client of NFS asks again when a reply was lost, and the server then says what it has done itself.
    let is_there = || {
        let found = to.stat()?;
        Ok(found.is_some_and(|found| (found.st_dev, found.st_ino) == (moved.st_dev, moved.st_ino)))
    };
    match calls::link(from, to) {
        Ok(()) => return from.remove(),
        Err(Errno::EXIST) if is_there()? => return from.remove(),
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {}
        Err(errno) => return Err(errno),
    }
    match to.stat()? {
        Some(_) => Err(Errno::EXIST),
        None => match calls::rename(from, to) {
            Err(Errno::NOENT) if is_there()? => Ok(()),
            outcome => outcome,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::calls::Call;
    use super::super::calls::faults::inject;
    use super::*;

    fn places(home: &Path) -> (Place, Place) {
        let folder = Arc::new(fs::File::open(home).unwrap().into());
        fs::write(home.join("from"), "new").unwrap();
        (Place::new(&folder, "from"), Place::new(&folder, "to"))
    }

    #[test]
    fn nothing_is_overwritten_whatever_the_file_system_lacks() {
        for lacks in [vec![], vec![Call::RenameNew], vec![Call::RenameNew, Call::Link]] {
            for (there, outcome, left) in [(None, Ok(()), "new"), (Some("mine"), Err(Errno::EXIST), "mine")] {
                let home = tempfile::tempdir().unwrap();
                let (from, to) = places(home.path());
                if let Some(there) = there {
                    fs::write(home.path().join("to"), there).unwrap();
                }
                let lacking = lacks.clone();
                let _injected = inject(move |call, _, _| match call {
                    Call::RenameNew if lacking.contains(&call) => Err(Errno::INVAL),
                    Call::Link if lacking.contains(&call) => Err(Errno::PERM),
                    _ => Ok(()),
                });
                assert_eq!(move_new(&from, &to), outcome, "{lacks:?}");
                assert_eq!(fs::read_to_string(home.path().join("to")).unwrap(), left);
                assert_eq!(from.stat().unwrap().is_some(), there.is_some(), "one name, and not two");
            }
        }
    }

    #[test]
    fn a_lost_reply_of_the_server_is_no_failure() {
        for lost in [Call::Link, Call::Rename] {
            let home = tempfile::tempdir().unwrap();
            let (from, to) = places(home.path());
            let (first, second) = (from.clone(), to.clone());
            // The server has done it, and says so to the second request only.
            let _injected = inject(move |call, _, _| match call {
                Call::RenameNew => Err(Errno::INVAL),
                Call::Link if lost == Call::Rename => Err(Errno::PERM),
                Call::Link => super::super::calls::link(&first, &second).and(Err(Errno::EXIST)),
                Call::Rename => super::super::calls::rename(&first, &second).and(Err(Errno::NOENT)),
                _ => Ok(()),
            });
            assert_eq!(move_new(&from, &to), Ok(()), "{lost:?}");
            assert_eq!(fs::read_to_string(home.path().join("to")).unwrap(), "new");
            assert!(from.stat().unwrap().is_none());
        }
    }

    #[test]
    fn the_same_name_for_another_file_is_no_lost_reply() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = places(home.path());
        let theirs = home.path().join("to");
        let _injected = inject(move |call, _, _| match call {
            Call::RenameNew => Err(Errno::INVAL),
            Call::Link => {
                fs::write(&theirs, "mine").unwrap();
                Ok(())
            }
            _ => Ok(()),
        });
        assert_eq!(move_new(&from, &to), Err(Errno::EXIST));
        assert_eq!(fs::read_to_string(home.path().join("to")).unwrap(), "mine");
    }
}
