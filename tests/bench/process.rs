//! Other programs: run to their end under a limit, with what they cost, or beside the bench until they are dropped.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// What a run cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall: Duration,
    /// User and system together, children that were waited for included.
    pub(crate) cpu: Duration,
    /// The most memory that was resident at once, in bytes; 0 if it ended before anybody could look.
    pub(crate) peak: u64,
}

/// As in the unit and in the image of this program, and for everybody: how glibc copies memory.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824");

/// Whatever runs now, so that an interrupt can end it.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn note(change: impl FnOnce(&mut BTreeSet<i32>)) {
    change(&mut RUNNING.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Ends everything that this bench started.
pub(crate) fn kill_all() {
    note(|running| {
        for pid in running.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    });
}

/// Runs a program to its successful end. What it says goes to `log`, and into the error if it fails.
pub(crate) fn run(command: &mut Command, log: &Path, limit: Duration) -> anyhow::Result<Cost> {
    let name = name(command);
    let began = Instant::now();
    let mut child = spawn(command, log)?;
    let pid = Pid::from_child(&child);
    let (ended, late, peak) = (AtomicBool::new(false), AtomicBool::new(false), Mutex::new(0));
    let (wall, cpu) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let now = peak_memory(child_id(pid));
                let mut peak = peak.lock().unwrap_or_else(PoisonError::into_inner);
                *peak = now.max(*peak);
                drop(peak);
                if began.elapsed() > limit && !late.swap(true, Ordering::Relaxed) {
                    // It ends between the question and the answer, at the latest.
                    let _ = kill_process(pid, Signal::KILL);
                }
                std::thread::park_timeout(Duration::from_millis(if began.elapsed().as_millis() < 200 {
                    2
                } else {
                    20
                }));
            }
        });
        // The process stays behind as a zombie, whose times can still be read.
        let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let wall = began.elapsed();
        ended.store(true, Ordering::Relaxed);
        waited.map(|_| (wall, cpu_time(child_id(pid))))
    })
    .with_context(|| format!("cannot wait for {name}"))?;
    let status = child.wait()?;
    note(|running| _ = running.remove(&child_id(pid)));
    if late.into_inner() {
        bail!("{name} was not done within {limit:?}\n{}", tail(log));
    }
    if !status.success() {
        bail!("{name}: {status}\n{}", tail(log));
    }
    Ok(Cost { wall, cpu, peak: peak.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

/// A program that runs beside the bench and ends with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Ok(Self { child: spawn(command, log)? })
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu_time(child_id(Pid::from_child(&self.child)))
    }

    pub(crate) fn peak(&self) -> u64 {
        peak_memory(child_id(Pid::from_child(&self.child)))
    }

    pub(crate) fn resident(&self) -> u64 {
        memory(child_id(Pid::from_child(&self.child)), "VmRSS:")
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self, log: &Path) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{status}\n{}", tail(log)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        const COURTESY: Duration = Duration::from_secs(5);
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < COURTESY {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Both do nothing when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        note(|running| _ = running.remove(&child_id(pid)));
    }
}

fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    command.env(TUNABLES.0, TUNABLES.1);
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {}", name(command)))?;
    note(|running| _ = running.insert(child_id(Pid::from_child(&child))));
    Ok(child)
}

fn child_id(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

fn name(command: &Command) -> String {
    let path = Path::new(command.get_program());
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// User and system time of a process and of those of its children that it waited for, in steps of a clock tick.
pub(crate) fn cpu_time(pid: i32) -> Duration {
    /// `USER_HZ`, the same on every Linux that this builds for.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may contain anything; behind it the fields are numbers. utime is the 14th of all, the 12th from there.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks =
        fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn peak_memory(pid: i32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: i32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
