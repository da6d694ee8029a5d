//! Settings of the process: the limit of open files, and no core dumps, since the memory contains keys and tokens.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// The highest limit of open files that is set. The program does not need more, and some programs close every file
/// descriptor up to the limit when they start, which takes minutes with the limit of 1,000,000,000 in some containers.
const ENOUGH: u64 = 65_536;

/// Call it once, before anything is opened.
pub fn prepare() {
    raise_open_files();
    forbid_core_dumps();
}

/// The limit of open files, including connections.
pub fn open_files_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The number of open files; `None` if it is unknown.
pub fn open_files() -> Option<usize> {
    // The listing itself is an open file.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1))
}

/// Raises the soft limit. It is 1,024 on most systems for programs that use `select`; this program does not.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = raised(limit.current, limit.maximum);
    if raised != limit.current {
        // A failure is not an error: the limits of connections are derived from the limit in effect.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: raised, maximum: limit.maximum });
    }
}

/// The new soft limit, never lower than it was. `None` is no limit.
fn raised(soft: Option<u64>, hard: Option<u64>) -> Option<u64> {
    soft.map(|soft| soft.max(hard.unwrap_or(ENOUGH).min(ENOUGH)))
}

fn forbid_core_dumps() {
    // A limit of zero prevents a dump to a file, but not one to a program such as systemd-coredump. A process that is not
    // dumpable produces neither, and other processes of the user cannot read its memory. Both calls are always permitted.
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
