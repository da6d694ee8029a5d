//! The calls that move files, make folders and make them durable. They are here so that tests can have each of them fail as
//! on file systems that are not at hand.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{self as sys, AtFlags, RenameFlags};
use rustix::io::Errno;

use super::place::Place;
use crate::owner;

/// A rename that overwrites nothing.
pub(super) fn rename_new(from: &Place, to: &Place) -> Result<(), Errno> {
    before(Call::RenameNew, &from.name, &to.name)?;
    sys::renameat_with(&from.directory, &from.name, &to.directory, &to.name, RenameFlags::NOREPLACE)
}

/// Two files change their places in one step.
pub(super) fn exchange(from: &Place, to: &Place) -> Result<(), Errno> {
    before(Call::Exchange, &from.name, &to.name)?;
    sys::renameat_with(&from.directory, &from.name, &to.directory, &to.name, RenameFlags::EXCHANGE)
}

/// A rename that overwrites what is there.
pub(super) fn rename(from: &Place, to: &Place) -> Result<(), Errno> {
    before(Call::Rename, &from.name, &to.name)?;
    sys::renameat(&from.directory, &from.name, &to.directory, &to.name)
}

/// A second name.
pub(super) fn link(from: &Place, to: &Place) -> Result<(), Errno> {
    before(Call::Link, &from.name, &to.name)?;
    sys::linkat(&from.directory, &from.name, &to.directory, &to.name, AtFlags::empty())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    owner::durable(before(Call::SyncFolder, "", "").and_then(|()| sys::fsync(folder)))
}

/// Begins to read a file.
pub(super) fn read(from: &Place) -> Result<File, Errno> {
    before(Call::Read, &from.name, "")?;
    from.open()
}

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    RenameNew,
    Exchange,
    Rename,
    Link,
    SyncFolder,
    MakeFolder,
    Read,
}

/// Nothing, outside tests.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have it fail")]
pub(super) fn before(_: Call, _: &str, _: &str) -> Result<(), Errno> {
    Ok(())
}

#[cfg(test)]
pub(super) use faults::before;

/// Errors of file systems that are not at hand.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::RefCell;

    use super::{Call, Errno};

    type Rule = Box<dyn FnMut(Call, &str, &str) -> Result<(), Errno>>;

    thread_local! {
        static RULE: RefCell<Option<Rule>> = const { RefCell::new(None) };
    }

    /// Whatever this thread calls is asked first, with the old name and the new one, until the guard is dropped.
    pub(in crate::destination) fn inject(
        rule: impl FnMut(Call, &str, &str) -> Result<(), Errno> + 'static,
    ) -> Injected {
        RULE.set(Some(Box::new(rule)));
        Injected
    }

    /// Calls fail as long as it lives.
    pub(in crate::destination) struct Injected;

    impl Drop for Injected {
        fn drop(&mut self) {
            RULE.set(None);
        }
    }

    pub(in crate::destination) fn before(call: Call, from: &str, to: &str) -> Result<(), Errno> {
        // Taken out meanwhile: a rule may itself do what it would be asked for.
        let Some(mut rule) = RULE.take() else { return Ok(()) };
        let outcome = rule(call, from, to);
        RULE.set(Some(rule));
        outcome
    }
}
