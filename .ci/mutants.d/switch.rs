//! Which of the changes in this build is in effect: `MUTANT` has its number. A function that can be changed asks `among`,
//! which also writes to the file `MUTANT_TRACE` that the function was reached.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

struct Switch {
    number: u32,
    trace: Option<File>,
    reached: Mutex<BTreeSet<u32>>,
}

static SWITCH: LazyLock<Switch> = LazyLock::new(|| Switch {
    number: variable("MUTANT").and_then(|number| number.parse().ok()).unwrap_or(0),
    trace: variable("MUTANT_TRACE").and_then(|path| OpenOptions::new().append(true).open(path).ok()),
    reached: Mutex::default(),
});

/// Reads the variables before the program restricts what it may open.
pub fn open() {
    LazyLock::force(&SWITCH);
}

/// The change in effect, if it is one of these; otherwise 0.
pub fn among(numbers: &[u32]) -> u32 {
    if let Some(mut trace) = SWITCH.trace.as_ref() {
        let mut reached = SWITCH.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.insert(numbers[0]) {
            // One call, since several processes write to the file.
            let _ = trace.write_all(format!("{}\n", numbers[0]).as_bytes());
        }
    }
    if numbers.contains(&SWITCH.number) { SWITCH.number } else { 0 }
}

/// The tests start the program without their environment: then it is that of an ancestor.
fn variable(name: &str) -> Option<String> {
    let mut process = std::process::id();
    while process > 1 {
        let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
        for entry in environment.split(|byte| *byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            if let Some(value) = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                return Some(value.to_owned());
            }
        }
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        process = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
    }
    None
}
