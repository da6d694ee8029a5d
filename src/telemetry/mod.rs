//! The program's reports about itself while it runs.

pub mod counters;
pub mod holds;
pub mod log;
pub mod rarely;
pub mod systemd;
pub mod transfers;
