//! The emulator over real HTTP, area by area.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod answers;
mod batch;
mod binary;
mod changes;
mod channels;
mod connections;
mod control;
mod faults;
mod files;
mod identities;
mod line;
mod listings;
mod media;
mod moves;
mod oauth;
mod permissions;
mod requests;
mod search;
mod setup;
mod shared_drives;
mod sharing;
mod support;
mod tree;
mod uploads;
mod writing;
