//! What the process is to the operating system: how many files it may have open, and that its memory, which holds keys
//! and tokens, is never written to a file.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// The limit of open files is raised no further: nothing here needs more, and some programs close every number up to
/// the limit when they are started, which takes minutes where a container's limit is a thousand million.
const ENOUGH: u64 = 65_536;

/// To be called once, before anything is opened.
pub fn prepare() {
    raise_open_files();
    forbid_core_dumps();
}

/// How many files, connections among them, may be open at once.
pub fn open_files_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many are open; `None` where the system does not tell.
pub fn open_files() -> Option<usize> {
    // The listing itself is one of them.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1))
}

/// The soft limit is 1,024 on most systems, for the sake of programs that use `select`; this is none of them.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = raised(limit.current, limit.maximum);
    if raised != limit.current {
        // What is not permitted is done without: the limits of connections are derived from what is in force.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: raised, maximum: limit.maximum });
    }
}

/// The new soft limit, never lower than it was. `None` is no limit.
fn raised(soft: Option<u64>, hard: Option<u64>) -> Option<u64> {
    soft.map(|soft| soft.max(hard.unwrap_or(ENOUGH).min(ENOUGH)))
}

fn forbid_core_dumps() {
    // A limit of zero keeps a dump from being written to a file, but not from being handed to a program such as
    // systemd-coredump; a process that is not dumpable gives neither, and other processes of the user cannot read its
    // memory. Both are always permitted.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be_and_never_lowered() {
        for (soft, hard, expected) in [
            (Some(1024), Some(4096), Some(4096)),
            (Some(1024), Some(1024), Some(1024)),
            (Some(1024), Some(1_000_000_000), Some(ENOUGH)),
            (Some(1024), None, Some(ENOUGH)),
            (Some(100_000), Some(1_000_000), Some(100_000)),
            (None, None, None),
        ] {
            assert_eq!(raised(soft, hard), expected, "{soft:?} of {hard:?}");
        }
    }
}
